"""The Kullback-Leibler divergence of EEV 2021, alone and beside the mean absolute error, against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import kl_div, rel_entr

from utopia.config import registry
from utopia.config.load import load
from utopia.losses import kl, l1_kl
from utopia.losses._common import Batch, Loss


def batch_of(prediction_RC: torch.Tensor, target_RC: torch.Tensor) -> Batch:
    """One video whose rows weigh alike."""
    rows = len(target_RC)
    zero_R = torch.zeros(rows, dtype=torch.long)
    return Batch(
        prediction_R=prediction_RC,
        target_R=target_RC,
        bin_R=zero_R,
        video_R=zero_R,
        feature_Rd=torch.zeros(rows, 1),
        weight_R=torch.full((rows,), 1 / rows, dtype=target_RC.dtype),
    )


@pytest.fixture
def labels() -> np.ndarray:
    y_RC = np.random.Generator(np.random.Philox(4)).random((7, 15))
    y_RC[:, 3] = 0  # an expression that nobody shows
    return y_RC


@pytest.fixture
def predictions() -> np.ndarray:
    return np.random.Generator(np.random.Philox(5)).random((7, 15)) * 0.98 + 0.01


def value(loss: Loss, p_RC: np.ndarray, y_RC: np.ndarray) -> float:
    return float(loss(batch_of(torch.from_numpy(p_RC), torch.from_numpy(y_RC))))


def test_the_three_divergences_are_scipys(predictions: np.ndarray, labels: np.ndarray) -> None:
    p_RC, y_RC = predictions, labels
    shares = y_RC / y_RC.sum(axis=1, keepdims=True), p_RC / p_RC.sum(axis=1, keepdims=True)
    expected = {
        "generalised": kl_div(y_RC, p_RC).mean(),
        "elementwise": rel_entr(y_RC, p_RC).mean(),
        "normalised": rel_entr(*shares).mean(),
    }
    for kind, mean in expected.items():
        assert value(kl.build(kl.Config.model_validate({"divergence": kind})), p_RC, y_RC) == pytest.approx(mean)
        beside = l1_kl.build(l1_kl.Config.model_validate({"divergence": kind, "weight": 0.5, "factor": 2.0}))
        assert value(beside, p_RC, y_RC) == pytest.approx(2 * np.abs(y_RC - p_RC).mean() + 0.5 * mean)


def test_alone_it_is_least_at_the_labels_as_the_elementwise_term_is_not(labels: np.ndarray) -> None:
    y_RC = torch.from_numpy(labels).clamp(min=0.05)
    slopes = {}
    for kind in ("generalised", "elementwise"):
        p_RC = y_RC.clone().requires_grad_(True)
        kl.build(kl.Config.model_validate({"divergence": kind}))(batch_of(p_RC, y_RC)).backward()
        assert p_RC.grad is not None
        slopes[kind] = p_RC.grad
    assert slopes["generalised"].abs().max() < 1e-12
    assert (slopes["elementwise"] < 0).all(), "it would have every prediction grow"


def test_the_papers_kl_stands_alone() -> None:
    """EEV 2021 sec. 4.4: "one optional method is to use the KL Divergence Loss"; the code's comment adds it to L1."""
    treatments = load(overrides={"study": "paper"}).treatments
    assert treatments["kl"].loss == "kl" and "factor" not in registry.config_of("losses", "kl").model_fields
    assert treatments["l1_kl"].loss == "l1_kl"
