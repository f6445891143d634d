"""What every extractor file offers, and what they share.

The contract of a file `extractors/<name>.py`:

* `MEDIUM`: "frames" or "audio"; `WIDTH`: numbers per row; `VERSION`: raised when the same settings give other numbers.
* `Config(Strict)`: its settings. `weights` names a card of `workflow/resources/weights/`, or is "random". For frames,
  `fps` is the samples per second, and `every`, where there is such a setting, means every so many frames instead.
* `build(config, weights_path, seed, device)`: the network, ready to be called. `weights_path` is None for random ones,
  which are then drawn from `seed`; otherwise the file has been checked against its card and `seed` is not used.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from utopia import seeds
from utopia.errors import InputError


class FrameNetwork(Protocol):
    """Frames to features."""

    batch: int
    """Frames per call."""

    def __call__(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Features float32 [N, WIDTH] of N frames, each uint8 RGB [height, width, 3] in its native size."""


class AudioNetwork(Protocol):
    """A sound to features."""

    rate: int
    """Samples per second that it is fed with."""

    def __call__(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features float32 [P, WIDTH] and start times float64 [P], in seconds, of a sound float32 [samples]."""


def device_of(name: str) -> torch.device:
    """The device meant by "auto" (a GPU where there is one), "cpu" or "cuda"."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict from a PyTorch or a safetensors file. No code in the file is run.

    Raises:
        InputError: the file is no such file, or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise InputError(
            f"not a readable state dict ({str(error).partition(chr(10))[0] or type(error).__name__})",
            where=path,
            why="files of weights are read without running any code that they may hold",
            remedy="get the file from the address on its card, or save the plain state dict again",
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError("the file does not hold a plain state dict (names to tensors)", where=path)
    return dict(state)


def fill(network: nn.Module, weights_path: Path | None, seed: int, unused: tuple[str, ...] = ()) -> nn.Module:
    """Give `network` its parameters, from a file or drawn from `seed`, and set it to evaluation.

    Args:
        unused: prefixes of names in the file that the network has no use for (auxiliary heads).

    Raises:
        InputError: the file's names or shapes are not those of the network.
    """
    if weights_path is None:
        draw(network, seed)
    else:
        state = {name: value for name, value in load_state(weights_path).items() if not name.startswith(unused)}
        _assign(network, state, weights_path)
    return network.eval().requires_grad_(False)


def draw(network: nn.Module, seed: int) -> None:
    """Random parameters that neither blow up nor quench what passes through: Kaiming-normal weights, zero biases.

    Each tensor is drawn on its own stream, named by its place in the network, with NumPy: the same on every machine,
    for any number of threads and whatever else the network holds. Normalisation layers are left as the identity.
    """
    drawn: dict[str, torch.Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            random = np.random.Generator(np.random.Philox(seeds.derive(seed, name)))
            values = random.standard_normal(tuple(module.weight.shape), dtype=np.float32)
            values *= np.float32(np.sqrt(2 / values[0].size))
            drawn[f"{name}.weight"] = torch.from_numpy(values)
            if module.bias is not None:
                drawn[f"{name}.bias"] = torch.zeros(len(values))
    network.load_state_dict(drawn, strict=False, assign=True)


def _assign(network: nn.Module, state: dict[str, torch.Tensor], path: Path) -> None:
    own = network.state_dict()
    # A counter of training steps, which older files lack and evaluation does not use.
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    surplus = [name for name in state if name not in own]
    shapes = [name for name in state if name in own and state[name].shape != own[name].shape]
    if missing or surplus or shapes:
        faults = [
            f"{kind} {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}"
            for kind, names in (("missing", missing), ("not known", surplus), ("of another shape", shapes))
            if names
        ]
        raise InputError(
            f"the weights do not fit the network: {'; '.join(faults)}",
            where=path,
            remedy="use the file that the card names, with its original parameter names",
        )
    typed = {name: value.to(own[name].dtype) for name, value in state.items()}
    network.load_state_dict(typed, strict=False, assign=True)
