"""No published data, but series whose features and labels are drawn from a known rule (`inputs/miniature/planted.py`).

Layout: `labels.safetensors` with `<item>/<target>` [T] and `<item>/<target>.judged` [T] (which labels count) at one
step per second; `features.h5`, a group of each series. A study with `generated.items.planted` makes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from utopia.config.base import Strict
from utopia.datasets import _common
from utopia.datasets._common import Item, LabelledItem, Limits, Located
from utopia.datasets._drawn import Drawn
from utopia.errors import InputError

PROTOCOL = "affect"
TARGETS = ("one_cue", "two_cues", "long_delay")
_DRAWN = Drawn(
    "planted",
    "labels.safetensors",
    "set `generated.items.planted` in a study's overlay: the series are generated, nobody publishes them",
)


class Config(Strict):
    """Planted series: labels that depend on a cue far back."""


locate, items, folds = _DRAWN.locate, _DRAWN.items, _DRAWN.folds


def describe(located: Located, item: Item, options: Config) -> dict[str, Any]:
    """Steps and steps per second.

    Raises:
        InputError: the file cannot be read, or has no labels of this series.
    """
    label_T, _ = _series(item, TARGETS[0])
    return {"frames": len(label_T), "fps": 1.0}


def read_labels(located: Located, item: Item, options: Config, limits: Limits) -> LabelledItem:
    """The labels of a series at one step per second, and which of them count.

    Raises:
        InputError: the file is damaged, or a label is not a number within the limits.
    """
    read = {target: _series(item, target) for target in TARGETS}
    for target, (label_T, _) in read.items():
        where = f"{item.files['annotations']}:{item.id}/{target}"
        _common.refuse_bad_values(label_T, limits, target, lambda row, where=where: f"{where}[{row}]")  # type: ignore[misc]
    labels = {target: label_T for target, (label_T, _) in read.items()}
    counted = {target: counted_T for target, (_, counted_T) in read.items()}
    return LabelledItem(item.id, np.arange(len(labels[TARGETS[0]]), dtype=np.float64), labels, counted=counted)


def _series(item: Item, target: str) -> tuple[np.ndarray, np.ndarray]:
    file = _DRAWN.read(item)
    name = f"{item.id}/{target}"
    if name not in file or f"{name}.judged" not in file:
        raise InputError(f"it has no labels {name}", where=file.path, remedy=_DRAWN.remedy)
    return file[name].astype(np.float64), file[f"{name}.judged"] > 0
