"""Metrics against hand-computed values, independent formulas and their defining properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from utopia.errors import ComputeError
from utopia.evaluation import metrics

series = st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=30)


def test_hand_computed() -> None:
    p, y = [0.0, 1.0, 2.0, 3.0], [0.0, 2.0, 2.0, 4.0]
    assert metrics.mse(p, y) == pytest.approx(2 / 4)
    assert metrics.rmse(p, y) == pytest.approx(math.sqrt(0.5))
    # Deviations (-1.5, -.5, .5, 1.5) and (-2, 0, 0, 2): products 6, squares 5 and 8.
    assert metrics.pcc(p, y) == pytest.approx(6 / math.sqrt(40))
    # Pairs: five concordant, one tied in y; tau-b = 5 / sqrt(6 * 5). Ranks (1,2,3,4) and (1,2.5,2.5,4).
    assert metrics.kendall(p, y) == pytest.approx(5 / math.sqrt(30))
    assert metrics.spearman(p, y) == pytest.approx(4.5 / math.sqrt(5 * 4.5))


@pytest.mark.parametrize("name", ["pcc", "kendall", "spearman"])
def test_a_constant_series_correlates_with_nothing(name: str) -> None:
    metric = getattr(metrics, name)
    flat = np.full(7, np.float32(0.1))
    assert metric(flat, np.arange(7)) == 0.0
    assert metric(np.arange(7), flat) == 0.0


def test_constant_up_to_rounding_is_constant() -> None:
    values = np.full(50, 0.3)
    values[::2] = np.nextafter(0.3, 1)
    assert metrics.pcc(values, np.arange(50)) == 0.0
    assert not metrics.is_constant([0.3, 0.3 + 1e-6])


def test_computed_in_float64() -> None:
    """Ten thousand float32 errors of 1e-4 around a large offset: float32 sums would lose them."""
    y = np.full(10_000, 1000.0)
    assert metrics.mse(y + 1e-4, y) == pytest.approx(1e-8, rel=1e-6)
    assert isinstance(metrics.mse(np.zeros(3, np.float32), np.ones(3, np.float32)), float)


@given(series, st.floats(0.125, 8), st.floats(-4, 4))
def test_pcc_does_not_see_scale_and_shift(values: list[float], scale: float, shift: float) -> None:
    x = np.array(values)
    y = np.sin(np.arange(len(x)))
    assume(np.ptp(x) > 1e-3)
    assert metrics.pcc(x * scale + shift, y) == pytest.approx(metrics.pcc(x, y), abs=1e-9)
    assert metrics.pcc(-x, y) == pytest.approx(-metrics.pcc(x, y), abs=1e-12)
    assert metrics.pcc(x, y) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=40))
def test_spearman_is_scipys_with_ties(pairs: list[tuple[int, int]]) -> None:
    p, y = np.array(pairs, float).T
    assume(np.ptp(p) > 0 and np.ptp(y) > 0)
    assert metrics.spearman(p, y) == pytest.approx(spearmanr(p, y).statistic, abs=1e-12)


@pytest.mark.parametrize(
    ("p", "y", "says"), [([1.0], [1.0, 2.0], "length"), ([], [], "empty"), ([1.0, math.nan], [1.0, 2.0], "finite")]
)
def test_refuses_what_is_not_defined(p: list[float], y: list[float], says: str) -> None:
    with pytest.raises(ComputeError, match=says):
        metrics.mse(p, y)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 14), st.integers(1, 4), st.integers(2, 40), st.integers(0, 10_000))
def test_rank_correlations_with_each_user_are_scipys(steps: int, users: int, levels: int, seed: int) -> None:
    """With ties in both, few levels and many, and users who gave one value to all."""
    random = np.random.default_rng(seed)
    prediction, votes = random.integers(0, 6, steps).astype(float), random.integers(0, levels, (users, steps))
    tau, rho = metrics.kendall_each(prediction, votes), metrics.spearman_each(prediction, votes)
    for user in range(users):
        flat = np.ptp(votes[user]) == 0 or np.ptp(prediction) == 0
        assert tau[user] == pytest.approx(0 if flat else kendalltau(prediction, votes[user]).statistic, abs=1e-12)
        assert rho[user] == pytest.approx(0 if flat else spearmanr(prediction, votes[user]).statistic, abs=1e-12)


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 90), st.sampled_from([2, 5, 40, 10**6]), st.sampled_from([2, 40, 10**6]), st.integers(0, 10_000))
def test_ranks_of_all_users_at_once_are_those_of_one_after_the_other_to_the_last_bit(
    steps: int, levels: int, of_label: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    p, y = random.integers(0, levels, steps) / 7, random.integers(0, of_label, steps) / 3
    assert metrics.spearman_each(p, np.stack([y, -y, p])).tolist() == [metrics.spearman(p, of) for of in (y, -y, p)]


def test_the_distance_of_distributions_by_hand() -> None:
    """Predictions 0, 0, 1, 1 against ratings 0, 1, 1, 1 (in any order and shape): a quarter of the mass moves by 1."""
    assert metrics.wasserstein([0, 1, 0, 1], [[1, 1], [1, 0]]) == pytest.approx(0.25)
    assert metrics.wasserstein([0, 1, 0, 1], [[1, 1, np.nan], [1, 0, np.nan]]) == pytest.approx(0.25), "not given"
    assert metrics.wasserstein([0.5], [[0, 1]]) == pytest.approx(0.5), "a constant prediction is not spared"
    assert metrics.wasserstein([1, 0, 0.5], [[0.5, 1, 0]]) == 0, "when a label comes does not count"
    for prediction, ratings in (([], [[1.0]]), ([np.nan], [[1.0]]), ([0.5], [[np.nan]])):
        with pytest.raises(ComputeError, match="finite values"):
            metrics.wasserstein(prediction, ratings)


def test_the_distance_among_raters_by_hand() -> None:
    """0, 0 against 0, 0, 1, 1: .5; so is the second; 1, 1 against four zeros: 1."""
    assert metrics.wasserstein_among([[0, 0], [0, 0], [1, 1]]) == pytest.approx((0.5 + 0.5 + 1) / 3)
