"""Bins and counts, against exact decimal arithmetic."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia.config.study import Distribution
from utopia.distribution.histogram import bin_index, bin_total, count_bins
from utopia.errors import ComputeError

TENTHS = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)
LIRIS = Distribution(bins=100, low=-1.0, high=1.0, delta=0.06, sigma=0.02)


@given(st.lists(st.decimals("-1", "1", places=4), min_size=1, max_size=50), st.sampled_from([np.float32, np.float64]))
def test_bins_are_those_of_decimal_arithmetic(labels: list[Decimal], kind: type) -> None:
    expected = [min(99, int((label + 1) / Decimal("0.02"))) for label in labels]
    assert bin_index(np.array(labels, dtype=kind), LIRIS).tolist() == expected


@given(st.integers(1, 30), st.data())
def test_means_of_integers_lie_in_their_bins(annotators: int, data: st.DataObject) -> None:
    votes = data.draw(st.lists(st.integers(0, annotators), min_size=1, max_size=20))
    expected = [min(9, 10 * vote // annotators) for vote in votes]
    assert bin_index(np.array(votes) / annotators, TENTHS).tolist() == expected


def test_ends_of_the_range() -> None:
    assert bin_index(np.array([0.0, 1.0]), TENTHS).tolist() == [0, 9]
    grid = TENTHS.model_copy(update={"binning": "grid"})
    assert bin_total(grid) == 11
    assert bin_index(np.array([0.0, 0.04, 0.05, 0.94, 0.96, 1.0]), grid).tolist() == [0, 0, 1, 9, 10, 10]


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.01, 1.01])
def test_a_label_outside_the_range_is_an_error_that_names_the_frame(value: float) -> None:
    with pytest.raises(ComputeError, match=r"video_3.*frame 1 \(1 such\).*\[0, 1\]"):
        bin_index(np.array([0.5, value]), TENTHS, where="video_3")


def test_a_series_without_frames_is_an_error() -> None:
    with pytest.raises(ComputeError, match="shape"):
        bin_index(np.array([]), TENTHS)


def test_counts() -> None:
    assert count_bins(np.array([3, 1, 3]), 5).tolist() == [0, 1, 0, 2, 0]
