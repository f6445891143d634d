"""Values and weights of the losses, by hand and against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from utopia.config.study import Distribution
from utopia.distribution.item import ItemDistribution, describe_item
from utopia.losses import cwl, mse
from utopia.losses._common import Batch

SUMMARY = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)
labels = st.lists(st.floats(0, 1), min_size=1, max_size=60).map(np.array)


def batch(prediction: list[float], target: list[float], weight: list[float]) -> Batch:
    rows = torch.arange(len(target))
    return Batch(
        torch.tensor(prediction, requires_grad=True),
        torch.tensor(target),
        torch.tensor(weight),
        torch.zeros_like(rows),
        rows,
        torch.zeros(len(target), 1),
    )


def series(label_T: np.ndarray) -> ItemDistribution:
    return describe_item(label_T, SUMMARY, 10)


@pytest.mark.parametrize("loss", [mse.build(mse.Config()), cwl.build(cwl.Config())])
def test_value_is_the_weighted_mean_of_squared_errors(loss: torch.nn.Module) -> None:
    # two videos of two rows: weights 1 and 1, and 1.5 and .5, each over its 2 rows
    rows = batch([1.0, 0, 0.5, 0.5], [0.0, 0, 1, 0], [0.5, 0.5, 0.75, 0.25])
    value = loss(rows)
    assert value.item() == pytest.approx(0.5 + 0.25)
    value.backward()
    assert rows.prediction_R.grad is not None
    assert rows.prediction_R.grad.tolist() == pytest.approx([1.0, 0, -0.75, 0.25])


def test_plain_loss_is_torch_mse() -> None:
    y, p = torch.rand(7), torch.rand(7)
    rows = batch(p.tolist(), y.tolist(), [1 / 7] * 7)
    assert mse.build(mse.Config())(rows).item() == pytest.approx(torch.nn.functional.mse_loss(p, y).item())


@given(labels)
def test_cwl_weighs_by_eq_7_without_a_sampler(label_T: np.ndarray) -> None:
    video = series(label_T)
    (weights,) = cwl.build(cwl.Config()).weights([video], None)
    rho_T = (video.utopia_count / np.maximum(video.count, 1))[video.bin]
    assert weights.frame_T == pytest.approx(len(label_T) * rho_T / rho_T.sum())


@given(labels)
def test_with_tns_frames_are_only_toned_down(label_T: np.ndarray) -> None:
    video = series(label_T)
    need = video.samples_needed.astype(float)
    (raw,) = cwl.build(cwl.Config(renormalise=False)).weights([video], [need])
    assert (raw.frame_T <= 1).all() and (raw.new_b == 1).all()
    (weights,) = cwl.build(cwl.Config()).weights([video], [need])
    assert weights.frame_T.sum() + need @ weights.new_b == pytest.approx(len(label_T) + need.sum())


def test_a_plain_loss_weighs_new_samples_as_frames() -> None:
    video = series(np.array([0.1, 0.5, 0.55]))
    (weights,) = mse.build(mse.Config()).weights([video], [video.samples_needed.astype(float)])
    assert set(weights.frame_T) == set(weights.new_b) == {1.0}


def test_pooled_statistics_give_weights_with_mean_one_over_the_training_set() -> None:
    rng = np.random.default_rng(0)
    tracks = [rng.beta(2, 5, size=60), rng.beta(5, 2, size=90)]
    pooled = sum(series(label_T).count for label_T in tracks)
    videos = [describe_item(label_T, SUMMARY, 10, pooled_b=pooled) for label_T in tracks]
    weights = cwl.build(cwl.Config()).weights(videos, None)
    assert np.concatenate([one.frame_T for one in weights]).mean() == pytest.approx(1)
    assert weights[0].frame_T.mean() != pytest.approx(1, abs=1e-3)
    needs = [video.samples_needed.astype(float) for video in videos]
    combined = cwl.build(cwl.Config()).weights(videos, needs)
    total = sum(one.frame_T.sum() + need @ one.new_b for one, need in zip(combined, needs, strict=True))
    assert total == pytest.approx(150 + sum(need.sum() for need in needs), rel=0.03)  # up to rounding of needs
