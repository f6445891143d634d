"""Checkpoints: each finished replica is stored at once, and a job that was killed goes on from what it finds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from utopia import arrays
from utopia.errors import InputError
from utopia.training.fit import Fitted
from utopia.training.replica import Replica
from utopia.training.selection import History


def checkpoint_path(folder: Path, replica: Replica) -> Path:
    """`<folder>/replicas/<target>.<fold>.<repeat>.safetensors`."""
    return folder / "replicas" / f"{replica.name}.safetensors"


def save_replica(path: Path, key: str, replica: Replica, seed: int, fitted: Fitted) -> None:
    """Store a replica atomically. Only what `key` determines goes in, so that a repetition gives the same bytes."""
    contents = {f"parameters/{name}": value for name, value in fitted.parameters.items()}
    contents |= {f"predictions/{item}": value for item, value in fitted.predictions.items()}
    meta: dict[str, Any] = {
        "key": key,
        "replica": asdict(replica),
        "seed": seed,
        "history": asdict(fitted.history),
        "epoch": fitted.epoch,
        "fitted": fitted.fitted,
        "held_out": fitted.held_out,
    }
    arrays.save(path, contents, meta)


def load_replica(path: Path, key: str) -> Fitted | None:
    """The stored replica, if there is one that `key` determines; a file that cannot be read counts as none."""
    if not path.is_file():
        return None
    try:
        file = arrays.load(path)
    except InputError:
        return None
    if file.meta.get("key") != key:
        return None
    meta = file.meta
    return Fitted(
        file.under("parameters"),
        file.under("predictions"),
        History(**meta["history"]),
        meta["epoch"],
        meta["fitted"],
        meta["held_out"],
    )
