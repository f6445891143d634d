"""SmoteR and REBAGG: which labels are rare, how often frames count, what new samples are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from utopia.config.study import Distribution
from utopia.distribution.item import ItemDistribution, describe_item
from utopia.errors import ConfigError
from utopia.samplers import rebagg, smoter
from utopia.samplers._relevance import HIGH, LOW, NORMAL, Population, Relevance

CPU = torch.device("cpu")
TEN = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)
D = 5
# quartiles .5 and .6, median .55; outliers .3 and .99, so adjacent values .4 and .7: rare from .475 down and .625 up
LABELS = np.array([0.3, 0.4] + [0.5] * 6 + [0.55] * 5 + [0.6] * 6 + [0.66, 0.7, 0.99])
label_lists = st.one_of(
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
    st.lists(st.sampled_from([0.0, 1.0, 0.5, 0.55, 0.62]), min_size=1, max_size=60),
    st.tuples(st.floats(0, 1), st.integers(1, 30)).map(lambda c: [c[0]] * c[1]),
)
train_sets = st.lists(label_lists.map(np.array), min_size=1, max_size=3)


def chunk_of(labels: Sequence[np.ndarray], seed: int = 0) -> tuple[list[ItemDistribution], Tensor, Tensor]:
    videos = [describe_item(label_T, TEN, 10) for label_T in labels]
    target_R = torch.as_tensor(np.concatenate(labels))
    return videos, target_R, torch.randn(len(target_R), D, generator=generator(seed))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_relevance_by_hand() -> None:
    found = Relevance.of(LABELS)
    assert (found.adjacent_low, found.median, found.adjacent_high) == pytest.approx((0.4, 0.55, 0.7))
    # a third of the way out: 3 (1/3)^2 - 2 (1/3)^3 = 7/27
    phi = found.phi(np.array([0.55, 0.6, 0.625, 0.65, 0.7, 0.99, 0.475, 0.3]))
    assert phi == pytest.approx([0, 7 / 27, 0.5, 20 / 27, 1, 1, 0.5, 1])
    domain = found.domain(np.array([0.55, 0.6, 0.63, 0.99, 0.47, 0.49]), 0.5)
    assert domain.tolist() == [NORMAL, NORMAL, HIGH, HIGH, LOW, NORMAL]


@given(label_lists.map(np.array))
def test_relevance_grows_outwards(label_N: np.ndarray) -> None:
    found = Relevance.of(label_N)
    assert found.adjacent_low <= found.median <= found.adjacent_high
    phi = found.phi(np.sort(label_N))
    assert ((phi >= 0) & (phi <= 1)).all()
    below = np.sort(label_N) <= found.median
    assert (np.diff(phi[below]) <= 1e-12).all() and (np.diff(phi[~below]) >= -1e-12).all()


def test_nothing_is_rare_where_labels_do_not_vary() -> None:
    assert Population.of(np.full(9, 0.3), 0.5).count == (9, 0, 0)
    # no outlier of the box plot on either side, or on one of them: nothing is rare there
    assert Population.of(np.linspace(0, 1, 50), 0.5).count == (50, 0, 0)
    assert Population.of(np.append(np.linspace(0, 1, 50), 9.0), 0.5).count == (38, 0, 13)
    # one label in two values: quartiles and median coincide, the others are outliers and rare
    assert Population.of(np.array([0.3] * 20 + [0.9]), 0.5).count == (20, 0, 1)


def test_balance_by_hand() -> None:
    population = Population.of(LABELS, 0.5)
    assert population.count == (17, 2, 3)  # 22 frames: 22/3 for each domain
    assert smoter.balancing_ratios(population, True) == pytest.approx((22 / 51, 11 / 3, 22 / 9))
    assert smoter.balancing_ratios(population, False)[0] == 1
    assert smoter.balancing_ratios(Population.of(np.full(9, 0.3), 0.5), True) == (1, 1, 1)
    # two domains: 10 normal, 12 high; rare ones never shrink
    assert smoter.balancing_ratios(Population(population.relevance, (10, 0, 12)), True) == (1, 1, 1)


def test_smoter_counts_and_interpolates() -> None:
    videos, target_R, features = chunk_of([LABELS])
    sampler = smoter.build(smoter.Config(scope="per_video"), videos, target_R, CPU)
    low, high, normal = [0, 1], [19, 20, 21], list(range(2, 19))
    assert sum(one.sum() for one in sampler.needs) == round(2 * 8 / 3) + round(3 * 13 / 9)
    kept, random = torch.zeros(len(LABELS)), generator(1)
    for _ in range(300):
        new = sampler.draw(features, random)
        assert len(new.target_Q) == 9 and new.count_R[normal].sum() == round(17 * 22 / 51)
        assert (new.count_R[low + high] == 1).all()
        kept += new.count_R
        for number, (f, y) in enumerate(zip(new.feature_Qd, new.target_Q, strict=True)):
            ends = low if number < 5 else high
            pairs = [(i, j) for i in ends for j in ends if i < j]
            distances = {(i, j): ((f - features[i]).norm().item(), (f - features[j]).norm().item()) for i, j in pairs}
            (i, j), (d_i, d_j) = min(
                distances.items(),
                key=lambda one: sum(one[1]) - (features[one[0][0]] - features[one[0][1]]).norm().item(),
            )
            assert d_i + d_j == pytest.approx((features[i] - features[j]).norm().item(), rel=1e-5)  # on the segment
            label = (d_j * LABELS[i] + d_i * LABELS[j]) / (d_i + d_j)
            assert y.item() == pytest.approx(label, abs=1e-5)
    assert kept[normal].numpy() == pytest.approx(np.full(17, 300 * 7 / 17), abs=5 * math.sqrt(300 * 7 / 17 * 10 / 17))


def test_needs_are_the_mean_of_what_is_drawn() -> None:
    videos, target_R, features = chunk_of([LABELS, LABELS[::-1].copy()])
    sampler = smoter.build(smoter.Config(scope="per_video"), videos, target_R, CPU)
    random, drawn = generator(2), np.zeros((2, 10))
    for _ in range(400):
        new = sampler.draw(features, random)
        np.add.at(drawn, (new.video_Q.numpy(), new.bin_Q.numpy()), 1)
    assert drawn / 400 == pytest.approx(np.stack(sampler.needs), abs=5 * math.sqrt(5 / 400))


def test_statistics_of_the_training_set() -> None:
    """Labels that are rare among their own are common among all, and the other way round."""
    quiet = np.append(np.linspace(0.5, 0.6, 19), 0.7)
    videos, target_R, features = chunk_of([quiet])
    with pytest.raises(ConfigError, match="training set"):
        smoter.build(smoter.Config(), videos, target_R, CPU)
    own = smoter.build(smoter.Config(scope="per_video"), videos, target_R, CPU)
    assert np.sum(own.needs) > 0
    others = [np.linspace(0, 1, 100), np.array([-3.0, 3.0])]
    pooled = smoter.build(smoter.Config(), videos, target_R, CPU, labels=[quiet, *others])
    assert not np.sum(pooled.needs)
    new = pooled.draw(features, generator())
    assert 0 < new.count_R.sum() < 20  # all of them normal, and thinned out


def test_a_bag_by_hand() -> None:
    """22 frames, half of them in the bag: 5.5 rare ones (there are 5) and 5.5 normal ones (of 17)."""
    population = Population.of(LABELS, 0.5)
    assert rebagg.bag_ratios(population, 0.5, 0.5) == pytest.approx((5.5 / 17, 1.1, 1.1))
    assert rebagg.bag_ratios(population, 2.0, 0.25) == pytest.approx((1, 2.2, 2.2))  # 33 normal ones there are not
    assert rebagg.bag_ratios(population, 0.2, 0.5) == pytest.approx((2.2 / 17, 0.44, 0.44))
    assert rebagg.bag_ratios(Population.of(np.full(10, 0.3), 0.5), 0.5, 0.5) == pytest.approx((0.5, 0, 0))


def test_a_bag_stays_and_follows_the_features() -> None:
    videos, target_R, features = chunk_of([LABELS])
    config = rebagg.Config(scope="per_video", size=1.0)
    sampler, random = rebagg.build(config, videos, target_R, CPU), generator(3)
    first, again = sampler.draw(features, random), sampler.draw(features, random)
    assert torch.equal(first.feature_Qd, again.feature_Qd) and torch.equal(first.count_R, again.count_R)
    doubled = sampler.draw(2 * features, random)
    assert torch.allclose(doubled.feature_Qd, 2 * first.feature_Qd)
    sampler.seed_once(0, 4)
    assert not torch.equal(first.count_R, sampler.draw(features, random).count_R)
    sampler.seed_once(0, 0)
    assert torch.equal(first.count_R, sampler.draw(features, random).count_R)
    # 22 samples: 11 rare, 5 of them there, and 11 normal
    assert len(first.target_Q) == round(2 * 1.2) + round(3 * 1.2) and first.count_R[2:19].sum() == 11


def test_a_bag_smaller_than_what_is_rare_leaves_some_out() -> None:
    videos, target_R, features = chunk_of([np.concatenate([LABELS] * 10)])
    sampler = rebagg.build(rebagg.Config(scope="per_video", size=0.2), videos, target_R, CPU)
    new = sampler.draw(features, generator())
    assert not len(new.target_Q)
    rare = Relevance.of(LABELS).domain(np.concatenate([LABELS] * 10), 0.5) != NORMAL
    assert new.count_R[torch.as_tensor(rare)].sum() == round(20 * 0.44) + round(30 * 0.44)


def test_fills() -> None:
    videos, target_R, features = chunk_of([LABELS])

    def bag(seed: int, **config: Any) -> Any:
        sampler = rebagg.build(rebagg.Config(scope="per_video", size=6.0, **config), videos, target_R, CPU)
        sampler.seed_once(seed, seed)
        return sampler.draw(features, generator())

    doubled = bag(0, fill="duplicate")
    assert all((features == f).all(dim=1).any() for f in doubled.feature_Qd)
    steps = []
    for seed in range(60):
        noisy = bag(seed, fill="noise", delta=1e-3)
        distance, nearest = (noisy.feature_Qd[:, None] - features[[0, 1]]).norm(dim=2).min(dim=1)
        own = distance < 0.1  # of the low domain, two frames
        steps.append((noisy.feature_Qd[own] - features[[0, 1]][nearest[own]]).numpy())
        assert (noisy.target_Q[own] - target_R[nearest[own]]).abs().max() < 1e-3
    step = np.concatenate(steps)
    deviation = features[[0, 1]].std(dim=0, correction=1).numpy()
    assert step.std(axis=0) / (1e-3 * deviation) == pytest.approx(np.ones(D), abs=5 / math.sqrt(2 * len(step)))


def test_noise_does_not_carry_labels_beyond_those_of_the_video() -> None:
    videos, target_R, features = chunk_of([LABELS])
    config = rebagg.Config(scope="per_video", size=6.0, fill="noise", delta=9.0)
    new = rebagg.build(config, videos, target_R, CPU).draw(features, generator())
    assert new.target_Q.min() == LABELS.min() and new.target_Q.max() == LABELS.max()


def test_variation_draws_one_share_for_all_chunks_of_a_member() -> None:
    videos, target_R, features = chunk_of([np.concatenate([LABELS] * 10)])
    config = rebagg.Config(scope="per_video", rare="variation")
    rare = torch.as_tensor(Relevance.of(LABELS).domain(np.concatenate([LABELS] * 10), 0.5) != NORMAL)
    shares = []
    for seed in range(40):
        both = []
        for chunk in range(2):
            sampler = rebagg.build(config, videos, target_R, CPU)
            sampler.seed_once(seed, 100 * seed + chunk)
            new = sampler.draw(features, generator())
            both.append(round((new.count_R[rare].sum().item() + len(new.target_Q)) / 110, 2))
        assert both[0] == both[1]
        shares.append(both[0])
    nearest = [min(rebagg.SHARES, key=lambda one: abs(one - share)) for share in shares]
    assert set(nearest) == set(rebagg.SHARES)
    assert shares == pytest.approx(nearest, abs=2 / 110)  # numbers are rounded in each domain


@settings(deadline=None, max_examples=40)
@given(
    train_sets, st.integers(0, 50), st.sampled_from(["smoter", "rebagg"]), st.sampled_from(["train_set", "per_video"])
)
def test_any_labels(labels: list[np.ndarray], seed: int, name: str, scope: Any) -> None:
    """One frame, constant labels, nothing rare: samples stay in the hull of a video's labels, counts are 0 or 1."""
    videos, target_R, features = chunk_of(labels, seed)
    component: Any = {"smoter": smoter, "rebagg": rebagg}[name]
    sampler = component.build(component.Config(scope=scope), videos, target_R, CPU, labels=labels)
    new = sampler.draw(features, generator(seed))
    assert new.feature_Qd.isfinite().all() and new.count_R.shape == target_R.shape
    assert set(new.count_R.tolist()) <= {0.0, 1.0}
    assert np.stack(sampler.needs).sum() == pytest.approx(len(new.target_Q))
    for number, label_T in enumerate(labels):
        own = new.target_Q[new.video_Q == number]
        assert ((own >= label_T.min() - 1e-9) & (own <= label_T.max() + 1e-9)).all()
        assert len(own) == pytest.approx(sampler.needs[number].sum())


def plain_phi(labels: list[float], at: float) -> float:
    """Relevance as R's UBL defines it: R's `fivenum`, `boxplot.stats`, then a cubic through the control points."""
    x = sorted(labels)
    n = len(x)
    depth = (n + 3) // 2 / 2

    def middle(place: float) -> float:  # places count from 1
        return (x[math.floor(place) - 1] + x[math.ceil(place) - 1]) / 2

    low, median, high = middle(depth), middle((n + 1) / 2), middle(n + 1 - depth)
    fence_low, fence_high = low - 1.5 * (high - low), high + 1.5 * (high - low)
    inside = [value for value in x if fence_low <= value <= fence_high]
    if at == median:
        return 0.0
    rare = x[0] < fence_low if at < median else x[-1] > fence_high
    if not rare:
        return 0.0
    end = min(inside) if at < median else max(inside)
    if (end - median) * (at - median) <= 0 or abs(at - median) >= abs(end - median):
        return 1.0
    t = (at - median) / (end - median)
    return 3 * t**2 - 2 * t**3


@settings(deadline=None, max_examples=150)
@given(st.lists(st.floats(-2, 2).map(lambda v: round(v, 3)), min_size=1, max_size=40), st.floats(-3, 3))
def test_relevance_is_that_of_the_authors_package(labels: list[float], at: float) -> None:
    relevance = Relevance.of(np.array(labels))
    for value in [at, *labels]:
        assert relevance.phi(np.array([value]))[0] == pytest.approx(plain_phi(labels, value), abs=1e-9)
