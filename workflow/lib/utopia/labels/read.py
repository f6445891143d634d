"""Reading a labels file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utopia import arrays
from utopia.errors import InputError


class Shots(NamedTuple):
    """Shots and user summaries of a video, for the F-score.

    change_points: [shots, 2] first and last frame of each shot, inclusive. user_summary: [users, frames] of 0/1.
    n_frames: frames of the video. picks: [T] frame numbers of the label grid.
    """

    change_points: np.ndarray
    user_summary: np.ndarray
    n_frames: int
    picks: np.ndarray


class Labels:
    """Labels of a data set; arrays are read when they are asked for.

    Raises:
        InputError: the file cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.arrays = arrays.load(path)
        self.path = self.arrays.path
        self.meta: dict[str, Any] = self.arrays.meta

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return str(self.meta["dataset"])

    @property
    def protocol(self) -> str:
        """`affect`, `summary` or `reactions`."""
        return str(self.meta["protocol"])

    @property
    def items(self) -> list[str]:
        """Ids of the items that have labels (or, `unlabelled`, times only), in official order."""
        return list(self.meta["items"])

    @property
    def targets(self) -> dict[str, dict[str, float]]:
        """Each target's `low` and `high`."""
        return dict(self.meta["targets"])

    @property
    def columns(self) -> dict[str, list[str]]:
        """The names of the C columns of each target that is a vector; empty where all are numbers."""
        return dict(self.meta.get("columns", {}))

    @property
    def unlabelled(self) -> list[str]:
        """Ids of the items that have times only: their labels are not published, and they are in no fold."""
        return list(self.meta.get("unlabelled", []))

    @property
    def folds(self) -> list[dict[str, Any]]:
        """Each fold's `name`, `train` and `test` ids."""
        return list(self.meta["folds"])

    @property
    def absent(self) -> dict[str, str]:
        """Expected items without labels, with the reason."""
        return dict(self.meta["absent"])

    def times(self, item: str) -> np.ndarray:
        """The label grid, [T] seconds."""
        return self.arrays[f"{item}/times"]

    def label(self, item: str, target: str) -> np.ndarray:
        """The training label, [T]; [T, C] float32 of a target with columns."""
        return self.arrays[f"{item}/{target}"]

    def evaluation(self, item: str, target: str) -> np.ndarray:
        """The label that predictions are judged by, shaped as `label`, which it is where the file has no other."""
        name = f"{item}/{target}.evaluation"
        return self.arrays[name] if name in self.arrays else self.label(item, target)

    def counted(self, item: str, target: str) -> np.ndarray | None:
        """Which labels metrics count, [T] bool; None where they count all."""
        stored = self.arrays.get(f"{item}/{target}.judged")
        return None if stored is None else stored > 0

    def votes(self, item: str, target: str) -> np.ndarray | None:
        """All annotators' votes in label units, [annotators, T]; None where the data set gives only their mean."""
        return self.arrays.get(f"{item}/{target}.votes")

    def judging_votes(self, item: str, target: str) -> np.ndarray | None:
        """The votes of those who judge, [annotators, T]: of all, where nobody is held out to judge."""
        votes = self.votes(item, target)
        judges = self.meta.get("judges", {}).get(item)
        return votes if votes is None or judges is None else votes[judges]

    def has_shots(self, item: str) -> bool:
        """Whether shots and user summaries are known."""
        return f"{item}/change_points" in self.arrays

    def shots(self, item: str) -> Shots:
        """Shots and user summaries.

        Raises:
            InputError: they are not known for this item.
        """
        if not self.has_shots(item):
            raise InputError(
                f"{item} has no shots and user summaries",
                where=self.path,
                why="the F-score is computed on shots",
                remedy="add the field's HDF5 file to the data set's folder; `utopia doctor` names what is missing",
            )
        parts = {name: self.arrays[f"{item}/{name}"] for name in ("change_points", "user_summary", "n_frames", "picks")}
        return Shots(parts["change_points"], parts["user_summary"], int(parts["n_frames"][0]), parts["picks"])
