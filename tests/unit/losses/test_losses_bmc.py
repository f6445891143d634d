"""Balanced MSE: the closed form on small batches, and where the noise scale comes from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from utopia.config.study import Distribution
from utopia.distribution.item import describe_item
from utopia.errors import ConfigError
from utopia.losses import bmc
from utopia.losses._common import Batch

TEN = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)
rows = st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.integers(0, 2))


def batch_of(prediction: list[float], target: list[float], video: list[int]) -> Batch:
    video_R = torch.tensor(video)
    weight_R = 1 / torch.bincount(video_R)[video_R].double()
    doubles = torch.tensor(prediction, dtype=torch.float64), torch.tensor(target, dtype=torch.float64)
    return Batch(*doubles, weight_R, video_R, torch.zeros_like(video_R), torch.zeros(len(video), 1))


def by_hand(prediction: list[float], target: list[float], s: float) -> float:
    """-2 s^2 / m sum_i log(exp(-(p_i - y_i)^2 / 2 s^2) / sum_j exp(-(p_i - y_j)^2 / 2 s^2))."""
    total = 0.0
    for p, y in zip(prediction, target, strict=True):
        kernel = [math.exp(-((p - other) ** 2) / (2 * s * s)) for other in target]
        total -= math.log(math.exp(-((p - y) ** 2) / (2 * s * s)) / math.fsum(kernel))
    return 2 * s * s * total / len(target)


def fixed(s: float) -> bmc.BalancedError:
    loss = bmc.build(bmc.Config(noise=s, learn_noise=False)).double()
    assert isinstance(loss, bmc.BalancedError)
    return loss


def test_two_rows() -> None:
    # each prediction is right: CE = log(1 + exp(-1/2)) at distance 1 and s = 1
    found = fixed(1.0)(batch_of([0.0, 1.0], [0.0, 1.0], [0, 0]))
    assert found.item() == pytest.approx(2 * math.log(1 + math.exp(-0.5)))


def test_one_row_costs_nothing() -> None:
    assert fixed(0.3)(batch_of([0.7], [0.1], [0])).item() == 0


@settings(deadline=None)
@given(st.lists(rows, min_size=1, max_size=25), st.sampled_from([0.5, 1.0, 2.0]))
def test_closed_form_summed_over_videos(found_rows: list[tuple[float, float, int]], s: float) -> None:
    """Rows of three videos in any order; one may have none."""
    expected = 0.0
    for number in range(3):
        own = [row for row in found_rows if row[2] == number]
        if own:
            expected += by_hand([row[0] for row in own], [row[1] for row in own], s)
    batch = batch_of(*([row[column] for row in found_rows] for column in range(3)))  # type: ignore[arg-type]
    assert fixed(s)(batch).item() == pytest.approx(expected, abs=1e-9)


def test_gradient_of_predictions() -> None:
    """d/dp_i = 2/m ((p_i - y_i) - sum_j softmax_j (p_i - y_j)): the squared error's less the density's."""
    prediction, target, s = [0.3, -0.2, 0.9], [0.1, 0.1, 0.7], 0.5
    batch = batch_of(prediction, target, [0, 0, 0])
    batch.prediction_R.requires_grad_()
    fixed(s)(batch).backward()
    for i, p in enumerate(prediction):
        kernel = np.array([math.exp(-((p - y) ** 2) / (2 * s * s)) for y in target])
        expected = 2 / 3 * ((p - target[i]) - kernel @ (p - np.array(target)) / kernel.sum())
        assert batch.prediction_R.grad is not None
        assert batch.prediction_R.grad[i].item() == pytest.approx(expected)


def test_noise_starts_at_the_deviation_of_the_labels() -> None:
    labels = [np.array([0.1, 0.5]), np.array([0.9])]
    videos = [describe_item(label_T, TEN, 10) for label_T in labels]
    loss = bmc.build(bmc.Config())
    weights = loss.weights(videos, None, labels)  # type: ignore[call-arg]
    assert [one.frame_T.tolist() for one in weights] == [[1, 1], [1]]
    assert next(loss.parameters()).item() == pytest.approx(np.std([0.1, 0.5, 0.9]))
    with pytest.raises(ConfigError, match="noise"):
        loss.weights(videos, None)
    assert len(bmc.build(bmc.Config(noise=1.0)).weights(videos, None)) == 2


def test_equal_labels_start_at_one() -> None:
    loss = bmc.build(bmc.Config())
    loss.weights([describe_item(np.full(4, 0.3), TEN, 10)], None, [np.full(4, 0.3)])  # type: ignore[call-arg]
    assert next(loss.parameters()).item() == 1


def test_noise_is_learnt_towards_the_error() -> None:
    generator = torch.Generator().manual_seed(3)
    target = torch.rand(100, generator=generator, dtype=torch.float64) * 10
    prediction = target + 0.4 * torch.randn(100, generator=generator, dtype=torch.float64)
    loss = bmc.build(bmc.Config(noise=1.5)).double()
    assert isinstance(loss, bmc.BalancedError) and loss.learning_rate == 1e-2
    batch = batch_of(prediction.tolist(), target.tolist(), [0] * 100)
    for _ in range(150):
        loss.noise.grad = None
        loss(batch).backward()
        with torch.no_grad():
            loss.noise -= loss.learning_rate * loss.noise.grad.sign()
    assert abs(loss.noise.item()) == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("s", [0.0, 1e-8, -0.3])
def test_noise_that_an_optimiser_stepped_on(s: float) -> None:
    loss = bmc.build(bmc.Config(noise=1.0))
    assert isinstance(loss, bmc.BalancedError)
    torch.nn.init.constant_(loss.noise, s)
    batch = batch_of([0.3, 0.6], [0.1, 0.9], [0, 0])
    batch.prediction_R.requires_grad_()
    value = loss(batch)
    value.backward()
    assert value.isfinite() and batch.prediction_R.grad is not None and batch.prediction_R.grad.isfinite().all()
    assert loss.noise.grad is not None and loss.noise.grad.isfinite()
