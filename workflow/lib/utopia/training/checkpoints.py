"""Checkpoints: each finished replica is stored at once, a half-trained one every minute or two; a job that was killed
resumes from what it finds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from utopia import arrays
from utopia.errors import InputError
from utopia.training.replica import Replica
from utopia.training.selection import History
from utopia.training.trainer import Fitted, TrainingState

STORE_EVERY = 90.0
"""Seconds of training from one half-way checkpoint to the next; no number depends on it."""


def checkpoint_path(folder: Path, replica: Replica) -> Path:
    """`<folder>/replicas/<target>.<fold>.<repeat>.safetensors`."""
    return folder / "replicas" / f"{replica.name}.safetensors"


def save_replica(path: Path, key: str, replica: Replica, seed: int, fitted: Fitted) -> None:
    """Store a replica atomically. Only what `key` determines goes in, so that a repetition gives the same bytes."""
    meta: dict[str, Any] = {
        "key": key,
        "replica": asdict(replica),
        "seed": seed,
        "history": asdict(fitted.history),
        "epoch": fitted.epoch,
        "fitted": fitted.fitted,
        "held_out": fitted.held_out,
        **({"diagnostics": fitted.diagnostics} if fitted.diagnostics else {}),
    }
    with arrays.Writer(path) as file:
        file.meta = meta
        for name, value in fitted.parameters.items():
            file.add(f"parameters/{name}", value)
        for item, y_T in fitted.predictions.items():
            file.add(f"predictions/{item}", y_T)


def load_replica(path: Path, key: str) -> Fitted | None:
    """The stored replica, if there is one that `key` determines; a file that cannot be read counts as none."""
    file = _read(path, key)
    if file is None:
        return None
    meta = file.meta
    return Fitted(
        file.under("parameters"),
        file.below("predictions"),
        History(**meta["history"]),
        meta["epoch"],
        meta["fitted"],
        meta["held_out"],
        meta.get("diagnostics", {}),
    )


class HalfwayCheckpoint:
    """Stores a half-trained replica as `<name>.half.safetensors`, beside where its checkpoint will be, and finds it
    again.
    """

    def __init__(self, checkpoint: Path, key: str, every: float = STORE_EVERY) -> None:
        self.path, self._key, self._every = checkpoint.with_suffix(".half.safetensors"), key, every
        self._last = time.monotonic()

    def resume(self, state: TrainingState, moving: Mapping[str, Tensor]) -> bool:
        """Put a replica where it was, if it is found under its key: its state, and the tensors that change."""
        file = _read(self.path, self._key)
        if file is None:
            return False
        stored = file.under("live")
        if {name: list(value.shape) for name, value in stored.items()} != {n: list(t.shape) for n, t in moving.items()}:
            return False
        with torch.no_grad():
            for name, tensor in moving.items():
                tensor.copy_(torch.as_tensor(stored[name]))
        state.epoch, state.history = file.meta["epoch"], History(**file.meta["history"])
        for epoch in file.meta["kept"]:
            kept = file.under(f"kept/{epoch}")
            state.kept[epoch] = {name: torch.as_tensor(value).clone() for name, value in kept.items()}
        return True

    def store_if_due(self, state: TrainingState, moving: Callable[[], Mapping[str, Tensor]]) -> None:
        """Store the replica as it is, if the last time is long enough ago."""
        if time.monotonic() - self._last < self._every:
            return
        contents = {f"live/{name}": tensor.detach().cpu().numpy() for name, tensor in moving().items()}
        for epoch, parameters in state.kept.items():
            contents |= {f"kept/{epoch}/{name}": value.cpu().numpy() for name, value in parameters.items()}
        history = asdict(state.history)
        meta = {"key": self._key, "epoch": state.epoch, "kept": list(state.kept), "history": history}
        arrays.save(self.path, contents, meta)
        self._last = time.monotonic()

    def remove(self) -> None:
        """Remove it: the replica is done."""
        self.path.unlink(missing_ok=True)


def _read(path: Path, key: str) -> arrays.Arrays | None:
    if not path.is_file():
        return None
    try:
        file = arrays.load(path)
    except InputError:
        return None
    return file if file.meta.get("key") == key else None
