"""Intervals over test items and paired differences: by hand, by enumeration of all draws, and their properties."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utopia.errors import ComputeError
from utopia.evaluation.rows import Row, write
from utopia.outputs import verdict
from utopia.outputs.cells import Cell, Results, build
from utopia.outputs.render import render_table
from utopia.outputs.uncertainty import Items, interval, mean_change, paired, read_items

ME = ("run", "valence", "pcc")


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
    write(path, [Row(target, fold, seed, item, metric, value) for fold, seed, item, metric, value in rows])
    return path


# -- the statistic


def test_the_statistic_by_hand() -> None:
    """Fold a pools 10 and 30 frames of errors .1 and .4: .325; fold b has the plain mean .5; two seeds differ by 1."""
    one = items({"a": [[0.1, 0.4], [1.1, 1.4]], "b": [[0.3, 0.7], [1.3, 1.7]]}, {"a": [10, 30]})
    each, first_twice = np.array([[1.0, 1.0]]), np.array([[2.0, 0.0]])
    assert one.statistic([each, each]).tolist() == [pytest.approx([(0.325 + 0.5) / 2, (1.325 + 1.5) / 2])]
    assert one.statistic([first_twice, each])[0, 0] == pytest.approx((0.1 + 0.5) / 2)


def test_the_root_is_taken_of_each_seed_and_fold() -> None:
    one = items({"a": [[0.04, 0.04], [0.16, 0.16]], "b": [[0.36, 0.36], [0.64, 0.64]]}, root=True)
    both = np.ones((1, 2))
    assert one.statistic([both, both])[0] == pytest.approx([(0.2 + 0.6) / 2, (0.4 + 0.8) / 2])


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
    ("metric", "low", "high"), [("mse", 0.1, 0.4), ("mse_item", 0.1, 0.4), ("rmse", 0.1**0.5, 0.4**0.5)]
)
def test_metrics_over_frames_and_over_items(movies: Path, metric: str, low: float, high: float) -> None:
    """Two items: a quarter of all draws has the one alone, a quarter the other."""
    found = read_items(movies, "r", "valence", metric, FRAMES)
    assert isinstance(found, Items)
    made = interval(found, ME, 7)
    assert (made.low, made.high) == (pytest.approx(low), pytest.approx(high))
    assert made.method == "95 % percentile bootstrap over 2 test items, 10000 draws"


def test_no_interval_without_a_ground(movies: Path) -> None:
    assert read_items(movies, "r", "valence", "mse") == "the number of frames of each item is not at hand"
    assert read_items(movies, "r", "valence", "mse", {"m": 10}) == "the number of frames of each item is not at hand"
    assert read_items(movies, "r", "valence", "pcc_pooled", FRAMES) == "this metric is not one of single items"
    assert read_items(movies, "r", "valence", "pcc", FRAMES) == "the items' own metrics do not add up to this one"
    assert read_items(movies, "r", "arousal", "mse", FRAMES) == "this metric is not one of single items"


def test_a_fold_score_that_was_rounded_still_adds_up(tmp_path: Path) -> None:
    rows = [("0", "0", "", "f_score", 33.33), ("0", "0", "a", "f_score", 100 / 3), ("0", "0", "b", "f_score", 100 / 3)]
    assert isinstance(read_items(metrics_file(tmp_path / "f.csv", rows), "r", "valence", "f_score"), Items)


def test_seeds_must_have_the_same_items(tmp_path: Path) -> None:
    rows = [("0", seed, "", "pcc", 0.5) for seed in "01"]
    rows += [("0", "0", "a", "pcc", 0.5), ("0", "1", "b", "pcc", 0.5)]
    found = read_items(metrics_file(tmp_path / "p.csv", rows), "r", "valence", "pcc")
    assert found == "seeds differ in their test items"


# -- intervals


def test_one_item_has_no_interval_and_says_so() -> None:
    made = interval(items({"a": [[0.3]]}), ME, 1)
    assert (made.low, made.high, made.method) == (None, None, "one test item")
    made = interval(items({"a": [[0.3]], "b": [[0.4]]}), ME, 1)
    assert made.method == "one test item in each fold"
    made = interval(items({"a": [[0.3]], "b": [[0.4, 0.6]]}), ME, 1)
    assert (made.low, made.high) == (pytest.approx((0.3 + 0.4) / 2), pytest.approx((0.3 + 0.6) / 2))
    assert made.method.endswith("; too narrow: 1 of them have one item")


def test_against_all_draws_there_are() -> None:
    """Five items: all 5^5 draws have the same probability, so the interval is the quantile of their means."""
    x = np.array([0.1, 0.2, 0.4, 0.8, 1.6])
    means = np.sort([np.mean(draw) for draw in itertools.product(x, repeat=5)])
    made = interval(items({"a": [x]}), ME, 3)
    assert made.low is not None and made.high is not None
    # neighbouring means are .02 apart
    assert made.low == pytest.approx(np.quantile(means, 0.025), abs=0.021)
    assert made.high == pytest.approx(np.quantile(means, 0.975), abs=0.021)


finite = st.floats(-10, 10).map(lambda value: round(value, 3))


@settings(max_examples=40, deadline=None)
@given(st.lists(finite, min_size=2, max_size=12), st.floats(1.5, 20))
def test_it_holds_the_mean_and_widens_with_the_spread(values: list[float], factor: float) -> None:
    x = np.array(values)
    made, wider = (interval(items({"a": [v]}), ME, 5) for v in (x, x.mean() + factor * (x - x.mean())))
    assert made.low is not None and made.high is not None and wider.low is not None and wider.high is not None
    assert made.low - 1e-9 <= x.mean() <= made.high + 1e-9
    assert wider.high - wider.low == pytest.approx(factor * (made.high - made.low), abs=1e-9)


def test_it_is_seeded_by_what_is_measured() -> None:
    x = items({"a": [np.random.default_rng(1).normal(size=9)]})
    assert interval(x, ME, 5) == interval(x, ME, 5)
    assert interval(x, ME, 5) != interval(x, ("run", "valence", "mse"), 5)
    assert interval(x, ME, 5) != interval(x, ME, 6)


# -- differences


@settings(max_examples=25, deadline=None)
@given(st.lists(finite, min_size=2, max_size=9))
def test_identical_treatments_differ_by_exactly_nothing(values: list[float]) -> None:
    x = items({"a": [values, values[::-1]]})
    made = paired(x, items({"a": [values, values[::-1]]}), ME, 2)
    assert (made.low, made.high) == (0.0, 0.0)


def test_what_items_have_in_common_cancels() -> None:
    """Movies are .1 to .9, the treatment adds .01 to each: the values' intervals are wide, the difference's is not."""
    x = np.linspace(0.1, 0.9, 9)
    made = paired(items({"a": [x + 0.01]}), items({"a": [x]}), ME, 2)
    alone = interval(items({"a": [x]}), ME, 2)
    assert made.low == pytest.approx(0.01) and made.high == pytest.approx(0.01)
    assert alone.low is not None and alone.high is not None and alone.high - alone.low > 0.2
    assert made.method.startswith("paired 95 %")


def test_only_the_same_items_are_compared() -> None:
    other = items({"b": [[1.0, 2.0]]})
    made = paired(items({"a": [[1.0, 2.0]]}), other, ME, 2)
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


def test_a_difference_is_judged_by_the_intervals_over_items_and_over_seeds() -> None:
    judge = verdict.judge_difference
    alike = [0.14, 0.15, 0.16]  # t(.975, 2) * 0.01 / sqrt(3) = 0.025
    assert judge(0.1, 0.2, alike, "higher") == verdict.BETTER
    assert judge(0.1, 0.2, alike, "lower") == verdict.WORSE
    assert judge(-0.2, -0.1, np.negative(alike), "lower") == verdict.BETTER
    assert judge(-0.2, -0.1, np.negative(alike), "higher") == verdict.WORSE
    assert judge(-0.1, 0.2, alike, "higher") == verdict.NOT_DISTINGUISHABLE
    assert judge(0.1, 0.2, np.negative(alike), "higher") == verdict.NOT_DISTINGUISHABLE, "on different sides"
    assert judge(0.1, 0.2, [0.05, 0.15, 0.25], "higher") == verdict.NOT_DISTINGUISHABLE, "0.15 +- 4.303 * 0.0577"
    assert judge(0.1, 0.2, [0.1, 0.2], "higher") == verdict.NOT_DISTINGUISHABLE, "0.15 +- 12.706 * 0.05"
    assert judge(0.1, 0.2, [0.15], "higher") == verdict.NOT_DISTINGUISHABLE, "one seed tells nothing of training"
    assert judge(0.0, 0.0, [0.0, 0.0], "higher") == verdict.NOT_DISTINGUISHABLE
    assert judge(None, None, [0.1], "higher") == ""


def test_a_difference_that_training_alone_makes_is_called_one_in_forty_times_at_most() -> None:
    """Each seed's difference is noise of training; the interval over items never covers 0, as with very many items."""
    draws = np.random.default_rng(0).normal(size=(4000, 3))
    called = [verdict.judge_difference(1.0, 2.0, each, "higher") != verdict.NOT_DISTINGUISHABLE for each in draws]
    assert np.mean(called) == pytest.approx(0.025, abs=0.008)  # all seeds agree in the sign in one of eight


# -- in tables


def run_file(path: Path, errors: dict[str, list[float]]) -> Path:
    """seed -> per-item values of `pcc` in one fold, with the replicas' means."""
    rows = [("0", seed, "", "pcc", float(np.mean(values))) for seed, values in errors.items()]
    rows += [("0", seed, f"m{i}", "pcc", value) for seed, values in errors.items() for i, value in enumerate(values)]
    return metrics_file(path, rows)


COLUMN = {
    "id": "v", "title": "PCC", "dataset": "d", "target": "valence", "metric": "pcc", "decimals": 3, "better": "higher"
}  # fmt: skip


def table(*rows: dict[str, Any], decimals: int = 3) -> dict[str, Any]:
    column = COLUMN | {"decimals": decimals}
    usual = {"title": "T", "runs": {}, "changes": {}, "published": {"v": None}, "note": ""}
    return {"id": "t", "title": "T", "columns": [column], "seed": 3, "rows": [usual | row for row in rows]}


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    base = {"0": [0.2, 0.4, 0.6], "1": [0.22, 0.42, 0.62]}
    better = {seed: [value + 0.05 + 0.01 * i for i, value in enumerate(values)] for seed, values in base.items()}
    mixed = {"0": [0.3, 0.2, 0.7], "1": [0.1, 0.5, 0.6]}
    files = {"base": base, "same": base, "better": better, "mixed": mixed}
    return {f"d.et.{name}": run_file(tmp_path / f"{name}.csv", values) for name, values in files.items()}


def cells(table: dict[str, Any], runs: dict[str, Path]) -> dict[str, Cell]:
    return {cell.row: cell for cell in build(table, Results(runs, {}))}


def test_rows_are_compared_with_the_row_they_name(runs: dict[str, Path]) -> None:
    names = ("base", "same", "better", "mixed")
    made = cells(
        table(*({"id": name, "runs": {"v": f"d.et.{name}"}, "against": None if name == "base" else "base"}
                for name in names)), runs
    )  # fmt: skip
    assert made["base"].difference is None and made["base"].against == ""
    same = made["same"]
    assert (same.difference, same.difference_low, same.difference_high) == (0.0, 0.0, 0.0)
    assert same.difference_verdict == verdict.NOT_DISTINGUISHABLE
    better = made["better"]
    assert better.difference == pytest.approx(0.06) and better.against == "base"
    assert (better.difference_low, better.difference_high) == (
        pytest.approx(0.05, abs=0.004),
        pytest.approx(0.07, abs=0.004),
    )
    assert better.difference_verdict == verdict.BETTER
    assert made["mixed"].difference_verdict == verdict.NOT_DISTINGUISHABLE
    for cell in made.values():
        assert cell.low is not None and cell.value is not None and cell.high is not None
        assert cell.low < cell.value < cell.high


def test_a_derived_row(runs: dict[str, Path]) -> None:
    """Gains over .41: .06 and 0, in per cent, mean of two models; then one that cannot be told from none."""
    pairs = [["d.et.better", "d.et.base"], ["d.et.same", "d.et.base"]]
    clear = {"id": "clear", "changes": {"v": pairs}, "published": {"v": 7.3}}
    vague = {"id": "vague", "changes": {"v": [["d.et.mixed", "d.et.base"]]}, "published": {"v": 9.0}}
    made = cells(table(clear, vague, decimals=1), runs)
    assert made["clear"].value == pytest.approx(100 * 0.06 / 0.41 / 2)
    assert made["clear"].std == pytest.approx(0) and made["clear"].n == 2
    assert made["clear"].verdict == verdict.SAME and made["clear"].difference_verdict == verdict.BETTER
    assert made["clear"].against == "base" and made["clear"].runs == ["d.et.better", "d.et.base", "d.et.same"]
    assert made["vague"].verdict == verdict.NOT_DISTINGUISHABLE and "covers 0" in made["vague"].verdict_reason
    absent = build(table(clear), Results({}, dict.fromkeys(runs, "no videos")))
    assert [(cell.status, cell.reason, cell.published) for cell in absent] == [("absent", "no videos", 7.3)]


def test_a_derived_row_without_a_positive_base_says_why(tmp_path: Path) -> None:
    negative = {"a.b.base": run_file(tmp_path / "n.csv", {"0": [-0.2, 0.1]})}
    row = {"id": "r", "changes": {"v": [["a.b.base", "a.b.base"]]}}
    (made,) = build(table(row), Results(negative, {}))
    assert made.status == "absent" and "has no meaning" in made.reason and made.value is None


def test_intervals_and_marks_are_shown_in_every_form(tmp_path: Path, runs: dict[str, Path]) -> None:
    rows = (
        {"id": "base", "title": "ET", "runs": {"v": "d.et.base"}},
        {"id": "better", "title": "ET + X", "runs": {"v": "d.et.better"}, "against": "base", "note": "[U] a guess"},
    )
    outputs = {kind: tmp_path / f"t.{kind}" for kind in ("csv", "md", "tex", "html")}
    made = render_table(table=table(*rows), runs=runs, absent={}, outputs=outputs)
    text = {kind: path.read_text(encoding="utf-8") for kind, path in outputs.items()}
    low, high = made[1].low, made[1].high
    assert low is not None and high is not None
    shown = f"[{low:.3f}, {high:.3f}]"
    for kind in ("md", "tex", "html"):
        assert shown in text[kind] and "0.0600" in text[kind], kind
        assert "better than ET" in text[kind] and "a guess" in text[kind], kind
    assert "▲" in text["md"] and "▲" in text["html"] and r"\bigtriangleup" in text["tex"] and text["tex"].isascii()
    (line,) = (line for line in csv.DictReader(text["csv"].splitlines()) if line["row"] == "better")
    assert float(line["low"]) == low and line["interval"].startswith("95 % percentile bootstrap over 3 test items")
    assert line["against"] == "base" and line["difference_verdict"] == "better" and line["note"] == "[U] a guess"


def test_equal_numbers_have_equal_intervals_in_all_tables(runs: dict[str, Path]) -> None:
    one = table({"id": "a", "runs": {"v": "d.et.mixed"}})
    two = table({"id": "b", "runs": {"v": "d.et.mixed"}}) | {"id": "other"}
    first, second = build(one, Results(runs, {}))[0], build(two, Results(runs, {}))[0]
    assert (first.low, first.high) == (second.low, second.high)


def test_gains_point_upwards_and_losses_have_a_minus_sign(tmp_path: Path, runs: dict[str, Path]) -> None:
    errors = table({"id": "loss", "changes": {"v": [["d.et.better", "d.et.base"]]}}, decimals=1)
    errors["columns"] = [errors["columns"][0] | {"better": "lower"}]
    outputs = {kind: tmp_path / f"t.{kind}" for kind in ("md", "tex", "html")}
    render_table(table=errors, runs=runs, absent={}, outputs=outputs)
    assert "PCC ↑" in outputs["md"].read_text(encoding="utf-8") and "−14.6 ± " in outputs["md"].read_text("utf-8")
    assert "$-14.6 \\pm " in outputs["tex"].read_text(encoding="utf-8") and outputs["tex"].read_text("utf-8").isascii()
