"""The feature store: one object per item and feature, named by a hash of everything that determines it.

So features are never reused after a setting, a video, the weights or the code changed, and are never made twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utopia import arrays
from utopia.errors import ComputeError, InputError, UtopiaError
from utopia.files import digest, read_json, sha256, write_json

_KEY_DIGITS = 32


def place(store: Path, identity: Mapping[str, Any]) -> Path:
    """Where the object that `identity` determines lies."""
    key = digest(dict(identity), _KEY_DIGITS)
    return store / key[:2] / f"{key}.safetensors"


def put(
    path: Path, store: Path, features: np.ndarray, times: np.ndarray, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Write an object: features [rows, width], and the time in seconds of each row.

    Returns:
        Its index entry, as `entry` gives it.

    Raises:
        ComputeError: there are no rows, a value is not finite, or times do not rise.
        UtopiaError: it cannot be written, or not read back.
    """
    faults = []
    if features.ndim != 2 or len(features) != len(times) or len(times) == 0:
        faults.append(f"{features.shape} features for {len(times)} times")
    if not np.isfinite(features).all():
        faults.append(f"{np.count_nonzero(~np.isfinite(features).all(axis=-1))} rows hold values that are not numbers")
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        faults.append("the times do not rise")
    if faults:
        raise ComputeError("; ".join(faults))
    values: dict[str, np.ndarray] = {"features": features.astype(np.float32), "times": times.astype(np.float64)}
    arrays.save(path, values, identity)
    written = entry(path, store)
    if written is None:
        raise UtopiaError("what was just written cannot be read back", where=path, remedy="check the disk")
    return written


def entry(path: Path, store: Path) -> dict[str, Any] | None:
    """The index entry of an object that is already there; None if it is not, or does not open.

    Returns:
        `file` (relative to the features folder), `sha256`, `rows`, `width`; and `fallback`, why another decoder than
        the one in its identity decoded it, where that is so.
    """
    if not path.is_file():
        return None
    try:
        opened = arrays.load(path)
        rows, width = opened["features"].shape
        if opened["times"].shape != (rows,):
            return None
        fallback = opened.meta.get("made_with", {}).get("fallback")
    except (InputError, KeyError, ValueError):
        return None
    found = {"file": path.relative_to(store.parent).as_posix(), "sha256": sha256(path), "rows": rows, "width": width}
    return found | ({"fallback": fallback} if fallback else {})


def put_absence(path: Path, reason: str, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Note, where the object would lie, that what determines it gives none; returns its index entry."""
    write_json(_absence(path), {"absent": reason, "identity": dict(identity)})
    return {"absent": reason}


def absence(path: Path) -> dict[str, Any] | None:
    """The index entry of an object that is known not to come about; None if nothing is known."""
    try:
        return {"absent": str(read_json(_absence(path))["absent"])}
    except (UtopiaError, KeyError, TypeError):
        return None


def _absence(path: Path) -> Path:
    return path.with_suffix(".absent.json")
