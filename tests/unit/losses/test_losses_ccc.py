"""1 - CCC: the formula and the reference code's reading, against loops over videos, reactions and frames."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from utopia.losses import ccc
from utopia.losses._common import Batch

FRAMES, REACTIONS = 6, 3


def clips(videos: int, seed: int) -> tuple[Tensor, Tensor]:
    """Labels and predictions [videos, FRAMES, REACTIONS]."""
    random = torch.Generator().manual_seed(seed)
    labels, predictions = torch.rand(2, videos, FRAMES, REACTIONS, generator=random, dtype=torch.float64)
    return labels, predictions


def loss_of(labels: Tensor, predictions: Tensor, **settings: object) -> float:
    videos = len(labels)
    video_R = torch.arange(videos).repeat_interleave(FRAMES)
    weight_R = torch.full((videos * FRAMES,), 1 / FRAMES, dtype=torch.float64)
    prediction_R = predictions.flatten(0, 1)
    batch = Batch(prediction_R, labels.flatten(0, 1), weight_R, video_R, video_R, prediction_R)
    return float(ccc.build(ccc.Config.model_validate(settings))(batch))


def series_of(values: Tensor, video: int, reaction: int) -> list[float]:
    return [float(value) for value in values[video, :, reaction]]


def covariance_sum(x: list[float], y: list[float]) -> float:
    return math.fsum((a - statistics.fmean(x)) * (b - statistics.fmean(y)) for a, b in zip(x, y, strict=True))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(0, 99))
def test_the_formula(videos: int, seed: int) -> None:
    labels, predictions = clips(videos, seed)
    expected = 0.0
    for video in range(videos):
        for reaction in range(REACTIONS):
            x, y = series_of(labels, video, reaction), series_of(predictions, video, reaction)
            apart = (statistics.fmean(x) - statistics.fmean(y)) ** 2
            below = statistics.pvariance(x) + statistics.pvariance(y) + apart
            expected += (1 - 2 * covariance_sum(x, y) / FRAMES / below) / REACTIONS
    assert loss_of(labels, predictions) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(0, 99))
def test_the_reference_codes_reading(videos: int, seed: int) -> None:
    """Sums above, variances with n - 1 below, and the means of every video of the batch in turn: [B, B, C]."""
    labels, predictions = clips(videos, seed)
    cells = []
    for means in range(videos):
        for video in range(videos):
            for reaction in range(REACTIONS):
                x, y = series_of(labels, video, reaction), series_of(predictions, video, reaction)
                mean_x = statistics.fmean(series_of(labels, means, reaction))
                mean_y = statistics.fmean(series_of(predictions, means, reaction))
                below = statistics.variance(x) + statistics.variance(y) + (mean_x - mean_y) ** 2
                cells.append(1 - 2 * covariance_sum(x, y) / below)
    ours = loss_of(labels, predictions, covariance="reference") / videos  # ours is a sum over videos
    assert ours == pytest.approx(statistics.fmean(cells), rel=1e-6, abs=1e-6)


def test_perfect_predictions_cost_nothing_by_the_formula_alone() -> None:
    labels, _ = clips(2, 0)
    assert loss_of(labels, labels) == pytest.approx(0, abs=1e-6)
    assert loss_of(labels, labels, covariance="reference") < -2  # a sum over six frames against a variance
