"""Intervals over test items and seeds, and paired differences: by hand, against SciPy, and by how often they hold."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t, ttest_rel

from utopia.errors import ComputeError
from utopia.evaluation import verdict
from utopia.evaluation.metrics_csv import MetricRow, write
from utopia.evaluation.uncertainty import Items, change_interval, interval, mean_change, paired, read_items


def items(values: dict[str, Any], weights: dict[str, Any] | None = None, root: bool = False) -> Items:
    """fold -> [S, n] values."""
    arrays = {fold: np.atleast_2d(np.asarray(value, float)) for fold, value in values.items()}
    names = {fold: tuple(f"{fold}.{i}" for i in range(value.shape[1])) for fold, value in arrays.items()}
    ones = {fold: np.ones(value.shape[1]) for fold, value in arrays.items()}
    given = {fold: np.asarray(weight, float) for fold, weight in (weights or {}).items()}
    seeds = tuple(str(seed) for seed in range(len(next(iter(arrays.values())))))
    return Items("r", seeds, names, arrays, ones | given, root)


def metrics_file(path: Path, rows: list[tuple[str, str, str, str, float]], target: str = "valence") -> Path:
    """(fold, seed, item, metric, value)."""
    write(path, [MetricRow(target, fold, seed, item, metric, value) for fold, seed, item, metric, value in rows])
    return path


# -- the statistic


def test_the_statistic_by_hand() -> None:
    """Fold a pools 10 and 30 frames of errors .1 and .4: .325; fold b has the plain mean .5; two seeds differ by 1."""
    one = items({"a": [[0.1, 0.4], [1.1, 1.4]], "b": [[0.3, 0.7], [1.3, 1.7]]}, {"a": [10, 30]})
    assert one.by_repeat.tolist() == pytest.approx([(0.325 + 0.5) / 2, (1.325 + 1.5) / 2])
    assert one.spread.shares.tolist() == pytest.approx([1 / 8, 3 / 8, 1 / 4, 1 / 4])


def test_the_root_is_taken_of_each_seed_and_fold() -> None:
    one = items({"a": [[0.04, 0.04], [0.16, 0.16]], "b": [[0.36, 0.36], [0.64, 0.64]]}, root=True)
    assert one.by_repeat.tolist() == pytest.approx([(0.2 + 0.6) / 2, (0.4 + 0.8) / 2])


def test_what_items_add_is_how_the_statistic_answers_to_them() -> None:
    """The derivative by an item's share, of a root of weighted means over two folds, by a small change."""
    rng = np.random.default_rng(4)
    values, weights = {f: rng.random((2, 4)) + 0.2 for f in "ab"}, {f: rng.integers(20, 90, 4) for f in "ab"}
    base, small = items(values, weights, root=True), 1e-6
    for place, (fold, number) in enumerate((fold, number) for fold in "ab" for number in range(4)):
        heavier = {name: weight.astype(float) for name, weight in weights.items()}
        heavier[fold][number] *= 1 + small
        slope = (items(values, heavier, root=True).by_repeat - base.by_repeat) / small
        own = base.of_fold(fold) - base.by_repeat  # a heavier item also moves its fold's part towards the item's fold
        expected = base.spread.items[place] - base.spread.shares[place] * own
        assert slope == pytest.approx(expected, rel=1e-4, abs=1e-8)
    assert base.spread.items.sum(axis=0) == pytest.approx(np.zeros(2), abs=1e-12)


# -- reading


@pytest.fixture
def movies(tmp_path: Path) -> Path:
    """Movies m (10 frames, error .1) and k (30 frames, error .4), one seed."""
    own = [("0", "0", "", name, value) for name, value in (("mse", 0.325), ("mse_item", 0.25), ("rmse", 0.325**0.5))]
    each = [("0", "0", item, "mse", value) for item, value in (("m", 0.1), ("k", 0.4))]
    pooled = [("0", "0", "", "pcc_pooled", 0.6), ("0", "0", "", "pcc", 0.7)]
    return metrics_file(
        tmp_path / "m.csv", own + each + pooled + [("0", "0", "m", "pcc", 0.5), ("0", "0", "k", "pcc", 0.7)]
    )


FRAMES = {"m": 10, "k": 30}


@pytest.mark.parametrize(
    ("metric", "mean", "half"),
    [
        ("mse_item", 0.25, 12.7062 * 0.15),
        # shares 1/4 and 3/4 of errors .1 and .4: Sum v^2 (y - mean)^2 / (Sum v^2 - 2 Sum v^3 + (Sum v^2)^2) * Sum v^2
        ("mse", 0.325, 12.7062 * math.sqrt((0.05625**2 * 2) * 0.625 / (0.625 - 2 * 0.4375 + 0.625**2))),
        ("rmse", 0.325**0.5, 12.7062 * math.sqrt((0.05625**2 * 2) * 0.625 / 0.140625) / (2 * 0.325**0.5)),
    ],
)
def test_metrics_over_frames_and_over_items(movies: Path, metric: str, mean: float, half: float) -> None:
    """Two items leave one degree of freedom: t(.975, 1) = 12.7062."""
    found = read_items(movies, "r", "valence", metric, FRAMES)
    assert isinstance(found, Items)
    made = interval(found)
    assert (made.low, made.high) == (pytest.approx(mean - half, rel=1e-4), pytest.approx(mean + half, rel=1e-4))
    assert made.method == "95 % by Student's t over 2 test items of one seed: other trainings are not in it"


def test_no_interval_without_a_ground(movies: Path) -> None:
    assert read_items(movies, "r", "valence", "mse") == "the number of frames of each item is not at hand"
    assert read_items(movies, "r", "valence", "mse", {"m": 10}) == "the number of frames of each item is not at hand"
    assert (
        read_items(movies, "r", "valence", "pcc_pooled", FRAMES)
        == "this metric has no value per video, so there is no interval"
    )
    assert read_items(movies, "r", "valence", "pcc", FRAMES) == "the items' own metrics do not add up to this one"
    assert (
        read_items(movies, "r", "arousal", "mse", FRAMES)
        == "this metric has no value per video, so there is no interval"
    )


def test_a_reference_has_the_frames_that_other_runs_of_its_data_set_name(movies: Path) -> None:
    from utopia.tables.results import Results

    column = {"target": "valence", "metric": "mse"}
    runs = {"liris.reference.human": movies, "pmemo.reference.human": movies}
    known = {"liris.et.baseline": {"m": 10}, "liris.rmn.baseline": {"k": 30}, "liris_2.et.baseline": {"m": 1}}
    results = Results(runs, {}, frames=known)
    found = results.items("liris.reference.human", column)
    assert isinstance(found, Items) and interval(found) == interval(read_items(movies, "r", "valence", "mse", FRAMES))
    assert "not at hand" in str(results.items("pmemo.reference.human", column))


def test_a_fold_score_that_was_rounded_still_adds_up(tmp_path: Path) -> None:
    rows = [("0", "0", "", "f_score", 33.33), ("0", "0", "a", "f_score", 100 / 3), ("0", "0", "b", "f_score", 100 / 3)]
    assert isinstance(read_items(metrics_file(tmp_path / "f.csv", rows), "r", "valence", "f_score"), Items)


def test_seeds_must_have_the_same_items(tmp_path: Path) -> None:
    rows = [("0", seed, "", "pcc", 0.5) for seed in "01"]
    rows += [("0", "0", "a", "pcc", 0.5), ("0", "1", "b", "pcc", 0.5)]
    found = read_items(metrics_file(tmp_path / "p.csv", rows), "r", "valence", "pcc")
    assert found == "seeds differ in their test items"
    hole = [("0", "0", "", "pcc", 0.5), ("0", "0", "a", "pcc", 0.5), ("0", "0", "b", "pcc", float("nan"))]
    found = read_items(metrics_file(tmp_path / "n.csv", hole), "r", "valence", "pcc")
    assert found == "the metric of a test item is no finite number"


# -- intervals


def test_one_item_has_no_interval_and_says_so() -> None:
    made = interval(items({"a": [[0.3]]}))
    assert (made.low, made.high, made.method) == (None, None, "one test item")
    assert paired(items({"a": [[0.3]]}), items({"a": [[0.4]]})).method == "one test item"
    same = items({"a": [[0.3]], "b": [[0.5]]})
    same = Items("r", same.repeats, {"a": ("m",), "b": ("m",)}, same.values, same.weights, False)
    assert interval(same).method == "one test item", "both folds test the same one"


def test_folds_of_one_item_each_are_items_like_others() -> None:
    """As when one segment at a time is left out: the plain t interval over the four."""
    x = [0.3, 0.5, 0.2, 0.8]
    made = interval(items({str(place): [[value]] for place, value in enumerate(x)}))
    low, high = t.interval(0.95, 3, np.mean(x), np.std(x, ddof=1) / 2)
    assert (made.low, made.high) == (pytest.approx(low), pytest.approx(high))
    assert made.method.startswith("95 % by Student's t over 4 test items of 4 folds")


def test_an_item_that_two_folds_test_is_one_item() -> None:
    """Twice the same fold tells no more than once: counted as eight items, the interval would be narrower."""
    x = np.array([[0.1, 0.4, 0.2, 0.7]])
    once = items({"a": x})
    twice = Items(
        "r",
        ("0",),
        dict.fromkeys("ab", once.names["a"]),
        dict.fromkeys("ab", x),
        dict.fromkeys("ab", np.ones(4)),
        False,
    )
    assert (interval(once).low, interval(once).high) == pytest.approx((interval(twice).low, interval(twice).high))


def test_one_seed_is_the_t_interval_and_gets_no_p_value() -> None:
    x = np.random.default_rng(0).normal(1.0, 1.0, size=9)
    made = paired(items({"a": [x]}), items({"a": [0 * x]}))
    low, high = t.interval(0.95, 8, x.mean(), x.std(ddof=1) / 3)
    assert (made.low, made.high, made.p) == (pytest.approx(low), pytest.approx(high), None)


def test_items_and_seeds_by_hand() -> None:
    """Values a_i + b_s without a rest: items of variance 1, seeds of variance .01; t(.975, 2) = 4.3027 for both."""
    x = np.array([[1.0, 2.0, 3.0]]) + np.array([[0.1], [0.0], [-0.1]])
    made = interval(items({"a": x}))
    assert made.low is not None and made.high is not None
    assert (made.high - made.low) / 2 == pytest.approx(4.30265 * math.sqrt(1 / 3 + 0.01 / 3), rel=1e-5)
    assert made.method == "95 % by Student's t over 3 test items and 3 seeds"


def test_equal_values_have_an_interval_without_width() -> None:
    made = interval(items({"a": np.full((3, 5), 0.25)}))
    assert (made.low, made.high) == (0.25, 0.25)
    zero = interval(items({"a": np.zeros((2, 3))}, root=True))
    assert (zero.low, zero.high) == (0.0, 0.0), "the root of no error has no slope, and nothing varies"


@pytest.mark.parametrize(("seeds", "of_seeds"), [(1, 0.0), (3, 0.3), (10, 0.3)])
def test_it_holds_the_truth_as_often_as_it_says_where_items_have_weights_and_folds(seeds: int, of_seeds: float) -> None:
    """Three folds of four items of 20 to 200 frames; benchmarks/intervals.py has many more settings."""
    rng = np.random.default_rng(seeds)
    inside = []
    for _ in range(800):
        common, weights = of_seeds * rng.normal(size=(seeds, 1)), {f: rng.integers(20, 200, 4) for f in "abc"}
        x = {f: rng.normal(size=4) + common + 0.5 * rng.normal(size=(seeds, 4)) for f in "abc"}
        made = interval(items(x, weights))
        assert made.low is not None and made.high is not None
        inside.append(made.low <= (common.mean() if seeds == 1 else 0.0) <= made.high)
    assert 0.93 <= np.mean(inside) <= 0.975


def test_no_difference_gets_a_verdict_one_time_in_twenty_at_most() -> None:
    """Where the percentile bootstrap gave 11 in 100: twelve items, ten seeds, and seeds that differ."""
    rng, called = np.random.default_rng(7), 0
    for _ in range(800):
        x = 0.5 * rng.normal(size=12) + 0.3 * rng.normal(size=(10, 1)) + rng.normal(size=(10, 12))
        made = paired(items({"a": x}), items({"a": np.zeros_like(x)}))
        called += verdict.judge_difference(float(x.mean()), made.p, "higher") != verdict.NOT_DISTINGUISHABLE
    assert called / 800 <= 0.055


finite = st.floats(-10, 10).map(lambda value: round(value, 3))


@settings(max_examples=40, deadline=None)
@given(st.lists(finite, min_size=2, max_size=12), st.floats(1.5, 20))
def test_it_holds_the_mean_and_widens_with_the_spread(values: list[float], factor: float) -> None:
    x = np.array(values)
    made, wider = (interval(items({"a": [v]})) for v in (x, x.mean() + factor * (x - x.mean())))
    assert made.low is not None and made.high is not None and wider.low is not None and wider.high is not None
    assert made.low - 1e-9 <= x.mean() <= made.high + 1e-9
    assert wider.high - wider.low == pytest.approx(factor * (made.high - made.low), abs=1e-9)


# -- differences


@settings(max_examples=25, deadline=None)
@given(st.lists(finite, min_size=2, max_size=9))
def test_identical_treatments_differ_by_exactly_nothing(values: list[float]) -> None:
    x = items({"a": [values, values[::-1]]})
    made = paired(x, items({"a": [values, values[::-1]]}))
    assert (made.low, made.high, made.p) == (0.0, 0.0, 1.0)


def test_what_items_have_in_common_cancels() -> None:
    """Movies are .1 to .9, the treatment adds .01 to each: the values' intervals are wide, the difference's is not."""
    x = np.linspace(0.1, 0.9, 9)
    made = paired(items({"a": [x + 0.01]}), items({"a": [x]}))
    alone = interval(items({"a": [x]}))
    assert made.low == pytest.approx(0.01) and made.high == pytest.approx(0.01)
    assert alone.low is not None and alone.high is not None and alone.high - alone.low > 0.2
    assert made.method.startswith("paired 95 %")


def test_where_seeds_agree_the_p_value_is_that_of_the_paired_t_test_over_items() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=10), rng.normal(0.6, 1, size=10)
    made = paired(items({"a": [x, x, x]}), items({"a": [y, y, y]}))
    assert made.p == pytest.approx(ttest_rel(x, y).pvalue, rel=1e-6)


def test_the_p_value_knows_both_of_items_and_of_seeds_alone() -> None:
    """Fifty items agree, three seeds do not: t = .15 / (.1 / sqrt(3)) with two degrees of freedom."""
    x = np.full((3, 50), 0.15) + np.array([[-0.1], [0.0], [0.1]])
    made = paired(items({"a": x}), items({"a": np.zeros((3, 50))}))
    assert made.p == pytest.approx(2 * t.sf(0.15 / (0.1 / math.sqrt(3)), 2), rel=1e-6)


def test_only_the_same_items_are_compared() -> None:
    other = items({"b": [[1.0, 2.0]]})
    made = paired(items({"a": [[1.0, 2.0]]}), other)
    assert made.low is None and made.method == "other test items or seeds than what it is compared with"


def test_changes_by_hand() -> None:
    """Errors .10 -> .09 and .20 -> .16: 10 and 20 %, mean 15; correlations .4 -> .5: 25 %, and .5 -> .4 is -20 %."""
    one, two = (np.array([[0.09]]), np.array([[0.10]])), (np.array([[0.16]]), np.array([[0.20]]))
    assert mean_change([one, two], "lower")[0, 0] == pytest.approx(15)
    assert mean_change([(np.array([0.5]), np.array([0.4]))], "higher") == pytest.approx([25])
    assert mean_change([(np.array([0.4]), np.array([0.5]))], "higher") == pytest.approx([-20])
    treated, without = np.array([0.09, 0.07]), np.array([0.12, 0.08])
    assert mean_change([(treated, without)], "lower").mean() == pytest.approx(100 * (0.10 - 0.08) / 0.10)
    points = mean_change(
        [(np.array([56.7]), np.array([52.7])), (np.array([58.3]), np.array([54.6]))], "higher", "points"
    )
    assert points == pytest.approx([3.85])
    assert mean_change([(np.array([0.4]), np.array([-0.1]))], "lower", "points") == pytest.approx([-0.5])
    with pytest.raises(ComputeError, match="has no meaning"):
        mean_change([(np.array([0.4]), np.array([-0.1]))], "higher")


def test_the_interval_of_a_change_is_that_of_its_draws() -> None:
    """Against ten thousand bootstraps of items and seeds, where both are many: the same width within a tenth."""
    rng = np.random.default_rng(8)
    base = 2 + 0.4 * rng.normal(size=60) + 0.1 * rng.normal(size=(30, 1)) + 0.2 * rng.normal(size=(30, 60))
    treated = 0.9 * base + 0.1 * rng.normal(size=60) + 0.1 * rng.normal(size=(30, 1))
    made = change_interval([(items({"a": treated}), items({"a": base}))], "lower")
    drawn = []
    for _ in range(4000):
        place = np.ix_(rng.integers(0, 30, 30), rng.integers(0, 60, 60))
        drawn.append(100 * (1 - treated[place].mean() / base[place].mean()))
    low, high = np.quantile(drawn, (0.025, 0.975))
    assert made.low is not None and made.high is not None
    assert made.high - made.low == pytest.approx(high - low, rel=0.12)
    assert (made.low + made.high) / 2 == pytest.approx(100 * (1 - treated.mean() / base.mean()))
    points = change_interval([(items({"a": treated}), items({"a": base}))] * 2, "higher", "points")
    plain = paired(items({"a": treated}), items({"a": base}))
    assert (points.low, points.high, points.p) == pytest.approx((plain.low, plain.high, plain.p))


def test_a_change_relative_to_what_may_be_nothing_has_no_interval() -> None:
    base, treated = items({"a": [[-0.2, 0.5, 0.1]]}), items({"a": [[0.1, 0.2, 0.3]]})
    made = change_interval([(treated, base)], "higher")
    assert made.low is None and made.method == "what is compared with is less than two standard errors from 0"


def test_a_difference_is_judged_by_its_p_value_and_its_sign() -> None:
    judge = verdict.judge_difference
    assert judge(0.1, 0.049, "higher") == judge(-0.1, 0.049, "lower") == verdict.BETTER
    assert judge(0.1, 0.049, "lower") == judge(-0.1, 0.0, "higher") == verdict.WORSE
    assert judge(0.1, 0.05, "higher") == judge(0.0, 0.0, "higher") == verdict.NOT_DISTINGUISHABLE
    assert judge(0.1, None, "higher") == verdict.NOT_DISTINGUISHABLE, "one seed tells nothing of training"
