"""The numbers behind the figures, by hand and against independent computations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utopia import arrays
from utopia.config.study import Distribution
from utopia.labels.read import Labels
from utopia.outputs import figure_shift_data as shift
from utopia.outputs.figure_data import Inputs, bin_centres, bin_edges, median_video, occupied
from utopia.outputs.figure_tns_example import choose_slice, principal_plane, sample_features


def inputs(folder: Path, target: str, **more: Any) -> Inputs:
    spec = {"id": "f", "draw": "x", "target": target, "options": {}}
    return Inputs(spec, Labels(folder / "labels.safetensors"), arrays.load(folder / "distribution.safetensors"), **more)


def test_the_video_is_the_median_of_the_change_per_frame(tiny: Callable[..., Path]) -> None:
    """One bin alone changes most, labels spread evenly over all bins least. Lengths do not matter."""
    folder = tiny(
        {
            "one bin": [0.55] * 40,
            "spread": [0.05 + 0.1 * (i % 10) for i in range(40)],
            "two bins": [0.55] * 10 + [0.65] * 10,
            "test": [0.5],
        }
    )
    made = inputs(folder, "y")
    change = {
        item: np.abs(made.series(item).utopia_count - made.series(item).count).sum() / made.series(item).count.sum()
        for item in ("one bin", "spread", "two bins")
    }
    assert change["spread"] < change["two bins"] < change["one bin"]
    assert median_video(made) == "two bins"
    assert median_video(made, ["spread", "one bin"]) == "spread"


def test_bins_as_they_are_drawn() -> None:
    floor = Distribution(bins=4, low=0, high=1, delta=0.3, sigma=0.1)
    assert bin_edges(floor).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert bin_centres(floor).tolist() == [0.125, 0.375, 0.625, 0.875]
    grid = Distribution(bins=4, low=0, high=1, delta=0.3, sigma=0.1, binning="grid")
    assert bin_centres(grid).tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_occupied_bins() -> None:
    assert occupied(np.array([0.0, 0, 1, 0, 2, 0, 0])) == slice(1, 6)
    assert occupied(np.array([1.0, 0]), np.array([0.0, 0])) == slice(0, 2)
    assert occupied(np.zeros(3)) == slice(0, 3)


def test_the_slice_is_chosen_by_its_rule(tiny: Callable[..., Path]) -> None:
    """Bin 0 is overfull; bin 1 is asked for samples. Its slices of two or more frames: 2, 5, 3, 3; median 3."""
    low, high = 0.05, 0.15
    runs = [(20, low), (2, high), (20, low), (5, high), (20, low), (3, high), (20, low), (3, high), (9, low), (1, high)]
    folder = tiny({"a": [value for length, value in runs for _ in range(length)], "test": [0.5]})
    series = inputs(folder, "y").series("a")
    assert series.need[1] > 0 and series.need[0] == 0
    chosen = choose_slice("a", series)
    assert chosen.slice == (67, 70) and chosen.in_slice.sum() == 3
    assert len(chosen.frames) == len(chosen.coefficient) == 10
    assert chosen.coefficient.sum() == pytest.approx(1)


def test_sampled_features_have_the_moments_of_eq_5() -> None:
    """Mean and covariance of many samples against sum c_i f_i and sum c_i (f_i - mu)(f_i - mu)^T, computed by loops."""
    rng = np.random.default_rng(1)
    window, c = rng.normal(size=(10, 16)), rng.random(10)
    c /= c.sum()
    mean = sum(c[i] * window[i] for i in range(10))
    covariance = sum(c[i] * np.outer(window[i] - mean, window[i] - mean) for i in range(10))
    new = sample_features(window, c, 200_000, rng)
    assert new.mean(axis=0) == pytest.approx(mean, abs=0.01)
    assert np.linalg.norm(np.cov(new.T) - covariance) < 0.02 * np.linalg.norm(covariance)
    assert np.linalg.matrix_rank(new[:50] - mean, tol=1e-8) == 9


def test_the_plane_is_that_of_the_largest_variance() -> None:
    rng = np.random.default_rng(2)
    window, c = rng.normal(size=(10, 16)) * np.linspace(3, 0.1, 16), np.full(10, 0.1)
    mean, plane, variance = principal_plane(window, c)
    covariance = np.cov(window.T, bias=True)
    assert mean == pytest.approx(window.mean(axis=0))
    assert plane @ plane.T == pytest.approx(np.eye(2), abs=1e-12)
    assert variance[:2] == pytest.approx(np.sort(np.linalg.eigvalsh(covariance))[::-1][:2])
    assert np.diag(plane @ covariance @ plane.T) == pytest.approx(variance[:2])
    assert variance.sum() == pytest.approx(np.trace(covariance))


def test_regions_by_training_samples() -> None:
    """Positive counts 1, 2, 10, 20: median 6."""
    train = np.array([0.0, 1, 2, 10, 20, 0])
    assert shift.region_of(train).tolist() == [2, 1, 1, 0, 0, 2]
    assert shift.region_of(train, many=1).tolist() == [2, 1, 0, 0, 0, 2]


def test_distributions_of_folds_by_hand(tiny: Callable[..., Path]) -> None:
    folder = tiny({"a": [0.05, 0.05, 0.15], "b": [0.15, 0.35], "test": [0.05, 0.15, 0.15, 0.95]})
    settings = Distribution(bins=10, low=0, high=1, delta=0.3, sigma=0.1)
    (fold,) = shift.folds(Labels(folder / "labels.safetensors"), "y", settings)
    assert fold.train.tolist() == [2, 2, 0, 1, 0, 0, 0, 0, 0, 0]
    assert fold.test.tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 1]
    middle, side = 0.45186276, 0.27406862
    assert fold.train_convolved[:5] == pytest.approx(
        [2 * middle + 2 * side, 2 * side + 2 * middle, 3 * side, middle, side], abs=1e-6
    )
    assert fold.before == pytest.approx(np.corrcoef(fold.train, fold.test)[0, 1])
    assert fold.after == pytest.approx(np.corrcoef(fold.train_convolved, fold.test)[0, 1])
    assert fold.both == pytest.approx(np.corrcoef(fold.train_convolved, fold.test_convolved)[0, 1])


def test_errors_by_label_and_region_by_hand(tiny: Callable[..., Path], tmp_path: Path) -> None:
    """Bins 0 and 1 hold 6 and 2 training frames (median 4: many and few), bin 9 none."""
    folder = tiny({"a": [0.05] * 6 + [0.15] * 2, "test": [0.05, 0.15, 0.15, 0.95]})
    labels = Labels(folder / "labels.safetensors")
    settings = Distribution(bins=10, low=0, high=1, delta=0.3, sigma=0.1)
    off = np.array([0.1, 0.0, 0.2, -0.5])
    truth = np.array([0.05, 0.15, 0.15, 0.95])
    stored = {"y/0/0/test": (truth + off).astype(np.float32), "y/0/1/test": truth.astype(np.float32)}
    arrays.save(tmp_path / "p.safetensors", stored, {"folds": ["0"]})
    found = shift.errors(
        labels, arrays.load(tmp_path / "p.safetensors"), "y", settings, shift.folds(labels, "y", settings)
    )
    mean, low, high = found.by_bin(10)
    assert mean[[0, 1, 9]] == pytest.approx([0.01 / 2, 0.04 / 4, 0.25 / 2], abs=1e-6)
    assert np.isnan(mean[2:9]).all() and (low[[0, 1, 9]] <= high[[0, 1, 9]]).all()
    assert [count for _, count in found.by_region()] == [2, 4, 2]
    assert [mse for mse, _ in found.by_region()] == pytest.approx([0.005, 0.01, 0.125], abs=1e-6)
    assert found.by_fold == {"0": pytest.approx((0.01 + 0.04 + 0.25) / 8, abs=1e-6)}


@pytest.mark.shared
def test_convolution_and_the_correlation_of_labels_on_real_summe(summe: Path) -> None:
    """Most SumMe labels lie at 0, and the kernel moves them away: training and test labels become less alike."""
    made = inputs(summe, "importance")
    known = shift.folds(made.labels, "importance", made.settings)
    before, after, both = (np.mean([getattr(fold, name) for fold in known]) for name in ("before", "after", "both"))
    assert len(known) == 5
    assert before == pytest.approx(0.992, abs=0.002)
    assert after == pytest.approx(0.847, abs=0.005)
    assert both == pytest.approx(0.997, abs=0.002)
