"""RankSim: ranks, the term and its black-box gradient against loops in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from utopia.losses import rank_sim
from utopia.losses._common import Batch

LAMBDA = 2.0


def ranks(score: list[float]) -> list[float]:
    """Place of each score divided by n: one more than how many are larger, or equal and further back."""
    places = [
        1 + sum(other > own or (other == own and j > i) for j, other in enumerate(score)) for i, own in enumerate(score)
    ]
    return [place / len(score) for place in places]


def term(features: np.ndarray, labels: list[int]) -> float:
    norm = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.maximum(norm, 1e-12)
    total = 0.0
    for i in range(len(labels)):
        by_label = ranks([-abs(labels[i] - other) for other in labels])
        by_feature = ranks([float(unit[i] @ other) for other in unit])
        total += sum((a - b) ** 2 for a, b in zip(by_feature, by_label, strict=True)) / len(labels)
    return total


def batch_of(features: np.ndarray | Tensor, bins: list[int], video: list[int] | None = None) -> Batch:
    feature_Rd = features if isinstance(features, Tensor) else torch.as_tensor(features)
    video_R = torch.tensor(video or [0] * len(bins))
    row_R = torch.zeros(len(bins), dtype=feature_Rd.dtype)
    return Batch(row_R, row_R + 0.5, row_R + 1 / len(bins), video_R, torch.tensor(bins), feature_Rd)


def loss_of(gamma: float = 1.0) -> rank_sim.RankSimilarity:
    loss = rank_sim.build(rank_sim.Config(gamma=gamma, interpolation=LAMBDA))
    assert isinstance(loss, rank_sim.RankSimilarity)
    loss.generator = torch.Generator().manual_seed(0)
    return loss


def test_rank_by_hand() -> None:
    assert rank_sim.rank(torch.tensor([0.1, 0.9, 0.5, 0.9])).tolist() == [4, 2, 3, 1]
    assert rank_sim.rank(torch.tensor([[3.0, 1.0], [1.0, 3.0]])).tolist() == [[1, 2], [2, 1]]


def test_of_two_labels_as_near_the_later_ranks_first() -> None:
    # seen from bin 2, bins 1 and 3 are as near: the authors' order is 2, 3, 1. Features in that order cost nothing.
    angle = np.deg2rad([90, 0, 80])
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    bins = [1, 2, 3]
    assert loss_of().ranking(batch_of(features, bins)).item() == pytest.approx(term(features, bins))
    by_label, by_feature = ranks([-1, 0, -1]), ranks((features @ features[1]).tolist())
    assert by_label == by_feature == pytest.approx([1, 1 / 3, 2 / 3])


def test_features_in_the_order_of_labels_cost_nothing() -> None:
    angle = np.deg2rad([0, 10, 21, 33])  # gaps grow, so no ties: nearest in label is nearest in angle, row by row
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert loss_of().ranking(batch_of(features, [0, 2, 5, 9])).item() == 0


def test_three_rows_by_hand() -> None:
    # labels 0, 1, 3; features at 0, 90 and 20 degrees: rows 0 and 2 are near, but their labels far apart
    angle = np.deg2rad([0, 90, 20])
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    # row 0: labels rank 1 2 3, features 1 3 2; row 1: 2 1 3 against 3 1 2; row 2: 3 2 1 against 2 3 1;
    # each 2 (1/3)^2 / 3
    assert loss_of().ranking(batch_of(features, [0, 1, 3])).item() == pytest.approx(3 * 2 / 27)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=9, unique=True), st.integers(0, 1000))
def test_term_against_loops(bins: list[int], seed: int) -> None:
    bins = sorted(bins)
    features = np.random.default_rng(seed).normal(size=(len(bins), 4))
    assert loss_of().ranking(batch_of(features, bins)).item() == pytest.approx(term(features, bins))


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 1000))
def test_videos_are_ranked_apart_and_rows_may_stand_in_any_order(one: int, two: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    features = random.normal(size=(one + two, 3))
    bins = [*range(one), *range(two)]
    order = random.permutation(one + two)
    video = [0] * one + [1] * two
    mixed = batch_of(features[order], [bins[i] for i in order], [video[i] for i in order])
    expected = term(features[:one], bins[:one]) + term(features[one:], bins[one:])
    assert loss_of().ranking(mixed).item() == pytest.approx(expected)


def gradient_by_hand(features: np.ndarray, labels: list[int]) -> np.ndarray:
    """Of the term: each row of similarities by the black-box rule, the cosine by finite differences."""
    n = len(labels)

    def similarity(x: np.ndarray) -> np.ndarray:
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        return unit @ unit.T

    s, above = similarity(features), np.zeros((n, n))
    for i in range(n):
        by_label, by_feature = ranks([-abs(labels[i] - other) for other in labels]), ranks(s[i].tolist())
        g = np.array([2 * (a - b) / n for a, b in zip(by_feature, by_label, strict=True)])
        moved = ranks((s[i] + LAMBDA * g).tolist())
        above[i] = -(np.array(by_feature) - np.array(moved)) / (LAMBDA + 1e-8)
    found = np.zeros_like(features)
    for at in np.ndindex(*features.shape):
        step = np.zeros_like(features)
        step[at] = 1e-6
        found[at] = (above * (similarity(features + step) - similarity(features - step))).sum() / 2e-6
    return found


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 7), st.integers(0, 1000))
def test_black_box_gradient_against_finite_rank_differences(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    features, bins = random.normal(size=(n, 3)), sorted(random.choice(20, n, replace=False).tolist())
    feature_Rd = torch.tensor(features, requires_grad=True)
    loss_of().ranking(batch_of(feature_Rd, bins)).backward()
    assert feature_Rd.grad is not None
    assert feature_Rd.grad.numpy() == pytest.approx(gradient_by_hand(features, bins), abs=1e-6)


def test_descent_along_the_gradient_ranks_better() -> None:
    features = torch.tensor(np.random.default_rng(5).normal(size=(8, 6)), requires_grad=True)
    batch, loss = batch_of(features, list(range(8))), loss_of()
    before = loss.ranking(batch).item()
    for _ in range(200):
        features.grad = None
        loss.ranking(batch).backward()
        with torch.no_grad():
            features -= 0.5 * features.grad
    assert loss.ranking(batch).item() < 0.3 * before


def test_every_row_of_a_bin_represents_it_as_often() -> None:
    video_R, bin_R = torch.tensor([0, 0, 0, 1, 1, 0]), torch.tensor([3, 3, 3, 3, 0, 5])
    generator = torch.Generator().manual_seed(1)
    counts = np.zeros(6)
    for _ in range(3000):
        chosen = rank_sim.representatives(video_R, bin_R, generator)
        assert [(int(video_R[row]), int(bin_R[row])) for row in chosen] == [(0, 3), (0, 5), (1, 0), (1, 3)]
        counts[chosen.numpy()] += 1
    assert counts[[3, 4, 5]].tolist() == [3000] * 3
    assert counts[:3] == pytest.approx(np.full(3, 1000), abs=5 * math.sqrt(3000 * 2 / 9))


def test_term_is_added_to_the_squared_error() -> None:
    angle = np.deg2rad([0, 90, 20])
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert loss_of(0.5)(batch_of(features, [0, 1, 3])).item() == pytest.approx(0.25 + 0.5 * 6 / 27)


@pytest.mark.parametrize("bins", [[4], [4, 4, 4]])
def test_one_bin_has_no_order(bins: list[int]) -> None:
    feature_Rd = torch.zeros(len(bins), 2, requires_grad=True)
    value = loss_of()(batch_of(feature_Rd, bins))
    value.backward()
    assert value.item() == pytest.approx(0.25)
    assert feature_Rd.grad is not None and feature_Rd.grad.isfinite().all()
