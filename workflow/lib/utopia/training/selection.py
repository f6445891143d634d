"""Which epoch of a training is reported, and which epochs' parameters may still be asked for.

Epochs count from 0; epoch e stands for the parameters after its update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Rule = Literal["early_stopping", "last", "pgl_rule", "best_test", "best_validation"]

PGL_START = 15
PGL_TOLERANCE = 1.0


@dataclass
class History:
    """Losses by epoch: the mean training loss of the videos, and errors on held-out (or validation) and test videos
    where watched: mean squared errors, of reactions 1 - correlation. None: not looked at after that epoch.
    """

    loss: list[float] = field(default_factory=list)
    validation: list[float | None] = field(default_factory=list)
    test: list[float] = field(default_factory=list)


def best_members(losses: Sequence[float | None], fit_on_all: Sequence[bool], best: int | None) -> list[int]:
    """Which members of an ensemble are averaged: those that learned from the validation videos too, and of the others
    those with the lowest validation loss, the earlier of equals (EEV 2021 sec. 4.5: "8 top models on the validation
    set", one of them trained on both sets).

    Args:
        losses: of each member, the validation loss at its selected epoch; of reactions 1 - correlation.
        fit_on_all: whether each was trained on the validation videos too; its loss is not looked at.
        best: how many are averaged; None: all.

    Returns:
        Their numbers, ascending.
    """
    if best is None:
        return list(range(len(fit_on_all)))
    loss_of = {number: np.inf if loss is None else loss for number, loss in enumerate(losses) if not fit_on_all[number]}
    ranked = sorted(loss_of, key=lambda number: (loss_of[number], number))
    return sorted(
        [*ranked[: best - sum(fit_on_all)], *(number for number in range(len(fit_on_all)) if fit_on_all[number])]
    )


def chosen_epoch(rule: Rule, history: History) -> int:
    """The epoch that the rule reports, after the whole history."""
    match rule:
        case "early_stopping" | "best_validation":
            return _lowest(history.validation)
        case "best_test":
            return int(np.argmin(history.test))
        case "last":
            return len(history.loss) - 1
        case "pgl_rule":
            return pgl_epoch(history.loss)


def possible_epochs(rule: Rule, history: History) -> set[int]:
    """The epochs so far that `chosen_epoch` may return now or after further epochs; the others can be forgotten."""
    if rule != "pgl_rule":
        return {chosen_epoch(rule, history)}
    triggered = _pgl_candidate(history.loss)
    candidates = {triggered[0]} if triggered else {0, len(history.loss) - 1}
    return candidates | {int(np.argmin(history.loss))}


def is_over(rule: Rule, history: History, patience: int) -> bool:
    """Whether training stops here: early stopping, after `patience` epochs without a lower validation loss."""
    return rule == "early_stopping" and len(history.validation) - 1 - _lowest(history.validation) >= patience


def _lowest(values: Sequence[float | None]) -> int:
    """The first epoch of the lowest value; before any is known the last one, so that something is kept."""
    known = [(value, epoch) for epoch, value in enumerate(values) if value is not None]
    return min(known)[1] if known else len(values) - 1


def pgl_epoch(loss: Sequence[float]) -> int:
    """The epoch selection of PGL-SUM's reference code, on the training loss alone, quirks included.

    From epoch 15 on, the first relative change d = 100 (L[e+1] - L[e]) / L[e+1] of at least 1 per cent gives the
    candidate (e + 1 if the loss fell, e if it rose); none: epoch 0, with change 0. The epoch of the lowest loss takes
    its place if its own change from the epoch before (of epoch 0: from the last) is smaller in absolute value.
    """
    candidate, change = _pgl_candidate(loss) or (0, 0.0)
    lowest = int(np.argmin(loss))
    return lowest if abs(_change(loss[lowest - 1], loss[lowest])) < abs(change) else candidate


def _pgl_candidate(loss: Sequence[float]) -> tuple[int, float] | None:
    for epoch in range(PGL_START, len(loss) - 1):
        change = _change(loss[epoch], loss[epoch + 1])
        if change <= -PGL_TOLERANCE:
            return epoch + 1, change
        if change >= PGL_TOLERANCE:
            return epoch, change
    return None


def _change(before: float, after: float) -> float:
    """Relative change in per cent of the later value."""
    if after == 0:
        return 0.0 if before == 0 else -float("inf")
    return 100 * (after - before) / after
