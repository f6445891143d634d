"""No published data, but series with votes whose utopia labels are known (`inputs/miniature/planted_votes.py`).

Layout: `labels.safetensors` with, at one step per second, `<item>/<target>.utopia` [T] (the utopia labels), `.law`
[2, T] (mean and deviation that each was drawn from) and `.votes` [annotators, T]; `features.h5`, a group per series.
Every study that shows this data set generates it, also one of real data.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from utopia.config.base import Strict
from utopia.datasets import _common, _summary
from utopia.datasets._common import Item, LabelledItem, Limits, Located
from utopia.datasets._drawn import Drawn
from utopia.errors import InputError

PROTOCOL = "affect"
TARGETS = ("theory_holds", "theory_fails")
UTOPIA_IS_KNOWN = True
"""Whether the labels of infinitely many annotators are there, whoever made the training label."""
_DRAWN = Drawn(
    "planted_votes",
    "labels.safetensors",
    "delete the folder and run the same command again: the series are generated, nobody publishes them",
)


class Config(Strict):
    """Planted votes: series whose utopia labels are known, as ULDA's theory has them and as it does not."""

    series: int = Field(75, ge=6, le=999)
    """How many series are drawn; every third tests."""
    seconds: int = Field(120, ge=10, le=86_400)
    """Length of each, in seconds."""
    annotators: int = Field(20, ge=1, le=1000)
    """How many annotators vote on each."""
    label_annotators: int | None = Field(None, ge=1, le=1000)
    """Make the training label from this many annotators, drawn by `label_seed`. Null: all. The utopia label judges."""
    label_seed: int = Field(2307, ge=0, le=2**63 - 1)
    """Seed of that draw."""


locate, items, folds = _DRAWN.locate, _DRAWN.items, _DRAWN.folds


def describe(located: Located, item: Item, options: Config) -> dict[str, Any]:
    """Steps, steps per second and number of annotators.

    Raises:
        InputError: the file cannot be read, or has no labels of this series.
    """
    votes_AT = _series(item, TARGETS[0]).votes
    return {"frames": votes_AT.shape[1], "fps": 1.0, "annotators": len(votes_AT)}


def read_labels(located: Located, item: Item, options: Config, limits: Limits) -> LabelledItem:
    """The mean votes of a series at one step per second; its utopia labels judge.

    Raises:
        InputError: the file is damaged, or a label is not a number within the limits.
    """
    read = {target: _series(item, target) for target in TARGETS}
    count = len(read[TARGETS[0]].votes)
    users = _summary.choose_annotators(count, options.label_annotators, options.label_seed, "planted_votes", item.id)
    labels = {target: series.votes[users].mean(axis=0) for target, series in read.items()}
    for target, series in read.items():
        where = f"{item.files['annotations']}:{item.id}/{target}"
        for values in (labels[target], series.utopia):
            _common.refuse_bad_values(values, limits, target, lambda row, where=where: f"{where}[{row}]")  # type: ignore[misc]
    return LabelledItem(
        id=item.id,
        times=np.arange(len(labels[TARGETS[0]]), dtype=np.float64),
        labels=labels,
        evaluation={target: series.utopia for target, series in read.items()},
        utopia={target: series.law for target, series in read.items()},
        votes={target: series.votes for target, series in read.items()},
        annotators=users,
    )


class _Series(NamedTuple):
    """Utopia labels [T], their law [2, T] and votes [annotators, T]."""

    utopia: np.ndarray
    law: np.ndarray
    votes: np.ndarray


def _series(item: Item, target: str) -> _Series:
    file = _DRAWN.read(item)
    name = f"{item.id}/{target}"
    missing = [part for part in _Series._fields if f"{name}.{part}" not in file]
    if missing:
        raise InputError(f"it has no {name}.{missing[0]}", where=file.path, remedy=_DRAWN.remedy)
    series = _Series(*(file[f"{name}.{part}"].astype(np.float64) for part in _Series._fields))
    steps = series.utopia.shape
    if series.law.shape != (2, *steps) or series.votes.shape[1:] != steps or not len(series.votes) or len(steps) != 1:
        shapes = ", ".join(f"{part} {list(values.shape)}" for part, values in series._asdict().items())
        raise InputError(
            f"{name}: {shapes}, but they must be [T], [2, T] and [annotators, T]", where=file.path, remedy=_DRAWN.remedy
        )
    return series
