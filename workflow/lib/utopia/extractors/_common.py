"""What every extractor file offers, and what they share.

The contract of a file `extractors/<name>.py`:

* `MEDIUM`: "frames" or "audio"; `WIDTH`: numbers per row (None: as the settings have it); `VERSION`: raised when the
  same settings give other numbers.
* `Config(Strict)`: its settings. `weights` names a card of `workflow/resources/weights/`, or is "random". For frames,
  `fps` is the samples per second, and `every`, where there is such a setting, means every so many frames instead.
* `build(config, weights_path, seed, device)`: the network, ready to be called. `weights_path` is None for random ones,
  which are then drawn from `seed`; otherwise the file has been checked against its card and `seed` is not used.
  An extractor of several networks has a setting `<part>_weights` for each further one, named and chosen as `weights`
  is, and `build` takes the path of its file as an argument of that name.
* Where its network can be fine-tuned first, `TUNED` and `tunable` (see `_finetune`); where some of its settings need
  that, `Config.untrained` says which.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from utopia import seeds
from utopia.errors import InputError

_WEIGHING = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.Linear)


class FrameNetwork(Protocol):
    """Frames to features."""

    batch: int
    """Frames per call."""

    def __call__(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Features float32 [N, WIDTH] of N frames, each uint8 RGB [height, width, 3] in its native size."""


class Listening(Protocol):
    """A sound on its way to features, piece by piece."""

    def feed(self, samples: np.ndarray) -> None:
        """Take the next piece."""

    def end(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and start times, as `AudioNetwork` gives them for the whole sound."""


class AudioNetwork(Protocol):
    """A sound to features.

    One that need not hear the whole at once also has `listen() -> Listening`: then memory does not grow with length.
    """

    rate: int
    """Samples per second that it is fed with."""
    channels: int
    """1: fed with the mean of the channels, [samples]. 2: with left and right, [2, samples]."""

    def __call__(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Features float32 [P, WIDTH] and start times float64 [P], in seconds, of a sound float32 [samples].

        An extractor with two channels takes a sound of one as well, which it hears on both sides.
        """


def device_of(name: str) -> torch.device:
    """The device meant by "auto" (a GPU where there is one), "cpu" or "cuda"."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def on_device(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array on a device; to a GPU it goes from pinned memory, so that the copy runs beside what is computed."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def load_state(path: Path, within: str = "") -> dict[str, torch.Tensor]:
    """Read a state dict from a PyTorch or a safetensors file. No code in the file is run.

    Args:
        within: the key of a checkpoint below which the state dict lies, if it lies below one.

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
    if within and isinstance(state, Mapping) and isinstance(state.get(within), Mapping):
        state = state[within]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError("the file does not hold a plain state dict (names to tensors)", where=path)
    return dict(state)


def fill(
    network: nn.Module,
    weights_path: Path | None,
    seed: int,
    unused: tuple[str, ...] = (),
    read: Callable[[Path], dict[str, torch.Tensor]] = load_state,
) -> nn.Module:
    """Give `network` its parameters, from a file or drawn from `seed`, and set it to evaluation.

    Args:
        unused: prefixes of names in the file that the network has no use for (auxiliary heads).
        read: gives the parameters in the file by their names in the network.

    Raises:
        InputError: the file's names or shapes are not those of the network.
    """
    if weights_path is None:
        draw(network, seed)
    else:
        state = {name: value for name, value in read(weights_path).items() if not name.startswith(unused)}
        assign(network, state, weights_path)
    return network.eval().requires_grad_(False)


def draw(network: nn.Module, seed: int) -> None:
    """Random parameters that neither blow up nor quench what passes through: Kaiming-normal weights, zero biases.

    Each tensor is drawn on its own stream, named by its place in the network, with NumPy: the same on every machine,
    for any number of threads and whatever else the network holds. Normalisation layers are left as the identity, and
    parameters of no layer (positions, tokens, tables of transformers) are small.
    """
    drawn: dict[str, torch.Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, _WEIGHING):
            values = _normal(module.weight.shape, seed, name)
            values *= np.float32(np.sqrt(2 / values[0].size))
            drawn[f"{name}.weight"] = torch.from_numpy(values)
            if module.bias is not None:
                drawn[f"{name}.bias"] = torch.zeros(module.bias.shape)
            continue
        for own, parameter in module.named_parameters(name, recurse=False):
            kind = own.rpartition(".")[2]
            if kind == "bias":
                drawn[own] = torch.zeros(parameter.shape)
            elif kind == "weight" and parameter.ndim == 1:
                drawn[own] = torch.ones(parameter.shape)
            else:
                drawn[own] = torch.from_numpy(_normal(parameter.shape, seed, own) * np.float32(0.02))
    network.load_state_dict(drawn, strict=False, assign=True)


def _normal(shape: torch.Size, seed: int, name: str) -> np.ndarray:
    random = np.random.Generator(np.random.Philox(seeds.derive(seed, name)))
    return random.standard_normal(tuple(shape), dtype=np.float32)


def assign(network: nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    """Give `network` the parameters of a state dict; `path` names its file in messages.

    Raises:
        InputError: the names or shapes are not those of the network.
    """
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
