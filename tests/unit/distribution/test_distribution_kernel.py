"""Kernel taps and the convolution of Eq. 2."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia.config.study import Distribution
from utopia.distribution.convolve import convolve
from utopia.distribution.kernel import taps

LIRIS = Distribution(bins=100, low=-1.0, high=1.0, delta=0.06, sigma=0.02)
SUMMARY = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)

counts = st.lists(st.integers(0, 1000), min_size=2, max_size=40).map(lambda n: np.array(n, dtype=np.float64))


@st.composite
def settings(draw: st.DrawFn) -> Distribution:
    return Distribution(
        bins=draw(st.integers(2, 40)),
        low=draw(st.sampled_from([0.0, -1.0])),
        high=1.0,
        delta=draw(st.floats(1e-3, 2.0)),
        sigma=draw(st.floats(1e-3, 2.0)),
    )


@pytest.mark.parametrize("published", [LIRIS, SUMMARY])
def test_published_settings_have_the_published_taps(published: Distribution) -> None:
    assert taps(published).round(4).tolist() == [0.2741, 0.4519, 0.2741]


@pytest.mark.parametrize(("sigma", "total"), [(0.02, 0.8829), (0.04, 0.5515), (0.06, 0.3846)])
def test_raw_density_loses_mass(sigma: float, total: float) -> None:
    raw = LIRIS.model_copy(update={"kernel": "raw_density", "sigma": sigma})
    assert taps(raw).sum() == pytest.approx(total, abs=6e-5)


@given(settings())
def test_taps_are_symmetric_and_sum_to_one(chosen: Distribution) -> None:
    kernel = taps(chosen)
    assert len(kernel) % 2 == 1
    assert np.array_equal(kernel, kernel[::-1])
    assert kernel.sum() == pytest.approx(1)


def test_a_kernel_without_width_changes_nothing() -> None:
    n = np.array([0.0, 3, 7, 0, 1, 2, 0, 0, 0, 4])
    narrow = taps(SUMMARY.model_copy(update={"sigma": 1e-6}))
    assert narrow.tolist() == [0, 1, 0]
    short = taps(SUMMARY.model_copy(update={"delta": 0.1}))
    assert short.tolist() == [1]
    for kernel in (narrow, short):
        for boundary in ("zero", "reflect", "renormalise"):
            assert convolve(n, kernel, boundary).tolist() == n.tolist()  # type: ignore[arg-type]


@given(counts, settings(), st.sampled_from(["reflect", "renormalise"]))
def test_mass_is_kept(n: np.ndarray, chosen: Distribution, boundary: str) -> None:
    assert convolve(n, taps(chosen), boundary).sum() == pytest.approx(n.sum())  # type: ignore[arg-type]


@given(counts, settings())
def test_zero_boundary_is_the_sum_of_eq_2(n: np.ndarray, chosen: Distribution) -> None:
    kernel = taps(chosen)
    reach = len(kernel) // 2
    expected = [
        sum(kernel[j + reach] * n[k + j] for j in range(-reach, reach + 1) if 0 <= k + j < len(n))
        for k in range(len(n))
    ]
    assert convolve(n, kernel) == pytest.approx(np.array(expected))


def test_boundaries_by_hand() -> None:
    n, kernel = np.array([8.0, 0, 4]), np.array([0.25, 0.5, 0.25])
    assert convolve(n, kernel, "zero").tolist() == [4, 3, 2]
    assert convolve(n, kernel, "reflect").tolist() == [6, 3, 3]
    # a bin at an end keeps 3/4 of its taps: its samples go 2/3 to itself and 1/3 inwards
    assert convolve(n, kernel, "renormalise") == pytest.approx([16 / 3, 4, 8 / 3])
