"""Reading features, whoever made them: by item and name, or aligned to the label grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from utopia import arrays
from utopia.errors import ChecksumError, InputError
from utopia.files import digest, read_json, sha256

_TOLERANCE_S = 1e-6  # 0.96 k and picks / fps are rounded; a label at the same instant must still see that row


KEPT_INDEXES = 64
"""Indexes whose entries are in memory: all of most studies. Those of a million videos take 0.8 GB."""


class FeatureReader:
    """The features of a data set, from the indexes of its extraction shards and imports.

    Which index lists an item stays in memory, what it says of it is read again where there are many.

    Raises:
        InputError: an index cannot be read, or two indexes disagree about an item.
    """

    def __init__(self, indexes: Sequence[str | Path]) -> None:
        self._indexes = list(map(Path, indexes))
        self._listed_by: dict[str, tuple[int, ...]] = {}
        """Item -> the indexes that list it; equal ones are one object."""
        self._entries = lru_cache(KEPT_INDEXES)(self._read)
        self._verified: set[str] = set()
        same: dict[tuple[int, ...], tuple[int, ...]] = {}
        for number, index in enumerate(self._indexes):
            for item, features in self._entries(number).items():
                before = self._listed_by.get(item, ())
                for name, entry in features.items():
                    if any(self._entries(other)[item].get(name, entry) != entry for other in before):
                        raise InputError(f"says otherwise about {name} of {item} than another index", where=index)
                self._listed_by[item] = same.setdefault((*before, number), (*before, number))

    def available(self, item: str, names: Sequence[str]) -> str | None:
        """Why one of the features of an item is absent; None if all are there."""
        for name in names:
            entry = self._found(item, name)
            if entry is None:
                return f"{name}: no index lists {item}"
            if "absent" in entry[0]:
                return f"{name}: {entry[0]['absent']}"
        return None

    def width(self, item: str, names: Sequence[str]) -> int:
        """Numbers per time step of the features named, concatenated."""
        return sum(int(self._entry(item, name)[0]["width"]) for name in names)

    def rows(self, item: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Features float32 [R, D] and times float64 [R], in seconds.

        Raises:
            InputError: the feature is absent.
            ChecksumError: the stored object is missing or not the one that the index names.
        """
        entry, index = self._entry(item, name)
        path = index.parents[1] / entry["file"]
        if str(path) not in self._verified:
            verify_rows(path, entry["sha256"], index)
            self._verified.add(str(path))
        stored = arrays.load(path)
        return stored["features"], stored["times"]

    def aligned(self, item: str, names: Sequence[str], times: np.ndarray) -> np.ndarray:
        """Features float32 [T, sum of widths] at T label times: of each, the last row at or before that time.

        Before the first row the first one is taken. Features are concatenated in the order named.

        Raises:
            InputError: a feature is absent.
            ChecksumError: a stored object is not the one that the index names.
        """
        columns = []
        for name in names:
            features, starts = self.rows(item, name)
            last = np.searchsorted(starts, np.asarray(times, np.float64) + _TOLERANCE_S, side="right") - 1
            columns.append(features[np.maximum(last, 0)])
        return np.concatenate(columns, axis=1)

    def outside(self, item: str, name: str, times: np.ndarray) -> int:
        """How many of T label times see a row that is not of their time: those before the first row, which take the
        first, and those more than a row's length after the last, which keep the last.

        A row is as long as the step to the next usually is (the median); a single row has no length.

        Raises:
            InputError: the feature is absent.
            ChecksumError: the stored object is not the one that the index names.
        """
        _, starts = self.rows(item, name)
        length = float(np.median(np.diff(starts))) if len(starts) > 1 else 0.0
        at = np.asarray(times, np.float64)
        early, late = at < starts[0] - _TOLERANCE_S, at > starts[-1] + length + _TOLERANCE_S
        return int(early.sum() + late.sum())

    def other_shots(self, item: str, name: str, points: np.ndarray) -> bool:
        """Whether the file that a feature was taken from names other shots of an item than `points` [shots, 2]."""
        return self._entry(item, name)[0].get("shots", shots_digest(points)) != shots_digest(points)

    def _entry(self, item: str, name: str) -> tuple[dict[str, Any], Path]:
        found = self._found(item, name)
        if found is None or "absent" in found[0]:
            raise InputError(f"{item} has no features: {self.available(item, [name])}")
        return found

    def _found(self, item: str, name: str) -> tuple[dict[str, Any], Path] | None:
        """What is said of a feature of an item, and by which index: the last that does, as all say the same."""
        for number in reversed(self._listed_by.get(item, ())):
            if (entry := self._entries(number)[item].get(name)) is not None:
                return entry, self._indexes[number]
        return None

    def _read(self, number: int) -> dict[str, dict[str, dict[str, Any]]]:
        items: dict[str, dict[str, dict[str, Any]]] = read_json(self._indexes[number])["items"]
        return items


def shots_digest(points: np.ndarray) -> str:
    """The digest of shots [shots, 2], whole frame numbers."""
    return digest(np.asarray(points, np.int64).tolist())


def verify_rows(path: Path, expected: str, index: Path) -> None:
    """Look whether a file of features is the one that its index names.

    Raises:
        ChecksumError: it is another, or there is none.
    """
    found = sha256(path) if path.is_file() else "no file"
    if found != expected:
        raise ChecksumError(
            f"the stored features are not those that {index.name} names (sha256 {expected}, found {found})",
            where=path,
            why="results on them would not be what their record says",
            remedy=f"make them again: `rm -f {path}`, then `snakemake --force {index}`",
        )
