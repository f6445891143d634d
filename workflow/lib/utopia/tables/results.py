"""What has been made for a table: where the metrics of its runs are, and their means over folds and repeats."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from utopia.errors import ComputeError
from utopia.evaluation import metrics_csv
from utopia.evaluation.comparisons import Comparison
from utopia.evaluation.uncertainty import Items, read_items


class HoleError(ComputeError):
    """A metric that is not available, as its file declares; `what` says why."""


class Measurement(NamedTuple):
    """A metric over the replicas of a run."""

    value: float
    std: float | None
    n: int


def repeat_means(
    metrics_csvs: Sequence[Path], target: str, metric: str, *, promised: int | None = None
) -> NDArray[np.float64]:
    """Mean over folds for each repeat [R].

    Args:
        metrics_csvs: metrics files of the run (of several, when its replicas are spread over files).
        target: the target whose rows count.
        metric: the metric whose rows count; only replicas' own rows (empty `item`) do.
        promised: number of replicas (folds x repeats) that the run promises for this target, where it is known.

    Raises:
        HoleError: the file declares that there is no such metric.
        ComputeError: there is no such row, a replica is missing or stands there twice, or a value is not finite.
    """
    where = ", ".join(str(path) for path in metrics_csvs)
    by_repeat: dict[str, dict[str, float]] = defaultdict(dict)
    for path in metrics_csvs:
        for row in metrics_csv.select(path, target, metric):
            if metrics_csv.is_hole(row):
                raise HoleError(row.item, where=where)
            if row.item:
                continue
            if row.fold in by_repeat[row.repeat]:
                raise ComputeError(
                    f"{target} {metric}: fold {row.fold}, repeat {row.repeat} stands there twice", where=where
                )
            if not math.isfinite(row.value):
                raise ComputeError(
                    f"{target} {metric} of fold {row.fold}, repeat {row.repeat} is {row.value}", where=where
                )
            by_repeat[row.repeat][row.fold] = row.value
    folds = sorted({fold for values in by_repeat.values() for fold in values})
    present = sum(len(values) for values in by_repeat.values())
    expected = max(promised or 0, len(folds) * len(by_repeat))
    if not present or present < expected:
        missing = [
            f"fold {fold} repeat {repeat}"
            for repeat, values in by_repeat.items()
            for fold in folds
            if fold not in values
        ]
        raise ComputeError(
            f"{target} {metric}: {present} of {expected or 'the'} replicas are there"
            + (f"; missing: {', '.join(missing[:6])}" if missing else ""),
            where=where,
            why="a mean over fewer replicas than promised would pass for the promised one",
            remedy="delete the file and run the same command again: the missing replicas will be made",
        )
    return np.array([np.mean([values[fold] for fold in folds]) for _, values in sorted(by_repeat.items())])


def over_repeats(values: NDArray[np.float64]) -> Measurement:
    """Mean and deviation (ddof 1) over the repeats [R]; see `repeat_means`."""
    std = float(values.std(ddof=1)) if len(values) > 1 else None
    return Measurement(float(values.mean()), std, len(values))


@dataclass(frozen=True)
class Results:
    """What has been made for a table: where a run's metrics are, and what else is known about runs.

    metrics: run id -> its metrics file. absent: run id -> why it could not be made. not_comparable: why measured cells
    cannot be compared with published values: one reason for all, or run id -> reason. promised: run id -> replicas that
    each of its targets promises. frames: run id -> frames of each of its items."""

    metrics: Mapping[str, Path]
    absent: Mapping[str, str]
    not_comparable: str | Mapping[str, str] = ""
    promised: Mapping[str, int] = field(default_factory=dict)
    frames: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    compared: dict[tuple[str, ...], Comparison | str] = field(default_factory=dict, compare=False)
    """Comparisons that were made."""

    def ground(self, runs: Iterable[str]) -> str:
        """Why none of these runs can be compared with published values; empty if all can."""
        if isinstance(self.not_comparable, str):
            return self.not_comparable
        every = (why for run in runs if (why := self.not_comparable.get(run, "")))
        return "; ".join(dict.fromkeys(part for why in every for part in why.split("; ")))

    def values(self, run: str, column: Mapping[str, Any]) -> NDArray[np.float64]:
        """The column's metric of a run for each repeat."""
        return repeat_means(
            [self.metrics[run]],
            column["target"],
            column["metric"],
            promised=self.promised.get(run),
        )

    def items(self, run: str, column: Mapping[str, Any]) -> Items | str:
        """The column's metric of a run at each test item, or why there is none."""
        return read_items(self.metrics[run], run, column["target"], column["metric"], self._frames(run))

    def _frames(self, run: str) -> Mapping[str, int]:
        """Frames of each item of a run. A reference tells none; its items have those that other runs of its data set
        name, because labels are on one grid."""
        if run in self.frames:
            return self.frames[run]
        dataset = f"{run.partition('.')[0]}."
        return {
            item: n
            for other, frames_of in self.frames.items()
            if other.startswith(dataset)
            for item, n in frames_of.items()
        }
