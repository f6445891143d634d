"""Calibrated ULDA and the oracle: planted truth, what the estimate of the noise must not see, and every bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from utopia import arrays
from utopia.config.study import Distribution
from utopia.distribution.approximate import approximate_distribution
from utopia.distribution.calibrated import calibrate, reliability, smooth, vote_noise
from utopia.distribution.histogram import bin_index, bin_total, count_bins
from utopia.distribution.item import describe_item, read_item
from utopia.distribution.kernel import taps
from utopia.distribution.oracle import held_out_counts
from utopia.distribution.weights import combined_weights, cwl_weights
from utopia.errors import ComputeError, InputError

WIDE = Distribution(bins=60, low=-12.0, high=12.0, delta=1.2, sigma=0.4)
TEN = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)


def planted(frames: int, annotators: int, *, utopia: float, error: float, bias: float, seed: int) -> np.ndarray:
    """Votes [A, T] = utopia label + annotator's bias + error, all Gaussian with these deviations."""
    rng = np.random.default_rng(seed)
    shift = rng.normal(0, bias, (annotators, 1))
    shift -= shift.mean()  # the mean bias of the few cannot be known from them
    return rng.normal(0, utopia, frames) + shift + rng.normal(0, error, (annotators, frames))


def histogram(label_T: np.ndarray, chosen: Distribution) -> np.ndarray:
    return count_bins(bin_index(label_T, chosen), bin_total(chosen))


def wasserstein(found_b: np.ndarray, true_b: np.ndarray) -> float:
    """Between two distributions over bins, in bins."""
    return float(np.abs(np.cumsum(found_b / found_b.sum() - true_b / true_b.sum())).sum())


def truth(deviation: float, chosen: Distribution) -> np.ndarray:
    edges = np.linspace(chosen.low, chosen.high, chosen.bins + 1)
    return np.asarray(np.diff(norm.cdf(edges, 0, deviation)))


@pytest.mark.parametrize("annotators", [2, 3, 10])
def test_it_converges_to_the_planted_truth_and_the_convolution_does_not(annotators: int) -> None:
    errors, convolved = [], []
    for frames in (300, 3_000, 300_000):
        votes = planted(frames, annotators, utopia=1.0, error=1.5, bias=0.7, seed=5)
        label_T = votes.mean(axis=0)
        errors.append(wasserstein(calibrate(label_T, votes, WIDE), truth(1.0, WIDE)))
        n = histogram(label_T, WIDE)
        convolved.append(wasserstein(np.convolve(n, taps(WIDE), mode="same"), truth(1.0, WIDE)))
    assert errors[2] < 0.02  # of a bin
    assert errors[2] < errors[0] / 2
    assert convolved[2] > 10 * errors[2]


def test_it_aims_at_the_mean_of_as_many_judges_as_are_named() -> None:
    votes = planted(200_000, 3, utopia=1.0, error=1.5, bias=0.7, seed=6)
    for judges in (1, 3, 17):
        aimed = truth(float(np.hypot(1.0, 1.5 / judges**0.5)), WIDE)
        assert wasserstein(calibrate(votes.mean(axis=0), votes, WIDE, judges=judges), aimed) < 0.03


def test_the_noise_is_that_of_an_additive_fit_with_missing_votes() -> None:
    rng = np.random.default_rng(11)
    votes = planted(40, 5, utopia=1.0, error=0.5, bias=2.0, seed=7)
    votes[rng.uniform(size=votes.shape) < 0.3] = np.nan
    rows, frames = np.nonzero(np.isfinite(votes))
    kept = np.unique(frames)
    design = np.zeros((len(rows), 5 + len(kept)))  # dummies of annotators and frames, solved by brute force
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), 5 + np.searchsorted(kept, frames)] = 1
    y = votes[rows, frames]
    fit = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    degrees = len(y) - np.linalg.matrix_rank(design)
    noise = vote_noise(votes)
    assert noise is not None
    assert noise.degrees == degrees
    assert noise.of_vote == pytest.approx(((y - fit) ** 2).sum() / degrees)


def test_with_all_votes_it_is_the_interaction_mean_square_and_biases_do_not_count() -> None:
    votes = planted(60, 4, utopia=1.0, error=0.5, bias=0.0, seed=8)
    centred = votes - votes.mean(axis=1, keepdims=True) - votes.mean(axis=0) + votes.mean()
    expected = (centred**2).sum() / (3 * 59)
    for shift in (np.zeros((4, 1)), np.array([[5.0], [-1.0], [0.0], [3.0]])):
        noise = vote_noise(votes + shift)
        assert noise is not None
        assert noise.of_vote == pytest.approx(expected)
        assert noise.of_mean == pytest.approx(expected / 4)


def test_errors_that_last_do_not_bias_the_reliability() -> None:
    # a series and errors that wander as a joystick does, all of one law: of the mean of three votes the series has 3/4
    steps = np.random.default_rng(9).normal(size=(3000, 4, 40))
    walks = np.cumsum(steps, axis=2)
    noises = [vote_noise(walk[0] + walk[1:]) for walk in walks]
    of_mean = np.mean([noise.of_mean for noise in noises if noise is not None])
    total = np.mean([(walk[0] + walk[1:]).mean(axis=0).var(ddof=1) for walk in walks])
    assert 1 - of_mean / total == pytest.approx(0.75, abs=0.03)


def test_an_annotator_who_skipped_the_video_changes_nothing() -> None:
    votes = planted(100, 3, utopia=1.0, error=0.5, bias=0.5, seed=10)
    skipped = np.concatenate([votes, np.full((2, 100), np.nan)])
    label_T = votes.mean(axis=0)
    assert calibrate(label_T, skipped, WIDE).tolist() == calibrate(label_T, votes, WIDE).tolist()


def test_a_bias_that_comes_and_goes_with_an_annotator_is_noise_of_the_label() -> None:
    rng = np.random.default_rng(12)
    votes = np.stack([np.zeros(4000), np.full(4000, 2.0)]) + rng.normal(0, 1e-3, (2, 4000))
    votes[1, ::2] = np.nan  # the mean vote jumps between 0 and 1; nothing of it is the series
    label_T = np.nanmean(votes, axis=0)
    share = reliability(vote_noise(votes))
    assert share is not None
    assert share < 0.1
    assert calibrate(label_T, votes, WIDE).argmax() == bin_index(np.array([label_T.mean()]), WIDE)[0]


NOTHING = {
    "one annotator": np.linspace(0.1, 0.9, 30)[None],
    "one of two voted": np.stack([np.linspace(0.1, 0.9, 30), np.full(30, np.nan)]),
    "annotators who never saw the same frame": np.where(np.arange(30) < 15, [[1.0], [np.nan]], [[np.nan], [1.0]])
    * np.linspace(0.1, 0.9, 30),
    "no vote": np.full((3, 30), np.nan),
    "no annotator": np.empty((0, 30)),
}


@pytest.mark.parametrize("votes", NOTHING.values(), ids=NOTHING.keys())
def test_where_nothing_can_be_estimated_it_is_the_identity(votes: np.ndarray) -> None:
    label_T = np.linspace(0.1, 0.9, 30)
    assert reliability(vote_noise(votes)) is None
    assert calibrate(label_T, votes, TEN).tolist() == histogram(label_T, TEN).tolist()


@pytest.mark.parametrize("frames", [1, 2, 3, 50])
def test_constant_votes_keep_their_one_bin(frames: int) -> None:
    votes = np.repeat([[0.2], [0.6], [0.7]], frames, axis=1)
    label_T = votes.mean(axis=0)
    assert calibrate(label_T, votes, TEN).tolist() == histogram(label_T, TEN).tolist()


def test_annotators_who_agree_leave_the_sampling_noise_only() -> None:
    label_T = np.random.default_rng(13).beta(2, 3, 400)
    found = calibrate(label_T, np.stack([label_T] * 3), TEN)
    assert found.sum() == pytest.approx(400)
    assert wasserstein(found, histogram(label_T, TEN)) < 0.3  # of a bin


def test_annotators_who_share_nothing_do_not_collapse_the_distribution() -> None:
    votes = np.random.default_rng(14).uniform(0, 1, (3, 500))
    label_T = votes.mean(axis=0)
    found = describe_item(label_T, TEN, 10, utopia_b=calibrate(label_T, votes, TEN))
    assert np.isfinite(found.weight).all()
    assert found.weight.mean() == pytest.approx(1)
    assert found.utopia_count.max() < 500


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 40), st.integers(0, 10**6), st.sampled_from(["floor", "grid"]))
def test_it_keeps_the_number_of_frames_whatever_the_votes(k: int, frames: int, seed: int, binning: str) -> None:
    rng = np.random.default_rng(seed)
    votes = rng.integers(0, 5, (k, frames)) / 4
    votes[rng.uniform(size=votes.shape) < 0.2] = np.nan
    count_T = np.isfinite(votes).sum(axis=0)
    label_T = np.where(count_T > 0, np.nansum(votes, axis=0) / np.maximum(1, count_T), 0.5)
    found = calibrate(label_T, votes, TEN.model_copy(update={"binning": binning}))
    assert len(found) == 10 + (binning == "grid")
    assert found.sum() == pytest.approx(frames)
    assert (found >= 0).all()


def test_smoothing_integrates_the_kernel_over_each_bin() -> None:
    values = np.array([0.05, 0.42, 0.42, 1.3])
    edges = np.linspace(0, 1, 11)
    edges[[0, -1]] = -np.inf, np.inf
    expected = sum(np.diff(norm.cdf(edges, value, 0.07)) for value in values)
    assert smooth(values, 0.07, TEN) == pytest.approx(expected)


def test_a_label_outside_the_range_is_refused() -> None:
    with pytest.raises(ComputeError, match="toy/video"):
        calibrate(np.array([0.5, 1.5]), np.array([[0.5, 1.5], [0.5, 1.5]]), TEN, where="toy/video")


def test_the_oracle_counts_the_means_of_those_held_out() -> None:
    votes = np.array([[0.0, 0.2, np.nan, 1.0], [0.2, np.nan, np.nan, 0.9]])
    expected = np.zeros(10)
    expected[[1, 2, 9]] = 4 / 3  # means .1, .2 and .95; the frame that nobody saw is spread over them
    assert held_out_counts(votes, TEN) == pytest.approx(expected)
    for nobody in (np.empty((0, 4)), np.full((2, 4), np.nan)):
        with pytest.raises(InputError, match="no annotator is left"):
            held_out_counts(nobody, TEN)


def test_weights_are_one_where_no_frame_lies_in_the_utopia_distribution() -> None:
    count, utopia = np.array([3.0, 0, 0]), np.array([0.0, 0, 3])
    assert cwl_weights(np.zeros(3, np.int64), count, utopia).tolist() == [1, 1, 1]
    frames, new = combined_weights(count, utopia, np.zeros(3))
    assert np.isfinite(frames).all()
    assert np.isfinite(new).all()


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Two series with the votes of six annotators, of whom the first three make the label."""
    rng = np.random.default_rng(15)
    contents, behind = {}, {}
    for item in ("a", "b"):
        votes = np.clip(rng.normal(0.5, 0.1, 80) + rng.normal(0, 0.1, (6, 80)), 0, 1)
        contents |= {f"{item}/x": votes[:3].mean(axis=0), f"{item}/x.votes": votes, f"{item}/times": np.arange(80.0)}
        behind[item] = [0, 1, 2]
    meta = {
        "dataset": "toy",
        "targets": {"x": {"low": 0.0, "high": 1.0}},
        "items": ["a", "b"],
        "folds": [{"name": "1", "train": ["a", "b"], "test": []}],
        "annotators": behind,
    }
    arrays.save(tmp_path / "labels.safetensors", contents, meta)
    return tmp_path / "labels.safetensors"


@pytest.mark.parametrize("scope", ["video", "train_set"])
@pytest.mark.parametrize("estimator", ["calibrated", "oracle"])
def test_the_job_uses_the_votes_behind_the_label_or_the_others(labels: Path, scope: str, estimator: str) -> None:
    out = labels.with_name("distribution.safetensors")
    chosen = TEN.model_dump() | {"estimator": estimator, "scope": scope}
    approximate_distribution(labels=labels, settings=chosen, window=10, output=out)
    source, file = arrays.load(labels), arrays.load(out)
    expected = {}
    for item in ("a", "b"):
        votes, label_T = source[f"{item}/x.votes"], source[f"{item}/x"]
        expected[item] = (
            calibrate(label_T, votes[:3], TEN) if estimator == "calibrated" else histogram(votes[3:].mean(axis=0), TEN)
        )
    for item in ("a", "b"):
        found = read_item(file, item, "x", "1")
        whole = expected["a"] + expected["b"] if scope == "train_set" else expected[item]
        assert found.utopia_count == pytest.approx(whole)
        ratio = found.utopia_count / np.where(found.count > 0, found.count, np.inf)
        assert found.weight == pytest.approx(ratio[found.bin] * found.count.sum() / (found.count * ratio).sum())


@pytest.mark.parametrize(("estimator", "loses", "says"), [
    ("calibrated", "votes", "no votes of single annotators"),
    ("oracle", "votes", "no votes of single annotators"),
    ("oracle", "annotators", "no annotator is left"),
])  # fmt: skip
def test_the_job_says_what_an_estimator_lacks(labels: Path, estimator: str, loses: str, says: str) -> None:
    file = arrays.load(labels)
    contents = {name: file[name] for name in file if loses != "votes" or not name.endswith(".votes")}
    meta = file.meta | ({"annotators": {}} if loses == "annotators" else {})
    bare = labels.with_name("bare.safetensors")
    arrays.save(bare, contents, meta)
    with pytest.raises(InputError, match=says):
        approximate_distribution(
            labels=bare, settings=TEN.model_dump() | {"estimator": estimator}, window=10, output=bare.with_name("d")
        )
