"""What every loss must keep, whoever adds it: the tests run over the registry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from utopia.config import registry
from utopia.config.study import Distribution
from utopia.distribution.item import ItemDistribution, describe_item
from utopia.losses._common import Batch, Loss
from utopia.training.chunks import give_labels

SUMMARY = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)


def load(name: str) -> Loss:
    module = registry.load("losses", name)
    loss: Loss = module.build(module.Config())
    return loss


def series(label_T: np.ndarray) -> ItemDistribution:
    return describe_item(label_T, SUMMARY, 10)


@pytest.fixture(params=registry.names("losses"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    "label_T", [np.linspace(0, 1, 50), np.full(30, 0.4), np.array([1.0]), np.r_[np.zeros(40), 1.0]]
)
@pytest.mark.parametrize("resampled", [False, True])
def test_weights_are_finite_not_negative_and_have_mean_one(name: str, label_T: np.ndarray, resampled: bool) -> None:
    video = series(label_T)
    need_b = video.samples_needed.astype(float)
    (weights,) = give_labels(load(name).weights, [label_T])([video], [need_b] if resampled else None)
    assert weights.frame_T.shape == label_T.shape and weights.new_b.shape == (10,)
    for part in (weights.frame_T, weights.new_b):
        assert np.isfinite(part).all() and (part >= 0).all()
    q = need_b if resampled else np.zeros(10)
    total = weights.frame_T.sum() + q @ weights.new_b
    assert total == pytest.approx(len(label_T) + q.sum())


def batch(prediction_R: torch.Tensor, label_T: np.ndarray, loss: Loss) -> Batch:
    video = series(label_T)
    (weights,) = give_labels(loss.weights, [label_T])([video], None)
    rows = torch.zeros(len(label_T), dtype=torch.long)
    return Batch(
        prediction_R,
        torch.tensor(label_T, dtype=torch.float32),
        torch.tensor(weights.frame_T / len(label_T), dtype=torch.float32),
        rows,
        torch.tensor(video.bin),
        torch.randn(len(label_T), 4, generator=torch.Generator().manual_seed(0)),
    )


def test_value_is_a_scalar_that_gradient_descent_lowers(name: str) -> None:
    label_T = np.random.default_rng(0).random(40)
    loss = load(name)
    prediction_R = torch.full((40,), 0.5, requires_grad=True)
    before = loss(batch(prediction_R, label_T, loss))
    assert before.shape == () and torch.isfinite(before)
    before.backward()
    assert prediction_R.grad is not None and torch.isfinite(prediction_R.grad).all()
    step = (prediction_R - 0.1 * prediction_R.grad).detach()
    assert loss(batch(step, label_T, loss)) < before


def test_order_of_rows_carries_no_meaning(name: str) -> None:
    label_T, turn = np.random.default_rng(0).random(40), torch.randperm(40)
    loss = load(name)
    whole = batch(torch.rand(40), label_T, loss)
    turned = Batch(*(getattr(whole, field)[turn] for field in Batch.__dataclass_fields__))
    # a loss may pick rows at random
    assert loss(turned).item() == pytest.approx(loss(whole).item(), rel=1e-2)


def test_settings_are_the_same_read_with_and_without_torch(name: str) -> None:
    light, full = registry.config_of("losses", name), registry.load("losses", name).Config
    assert light().model_dump() == full().model_dump()


def test_a_loss_by_row_is_a_sum_of_errors_that_no_setting_changes(name: str) -> None:
    """Replicas with other settings, and other losses with the same `error`, share its kernels."""
    loss = load(name)
    if not loss.by_row:
        pytest.skip(f"{name} is not a sum of errors by row")
    whole = batch(torch.rand(40), np.random.default_rng(0).random(40), loss)
    error_R = type(loss).error(None, whole.target_R, whole.prediction_R)  # type: ignore[arg-type]
    assert torch.equal(error_R, loss.error(whole.target_R, whole.prediction_R))
    assert loss(whole).item() == pytest.approx((whole.weight_R * error_R).sum().item())
