"""CWL weights (Eq. 7) and the weights of CWL with TNS."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia.config.study import Distribution
from utopia.distribution.item import describe_item
from utopia.distribution.weights import combined_weights, cwl_weights, ratio

SUMMARY = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)
series = st.one_of(
    st.lists(st.floats(0, 1), min_size=1, max_size=80),
    st.tuples(st.floats(0, 1), st.integers(1, 30)).map(lambda c: [c[0]] * c[1]),
).map(np.array)


@given(series, st.sampled_from(["zero", "reflect", "renormalise"]), st.sampled_from(["sum_one", "raw_density"]))
def test_weights_have_mean_one(label_T: np.ndarray, boundary: str, kernel: str) -> None:
    settings = SUMMARY.model_copy(update={"boundary": boundary, "kernel": kernel})
    weight_T = describe_item(label_T, settings, 10).weight
    assert weight_T.mean() == pytest.approx(1)
    assert (weight_T > 0).all()


@given(series)
def test_an_identity_kernel_weighs_every_frame_alike(label_T: np.ndarray) -> None:
    found = describe_item(label_T, SUMMARY.model_copy(update={"sigma": 1e-9}), 10)
    assert found.weight == pytest.approx(np.ones(len(label_T)))
    assert not found.samples_needed.any()


def test_eq_7_by_hand() -> None:
    bin_T = np.array([0, 0, 0, 1])
    n, utopia = np.array([3.0, 1, 0]), np.array([1.5, 1.5, 1])
    # rho = .5, .5, .5, 1.5; their sum is 3, m = 4
    assert cwl_weights(bin_T, n, utopia) == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])


@given(series, st.sampled_from(["capped", "post_count", "eq7_all"]))
def test_combined_weights_have_mean_one_over_frames_and_new_samples(label_T: np.ndarray, rule: str) -> None:
    found = describe_item(label_T, SUMMARY, 10)
    need_b = found.samples_needed.astype(float)
    frame_b, new_b = combined_weights(found.count, found.utopia_count, need_b, rule)  # type: ignore[arg-type]
    total = frame_b[found.bin].sum() + found.samples_needed @ new_b
    assert total == pytest.approx(len(label_T) + found.samples_needed.sum())


def test_combined_rules_by_hand() -> None:
    n, utopia, q = np.array([4.0, 1, 0]), np.array([2.0, 3, 1]), np.array([0.0, 2, 0])
    frame, new = combined_weights(n, utopia, q, renormalise=False)
    assert (frame.tolist(), new.tolist()) == ([0.5, 1, 0], [1, 1, 1])
    frame, new = combined_weights(n, utopia, q, "post_count", renormalise=False)
    assert (frame.tolist(), new.tolist()) == ([0.5, 1, 0], [0.5, 1, 0])
    frame, new = combined_weights(n, utopia, q, "eq7_all", renormalise=False)
    assert frame.tolist() == new.tolist() == [0.5, 3, 0]
    frame, new = combined_weights(n, utopia, q)  # 4 * .5 + 1 * 1 + 2 * 1 = 5 of 7 samples
    assert frame == pytest.approx(np.array([0.5, 1, 0]) * 7 / 5)
    assert new == pytest.approx(np.full(3, 7 / 5))


def test_ratio_of_an_empty_bin_is_nought() -> None:
    assert ratio(np.array([0.0, 2]), np.array([1.0, 1])).tolist() == [0, 0.5]
