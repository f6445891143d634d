"""Cells with intervals and paired differences: in tables, in every form."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from utopia.evaluation import verdict
from utopia.evaluation.metrics_csv import MetricRow, write
from utopia.tables.cells import Cell, build
from utopia.tables.render import render_table
from utopia.tables.results import Results


def run_file(path: Path, errors: dict[str, list[float]]) -> Path:
    """seed -> per-item values of `pcc` in one fold, with the replicas' means."""
    rows = [("0", seed, "", "pcc", float(np.mean(values))) for seed, values in errors.items()]
    rows += [("0", seed, f"m{i}", "pcc", value) for seed, values in errors.items() for i, value in enumerate(values)]
    write(path, [MetricRow("valence", fold, seed, item, metric, value) for fold, seed, item, metric, value in rows])
    return path


COLUMN = {
    "id": "v", "title": "PCC", "dataset": "d", "target": "valence", "metric": "pcc", "decimals": 3, "better": "higher"
}  # fmt: skip


def table(*rows: dict[str, Any], decimals: int = 3) -> dict[str, Any]:
    column = COLUMN | {"decimals": decimals}
    usual = {"title": "T", "runs": {}, "changes": {}, "published": {"v": None}, "note": ""}
    return {"id": "t", "title": "T", "columns": [column], "rows": [usual | row for row in rows]}


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    base = {"0": [0.36, 0.4, 0.44], "1": [0.38, 0.42, 0.46]}
    better = {seed: [value + 0.058 + 0.002 * i for i, value in enumerate(values)] for seed, values in base.items()}
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
    half = 4.30265 * 0.002 / math.sqrt(3)
    assert (better.difference_low, better.difference_high) == pytest.approx((0.06 - half, 0.06 + half), rel=1e-5)
    assert better.difference_p == pytest.approx(2 * t.sf(0.06 / (0.002 / math.sqrt(3)), 2), rel=1e-4)
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
    shown = f"{low:.3f}, {high:.3f}]".lstrip("-")
    for kind in ("md", "tex", "html"):
        assert shown in text[kind].replace(",~", ", ") and "0.0600" in text[kind], kind
        assert "better than ET" in text[kind] and "a guess" in text[kind], kind
    assert "▲" in text["md"] and "▲" in text["html"] and r"\bigtriangleup" in text["tex"] and text["tex"].isascii()
    (line,) = (line for line in csv.DictReader(text["csv"].splitlines()) if line["row"] == "better")
    assert float(line["low"]) == low and line["interval"].startswith("95 % by Student's t over 3 test items")
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
    assert "without ±: every repeat gives the same value" in outputs["md"].read_text(encoding="utf-8")
    assert "PCC ↑" in outputs["md"].read_text(encoding="utf-8") and "−14.6 ▼" in outputs["md"].read_text("utf-8")
    assert "$-14.6$ &" in outputs["tex"].read_text(encoding="utf-8") and outputs["tex"].read_text("utf-8").isascii()


def test_a_table_says_how_many_gains_chance_would_give(tmp_path: Path, runs: dict[str, Path]) -> None:
    """Two comparisons: 2.5 % of them each way. A table with one says nothing."""
    others = ({"id": name, "runs": {"v": f"d.et.{name}"}, "against": "base"} for name in ("better", "mixed"))
    rows = ({"id": "base", "runs": {"v": "d.et.base"}}, *others)
    for some, said in ((rows, True), (rows[:2], False)):
        render_table(table=table(*some), runs=runs, absent={}, outputs={"md": tmp_path / "t.md"})
        text = (tmp_path / "t.md").read_text(encoding="utf-8")
        assert ("of 2 comparisons by themselves, chance gives up to 0.1 better and 0.1 worse" in text) is said
