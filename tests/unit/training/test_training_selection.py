"""Epoch selection: the reference code's rule against a second writing of it, and what must be kept for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia.training.selection import History, chosen_epoch, is_over, pgl_epoch, possible_epochs

losses = st.lists(st.floats(0.01, 2), min_size=1, max_size=60)
smooth = st.integers(0, 1000).map(
    lambda seed: (0.3 * np.exp(-np.arange(60) / 20) * (1 + 0.02 * np.random.default_rng(seed).normal(size=60))).tolist()
)


def second_writing(loss: list[float]) -> int:
    """From the description of the rule, with the changes of all epochs in an array first."""
    values = np.array(loss)
    d = 100 * (values[1:] - values[:-1]) / values[1:]  # d[e]: from epoch e to e + 1
    candidate, size = 0, 0.0
    late = [e for e in range(15, len(loss) - 1) if abs(d[e]) >= 1]
    if late:
        candidate, size = late[0] + (d[late[0]] < 0), abs(d[late[0]])
    m = int(values.argmin())
    dm = 100 * (values[m] - values[m - 1]) / values[m]
    return m if abs(dm) < size else int(candidate)


@given(st.one_of(losses, smooth))
def test_pgl_rule(loss: list[float]) -> None:
    assert pgl_epoch(loss) == second_writing(loss)


def test_pgl_rule_by_hand() -> None:
    flat = [1.0] * 30
    assert pgl_epoch(flat) == 0  # nothing triggers: the untrained-looking epoch 0, a quirk of the reference
    # a rise of 33 % makes epoch 19 the candidate; the lowest epoch, 0, changed by 50 % from the last (the index wraps)
    assert pgl_epoch([1.0] * 20 + [1.5] * 10) == 19
    assert pgl_epoch([1.4] * 1 + [1.0] * 19 + [2.0] * 10) == 1  # a rise of 50 %; the lowest, 1, changed by 40 %
    assert pgl_epoch([1.0] * 20 + [0.5] * 10) == 20
    assert pgl_epoch([1.0] * 16 + [0.9, 0.899]) == 17  # candidate 16 (11 %), the lowest changed by .1 %
    assert pgl_epoch([1.0]) == 0
    assert pgl_epoch([0.0] * 20) == 0


@given(st.one_of(losses, smooth), st.sampled_from(["early_stopping", "last", "pgl_rule", "best_test"]))
def test_the_chosen_epoch_is_never_forgotten(loss: list[float], rule: str) -> None:
    whole = History(loss, loss[::-1], loss[1:] + loss[:1])
    chosen = chosen_epoch(rule, whole)  # type: ignore[arg-type]
    for end in range(chosen + 1, len(loss) + 1):
        so_far = History(whole.loss[:end], whole.validation[:end], whole.test[:end])
        possible = possible_epochs(rule, so_far)  # type: ignore[arg-type]
        assert chosen in possible
        assert len(possible) <= 3


def test_early_stopping() -> None:
    history = History([1.0] * 6, [3.0, 1.0, 2.0, 1.0, 2.0, 2.0])
    assert chosen_epoch("early_stopping", history) == 1
    assert is_over("early_stopping", history, 4)
    assert not is_over("early_stopping", history, 5)
    assert not is_over("last", history, 1)


@pytest.mark.parametrize(("rule", "epoch"), [("last", 2), ("best_test", 1), ("early_stopping", 0)])
def test_each_rule_looks_at_its_own_curve(rule: str, epoch: int) -> None:
    assert chosen_epoch(rule, History([1.0, 2, 3], [1.0, 2, 3], [2.0, 1, 3])) == epoch  # type: ignore[arg-type]
