"""Series with planted effects, features and votes drawn from known rules (`inputs/miniature/planted_effects.py`).

Layout: `votes.safetensors` with `<item>/<target>.votes` [annotators, T] at one step per second, for `cue` also
`<item>/cue.judged` [T] (which labels count), and in its metadata `label`, the annotators behind the training label;
`features.h5`, a group of each series. A study with `generated.items.planted_effects` makes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from utopia.config.base import Strict
from utopia.datasets import _common
from utopia.datasets._common import Item, LabelledItem, Limits, Located
from utopia.datasets._drawn import Drawn
from utopia.errors import InputError

PROTOCOL = "affect"
TARGETS = ("signal", "linear", "biased", "unbiased", "cue", "luck")
_DRAWN = Drawn(
    "planted_effects",
    "votes.safetensors",
    "set `generated.items.planted_effects` in a study's overlay: the series are generated, nobody publishes them",
)


class Config(Strict):
    """Series with planted effects: what is learnt from the votes of few, judged by those of others."""

    label_annotators: int = Field(3, ge=1, le=8)
    """Make the training label from this many annotators, the first ones; predictions are judged by the others."""


locate, items, folds = _DRAWN.locate, _DRAWN.items, _DRAWN.folds


def describe(located: Located, item: Item, options: Config) -> dict[str, Any]:
    """Steps and steps per second.

    Raises:
        InputError: the file cannot be read, or has no votes on this series.
    """
    return {"frames": _votes(item, TARGETS[0]).shape[1], "fps": 1.0}


def read_labels(located: Located, item: Item, options: Config, limits: Limits) -> LabelledItem:
    """The mean vote of few annotators at one step per second; judged by that of all others.

    Raises:
        InputError: the file is damaged, or a vote is not a number within the limits.
    """
    votes = {target: _votes(item, target) for target in TARGETS}
    for target, vote_AT in votes.items():
        where = f"{item.files['annotations']}:{item.id}/{target}"
        _common.refuse_bad_values(vote_AT.ravel(), limits, target, lambda place, where=where: f"{where}[{place}]")  # type: ignore[misc]
    few = options.label_annotators
    times = np.arange(votes[TARGETS[0]].shape[1], dtype=np.float64)
    return LabelledItem(
        item.id,
        times,
        {target: vote_AT[:few].mean(axis=0) for target, vote_AT in votes.items()},
        evaluation={target: vote_AT[few:].mean(axis=0) for target, vote_AT in votes.items()},
        votes=votes,
        counted={"cue": _DRAWN.read(item)[f"{item.id}/cue.judged"] > 0},
        annotators=range(few),
    )


def _votes(item: Item, target: str) -> np.ndarray:
    file = _DRAWN.read(item)
    name = f"{item.id}/{target}.votes"
    if name not in file or file[name].ndim != 2 or len(file[name]) < 2:
        raise InputError(f"it has no votes {name} of at least two annotators", where=file.path, remedy=_DRAWN.remedy)
    return file[name].astype(np.float64)
