"""What a run is trained on: features of the items that have them, labels, and the folds restricted to these items."""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from utopia.errors import ConfigError, InputError
from utopia.features.read import FeatureReader
from utopia.labels.read import Labels
from utopia.training.scratch import Scratch
from utopia.training.settings import RunSettings


@dataclass(frozen=True)
class Fold:
    """A split into training and test items that both have features and labels."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]


@dataclass
class Data:
    """All that the replicas of a run share."""

    labels: Labels
    folder: Path | None = None
    """Where what memory need not hold is kept while it is trained; see `Scratch`."""
    features: dict[str, Tensor] = field(default_factory=dict)
    """x_TD of every item, float32, on its label grid; before standardisation, which depends on the fold."""
    standardised_D: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Which feature dimensions are to be standardised."""
    folds: list[Fold] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """Items that are not used, with the reason."""
    dropped_folds: dict[str, str] = field(default_factory=dict)
    """Folds that are not trained, with the reason."""
    other_shots: dict[str, int] = field(default_factory=dict)
    """By feature: of how many items the shots in its file are not those that the F-score goes by, where some are."""
    outside: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of items with a modality that is shorter than the labels: by feature, the label frames outside its rows."""

    @property
    def step_s(self) -> float:
        """Seconds from one label to the next: the median over items; 1 where no item has two labels."""
        steps = [
            np.median(np.diff(self.labels.times(item))) for item in self.features if len(self.labels.times(item)) > 1
        ]
        return float(np.median(steps)) if steps else 1.0


def load_data(
    run: RunSettings, labels: Path, features: Sequence[Path], *, fewest: int, folder: Path | None = None
) -> Data:
    """Read features and labels of a run. Where no fold has enough items, no fold is left, and nothing is trained.

    Args:
        run: the run.
        labels: a labels file.
        features: feature indexes.
        fewest: training items that a fold needs (two where one is held out for early stopping).
        folder: see `Data.folder`.

    Raises:
        ConfigError: a target is not in the labels file.
        InputError: features are not finite.
    """
    file, reader = Labels(labels), FeatureReader(list(features))
    for target in run.targets:
        if target not in file.targets:
            raise ConfigError(
                f"there is no target {target!r} (known: {', '.join(file.targets)})", where=f"run {run.id}"
            )
    data, scratch = Data(file, folder, left_out=dict(file.absent)), Scratch(folder)
    items: list[str] = []
    for item in file.items:
        reason = reader.available(item, run.features)
        if reason is not None:
            data.left_out[item] = reason
            continue
        parts = [_read(reader, item, name, run.normalise.get(name, "none"), file.times(item)) for name in run.features]
        x_TD = np.concatenate(parts, axis=1)
        items.append(item)
        scratch.add(x_TD)
        count_outside(data, reader, item, run.features, file.times(item))
        if file.has_shots(item):
            points = file.shots(item).change_points
            for name in run.features:
                if reader.other_shots(item, name, points):
                    data.other_shots[name] = data.other_shots.get(name, 0) + 1
        if not len(data.standardised_D):
            flags = [
                np.full(part.shape[1], run.normalise.get(name) == "standardise")
                for name, part in zip(run.features, parts, strict=True)
            ]
            data.standardised_D = np.concatenate(flags)
        if x_TD.shape[1] != len(data.standardised_D):
            raise InputError(
                f"features of {item} are {x_TD.shape[1]} wide, those of other items {len(data.standardised_D)}",
                where=f"features {', '.join(run.features)} of {run.dataset}",
                remedy="these are not the same features: make all with one extractor, or take them from one file",
            )
    data.features = {item: torch.from_numpy(x_TD) for item, x_TD in zip(items, scratch.arrays(), strict=True)}
    split(data, fewest)
    return data


def split(data: Data, fewest: int) -> None:
    """Restrict the folds of the labels file to items with features; what has too few of them becomes a dropped fold.

    Args:
        data: its `folds` and `dropped_folds` are filled.
        fewest: training items that a fold needs.
    """
    data.dropped_folds |= {fold["name"]: fold["reason"] for fold in data.labels.meta.get("dropped_folds", [])}
    for fold in data.labels.folds:
        train = tuple(item for item in fold["train"] if item in data.features)
        test = tuple(item for item in fold["test"] if item in data.features)
        if len(train) < fewest or not test:
            data.dropped_folds[fold["name"]] = (
                f"{len(train)} of {len(fold['train'])} training items and {len(test)} of {len(fold['test'])} "
                f"test items have features and labels; it needs {fewest} and 1"
            )
        else:
            data.folds.append(Fold(fold["name"], train, test))


def count_outside(
    data: Data, reader: FeatureReader, item: str, names: Sequence[str], time_T: NDArray[np.float64]
) -> None:
    """Note in `data.outside` how many label frames of an item lie outside the rows of a feature, where some do."""
    counts = {name: count for name in names if (count := reader.outside(item, name, time_T))}
    if counts:
        data.outside[item] = counts


def _read(reader: FeatureReader, item: str, name: str, normalise: str, time_T: np.ndarray) -> NDArray[np.float32]:
    """One feature of one item on its label grid [T, width]."""
    return normalised(reader.aligned(item, [name], time_T), name, normalise, item, time_T)


def normalised(
    x_TD: np.ndarray, name: str, normalise: str, item: str, time_T: NDArray[np.float64]
) -> NDArray[np.float32]:
    """A feature of an item at some times [T, D] as float32, rows scaled to unit norm with `l2`.

    Raises:
        InputError: a value is not finite.
    """
    x_TD = np.array(x_TD, dtype=np.float32)
    wrong_T = ~np.isfinite(x_TD).all(axis=1)
    if wrong_T.any():
        raise InputError(
            f"feature {name} has {int(wrong_T.sum())} rows that are not finite, "
            f"the first at {time_T[np.argmax(wrong_T)]:g} s",
            where=item,
            why="one such row makes every parameter NaN after one step",
            remedy="delete this item's object in features/store and run again; if it comes back, check the video",
        )
    if normalise == "l2":
        norm_T1 = np.linalg.norm(x_TD, axis=1, keepdims=True)
        x_TD /= np.where(norm_T1 > 0, norm_T1, 1)
    return x_TD


def moments(videos: Sequence[Tensor], standardised_D: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each feature dimension over all frames of the videos; 0 and 1 where it is not standardised.

    A dimension that does not vary gets deviation 1.
    """
    if not standardised_D.any():
        return torch.zeros(len(standardised_D)), torch.ones(len(standardised_D))
    frames = sum(len(x_TD) for x_TD in videos)
    # into one tensor: small ones, each made after a large one, would keep the room of the large ones from use
    sum_VD = torch.empty(len(videos), len(standardised_D), dtype=torch.float64)
    for sum_D, x_TD in zip(sum_VD, videos, strict=True):
        torch.sum(x_TD.double(), dim=0, out=sum_D)
    mean_D = sum_VD.sum(dim=0) / frames
    for sum_D, x_TD in zip(sum_VD, videos, strict=True):
        torch.sum((x_TD.double() - mean_D).square(), dim=0, out=sum_D)
    square_D = sum_VD.sum(dim=0) / frames
    deviation_D = torch.where(square_D > 1e-12, square_D.sqrt(), 1.0)
    on_D = torch.from_numpy(standardised_D)
    return torch.where(on_D, mean_D, 0.0).float(), torch.where(on_D, deviation_D, 1.0).float()
