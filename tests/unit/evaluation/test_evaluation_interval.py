"""Intervals against tables of Student's t and their own coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from utopia.errors import ComputeError
from utopia.evaluation.interval import bootstrap_interval, t_half_width, t_interval, t_quantile


def test_quantiles_of_the_printed_table() -> None:
    assert t_quantile(2) == pytest.approx(4.3027, abs=1e-4)
    assert t_quantile(9) == pytest.approx(2.2622, abs=1e-4)


def test_half_width_by_hand() -> None:
    assert t_half_width(0.3, 3) == pytest.approx(4.30265 * 0.3 / math.sqrt(3), rel=1e-5)
    assert t_half_width(0.3, 3, other=3) == pytest.approx(4.30265 * 0.3 * math.sqrt(2 / 3), rel=1e-5)
    with pytest.raises(ComputeError, match="two repeats"):
        t_half_width(0.0, 1)


def test_t_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    inside = [low <= 0 <= high for low, high in (t_interval(rng.normal(size=3)) for _ in range(2000))]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)
    with pytest.raises(ComputeError):
        t_interval([1.0])


def mean_of(x: np.ndarray, seed: int, draws: int = 10_000) -> tuple[float, float]:
    return bootstrap_interval([len(x)], lambda counts: counts[0] @ x / len(x), seed=seed, draws=draws)


def test_bootstrap_is_seeded_and_covers() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=40)
    assert mean_of(x, 1) == mean_of(x, 1)
    assert mean_of(x, 1) != mean_of(x, 2)
    low, high = mean_of(x, 1)
    assert high - low == pytest.approx(2 * 1.96 * x.std() / math.sqrt(40), rel=0.1)
    inside = [low <= 0 <= high for low, high in (mean_of(rng.normal(size=40), seed=i, draws=500) for i in range(300))]
    assert np.mean(inside) == pytest.approx(0.94, abs=0.04)
    for sizes in ([], [3, 0]):
        with pytest.raises(ComputeError):
            bootstrap_interval(sizes, lambda counts: counts[0].sum(axis=1), seed=1)


def test_every_draw_has_as_many_items_as_its_group() -> None:
    def check(counts: list[np.ndarray]) -> np.ndarray:
        assert [count.shape for count in counts] == [(50, 4), (50, 2)]
        assert all((count.sum(axis=1) == count.shape[1]).all() for count in counts)
        return counts[0][:, 0]

    bootstrap_interval([4, 2], check, seed=3, draws=50)


def test_two_items_by_hand() -> None:
    """0 and 1 drawn twice: means 0, 1/2, 1 with 1/4, 1/2, 1/4, so both tails of 2.5 % lie at the ends."""
    assert mean_of(np.array([0.0, 1.0]), 4) == (0.0, 1.0)
