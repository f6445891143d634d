"""SMOGN and C-Mixup within time slices: which samples are made, and of what, against the formulas."""

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
from utopia.samplers import c_mixup, smogn
from utopia.samplers._neighbours import draw_neighbour, exact_distances, pair, quick_distances, spread
from utopia.samplers._slices import SliceBases

CPU = torch.device("cpu")
TEN = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)
D = 6
label_lists = st.one_of(
    st.lists(st.floats(0, 1), min_size=1, max_size=60),
    st.lists(st.sampled_from([0.0, 1.0, 0.5, 0.55, 0.62]), min_size=1, max_size=60),
    st.tuples(st.floats(0, 1), st.integers(1, 30)).map(lambda c: [c[0]] * c[1]),
    st.lists(st.floats(0.41, 0.49), min_size=1, max_size=30),
)
train_sets = st.lists(label_lists.map(np.array), min_size=1, max_size=3)
# one rare bin (5, one slice of four frames) between frequent ones: it is short of samples
SHORT = np.array([0.45] * 30 + [0.50, 0.52, 0.55, 0.58] + [0.65] * 30)


def chunk_of(labels: Sequence[np.ndarray], seed: int = 0) -> tuple[list[ItemDistribution], Tensor, Tensor]:
    """Distributions, labels and features of a chunk."""
    videos = [describe_item(label_T, TEN, 10) for label_T in labels]
    target_R = torch.as_tensor(np.concatenate(labels), dtype=torch.float32)
    features = torch.randn(len(target_R), D, generator=torch.Generator().manual_seed(seed))
    return videos, target_R, features


def built(component: Any, videos: Sequence[ItemDistribution], target_R: Tensor, **config: Any) -> Any:
    """A sampler with these settings, on labels of the range [0, 1]."""
    given = {"span": 1.0} if component is c_mixup else {}
    return component.build(component.Config(**config), videos, target_R, CPU, **given)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def range_of(videos: Sequence[ItemDistribution], row: int, field: str) -> tuple[int, int]:
    """The slice (or its window) that holds a row of the chunk, by search."""
    offset = 0
    for video in videos:
        if row < offset + len(video.bin):
            for own, found in zip(video.slice, getattr(video, field), strict=True):
                if own[0] <= row - offset < own[1]:
                    return int(found[0] + offset), int(found[1] + offset)
        offset += len(video.bin)
    raise AssertionError


@settings(deadline=None, max_examples=50)
@given(train_sets, st.sampled_from(["slice", "window"]))
def test_bases_are_frames_of_the_short_bins_and_as_many_as_planned(labels: list[np.ndarray], candidates: Any) -> None:
    videos, _, _ = chunk_of(labels)
    bases = SliceBases(videos, candidates, CPU)
    row_Q = bases.draw(generator()).numpy()
    bin_R = np.concatenate([video.bin for video in videos])
    video_R = np.repeat(np.arange(len(videos)), [len(video.bin) for video in videos])
    assert bin_R[row_Q].tolist() == bases.bin_Q.tolist()
    assert video_R[row_Q].tolist() == bases.video_Q.tolist()
    for number, video in enumerate(videos):
        made = np.bincount(bases.bin_Q[bases.video_Q == number], minlength=10)
        assert made.tolist() == video.samples_needed.tolist() == bases.needs[number].tolist()
    for row in row_Q.tolist():
        expected = range_of(videos, row, candidates)
        assert tuple(bases.range_R2[row].tolist()) == expected
        assert expected[1] - expected[0] <= bases.longest


def test_slices_start_samples_in_proportion_to_their_length() -> None:
    # bin 5 has slices of 1 and 3 frames (Eq. 3: probabilities 1/4 and 3/4)
    label_T = np.array([0.45] * 30 + [0.5] + [0.65] * 30 + [0.5, 0.51, 0.52] + [0.45] * 30)
    videos, _, _ = chunk_of([label_T])
    bases = SliceBases(videos, "slice", CPU)
    random, counts = generator(1), np.zeros(len(label_T))
    for _ in range(400):
        row_Q = bases.draw(random)
        counts += np.bincount(row_Q[bases.bin_Q == 5], minlength=len(label_T))
    drawn = counts.sum()
    assert drawn == 400 * videos[0].samples_needed[5]
    assert counts[[30, 61, 62, 63]] / drawn == pytest.approx(np.full(4, 0.25), abs=5 * math.sqrt(0.1875 / drawn))


# ---------------------------------------------------------------------------------------------------------------- SMOGN


def test_neighbours_by_hand() -> None:
    # pool of rows 1..5 on a line, at 0, 1, 3, 6, 10: medians of all five distances from 0 and from 3
    line = torch.tensor([[99.0], [0.0], [1.0], [3.0], [6.0], [10.0], [-99.0]])
    base_Q = torch.tensor([1, 1, 1, 3])
    pairs = pair(None, torch.tensor([[1, 6]] * 4))
    chance_Q = torch.tensor([0.0, 0.34, 0.99, 0.0], dtype=torch.float64)
    found = draw_neighbour(exact_distances(line, base_Q, pairs), base_Q, pairs, 3, chance_Q)
    assert found.row_Q.tolist() == [2, 3, 4, 2]  # row 3's neighbours: 2 (distance 2), 1 (3), 4 (3)
    assert found.distance_Q.tolist() == [1, 3, 6, 2]
    assert found.median_Q.tolist() == [3, 3, 3, 3]
    values = line[1:6]
    assert spread(line, base_Q, pairs)[0].item() == pytest.approx(values.std(correction=1).item())


def test_a_row_alone_is_its_own_neighbour() -> None:
    features, base_Q = torch.randn(3, 2, generator=generator()), torch.tensor([1])
    pairs = pair(None, torch.tensor([[1, 2]]))
    distance_P = exact_distances(features, base_Q, pairs)
    found = draw_neighbour(distance_P, base_Q, pairs, 5, torch.tensor([0.7], dtype=torch.float64))
    assert (found.row_Q.item(), found.distance_Q.item(), found.median_Q.item()) == (1, math.inf, math.inf)
    assert spread(features, base_Q, pairs).tolist() == [[0, 0]]


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 500))
def test_neighbours_against_a_loop(rows: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    features = torch.tensor(random.normal(size=(rows + 4, 3)))
    base = int(random.integers(2, rows + 2))
    chance = float(random.random())
    pairs, base_Q = pair(None, torch.tensor([[2, rows + 2]])), torch.tensor([base])
    distance_P = exact_distances(features, base_Q, pairs)
    assert quick_distances(features, base_Q, pairs).numpy() == pytest.approx(distance_P.numpy(), abs=1e-6)
    found = draw_neighbour(distance_P, base_Q, pairs, k, torch.tensor([chance]))
    others = sorted((float((features[row] - features[base]).norm()), row) for row in range(2, rows + 2) if row != base)
    if not others:
        return
    near = others[:k]
    distance, row = near[min(len(near) - 1, int(np.float32(chance) * len(near)))]
    assert found.row_Q.item() == row
    assert found.distance_Q.item() == pytest.approx(distance)
    assert found.median_Q.item() == pytest.approx(np.median([0.0, *(one for one, _ in others)]))


def smogn_on(labels: Sequence[np.ndarray], features: Tensor | None = None, **config: Any) -> tuple[Any, Tensor, Tensor]:
    videos, target_R, random = chunk_of(labels)
    sampler = smogn.build(smogn.Config(**config), videos, target_R, CPU)
    return sampler, target_R, random if features is None else features


def test_interpolation_between_near_frames() -> None:
    """Two frames are near one another, two far from all: the pair is interpolated, the far frames get noise."""
    label_T = np.array([0.45] * 30 + [0.50, 0.52, 0.58, 0.54] + [0.65] * 30)
    features = torch.zeros(64, D)
    features[31, 0], features[32, 1], features[33, 2] = 1.0, 40.0, 60.0
    sampler, _, features = smogn_on([label_T], features, k=1)
    random, interpolated, noisy = generator(2), 0, 0
    for _ in range(60):
        new = sampler.draw(features, random)
        for f, y, k in zip(new.feature_Qd, new.target_Q, new.bin_Q, strict=True):
            if k != 5:
                continue
            if f[1] < 20 and f[2] < 20:  # of the pair, at distances d_i and d_j from its ends
                interpolated += 1
                d_i, d_j = (f - features[30]).norm().item(), (f - features[31]).norm().item()
                assert d_i + d_j == pytest.approx(1, abs=1e-5)  # on the segment
                assert y.item() == pytest.approx((d_j * 0.50 + d_i * 0.52) / (d_i + d_j), abs=1e-6)
            else:
                noisy += 1
                base = 32 if f[1] > 20 else 33
                assert (f - features[base]).abs().max() > 0
                assert abs(y.item() - label_T[base]) < 6 * 0.02 * np.std([0.50, 0.52, 0.58, 0.54], ddof=1)
    share = interpolated / (interpolated + noisy)
    assert share == pytest.approx(1 / 2, abs=5 * math.sqrt(1 / 4 / (interpolated + noisy)))


def test_noise_where_no_frame_is_near() -> None:
    """Three frames at equal distances: half the median is never undercut; noise of .02 deviations of the slice."""
    label_T = np.array([0.45] * 30 + [0.50, 0.54, 0.58] + [0.65] * 30)
    features = torch.zeros(63, D)
    features[30, 0] = features[31, 1] = features[32, 2] = 5.0
    sampler, target_R, features = smogn_on([label_T], features)
    random, steps, label_steps = generator(3), [], []
    for _ in range(500):
        new = sampler.draw(features, random)
        own = new.bin_Q == 5
        base = 30 + new.feature_Qd[own, :3].argmax(dim=1)
        steps.append((new.feature_Qd[own] - features[base]).numpy())
        label_steps.append((new.target_Q[own] - target_R[base]).numpy())
    step, label_step = np.concatenate(steps), np.concatenate(label_steps)
    deviation = 5 * math.sqrt(1 / 3)  # of (5, 0, 0), n - 1 below
    error = 5 / math.sqrt(2 * len(step))
    assert step[:, :3].std(axis=0) / (0.02 * deviation) == pytest.approx(np.ones(3), abs=error)
    assert not step[:, 3:].any()  # dimensions that do not vary in the slice
    assert label_step.std() / (0.02 * np.std([0.50, 0.54, 0.58], ddof=1)) == pytest.approx(1, abs=error)
    assert abs(np.corrcoef(step[:, 0], step[:, 1])[0, 1]) < error * 2


def test_noise_never_exceeds_half_the_median() -> None:
    """Features that nearly coincide: the deviation is capped by half the median distance."""
    label_T = np.array([0.45] * 30 + [0.50, 0.54, 0.58] + [0.65] * 30)
    features = torch.zeros(63, 3, dtype=torch.float64)
    for row in range(3):
        features[30 + row, row] = 0.01
    sampler, _, features = smogn_on([label_T], features, pert=5.0)
    random, steps = generator(4), []
    for _ in range(300):
        new = sampler.draw(features, random)
        at = new.feature_Qd[new.bin_Q == 5]
        steps.append((at - features[30 + at.argmax(dim=1)]).numpy())
    half_median, deviation = 0.01 * math.sqrt(2) / 2, 0.01 * math.sqrt(1 / 3)
    step = np.concatenate(steps)
    assert step.std() / (half_median * deviation) == pytest.approx(1, abs=5 / math.sqrt(2 * step.size))


def test_noise_does_not_carry_labels_beyond_those_of_the_video() -> None:
    label_T = np.array([0.9] * 30 + [1.0, 0.8, 0.95, 0.85] * 5)
    sampler, target_R, features = smogn_on([label_T], pert=50.0, spread="video")
    new = sampler.draw(features, generator(1))
    assert new.target_Q.min() == target_R.min() and new.target_Q.max() == target_R.max()


def test_one_frame_slices() -> None:
    label_T = np.array([0.45] * 30 + [0.5] + [0.65] * 30)
    sampler, target_R, features = smogn_on([label_T])
    new = sampler.draw(features, generator())
    own = new.bin_Q == 5
    assert own.sum() == sampler.needs[0][5] > 0
    assert (new.feature_Qd[own] == features[30]).all() and (new.target_Q[own] == target_R[30]).all()
    spread_by_video, _, _ = smogn_on([label_T], spread="video")
    new = spread_by_video.draw(features, generator())
    assert (new.feature_Qd[new.bin_Q == 5] != features[30]).all()
    windowed, _, _ = smogn_on([label_T], candidates="window")
    new = windowed.draw(features, generator())
    assert (new.feature_Qd[new.bin_Q == 5] != features[30]).any()


def on_a_segment(point: Tensor, ends: Tensor) -> bool:
    """Whether a point lies between two of the rows."""
    for i in range(len(ends)):
        for j in range(len(ends)):
            direct = (ends[i] - ends[j]).norm()
            if abs((point - ends[i]).norm() + (point - ends[j]).norm() - direct) <= 1e-5 * (1 + direct):
                return True
    return False


@settings(deadline=None, max_examples=25)
@given(train_sets, st.integers(0, 100))
def test_smogn_samples_lie_between_frames_of_a_slice_of_their_bin_or_near_one(
    labels: list[np.ndarray], seed: int
) -> None:
    videos, target_R, features = chunk_of(labels, seed)
    sampler = smogn.build(smogn.Config(pert=1e-6), videos, target_R, CPU)
    new = sampler.draw(features, generator(seed))
    assert new.feature_Qd.shape == (len(new.bin_Q), D) and new.feature_Qd.isfinite().all()
    assert np.bincount(new.video_Q, minlength=len(videos)).tolist() == [int(one.samples_needed.sum()) for one in videos]
    bin_R = torch.as_tensor(np.concatenate([video.bin for video in videos]))
    video_R = torch.repeat_interleave(torch.arange(len(videos)), torch.tensor([len(label_T) for label_T in labels]))
    for f, y, k, v in zip(new.feature_Qd, new.target_Q, new.bin_Q, new.video_Q, strict=True):
        own = (bin_R == k) & (video_R == v)
        assert target_R[own].min() - 1e-5 <= y <= target_R[own].max() + 1e-5
        near = [range_of(videos, row, "slice") for row in torch.nonzero(own).flatten().tolist()]
        assert any(on_a_segment(f, features[first:last]) for first, last in set(near))


@pytest.mark.parametrize("component", [smogn, c_mixup])
def test_gradients_are_kept_out_unless_asked_for(component: Any) -> None:
    videos, target_R, features = chunk_of([SHORT])
    features.requires_grad_()
    new = built(component, videos, target_R).draw(features, generator())
    assert not new.feature_Qd.requires_grad
    new = built(component, videos, target_R, gradient="reparam").draw(features, generator())
    new.feature_Qd.sum().backward()
    assert features.grad is not None
    # a new sample is a weighted mean of two frames, or one frame and noise: its gradient adds up to one
    assert features.grad.sum().item() == pytest.approx(D * len(new.bin_Q), rel=1e-5)
    assert not features.grad[:30].any() or videos[0].samples_needed[4] > 0


@pytest.mark.parametrize("component", [smogn, c_mixup])
def test_same_stream_same_samples_and_other_pass_other_samples(component: Any) -> None:
    videos, target_R, features = chunk_of([SHORT, SHORT[::-1].copy()])
    sampler = built(component, videos, target_R)
    one, two, random = sampler.draw(features, generator(7)), sampler.draw(features, generator(7)), generator(7)
    assert torch.equal(one.feature_Qd, two.feature_Qd) and torch.equal(one.target_Q, two.target_Q)
    first, second = sampler.draw(features, random), sampler.draw(features, random)
    assert not torch.equal(first.feature_Qd, second.feature_Qd)


# -------------------------------------------------------------------------------------------------------------- C-Mixup


def mixed(new: Any, features: Tensor, target_R: Tensor, rows: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Base, partner and lambda of the samples of bin 5, recovered from orthogonal features of its rows."""
    own = new.feature_Qd[new.bin_Q == 5]
    share = own[:, : len(rows)]
    assert share.sum(dim=1).numpy() == pytest.approx(np.ones(len(own)), abs=1e-5)
    labels = share @ target_R[rows.start : rows.stop]
    assert labels.numpy() == pytest.approx(new.target_Q[new.bin_Q == 5].numpy(), abs=1e-5)  # labels are mixed alike
    assert ((share > 0).sum(dim=1) <= 2).all()
    return share.numpy(), own.numpy(), labels.numpy()


def orthogonal(rows: range, total: int) -> Tensor:
    features = torch.zeros(total, len(rows))
    features[rows.start : rows.stop] = torch.eye(len(rows))
    return features


@pytest.mark.parametrize(("h", "span"), [(0.03, 1.0), (0.015, 2.0), (0.5, 1.0)])
def test_partners_follow_the_kernel(h: float, span: float) -> None:
    """Frequencies of unordered pairs against P(i) P(j | i) + P(j) P(i | j), P(j | i) ~ exp(-(y_i - y_j)^2 / 2 h^2)."""
    rows, label = range(30, 34), SHORT[30:34]
    videos, target_R, _ = chunk_of([SHORT])
    features = orthogonal(rows, len(SHORT))
    sampler = c_mixup.build(c_mixup.Config(h=h, mixing="per_sample"), videos, target_R, CPU, span)
    random, counts = generator(11), np.zeros((4, 4))
    for _ in range(1500):
        share, _, _ = mixed(sampler.draw(features, random), features, target_R, rows)
        for one in share:
            at = np.flatnonzero(one > 1e-6)
            counts[at[0], at[-1]] += 1
    kernel = np.exp(-((label[:, None] - label) ** 2) / (2 * (h * span) ** 2))
    probability = kernel / kernel.sum(axis=1, keepdims=True) / 4
    expected = np.triu(probability + probability.T - np.diag(np.diag(probability)))
    drawn = counts.sum()
    assert drawn == 1500 * videos[0].samples_needed[5]
    found = counts / drawn
    assert (np.abs(found - expected) < 5 * np.sqrt(expected * (1 - expected) / drawn) + 1e-9).all()


@pytest.mark.parametrize("a", [0.5, 1.0, 1.5, 2.0, 7.0])
def test_shares_are_beta_distributed(a: float) -> None:
    from scipy import stats

    share = c_mixup.symmetric_beta(a, 20000, generator(5), CPU).numpy()
    assert ((share >= 0) & (share <= 1)).all()
    assert stats.kstest(share, stats.beta(a, a).cdf).pvalue > 1e-4
    assert share.var() == pytest.approx(1 / (4 * (2 * a + 1)), rel=0.05)


def test_the_range_of_the_training_labels_stands_in_for_the_label_range() -> None:
    videos, target_R, features = chunk_of([SHORT])
    wide = [SHORT, np.array([-0.5, 1.5])]
    given = c_mixup.build(c_mixup.Config(h=0.01), videos, target_R, CPU, span=2.0).draw(features, generator(1))
    measured = c_mixup.build(c_mixup.Config(h=0.01), videos, target_R, CPU, labels=wide).draw(features, generator(1))
    assert torch.equal(given.feature_Qd, measured.feature_Qd)
    with pytest.raises(ConfigError, match="label range"):
        c_mixup.build(c_mixup.Config(), videos, target_R, CPU)


def test_one_share_for_a_video_or_one_for_each_sample() -> None:
    rows = range(30, 34)
    videos, target_R, _ = chunk_of([SHORT])
    features = orthogonal(rows, len(SHORT))

    def shares(mixing: Any, seed: int) -> set[float]:
        sampler = built(c_mixup, videos, target_R, h=9.0, mixing=mixing)
        share, _, _ = mixed(sampler.draw(features, generator(seed)), features, target_R, rows)
        return {round(float(min(one[one > 0])), 4) for one in share if (one > 0).sum() == 2}

    assert all(len(shares("per_video", seed)) <= 1 for seed in range(8))
    assert len(set().union(*(shares("per_video", seed) for seed in range(8)))) > 4
    assert max(len(shares("per_sample", seed)) for seed in range(8)) > 2


def test_videos_of_a_chunk_have_their_own_shares() -> None:
    videos, target_R, _ = chunk_of([SHORT, SHORT])
    features = torch.cat([orthogonal(range(30, 34), 64), orthogonal(range(30, 34), 64)])
    sampler = built(c_mixup, videos, target_R, h=9.0)
    found: list[set[float]] = [set(), set()]
    random = generator(1)
    new = sampler.draw(features, random)
    for f, k, v in zip(new.feature_Qd, new.bin_Q, new.video_Q, strict=True):
        if k == 5 and (f > 0).sum() == 2:
            found[int(v)].add(round(float(f[f > 0].min()), 4))
    assert len(found[0]) == len(found[1]) == 1 and found[0] != found[1]


@settings(deadline=None, max_examples=25)
@given(train_sets, st.integers(0, 100), st.sampled_from(["slice", "window"]))
def test_mixtures_lie_between_candidates(labels: list[np.ndarray], seed: int, candidates: Any) -> None:
    videos, target_R, features = chunk_of(labels, seed)
    new = built(c_mixup, videos, target_R, candidates=candidates).draw(features, generator(seed))
    assert new.feature_Qd.shape == (len(new.bin_Q), D)
    bin_R = torch.as_tensor(np.concatenate([video.bin for video in videos]))
    video_R = torch.repeat_interleave(torch.arange(len(videos)), torch.tensor([len(label_T) for label_T in labels]))
    for f, k, v in zip(new.feature_Qd, new.bin_Q, new.video_Q, strict=True):
        rows = torch.nonzero((bin_R == k) & (video_R == v)).flatten().tolist()
        ranges = {range_of(videos, row, candidates) for row in rows}
        assert any(on_a_segment(f, features[first:last]) for first, last in ranges)


@pytest.mark.parametrize("component", [smogn, c_mixup])
@pytest.mark.parametrize("label_T", [np.full(12, 0.3), np.array([0.7]), np.linspace(0.41, 0.49, 20)], ids=str)
def test_nothing_is_short(component: Any, label_T: np.ndarray) -> None:
    """Constant labels, one frame, all labels in one bin: bins beside it are short but have no frame to start from."""
    videos, target_R, features = chunk_of([label_T])
    sampler = built(component, videos, target_R)
    new = sampler.draw(features, generator())
    assert new.feature_Qd.shape == (0, D) and new.target_Q.shape == new.bin_Q.shape == new.video_Q.shape == (0,)
    assert not np.concatenate(sampler.needs).any()


@pytest.mark.parametrize("component", [smogn, c_mixup])
def test_features_that_do_not_vary(component: Any) -> None:
    videos, target_R, _ = chunk_of([SHORT])
    features = torch.full((len(SHORT), D), 0.3)
    new = built(component, videos, target_R).draw(features, generator())
    assert (new.feature_Qd == 0.3).all() and new.target_Q.isfinite().all() and len(new.target_Q)
