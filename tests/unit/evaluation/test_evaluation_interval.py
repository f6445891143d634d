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


def test_bootstrap_is_seeded_and_covers() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=40)
    assert bootstrap_interval(x, seed=1) == bootstrap_interval(x, seed=1)
    assert bootstrap_interval(x, seed=1) != bootstrap_interval(x, seed=2)
    low, high = bootstrap_interval(x, seed=1)
    assert high - low == pytest.approx(2 * 1.96 * x.std() / math.sqrt(40), rel=0.1)
    inside = [
        low <= 0 <= high
        for low, high in (bootstrap_interval(rng.normal(size=40), seed=i, draws=500) for i in range(300))
    ]
    assert np.mean(inside) == pytest.approx(0.94, abs=0.04)
    with pytest.raises(ComputeError):
        bootstrap_interval([], seed=1)
