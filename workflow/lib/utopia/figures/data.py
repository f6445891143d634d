"""What a figure is drawn from, the numbers it plots, and the choice of the video that it shows."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utopia.arrays import Arrays
from utopia.config.study import Distribution
from utopia.distribution.histogram import bin_edges, bin_index
from utopia.distribution.item import ItemDistribution, read_item
from utopia.errors import ComputeError, ConfigError
from utopia.features.read import FeatureReader
from utopia.labels.read import Labels

_MARK = "drawn from numbers with sha256 "


@dataclass(frozen=True)
class Point:
    """One plotted number, or one that is in the text of a panel."""

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
    show these. names: the titles of items, by id, as the manifest has them.
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
    names: Mapping[str, str] = field(default_factory=dict)

    def title_of(self, item: str, longest: int = 40) -> str:
        """An item's title (its id, where it has none) in words, cut after so many characters."""
        name = self.names.get(item, item)
        title = " ".join((name if name == item or " " in name else name.replace("_", " ")).split())
        return title if len(title) <= longest else f"{title[: longest - 1].rstrip()}…"

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

    def series(self, item: str) -> ItemDistribution:
        """An item's distribution and plan; with pooled counts, those of the first fold that trains on it."""
        fold = next(fold["name"] for fold in self.labels.folds if item in fold["train"])
        return read_item(self.counted, item, self.target, fold)


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


@dataclass(frozen=True)
class LabelExample:
    """A label of a training video, and one of the time slices that have it."""

    video: str
    label: int
    """The label's bin."""
    slice: int
    """The slice's number in the video's series."""


EXAMPLE_RULE = (
    "of the time slices of two frames or more at labels that TNS adds samples to (if no training video has any: at "
    "labels that need samples; else at any label; else slices of one frame), in the median video of those that have "
    "such slices: those of the label nearest to the one asked for, else of the label that needs most samples; of "
    "these the one of (lower) median length, and of several the (lower) median one in time"
)


def choose_example(inputs: Inputs, among: Sequence[str] | None = None) -> LabelExample:
    """The video, label and slice that stand for all, by `EXAMPLE_RULE` and not by hand.

    The figure's option `label` asks for a label (ULDA shows -0.06 in Figs. 2 and 3).

    Args:
        inputs: the figure's inputs.
        among: only these videos; None for all.

    Raises:
        ComputeError: the first fold trains on none of them.
        ConfigError: the label asked for lies outside the label range.
    """
    train = inputs.labels.folds[0]["train"] if inputs.labels.folds else []
    series = {item: inputs.series(item) for item in train if among is None or item in among}
    for fit in _FITS:
        fitting = {item: fit(distribution) for item, distribution in series.items()}
        videos = [item for item, slices in fitting.items() if slices.any()]
        if videos:
            video = median_video(inputs, videos)
            return _example(video, series[video], fitting[video], inputs)
    raise ComputeError("no training video to show", where=inputs.labels.path)


def _length(series: ItemDistribution) -> NDArray[np.int64]:
    return np.asarray(series.slice[:, 1] - series.slice[:, 0], np.int64)


_FITS: tuple[Callable[[ItemDistribution], NDArray[np.bool_]], ...] = (
    lambda series: (_length(series) > 1) & (series.samples_needed[series.slice_bin] > 0),
    lambda series: (_length(series) > 1) & (series.utopia_count > series.count)[series.slice_bin],
    lambda series: _length(series) > 1,
    lambda series: _length(series) > 0,
)
"""Which slices [S] fit, best first."""


def _example(video: str, series: ItemDistribution, fits: NDArray[np.bool_], inputs: Inputs) -> LabelExample:
    labels = np.unique(series.slice_bin[fits])
    asked = inputs.options.get("label")
    if asked is None:
        label = int(labels[np.argmax((series.utopia_count - series.count)[labels])])
    else:
        settings = inputs.settings
        if not settings.low <= float(asked) <= settings.high:
            raise ConfigError(
                f"the label {asked:g} is not in [{settings.low:g}, {settings.high:g}]",
                where=f"workflow/resources/figures/{inputs.spec['id']}.yaml, options",
                why="the figure shows the label nearest to it",
                remedy=f"name a label of {inputs.labels.dataset}, or leave the option out",
            )
        wanted = bin_index(np.array([float(asked)]), settings)[0]
        label = int(labels[np.argmin(np.abs(labels - wanted))])
    candidates = np.flatnonzero(fits & (series.slice_bin == label))
    length = _length(series)[candidates]
    alike = candidates[length == np.sort(length)[(len(length) - 1) // 2]]
    return LabelExample(video, label, int(alike[(len(alike) - 1) // 2]))


def label_name(settings: Distribution, index: int) -> str:
    """How a label is written: the value of a grid point, or the range of a bin."""
    edges = bin_edges(settings)
    values = [edges[index : index + 2].mean()] if settings.binning == "grid" else edges[index : index + 2]
    plain = [f"{round(float(value), 6) + 0.0:.6f}".rstrip("0") for value in values]
    decimals = max(len(text.partition(".")[2]) for text in plain)
    return " to ".join(f"{float(text):.{decimals}f}".replace("-", "−") for text in plain)


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
        writer.writerow([figure, status, *(_csv_text(getattr(point, name)) for name in names)])
    return text.getvalue()


def mark(numbers: str) -> str:
    """What a picture's metadata say of the numbers that it shows: the SHA-256 of the csv file with them."""
    return f"{_MARK}{hashlib.sha256(numbers.encode()).hexdigest()}"


def marked(picture: bytes) -> str | None:
    """The SHA-256 of the numbers that a picture (PDF or PNG) was drawn from, as it says; None where it says none."""
    stated = set(re.findall(_MARK.encode() + rb"([0-9a-f]{64})", picture))
    return stated.pop().decode() if len(stated) == 1 else None


def _csv_text(value: Any) -> str:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float | np.floating | int | np.integer) else str(value)
