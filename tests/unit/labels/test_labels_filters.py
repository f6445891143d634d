"""Low-pass filters and interpolation of labels: properties, and SciPy as an oracle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, signal

from utopia.labels.dense import dense
from utopia.labels.filters import Filter, smoothed

NAMES: list[Filter] = ["none", "butterworth", "median", "gaussian"]


@pytest.mark.parametrize("name", NAMES)
def test_series_are_filtered_by_themselves_along_time(name: Filter) -> None:
    y_VTC = np.random.default_rng(0).random((3, 40, 2)).astype(np.float32)
    found = smoothed(y_VTC, name)
    assert found.shape == y_VTC.shape and found.dtype == np.float32
    for v in range(3):
        for c in range(2):
            assert np.allclose(found[v, :, c], smoothed(y_VTC[v, :, c : c + 1], name)[:, 0], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_constant_series_stay_and_nothing_falls_below_zero(name: Filter) -> None:
    assert np.allclose(smoothed(np.full((30, 2), 0.7), name), 0.7, atol=1e-6)
    spikes = np.zeros((60, 1))
    spikes[[10, 30, 31, 50]] = 1
    assert (smoothed(spikes, name) >= 0).all()


@pytest.mark.parametrize("name", ["butterworth", "median", "gaussian"])
def test_filters_have_no_delay_and_lower_what_is_fast(name: Filter) -> None:
    time = np.arange(120)
    slow, fast = 0.5 + 0.4 * np.sin(2 * np.pi * time / 40), 0.05 * (-1.0) ** time
    found = smoothed((slow + fast)[:, None], name)[:, 0]
    inner = slice(10, -10)
    assert np.abs(found - slow)[inner].mean() < 0.025
    assert np.argmax(signal.correlate(found - 0.5, slow - 0.5)) == len(time) - 1


def test_against_scipy() -> None:
    y_TC = np.random.default_rng(1).random((50, 3))
    b, a = signal.butter(2, 0.2)
    assert np.allclose(smoothed(y_TC, "butterworth"), np.maximum(signal.filtfilt(b, a, y_TC, axis=0), 0))
    assert np.allclose(smoothed(y_TC, "median"), ndimage.median_filter(y_TC, size=(3, 1), mode="reflect"))
    assert np.allclose(smoothed(y_TC, "gaussian"), ndimage.gaussian_filter1d(y_TC, 0.8, axis=0))


def test_median_takes_out_a_single_zero() -> None:
    y_TC = np.full((9, 1), 0.4)
    y_TC[4] = 0
    assert (smoothed(y_TC, "median") == 0.4).all()


@pytest.mark.parametrize("length", [1, 2, 9])
def test_a_series_too_short_to_settle_stays_as_it_is(length: int) -> None:
    y_TC = np.random.default_rng(length).random((length, 2))
    assert np.array_equal(smoothed(y_TC, "butterworth"), y_TC)
    assert smoothed(y_TC, "median").shape == y_TC.shape


def test_interpolation_by_hand() -> None:
    """0, 6 at every third row; after the last one it stays."""
    assert dense(np.array([[0.0], [6.0]]), 3, 6)[:, 0].tolist() == [0, 2, 4, 6, 6, 6]
    assert dense(np.array([[0.0], [6.0]]), 3, 4)[:, 0].tolist() == [0, 2, 4, 6]
    assert dense(np.array([[1.0], [2.0]]), 1, 2)[:, 0].tolist() == [1, 2]
