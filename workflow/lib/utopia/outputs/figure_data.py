"""What a figure is drawn from, the numbers it plots, and the choice of the video that it shows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utopia.arrays import Arrays
from utopia.config.study import Distribution
from utopia.distribution.series import Series, read_series
from utopia.errors import ComputeError
from utopia.features.read import FeatureReader
from utopia.labels.read import Labels


@dataclass(frozen=True)
class Point:
    """One plotted number, or one that stands in the text of a panel."""

    panel: str
    series: str
    x: float | str | None = None
    y: float | str | None = None
    low: float | None = None
    high: float | None = None
    """Ends of a band or a bar."""
    note: str = ""


@dataclass(frozen=True)
class Inputs:
    """The opened input files of a figure.

    distribution: None of a data set that has none. predictions: by role (`baseline`, `cwl`, ...). absent_runs: role ->
    why there are none. summaries, metrics: by role, what training.json says and where metrics.csv is; of drawings that
    show these.
    """

    spec: Mapping[str, Any]
    labels: Labels
    distribution: Arrays | None
    features: FeatureReader | None = None
    feature_names: Sequence[str] = ()
    feature_reason: str = ""
    predictions: Mapping[str, Arrays] = field(default_factory=dict)
    absent_runs: Mapping[str, str] = field(default_factory=dict)
    summaries: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics: Mapping[str, Path] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """The target that the figure shows."""
        return str(self.spec["target"])

    @property
    def options(self) -> Mapping[str, Any]:
        """The figure's own settings."""
        return self.spec.get("options") or {}

    @property
    def settings(self) -> Distribution:
        """The distribution file's settings; see `counted`."""
        return Distribution.model_validate(self.counted.meta["settings"])

    @property
    def counted(self) -> Arrays:
        """The distribution file.

        Raises:
            ComputeError: there is none.
        """
        if self.distribution is None:
            raise ComputeError(
                f"{self.labels.dataset} has no label distribution, and the figure {self.spec['id']} shows it",
                where=self.labels.path,
                remedy="give the figure's file another `draw` or data set",
            )
        return self.distribution

    def series(self, item: str) -> Series:
        """An item's distribution and plan; with pooled counts, those of the first fold that trains on it."""
        fold = next(fold["name"] for fold in self.labels.folds if item in fold["train"])
        return read_series(self.counted, item, self.target, fold)


RULE = (
    "the training video of the first fold whose total change |ñ − n|, as a share of its frames, is the (lower) median"
)


def median_video(inputs: Inputs, among: Sequence[str] | None = None) -> str:
    """The video that a figure shows, by a rule and not by hand: see `RULE`; ties go by the official order.

    Args:
        inputs: the figure's inputs.
        among: only these videos (those with features); None for all.

    Raises:
        ComputeError: the first fold trains on none of them.
    """
    train = inputs.labels.folds[0]["train"] if inputs.labels.folds else []
    videos = [item for item in train if among is None or item in among]
    if not videos:
        raise ComputeError("no training video to show", where=inputs.labels.path)
    shares = []
    for item in videos:
        series = inputs.series(item)
        shares.append(float(np.abs(series.utopia_count - series.count).sum() / series.count.sum()))
    return videos[int(np.argsort(shares, kind="stable")[(len(videos) - 1) // 2])]


def bin_edges(settings: Distribution) -> NDArray[np.float64]:
    """Edges of the bins [b + 1] in label units; with `grid`, the midpoints between grid points [b + 2]."""
    width = (settings.high - settings.low) / settings.bins
    if settings.binning == "grid":
        return np.asarray(settings.low + width * (np.arange(settings.bins + 2) - 0.5), np.float64)
    return np.asarray(settings.low + width * np.arange(settings.bins + 1), np.float64)


def bin_centres(settings: Distribution) -> NDArray[np.float64]:
    """Centres of the bins [b], or the grid points [b + 1]."""
    edges = bin_edges(settings)
    return (edges[:-1] + edges[1:]) / 2


def occupied(*counts: NDArray[np.float64], margin: int = 1) -> slice:
    """The range of bins in which any of the counts is not 0, with a margin on both sides."""
    index = np.flatnonzero(np.sum([np.abs(count) for count in counts], axis=0) > 0)
    total = len(counts[0])
    return (
        slice(max(0, int(index[0]) - margin), min(total, int(index[-1]) + 1 + margin))
        if len(index)
        else slice(0, total)
    )


def points_csv(figure: str, status: str, points: Sequence[Point]) -> str:
    """Every plotted number, one per line, with every digit; what is not there is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [part.name for part in fields(Point)]
    writer.writerow(["figure", "status", *names])
    for point in points:
        writer.writerow([figure, status, *(_plain(getattr(point, name)) for name in names)])
    return text.getvalue()


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float | np.floating | int | np.integer) else str(value)
