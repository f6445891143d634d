"""Intervals against tables of Student's t and their own coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from utopia.errors import ComputeError
from utopia.evaluation.interval import (
    SMALLEST_P,
    holm,
    sum_half_width,
    t_half_width,
    t_quantile,
    two_sided_p,
)


def test_quantiles_of_the_printed_table() -> None:
    assert t_quantile(2) == pytest.approx(4.3027, abs=1e-4)
    assert t_quantile(9) == pytest.approx(2.2622, abs=1e-4)


def test_half_width_by_hand() -> None:
    assert t_half_width(0.3, 3) == pytest.approx(4.30265 * 0.3 / math.sqrt(3), rel=1e-5)
    assert t_half_width(0.3, 3, other=3) == pytest.approx(4.30265 * 0.3 * math.sqrt(2 / 3), rel=1e-5)
    with pytest.raises(ComputeError, match="two repeats"):
        t_half_width(0.0, 1)


def test_a_sum_of_parts_by_hand() -> None:
    """9 degrees of freedom with variance .04 and 2 with .01: sqrt(2.2622^2 * .04 + 4.3027^2 * .01)."""
    assert sum_half_width([(0.04, 9), (0.01, 2)]) == pytest.approx(math.sqrt(5.11750 * 0.04 + 18.5128 * 0.01), rel=1e-4)
    assert sum_half_width([(0.04, 9), (0.0, 0)]) == pytest.approx(2.26216 * 0.2, rel=1e-5), "no part, no quantile"
    assert sum_half_width([(0.09 / 3, 2)]) == pytest.approx(t_half_width(0.3, 3)), "one part is the t interval"


def test_howe_covers_at_least_as_often_as_it_says() -> None:
    """Two means whose sum is asked for, of 12 and of 3 normal numbers, at five ratios of their variances."""
    rng = np.random.default_rng(11)
    for ratio in (0.05, 0.3, 1, 3, 20):
        a, b = rng.normal(size=(1500, 12)), ratio * rng.normal(size=(1500, 3))
        inside = [
            abs(x.mean() + y.mean()) <= sum_half_width([(x.var(ddof=1) / 12, 11), (y.var(ddof=1) / 3, 2)])
            for x, y in zip(a, b, strict=True)
        ]
        assert 0.94 <= np.mean(inside) <= 0.985, ratio


@pytest.mark.parametrize("parts", [[(0.04, 9.0)], [(0.04, 9.0), (0.01, 2.0)], [(0.0, 9.0), (0.2, 2.0)]])
def test_the_p_value_is_the_level_at_which_the_interval_ends(parts: list[tuple[float, float]]) -> None:
    for level in (0.5, 0.9, 0.95, 0.999):
        assert two_sided_p(sum_half_width(parts, level), parts) == pytest.approx(1 - level, rel=1e-6)
        assert two_sided_p(-sum_half_width(parts, level), parts) == pytest.approx(1 - level, rel=1e-6)
    assert two_sided_p(0.0, parts) == 1.0


def test_the_p_value_of_one_part_is_that_of_scipys_t_test() -> None:
    x = np.random.default_rng(2).normal(0.4, 1, size=14)
    assert two_sided_p(float(x.mean()), [(x.var(ddof=1) / 14, 13)]) == pytest.approx(ttest_1samp(x, 0).pvalue, rel=1e-6)


def test_p_values_at_the_ends() -> None:
    assert two_sided_p(0.1, [(0.0, 4.0)]) == 0.0, "all equal and not 0: chance has no part in it"
    assert two_sided_p(0.0, [(0.0, 4.0)]) == 1.0
    assert two_sided_p(1e9, [(1.0, 30.0)]) == SMALLEST_P


def test_holm_by_hand_and_on_no_test() -> None:
    """.01 * 4, .02 * 3, .03 * 2 (not below the one before), .04 * 1 (likewise)."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([0.3]) == [0.3] and holm([]) == []


def test_holm_rejects_falsely_in_a_family_as_rarely_as_it_says() -> None:
    p = np.random.default_rng(3).random((4000, 20))
    assert np.mean([min(holm(family.tolist())) < 0.05 for family in p]) == pytest.approx(0.05, abs=0.012)
