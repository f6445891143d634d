"""Reading features, whoever made them: by item and name, or aligned to the label grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from utopia import arrays
from utopia.errors import ChecksumError, InputError
from utopia.files import digest, read_json, sha256

_TOLERANCE_S = 1e-6  # 0.96 k and picks / fps are rounded; a label at the same instant must still see that row


class FeatureReader:
    """The features of a data set, from the indexes of its extraction shards and imports.

    Raises:
        InputError: an index cannot be read, or two indexes disagree about an item.
    """

    def __init__(self, indexes: Sequence[str | Path]) -> None:
        self._entries: dict[str, dict[str, dict[str, Any]]] = {}
        self._index_of: dict[str, Path] = {}
        self._verified: set[Path] = set()
        for index in map(Path, indexes):
            for item, features in read_json(index)["items"].items():
                for name, entry in features.items():
                    known = self._entries.setdefault(item, {}).setdefault(name, entry)
                    if known != entry:
                        raise InputError(f"says otherwise about {name} of {item} than another index", where=index)
                    if "file" in entry:
                        self._index_of[entry["file"]] = index

    def available(self, item: str, names: Sequence[str]) -> str | None:
        """Why one of the features of an item is absent; None if all are there."""
        for name in names:
            entry = self._entries.get(item, {}).get(name)
            if entry is None:
                return f"{name}: no index lists {item}"
            if "absent" in entry:
                return f"{name}: {entry['absent']}"
        return None

    def width(self, item: str, names: Sequence[str]) -> int:
        """Numbers per time step of the features named, concatenated."""
        return sum(int(self._entry(item, name)["width"]) for name in names)

    def rows(self, item: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Features float32 [R, D] and times float64 [R], in seconds.

        Raises:
            InputError: the feature is absent.
            ChecksumError: the stored object is missing or not the one that the index names.
        """
        entry = self._entry(item, name)
        index = self._index_of[entry["file"]]
        path = index.parents[1] / entry["file"]
        if path not in self._verified:
            verify_rows(path, entry["sha256"], index)
            self._verified.add(path)
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
        return self._entry(item, name).get("shots", shots_digest(points)) != shots_digest(points)

    def _entry(self, item: str, name: str) -> dict[str, Any]:
        if reason := self.available(item, [name]):
            raise InputError(f"{item} has no features: {reason}")
        return self._entries[item][name]


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
