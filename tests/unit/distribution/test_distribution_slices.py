"""Time slices, their windows and the coefficients of Eqs. 4 and 5, against step-by-step oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia.distribution.slices import coefficients, extend_slices, time_slices

bins = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(np.array)
labels = st.lists(st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.31, 0.9, 1.0]), min_size=1, max_size=50).map(np.array)


def walk(start: int, stop: int, frames: int, window: int) -> tuple[int, int]:
    """Extend one frame at a time: left, right, left..., at the other side where the series ends."""
    left = True
    while stop - start < min(window, frames):
        if (left and start > 0) or stop == frames:
            start -= 1
        else:
            stop += 1
        left = not left
    return start, stop


@given(bins)
def test_slices_are_maximal_runs_that_tile_the_series(bin_T: np.ndarray) -> None:
    found = time_slices(bin_T)
    assert found[0, 0] == 0 and found[-1, 1] == len(bin_T)
    assert (found[1:, 0] == found[:-1, 1]).all()
    for start, stop in found:
        assert len(set(bin_T[start:stop])) == 1
        assert start == 0 or bin_T[start - 1] != bin_T[start]


@given(bins, st.integers(1, 70))
def test_windows_are_those_of_a_walk(bin_T: np.ndarray, window: int) -> None:
    slices = time_slices(bin_T)
    expected = [walk(int(start), int(stop), len(bin_T), window) for start, stop in slices]
    assert [tuple(row) for row in extend_slices(slices, len(bin_T), window).tolist()] == expected


@given(bins, st.integers(1, 70), st.sampled_from(["alternate", "right", "none"]))
def test_windows_contain_their_slice_and_lie_in_the_series(bin_T: np.ndarray, window: int, extension: str) -> None:
    slices = time_slices(bin_T)
    found = extend_slices(slices, len(bin_T), window, extension)  # type: ignore[arg-type]
    assert (found[:, 0] <= slices[:, 0]).all() and (found[:, 1] >= slices[:, 1]).all()
    assert (found[:, 0] >= 0).all() and (found[:, 1] <= len(bin_T)).all()
    length, own = found[:, 1] - found[:, 0], slices[:, 1] - slices[:, 0]
    wanted = own if extension == "none" else np.maximum(own, min(window, len(bin_T)))
    assert (length == wanted).all()


def test_right_extension() -> None:
    assert extend_slices(np.array([[2, 3], [8, 10]]), 10, 4, "right").tolist() == [[2, 6], [6, 10]]


@given(labels, st.integers(1, 12), st.sampled_from(["population", "sample"]))
def test_coefficients_are_eq_4(label_T: np.ndarray, window: int, deviation: str) -> None:
    slices = time_slices(np.floor(label_T * 10).astype(np.int64))
    windows = extend_slices(slices, len(label_T), window)
    found = coefficients(label_T, slices, windows, deviation)  # type: ignore[arg-type]
    assert found.sum(axis=1) == pytest.approx(np.ones(len(slices)))
    for row, (start, stop), (first, last) in zip(found, slices, windows, strict=True):
        mu = math.fsum(label_T[start:stop]) / (stop - start)
        inside = label_T[first:last]
        mean = math.fsum(inside) / len(inside)
        free = len(inside) - (deviation == "sample" and len(inside) > 1)
        s = math.sqrt(math.fsum((y - mean) ** 2 for y in inside) / free)
        raw = [math.exp(-((y - mu) ** 2) / (2 * s * s)) if s > 1e-9 else 1.0 for y in inside]
        assert row[: len(raw)] == pytest.approx(np.array(raw) / math.fsum(raw), abs=1e-9)
        assert not row[len(raw) :].any()


def test_equal_labels_are_weighed_alike() -> None:
    slices = np.array([[0, 4]])
    assert coefficients(np.full(4, 0.1), slices, slices).tolist() == [[0.25] * 4]
