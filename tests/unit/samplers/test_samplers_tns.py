"""TNS: the drawn distribution against the weighted moments, and its invariants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from utopia.config.study import Distribution
from utopia.distribution.histogram import bin_index
from utopia.distribution.item import ItemDistribution, describe_item
from utopia.samplers import tns
from utopia.samplers._common import Samples

SUMMARY = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)
CPU = torch.device("cpu")
labels = st.lists(st.integers(0, 20).map(lambda v: v / 20), min_size=1, max_size=60).map(np.array)


def draw(
    config: tns.Config, tracks: list[np.ndarray], feature_Rd: torch.Tensor, seed: int = 0, window: int = 10
) -> Samples:
    videos = [describe_item(label_T, SUMMARY, window) for label_T in tracks]
    target = torch.tensor(np.concatenate(tracks), dtype=torch.float32)
    return tns.build(config, videos, target, CPU).draw(feature_Rd, torch.Generator().manual_seed(seed))


def one_short_bin(need: int) -> tuple[np.ndarray, ItemDistribution]:
    """Twenty frames; bin 3 holds two slices, frames 4 to 9 and 14 to 15, and lacks `need` samples."""
    label_T = np.full(20, 0.5)
    label_T[4:10] = [0.31, 0.32, 0.33, 0.34, 0.35, 0.36]
    label_T[14:16] = [0.38, 0.39]
    video = describe_item(label_T, SUMMARY, 10)
    utopia = video.count.copy()
    utopia[3] += need
    return label_T, replace(video, utopia_count=utopia)


def many(need: int, seed: int, **switches: str) -> tuple[np.ndarray, ItemDistribution, torch.Tensor, Samples]:
    label_T, video = one_short_bin(need)
    feature_Rd = torch.randn(20, 5, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 2, 0.5, 3, 1]) + 2
    config = tns.Config.model_validate(switches)
    sampler = tns.build(config, [video], torch.tensor(label_T, dtype=torch.float32), CPU)
    return label_T, video, feature_Rd, sampler.draw(feature_Rd, torch.Generator().manual_seed(seed))


def moments(video: ItemDistribution, number: int, feature_Rd: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """mu and Sigma of Eq. 6, written out."""
    first, last = video.window[number]
    c = video.coefficient[number, : last - first]
    f = feature_Rd[first:last].double().numpy()
    mu = (c[:, None] * f).sum(axis=0)
    return mu, sum(ci * np.outer(fi - mu, fi - mu) for ci, fi in zip(c, f, strict=True))


def test_mean_and_covariance_are_those_of_eq_5() -> None:
    label_T, _, feature_Rd, _ = many(1, 0)
    label_T[14:16] = 0.5  # leave one slice
    alone = describe_item(label_T, SUMMARY, 10)
    utopia = alone.count.copy()
    utopia[3] += 200_000
    sampler = tns.build(
        tns.Config(), [replace(alone, utopia_count=utopia)], torch.tensor(label_T, dtype=torch.float32), CPU
    )
    new = sampler.draw(feature_Rd, torch.Generator().manual_seed(3)).feature_Qd.double().numpy()
    mu, sigma = moments(alone, int(np.flatnonzero(alone.slice_bin == 3)[0]), feature_Rd)
    assert len(new) == 200_000
    # standard errors: sqrt(sigma_ii / Q) of a mean, sqrt((sigma_ii sigma_jj + sigma_ij^2) / Q) of a covariance
    variance = np.diag(sigma)
    assert (np.abs(new.mean(axis=0) - mu) < 5 * np.sqrt(variance / len(new))).all()
    error = np.sqrt((np.outer(variance, variance) + sigma**2) / len(new))
    assert (np.abs(np.cov(new.T) - sigma) < 5 * error).all()


def test_diagonal_and_jitter_covariance() -> None:
    label_T, _ = one_short_bin(50_000)
    label_T[14:16] = 0.5
    alone = describe_item(label_T, SUMMARY, 10)
    utopia = alone.count.copy()
    utopia[3] += 50_000
    alone = replace(alone, utopia_count=utopia)
    feature_Rd = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    mu, sigma = moments(alone, int(np.flatnonzero(alone.slice_bin == 3)[0]), feature_Rd)
    target = torch.tensor(label_T, dtype=torch.float32)
    for config, wanted in (
        (tns.Config(covariance="diagonal"), np.diag(np.diag(sigma))),
        (tns.Config(covariance="jitter", jitter=0.5), sigma + 0.5 * np.eye(3)),
    ):
        new = tns.build(config, [alone], target, CPU).draw(feature_Rd, torch.Generator().manual_seed(3)).feature_Qd
        assert np.cov(new.numpy().T) == pytest.approx(wanted, abs=0.04)
        assert new.mean(dim=0).numpy() == pytest.approx(mu, abs=0.03)


def test_slices_are_picked_by_their_length() -> None:
    _, _, _, new = many(40_000, 2)
    long = (new.target_Q < 0.37).double().mean().item()  # six of the eight frames of the bin
    assert long == pytest.approx(6 / 8, abs=5 * np.sqrt(0.75 * 0.25 / 40_000))


@pytest.mark.parametrize("similarity", ["euclidean", "cosine"])
def test_a_sample_takes_the_label_of_the_nearest_frame_of_its_slice(similarity: str) -> None:
    label_T, _, feature_Rd, new = many(300, 4, similarity=similarity)
    f, q = feature_Rd.double().numpy(), new.feature_Qd.double().numpy()
    if similarity == "cosine":
        f, q = f / np.linalg.norm(f, axis=1, keepdims=True), q / np.linalg.norm(q, axis=1, keepdims=True)
    allowed = [{label_T[r + np.argmin(((f[r:s] - x) ** 2).sum(axis=1))] for r, s in ((4, 10), (14, 16))} for x in q]
    assert all(
        any(abs(y - label) < 1e-6 for label in near) for y, near in zip(new.target_Q.tolist(), allowed, strict=True)
    )
    assert len(set(new.target_Q.tolist())) > 3


def test_candidates_of_the_window_may_lie_in_another_bin() -> None:
    _, _, _, new = many(2000, 4, candidates="window")
    assert (new.target_Q == 0.5).any()


@settings(deadline=None)
@given(st.lists(labels, min_size=1, max_size=3), st.integers(1, 15), st.sampled_from(["half_even", "floor", "ceil"]))
def test_count_and_bin_invariants(tracks: list[np.ndarray], window: int, rounding: str) -> None:
    rows = sum(map(len, tracks))
    feature_Rd = torch.randn(rows, 4, generator=torch.Generator().manual_seed(0))
    config = tns.Config(window=window, rounding=rounding)  # type: ignore[arg-type]
    new = draw(config, tracks, feature_Rd, window=window)
    for number, label_T in enumerate(tracks):
        video = describe_item(label_T, SUMMARY, window)
        own = new.video_Q == number
        found = torch.bincount(new.bin_Q[own], minlength=10).numpy()
        if rounding == "half_even":
            assert found.tolist() == video.samples_needed.tolist()
        else:
            short = np.where(video.count > 0, np.maximum(0, video.utopia_count - video.count), 0)
            assert found.tolist() == (np.floor(short) if rounding == "floor" else np.ceil(short)).tolist()
        target_Q = new.target_Q[own].double().numpy()
        if len(target_Q):
            assert bin_index(target_Q, SUMMARY).tolist() == new.bin_Q[own].tolist()
            assert set(np.round(target_Q, 6)) <= set(np.round(label_T, 6))
    assert torch.isfinite(new.feature_Qd).all()


def test_a_plan_without_need_gives_nothing() -> None:
    new = draw(tns.Config(), [np.full(30, 0.25)], torch.randn(30, 4))
    assert new.feature_Qd.shape == (0, 4)
    assert len(new.target_Q) == len(new.bin_Q) == len(new.video_Q) == 0


def test_stochastic_rounding_is_right_on_average() -> None:
    label_T = np.array([0.15] * 5 + [0.25] * 2 + [0.35] * 5)
    video = describe_item(label_T, SUMMARY, 10)
    short = np.where(video.count > 0, np.maximum(0, video.utopia_count - video.count), 0).sum()
    sampler = tns.build(tns.Config(rounding="stochastic"), [video], torch.tensor(label_T, dtype=torch.float32), CPU)
    generator, feature = torch.Generator().manual_seed(0), torch.randn(12, 3)
    drawn = [len(sampler.draw(feature, generator).target_Q) for _ in range(2000)]
    assert len(set(drawn)) > 1
    assert np.mean(drawn) == pytest.approx(short, abs=0.06)
    assert np.sum(sampler.needs) == pytest.approx(short)


def test_gradient_switch() -> None:
    rng = np.random.default_rng(0)
    label_T = rng.random(40)
    for gradient in ("detach", "reparam"):
        feature_Rd = torch.randn(40, 4, requires_grad=True)
        new = draw(tns.Config(gradient=gradient), [label_T], feature_Rd)  # type: ignore[arg-type]
        assert len(new.target_Q) and new.feature_Qd.requires_grad == (gradient == "reparam")
    new.feature_Qd.sum().backward()
    assert feature_Rd.grad is not None and feature_Rd.grad.abs().sum() > 0


def test_draws_depend_on_the_generator_alone() -> None:
    label_T, feature_Rd = np.random.default_rng(0).random(40), torch.randn(40, 4)
    first, torch_state = draw(tns.Config(), [label_T], feature_Rd, seed=5), torch.random.get_rng_state()
    torch.rand(3)
    again, other = draw(tns.Config(), [label_T], feature_Rd, seed=5), draw(tns.Config(), [label_T], feature_Rd, seed=6)
    assert torch.equal(first.feature_Qd, again.feature_Qd)
    assert not torch.equal(first.feature_Qd, other.feature_Qd)
    torch.random.set_rng_state(torch_state)


def test_frozen_allocation_keeps_slices_but_not_draws() -> None:
    label_T, video = one_short_bin(50)
    target = torch.tensor(label_T, dtype=torch.float32)
    feature_Rd = torch.zeros(20, 4)  # all frames alike: a sample's label is that of its slice's first frame
    for allocation in ("every_pass", "frozen"):
        sampler = tns.build(tns.Config(allocation=allocation), [video], target, CPU)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(0)
        first, second = (sampler.draw(feature_Rd, generator).target_Q for _ in range(2))
        assert torch.equal(first, second) == (allocation == "frozen")
