"""INV, LDS and DenseLoss: weights by hand, published window constants, the published density estimator."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from utopia.config.study import Distribution
from utopia.distribution.item import ItemDistribution, describe_item
from utopia.errors import ConfigError
from utopia.losses import dense_loss, inv, lds
from utopia.losses._common import Batch, Loss

TEN = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)
label_lists = st.one_of(
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
    st.lists(st.sampled_from([0.0, 1.0, 0.5, 0.55]), min_size=1, max_size=60),
    st.tuples(st.floats(0, 1), st.integers(1, 40)).map(lambda c: [c[0]] * c[1]),
    st.lists(st.floats(0.41, 0.49), min_size=1, max_size=60),
)
train_sets = st.lists(label_lists.map(np.array), min_size=1, max_size=4)


def described(*labels: Any) -> list[ItemDistribution]:
    return [describe_item(np.asarray(label, dtype=np.float64), TEN, 10) for label in labels]


def test_inverse_frequency_by_hand() -> None:
    # 3 frames in bin 1, 1 in bin 5, pooled: 1/3 and 1, mean (3/3 + 1) / 4 = 1/2
    first, second = described([0.1, 0.1, 0.5], [0.15])
    one, two = inv.build(inv.Config()).weights([first, second], None)
    assert one.frame_T == pytest.approx([2 / 3, 2 / 3, 2])
    assert two.frame_T == pytest.approx([2 / 3])


def test_inverse_frequency_per_video() -> None:
    one, two = inv.build(inv.Config(scope="per_video")).weights(described([0.1, 0.1, 0.5], [0.15]), None)
    assert one.frame_T == pytest.approx([3 / 4, 3 / 4, 3 / 2])
    assert two.frame_T == pytest.approx([1])


def test_roots_and_clipping() -> None:
    videos = described([0.1] * 9 + [0.5])
    (root,) = inv.build(inv.Config(sqrt=True)).weights(videos, None)
    assert root.frame_T[-1] / root.frame_T[0] == pytest.approx(3)
    (clipped,) = inv.build(inv.Config(inv_clip=(2, 4))).weights(videos, None)
    assert clipped.frame_T[-1] / clipped.frame_T[0] == pytest.approx(2)


def test_new_samples_count() -> None:
    video = described([0.1, 0.1, 0.1, 0.5])
    need_b = np.zeros(10)
    need_b[5] = 2
    (found,) = inv.build(inv.Config()).weights(video, [need_b])
    assert found.new_b[5] == pytest.approx(found.frame_T[0])  # three rows in either bin
    assert found.frame_T == pytest.approx(np.ones(4))


@pytest.mark.parametrize(
    ("ks", "sigma", "expected"),
    [
        (5, 2.0, [0.8583, 0.9458, 1, 0.9458, 0.8583]),
        (5, 1.0, [0.1464, 0.6069, 1, 0.6069, 0.1464]),
        (9, 1.0, [math.exp(-(j**2) / 2) for j in range(-4, 5)]),
    ],
)
def test_gaussian_windows(ks: int, sigma: float, expected: list[float]) -> None:
    assert lds.smoothing_window(lds.Config(ks=ks, sigma=sigma)) == pytest.approx(expected, abs=6e-5)


def test_gaussian_window_is_the_impulse_with_its_mirror_images() -> None:
    # positions of the impulse and its images under scipy's reflection (d c b a | a b c d | d c b a), for 5 points
    sigma, middle = 2.0, 2
    images = [middle + 10 * n for n in range(-2, 3)] + [-1 - middle + 10 * n for n in range(-2, 4)]
    raw = [sum(math.exp(-((x - at) ** 2) / 8) for at in images if abs(x - at) <= 4 * sigma) for x in range(5)]
    assert lds.smoothing_window(lds.Config(ks=5, sigma=sigma)) == pytest.approx(np.array(raw) / max(raw), rel=1e-6)


def test_other_windows() -> None:
    assert lds.smoothing_window(lds.Config(window="triangular", ks=5)) == pytest.approx([1 / 3, 2 / 3, 1, 2 / 3, 1 / 3])
    laplace = lds.smoothing_window(lds.Config(window="laplace", ks=3, sigma=2))
    assert laplace == pytest.approx([math.exp(-0.5), 1, math.exp(-0.5)])


@given(train_sets, st.sampled_from(["constant", "reflect"]))
def test_smoothed_weights_against_a_loop(labels: list[np.ndarray], boundary: str) -> None:
    config = lds.Config(boundary=boundary)  # type: ignore[arg-type]
    found = lds.build(config).weights(described(*labels), None)
    count = [0] * 10
    for label_T in labels:
        for y in label_T:
            count[min(9, math.floor(y * 10 + 1e-5))] += 1
    window = lds.smoothing_window(config)

    def smooth(k: int) -> float:
        total = 0.0
        for j in range(-2, 3):
            at = k + j
            if boundary == "reflect":
                at = -1 - at if at < 0 else 19 - at if at > 9 else at
            total += window[j + 2] * count[at] if 0 <= at < 10 else 0
        return total

    raw = [[1 / smooth(min(9, math.floor(y * 10 + 1e-5))) for y in label_T] for label_T in labels]
    mean = math.fsum(weight for one in raw for weight in one) / sum(map(len, raw))
    for one, weights in zip(raw, found, strict=True):
        assert weights.frame_T == pytest.approx(np.array(one) / mean)


def test_utopia_window_smooths_as_eq_2_does() -> None:
    labels = [0.1] * 6 + [0.25] * 2 + [0.9], [0.2, 0.3, 0.3]
    videos = described(*labels)
    found = lds.build(lds.Config(window="utopia")).weights(videos, None)
    smoothed_b = videos[0].utopia_count + videos[1].utopia_count
    raw = [1 / smoothed_b[video.bin] for video in videos]
    mean = np.concatenate(raw).mean()
    for one, weights in zip(raw, found, strict=True):
        assert weights.frame_T == pytest.approx(one / mean)


def test_utopia_window_refuses_what_it_cannot_mean() -> None:
    loss, videos = lds.build(lds.Config(window="utopia", scope="per_video")), described([0.1, 0.2, 0.2])
    with pytest.raises(ConfigError, match="sampler"):
        loss.weights(videos, [np.zeros(10)])
    pooled = describe_item(np.array([0.1, 0.2]), TEN, 10, pooled_b=np.full(10, 4.0))
    with pytest.raises(ConfigError, match="per video"):
        loss.weights([pooled], None)
    (found,) = lds.build(lds.Config(window="utopia")).weights([pooled], None)
    assert found.frame_T == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (inv.Config, {"inv_clip": [5, 2]}),
        (inv.Config, {"inv_clip": [0, 2]}),
        (inv.Config, {"inv_clip": [5, 1000], "sqrt": True}),
        (lds.Config, {"ks": 4}),
        (lds.Config, {"window": "utopia", "sqrt": True}),
        (dense_loss.Config, {"eps": 0}),
    ],
)
def test_settings_that_contradict_are_refused(config: Any, settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config.model_validate(settings)


T = np.arange(500)
PUBLISHED = {
    # weights of frames 0, 7, 50, 123, 250, 333, 449, 450, 480, 499 by the authors' package (denseweight 0.1.2)
    ("waves", 1.0): [0.17421, 0.57108, 0.5678, 1.06685, 0.02186, 0.23347, 0.26041, 0.27492, 0.01991, 2.20108],
    ("waves", 0.5): [0.84725, 0.92066, 0.92005, 1.01237, 0.81907, 0.85821, 0.8632, 0.86588, 0.81871, 1.22217],
    ("skewed", 1.0): [0.20765, 0.20765, 0.19891, 0.08368, 0.61816, 1.77862, 2.23577, 2.23808, 2.33602, 2.51523],
    ("comb", 1.0): [1.55038, 1.96398, 0.65528, 2.85147, 0.70449, 2.85147, 0.65528, 1.5358, 2.85147, 0.70449],
    ("two", 0.5): [0.91837, 0.91837, 0.91837, 0.91837, 0.91837, 0.91837, 0.91837, 1.73468, 1.73468, 1.73468],
}
LABELS = {
    "waves": np.round(0.5 + 0.3 * np.sin(T / 37) + 0.15 * np.sin(T / 11), 4),
    "skewed": np.round(((T + 0.5) / 500) ** 3, 4),
    "comb": ((T * T) % 21) / 20.0,
    "two": np.where(T < 450, 0.2, 0.9),
}


@pytest.mark.parametrize("case", PUBLISHED, ids=str)
def test_density_weights_are_those_of_the_published_estimator(case: tuple[str, float]) -> None:
    found = dense_loss.dense_weights(LABELS[case[0]], case[1], 1e-6)
    assert found[[0, 7, 50, 123, 250, 333, 449, 450, 480, 499]] == pytest.approx(PUBLISHED[case], abs=1e-2)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=120).map(np.array), st.sampled_from([0.3, 1.0, 1.7]))
def test_density_weights_against_the_exact_density(label_N: np.ndarray, alpha: float) -> None:
    bandwidth = 1.06 * label_N.std() * len(label_N) ** -0.2
    if np.ptp(label_N) < 1e-6 or bandwidth * 400 < np.ptp(label_N):  # the grid resolves kernels of ten points and more
        return
    grid = np.linspace(label_N.min() - 5 * bandwidth, label_N.max() + 5 * bandwidth, 4096)
    density = np.exp(-(((grid[:, None] - label_N) / bandwidth) ** 2) / 2).sum(axis=1)
    at = np.exp(-(((label_N[:, None] - label_N) / bandwidth) ** 2) / 2).sum(axis=1)
    scaled = (at - density.min()) / np.ptp(density)
    assert dense_loss.scaled_density(label_N) == pytest.approx(scaled, abs=1e-2)
    raw = np.maximum(1 - alpha * scaled, 1e-6)
    found = dense_loss.dense_weights(label_N, alpha, 1e-6)
    assert found * raw.mean() == pytest.approx(raw, abs=2e-2, rel=2e-2)


def test_density_does_not_depend_on_the_unit() -> None:
    label_N = LABELS["waves"]
    found = dense_loss.dense_weights(label_N * 8 - 3, 1.0, 1e-6)
    assert found == pytest.approx(dense_loss.dense_weights(label_N, 1.0, 1e-6), abs=1e-2)


def test_density_is_pooled_or_of_each_video() -> None:
    labels = [LABELS["waves"][:200], LABELS["skewed"]]
    videos = described(*labels)
    pooled = dense_loss.build(dense_loss.Config()).weights(videos, None, labels)  # type: ignore[call-arg]
    whole = dense_loss.dense_weights(np.concatenate(labels), 1.0, 1e-6)
    assert np.concatenate([one.frame_T for one in pooled]) == pytest.approx(whole)
    each = dense_loss.build(dense_loss.Config(scope="per_video")).weights(videos, None, labels)  # type: ignore[call-arg]
    assert each[0].frame_T == pytest.approx(dense_loss.dense_weights(labels[0], 1.0, 1e-6))


def test_density_of_bins_where_no_labels_are_given() -> None:
    label_T = np.floor(LABELS["skewed"] * 10) / 10 + 0.05
    videos = described(label_T)
    (by_bin,) = dense_loss.build(dense_loss.Config()).weights(videos, None)
    assert by_bin.frame_T == pytest.approx(dense_loss.dense_weights(label_T, 1.0, 1e-6), abs=1e-2)


LOSSES: list[Loss] = [
    inv.build(inv.Config()),
    inv.build(inv.Config(scope="per_video", sqrt=True)),
    inv.build(inv.Config(inv_clip=(5, 1000))),
    lds.build(lds.Config()),
    lds.build(lds.Config(scope="per_video", window="laplace", boundary="reflect", sqrt=True)),
    dense_loss.build(dense_loss.Config()),
    dense_loss.build(dense_loss.Config(scope="per_video", alpha=1.5)),
]


@settings(max_examples=40, deadline=None)
@given(train_sets, st.sampled_from(LOSSES), st.booleans())
def test_mean_weight_is_one(labels: list[np.ndarray], loss: Loss, sampled: bool) -> None:
    """Whatever the labels: one frame, all alike, all in one bin; over the pool's frames and new samples."""
    videos = described(*labels)
    needs = [video.samples_needed.astype(np.float64) for video in videos] if sampled else None
    found = loss.weights(videos, needs)
    assert all(np.isfinite(one.frame_T).all() and (one.frame_T >= 0).all() for one in found)
    assert all(np.isfinite(one.new_b).all() for one in found)
    new = [need_b @ one.new_b for need_b, one in zip(needs, found, strict=True)] if needs else [0.0] * len(found)
    rows = [len(one.frame_T) + (needs[number].sum() if needs else 0) for number, one in enumerate(found)]
    totals = np.array([one.frame_T.sum() + extra for one, extra in zip(found, new, strict=True)])
    if loss.config.scope == "per_video":  # type: ignore[union-attr]
        assert totals == pytest.approx(rows)
    assert totals.sum() == pytest.approx(sum(rows))


def test_equal_bins_weigh_alike() -> None:
    label_T = np.tile(np.arange(10) / 10 + 0.05, 7)
    for loss in LOSSES[:3]:
        (found,) = loss.weights(described(label_T), None)
        assert found.frame_T == pytest.approx(np.ones(70))


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_value_is_the_weighted_squared_error(loss: Loss) -> None:
    (weights,) = loss.weights(described([0.1, 0.1, 0.5]), None)
    prediction_R, target_R = torch.tensor([0.2, 0.0, 0.9]), torch.tensor([0.1, 0.1, 0.5])
    weight_R = torch.as_tensor(weights.frame_T, dtype=torch.float32) / 3
    zero_R = torch.zeros(3, dtype=torch.long)
    batch = Batch(prediction_R, target_R, weight_R, zero_R, zero_R, torch.zeros(3, 2))
    w = weights.frame_T
    assert loss(batch).item() == pytest.approx((w[0] * 0.01 + w[1] * 0.01 + w[2] * 0.16) / 3, rel=1e-5)


@pytest.mark.parametrize("bins", [10, 100])
def test_lds_smooths_over_bins_not_over_label_units(bins: int) -> None:
    """The window is `ks` bins wide whatever a bin is worth: on [0, 1] it covers .5 with 10 bins and .05 with 100."""
    setting = Distribution(bins=bins, low=0.0, high=1.0, delta=3 / bins, sigma=1 / bins)
    label_T = np.array([0.0, 0.0, 0.0, 2 / bins, 3 / bins, 0.8]) + 0.5 / bins  # in the middle of bins 0, 2, 3 and .8
    (weights,) = lds.build(lds.Config()).weights([describe_item(label_T, setting, 10)], None)
    near, far = 0.9458, 0.8583  # one and two bins from the middle of the window
    density = np.array([3 + far, 3 + far, 3 + far, 1 + 3 * far + near, 1 + near, 1])
    expected = 1 / density
    assert weights.frame_T == pytest.approx(expected / expected.mean(), rel=2e-4)
