"""The one container for arrays: safetensors files with one JSON metadata value. Memory-mapped, never unpickled.

Names inside a file are paths (`movie_03/valence`). The same arrays and metadata give the same bytes, so that records
can compare files by hash (safetensors writes several metadata keys in no fixed order; we give it one).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from utopia.errors import InputError
from utopia.files import atomic


def save(path: str | Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any] | None = None) -> None:
    """Write arrays and JSON-able metadata to `path` atomically.

    Raises:
        UtopiaError: the disk is full or the folder cannot be written.
    """
    contiguous = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    text = json.dumps(dict(meta or {}), sort_keys=True, ensure_ascii=False, allow_nan=False)
    with atomic(path) as temporary:
        try:
            save_file(contiguous, str(temporary), metadata={"utopia": text})
        except SafetensorError as error:
            if number := re.search(r"\(os error (\d+)\)", str(error)):  # a full disk comes as text only
                raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
            raise


class Arrays(Mapping[str, np.ndarray]):
    """A read-only view of an arrays file: an array is read (as a copy) when it is asked for, never all at once."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = safe_open(str(path), framework="numpy")
            self.meta: dict[str, Any] = json.loads((self._file.metadata() or {}).get("utopia", "{}"))
            self._names = sorted(self._file.keys())
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(
                f"not a readable arrays file ({error})",
                where=path,
                why="a job that was to read it cannot go on",
                remedy="delete the file and run the same command again: it will be made anew",
            ) from error

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            return self._file.get_tensor(name)
        except SafetensorError as error:
            raise KeyError(f"{self.path} has no array {name!r}") from error

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """All arrays whose name starts with `prefix/`, with the prefix taken off."""
        start = prefix.rstrip("/") + "/"
        return {name[len(start) :]: self[name] for name in self._names if name.startswith(start)}


def load(path: str | Path) -> Arrays:
    """Open an arrays file."""
    return Arrays(path)
