"""Planted reactions, features and labels drawn from known rules (`inputs/miniature/planted_reactions.py`).

Layout: `labels.safetensors` with `<item>/reactions` [T, 2] six times per second; `features.h5`, a group of each series.
A study with `generated.items.planted_reactions` makes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from utopia.config.base import Strict
from utopia.datasets import _common
from utopia.datasets._common import Item, LabelledItem, Limits, Located
from utopia.datasets._drawn import Drawn
from utopia.errors import InputError

PROTOCOL = "reactions"
TARGETS = ("reactions",)
COLUMNS = {"reactions": ("late", "quick")}
RATE = 6
LABELS_PER_SECOND = 6.0
_DRAWN = Drawn(
    "planted_reactions",
    "labels.safetensors",
    "set `generated.items.planted_reactions` in a study's overlay: the series are generated, nobody publishes them",
)


class Config(Strict):
    """Planted reactions: one that comes late, one that is quick."""


locate, items, folds = _DRAWN.locate, _DRAWN.items, _DRAWN.folds


def describe(located: Located, item: Item, options: Config) -> dict[str, Any]:
    """Steps and steps per second.

    Raises:
        InputError: the file cannot be read, or has no labels of this series.
    """
    return {"frames": len(_series(item)), "fps": float(RATE)}


def read_labels(located: Located, item: Item, options: Config, limits: Limits) -> LabelledItem:
    """Both reactions, six times per second.

    Raises:
        InputError: the file is damaged, or a label is not a number within the limits.
    """
    y_TC = _series(item)
    for column, name in enumerate(COLUMNS["reactions"]):
        where = f"{item.files['annotations']}:{item.id}/{name}"
        _common.refuse_bad_values(y_TC[:, column], limits, name, lambda row, where=where: f"{where}[{row}]")  # type: ignore[misc]
    return LabelledItem(item.id, np.arange(len(y_TC)) / RATE, {"reactions": y_TC})


def _series(item: Item) -> np.ndarray:
    file = _DRAWN.read(item)
    name = f"{item.id}/reactions"
    if name not in file or file[name].ndim != 2 or file[name].shape[1] != len(COLUMNS["reactions"]):
        raise InputError(
            f"it has no labels {name} of {len(COLUMNS['reactions'])} reactions", where=file.path, remedy=_DRAWN.remedy
        )
    return file[name].astype(np.float32)
