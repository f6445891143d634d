"""The numbers behind the figures, by hand and against independent computations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from utopia import arrays
from utopia.config.study import Distribution
from utopia.errors import ConfigError
from utopia.figures import error_data as shift
from utopia.figures import style as figure_style
from utopia.figures.data import Inputs, bin_centres, bin_edges, choose_example, label_name, median_video, occupied
from utopia.figures.error_by_label import over_regions
from utopia.figures.tns_example import principal_plane, sample_features, window_of
from utopia.labels.read import Labels


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
    made = inputs(folder, "y")
    series = made.series("a")
    assert series.samples_needed[1] > 0 and series.samples_needed[0] == 0
    chosen = choose_example(made)
    assert (chosen.video, chosen.label) == ("a", 1)
    window = window_of(series, chosen.slice)
    assert window.slice == (67, 70) and window.in_slice.sum() == 3
    assert len(window.frames) == len(window.coefficient) == 10
    assert window.coefficient.sum() == pytest.approx(1)


def test_no_slice_of_one_frame_where_any_video_has_a_longer_one(tiny: Callable[..., Path]) -> None:
    """Of five videos only the last has two equal labels in a row, and it is by no means the median one."""
    zigzag = {f"z{i}": [0.05 + 0.1 * ((3 * t + i) % 10) for t in range(20)] for i in range(4)}
    folder = tiny(zigzag | {"pair": [0.05, 0.55] * 8 + [0.95, 0.95, 0.05], "test": [0.5]})
    made = inputs(folder, "y")
    assert median_video(made) != "pair"
    chosen = choose_example(made)
    assert chosen.video == "pair"
    first, last = made.series("pair").slice[chosen.slice]
    assert last - first == 2


def test_a_slice_of_one_frame_where_there_is_no_other(tiny: Callable[..., Path]) -> None:
    folder = tiny({"a": [0.05, 0.95, 0.05, 0.95], "test": [0.5]})
    made = inputs(folder, "y")
    first, last = made.series("a").slice[choose_example(made).slice]
    assert last - first == 1


def test_the_label_asked_for_or_the_nearest_that_needs_samples(tiny: Callable[..., Path]) -> None:
    """Bins 2 and 7 stand between full ones and need samples; without a wish the one with the larger gap is shown."""
    runs = [(9, 0.15), (2, 0.25), (9, 0.35), (12, 0.65), (2, 0.75), (12, 0.85)]
    folder = tiny({"a": [value for length, value in runs for _ in range(length)], "test": [0.5]})
    made = inputs(folder, "y")
    assert set(np.flatnonzero(made.series("a").samples_needed)) >= {2, 7}
    assert choose_example(made).label == 7
    for asked, shown in ((0.25, 2), (0.0, 2), (0.79, 7), (1.0, 7)):
        spec = {"id": "f", "draw": "x", "target": "y", "options": {"label": asked}}
        assert choose_example(Inputs(spec, made.labels, made.distribution)).label == shown
    spec = {"id": "f", "draw": "x", "target": "y", "options": {"label": -0.06}}
    with pytest.raises(ConfigError, match=r"label -0.06 is not in \[0, 1\]"):
        choose_example(Inputs(spec, made.labels, made.distribution))


def test_labels_are_named_as_they_are_binned() -> None:
    settings = {"bins": 100, "low": -1, "high": 1, "delta": 0.06, "sigma": 0.02}
    assert label_name(Distribution(**settings), 47) == "−0.06 to −0.04"
    assert label_name(Distribution(**settings), 50) == "0.00 to 0.02"
    assert label_name(Distribution(**settings, binning="grid"), 47) == "−0.06"
    assert label_name(Distribution(bins=10, low=0, high=1, delta=0.3, sigma=0.1), 9) == "0.9 to 1.0"


def test_titles_are_words_and_not_longer_than_asked(tiny: Callable[..., Path]) -> None:
    names = {"video_2": "Air_Force_One", "v": "The  Dog Show_HD 720p", "-5w_1": "-5w_1"}
    made = inputs(tiny({"a": [0.5, 0.5], "test": [0.5]}), "y", names=names)
    assert [made.title_of(item) for item in ("video_2", "v", "-5w_1", "video_9")] == [
        "Air Force One", "The Dog Show_HD 720p", "-5w_1", "video_9"
    ]  # fmt: skip
    assert made.title_of("v", 12) == "The Dog Sho…"


def test_one_and_several() -> None:
    assert [figure_style.count(n, "frame") for n in (0, 1, 2, 1200)] == [
        "0 frames",
        "1 frame",
        "2 frames",
        "1,200 frames",
    ]


def test_areas_and_lines_differ_in_grey() -> None:
    """Luminance (Rec. 709) of what lies over each other: in a copy without colours they must not be one grey."""

    def grey(colour: str) -> float:
        return float(np.dot([0.2126, 0.7152, 0.0722], [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]))

    over = (("PALE_RED", "LIGHT_BLUE"), ("LIGHT_RED", "BLUE"), ("YELLOW", "VERMILLION"), ("YELLOW", "BLUE"))
    for one, other in (*over, ("LIGHT_BLUE", "BLUE"), ("PALE_RED", "VERMILLION"), ("LIGHT_RED", "VERMILLION")):
        assert abs(grey(getattr(figure_style, one)) - grey(getattr(figure_style, other))) > 0.15, (one, other)


def test_sampled_features_have_the_moments_of_eq_6() -> None:
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


def test_regions_are_contiguous_stretches_by_hand() -> None:
    """More than 4 samples have bins 2, 4 and 6. So I is 0 and 1, II is 2 to 6 (with the dip at 3), III the rest."""
    train = np.array([0.0, 1, 5, 2, 9, 0, 6, 1, 0, 4])
    regions = shift.regions_of(train, 4)
    assert {name: (s.start, s.stop) for name, s in regions.slices.items()} == {
        "I": (0, 2),
        "II": (2, 7),
        "III": (7, 10),
    }
    assert regions.of(np.arange(10)).tolist() == [0, 0, 1, 1, 1, 1, 1, 2, 2, 2]
    # Exactly the threshold is not more than it.
    assert shift.regions_of(train, 5).slices["II"] == slice(4, 7)
    assert shift.regions_of(train, 0).slices == {"I": slice(0, 1), "II": slice(1, 10), "III": slice(10, 10)}
    assert shift.regions_of(train, 9).slices == {"I": slice(0, 10), "II": slice(10, 10), "III": slice(10, 10)}


def test_the_threshold_is_the_papers_share_of_the_data() -> None:
    """500 samples at one of 100 labels of some 97,000 samples; a tenth of the data has a tenth of that."""
    bell = np.exp(-0.5 * ((np.arange(100) - 40) / 12) ** 2)
    whole = 97_000 * bell / bell.sum()
    assert shift.regions_of(whole).threshold == pytest.approx(500)
    assert shift.regions_of(whole / 10).threshold == pytest.approx(50)
    assert shift.regions_of(whole / 10).slices == shift.regions_of(whole).slices == shift.regions_of(whole, 500).slices
    # Of ten labels each is ten times as wide: the same share of what a label has on average.
    assert shift.regions_of(np.full(10, 9_700.0)).threshold == pytest.approx(5_000)


@settings(deadline=None, max_examples=200)
@given(train=st.lists(st.integers(0, 50), min_size=1, max_size=40), threshold=st.integers(0, 60))
def test_regions_of_any_distribution(train: list[int], threshold: int) -> None:
    """They tile the axis in order; outside II no label is above the threshold; II begins and ends with one that is."""
    slices = shift.regions_of(np.array(train, float), threshold).slices
    assert [k for name in shift.REGIONS for k in range(slices[name].start, slices[name].stop)] == list(
        range(len(train))
    )
    assert not any(n > threshold for name in ("I", "III") for n in train[slices[name]])
    second = train[slices["II"]]
    assert not second or (second[0] > threshold and second[-1] > threshold)


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
    assert fold.before() == pytest.approx(pearsonr(fold.train, fold.test).statistic)
    assert fold.after() == pytest.approx(pearsonr(fold.train_convolved, fold.test).statistic)


def test_correlations_by_region_against_scipy(tiny: Callable[..., Path]) -> None:
    """Region I is 0 to 2, II 3 to 6; in III the test set has nothing, so that no correlation is defined."""
    train = [0.05, 0.25, 0.25, *[0.35] * 9, *[0.45] * 7, *[0.55] * 8, *[0.65] * 6, 0.75, 0.95]
    folder = tiny({"a": train, "test": [0.05, 0.05, 0.15, 0.35, 0.45, 0.45, 0.65]})
    settings = Distribution(bins=10, low=0, high=1, delta=0.3, sigma=0.1)
    (fold,) = shift.folds(Labels(folder / "labels.safetensors"), "y", settings)
    slices = shift.regions_of(fold.train, 3).slices
    assert slices == {"I": slice(0, 3), "II": slice(3, 7), "III": slice(7, 10)}
    for name in ("I", "II"):
        own = slices[name]
        assert fold.before(own) == pytest.approx(pearsonr(fold.train[own], fold.test[own]).statistic)
        assert fold.after(own) == pytest.approx(pearsonr(fold.train_convolved[own], fold.test[own]).statistic)
    # By hand: training 1, 0, 2 and test 2, 1, 0 around their means 1 and 1: (0 - 0 - 1) / (sqrt 2 · sqrt 2).
    assert fold.before(slices["I"]) == pytest.approx(-0.5)
    assert fold.before(slices["III"]) is None and fold.after(slices["III"]) is None
    assert fold.before(slice(3, 4)) is None, "two bins are the fewest"
    assert shift.mean_of([0.5, 0.25]) == 0.375 and shift.mean_of([0.5, None]) is None and shift.mean_of([]) is None


def test_the_papers_statement_over_the_regions() -> None:
    """Sec. 4.5: in III the PCC rises and the error falls, in I the other way round. By hand: deviations -.2, 0, .2 and
    .03, 0, -.03 give r = -1. With one region undefined there is no statement over three.
    """
    assert over_regions([-0.2, 0.0, 0.2], [0.03, 0.0, -0.03]) == pytest.approx(-1)
    mixed = [-0.1, 0.05, 0.2], [0.02, 0.05, -0.04]
    assert over_regions(*mixed) == pytest.approx(pearsonr(*mixed).statistic)
    assert over_regions([-0.2, None, 0.2], [0.03, 0.0, -0.03]) is None
    assert over_regions([0.1, 0.1, 0.1], [0.03, 0.0, -0.03]) is None


def test_errors_by_label_and_ribbons_by_hand(tiny: Callable[..., Path], tmp_path: Path) -> None:
    """Two seeds, the second without any error. The ribbon is the whole range, smallest to largest, over both."""
    folder = tiny({"a": [0.05] * 6 + [0.15] * 2, "test": [0.05, 0.15, 0.15, 0.95]})
    labels = Labels(folder / "labels.safetensors")
    settings = Distribution(bins=10, low=0, high=1, delta=0.3, sigma=0.1)
    truth = np.array([0.05, 0.15, 0.15, 0.95])
    stored = {
        "y/0/0/test": (truth + np.array([0.1, 0.1, 0.2, -0.5])).astype(np.float32),
        "y/0/1/test": truth.astype(np.float32),
    }
    arrays.save(tmp_path / "p.safetensors", stored, {"folds": ["0"]})
    found = shift.errors(labels, arrays.load(tmp_path / "p.safetensors"), "y", settings)
    mean, low, high = found.by_label(10)
    assert mean[[0, 1, 9]] == pytest.approx([0.01 / 2, 0.05 / 4, 0.25 / 2], abs=1e-6)
    assert low[[0, 1, 9]] == pytest.approx([0, 0, 0], abs=1e-12)
    assert high[[0, 1, 9]] == pytest.approx([0.01, 0.04, 0.25], abs=1e-6)
    assert np.isnan(mean[2:9]).all() and np.isnan(low[2:9]).all() and np.isnan(high[2:9]).all()
    assert sorted(found.at(slice(0, 2))) == pytest.approx([0, 0, 0, 0.01, 0.01, 0.04], abs=1e-6)
    assert len(found.at(slice(2, 9))) == 0
    assert found.mean_range(slice(0, 2), 10) == pytest.approx((0.01 + 0.04) / 2, abs=1e-6)
    assert np.isnan(found.mean_range(slice(2, 9), 10))
    assert found.by_fold == {"0": pytest.approx((0.01 + 0.01 + 0.04 + 0.25) / 8, abs=1e-6)}


@pytest.mark.shared
def test_convolution_and_the_correlation_of_labels_on_real_summe(summe: Path) -> None:
    """Most SumMe labels lie at 0, and the kernel moves them away: training and test labels become less alike."""
    made = inputs(summe, "importance")
    known = shift.folds(made.labels, "importance", made.settings)
    before, after = (np.mean([getattr(fold, name)() for fold in known]) for name in ("before", "after"))
    assert len(known) == 5
    assert before == pytest.approx(0.992, abs=0.002)
    assert after == pytest.approx(0.847, abs=0.005)
