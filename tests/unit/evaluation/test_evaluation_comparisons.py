"""Every treatment against its baseline: by hand, by enumeration, and from the plan to the table."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import page_study
import pytest

from utopia.config.load import load
from utopia.evaluation.comparisons import TREATMENTS, compared
from utopia.evaluation.interval import holm
from utopia.evaluation.metrics_csv import MetricRow, write
from utopia.evaluation.uncertainty import Items
from utopia.plan.plan import Plan
from utopia.provenance.explain import explain
from utopia.provenance.lineage import cells_of
from utopia.provenance.subject import find
from utopia.tables import markdown as render_markdown
from utopia.tables import tex as render_tex
from utopia.tables.cells import Cell, build, measured, runs_behind
from utopia.tables.layout import lay_out, p_value
from utopia.tables.render import render_table
from utopia.tables.results import Results

STATISTICS = {"difference": None, "p": "p", "permuted": "permuted", "adjusted": "adjusted", "better": "improvement"}


def items(values: Any, run: str = "r") -> Items:
    """One fold; [S, n]."""
    x = np.atleast_2d(np.asarray(values, float))
    names = tuple(map(str, range(x.shape[1])))
    return Items(run, tuple(map(str, range(len(x)))), {"a": names}, {"a": x}, {"a": np.ones(len(names))}, False)


def test_swapping_runs_at_items_is_counted_in_all_ways() -> None:
    rng = np.random.default_rng(1)
    one, other = rng.normal(0.4, 1, size=(2, 7)), rng.normal(size=(2, 7))
    made = compared(items(one), items(other), "higher", 1)
    assert not isinstance(made, str)
    d = (one - other).mean(axis=0)
    sums = [np.dot(signs, d) for signs in itertools.product((-1, 1), repeat=7)]
    upper, lower = np.mean(np.array(sums) >= d.sum() - 1e-12), np.mean(np.array(sums) <= d.sum() + 1e-12)
    assert made.permuted == pytest.approx(min(1.0, 2 * min(upper, lower)))


def test_of_many_items_the_study_s_seed_draws_the_swaps() -> None:
    rng = np.random.default_rng(1)
    one, other = items(rng.normal(0.2, 1, size=(2, 20))), items(rng.normal(size=(2, 20)))
    made = [compared(one, other, "higher", seed) for seed in (1, 1, 2)]
    p = [each.permuted for each in made if not isinstance(each, str)]
    assert p[0] == p[1] != p[2] and p[0] == pytest.approx(p[2], abs=0.03)


def test_the_probability_of_improvement_by_hand() -> None:
    """Item 1: seeds .5, .7 against .4, .6: better in 3 of 4 pairs. Item 2: .2, .2 against .2, .3: 2 halves of 4."""
    one, other = items([[0.5, 0.2], [0.7, 0.2]]), items([[0.4, 0.2], [0.6, 0.3]])
    higher, lower = compared(one, other, "higher", 1), compared(one, other, "lower", 1)
    assert not isinstance(higher, str) and not isinstance(lower, str)
    assert higher.improvement == pytest.approx((0.75 + 0.25) / 2) and lower.improvement == pytest.approx(0.5)
    one, other = items([[0.5, 0.9]]), items([[0.4, 0.8]])
    both = compared(one, other, "higher", 1), compared(one, other, "lower", 1)
    assert [each.improvement for each in both if not isinstance(each, str)] == [1.0, 0.0]


def test_what_cannot_be_compared_says_why() -> None:
    assert compared(
        "this metric has no value per video, so there is no interval", items([[1.0, 2.0]]), "higher", 1
    ).startswith("this metric")
    assert compared(items([[1.0]]), items([[2.0]]), "higher", 1) == "one test item"
    alone = compared(items([[1.0, 2.0, 4.0]]), items([[2.0, 1.0, 3.0]]), "higher", 1)
    assert not isinstance(alone, str) and alone.value("p") is None and alone.value("permuted") == alone.permuted


def test_the_plan_compares_what_differs_in_treatment_only_and_each_once() -> None:
    plan = Plan(load({"study": "miniature"}))
    found = {}
    for names, cell, other in plan.comparisons:
        assert cell.run is not None and other.run is not None and "@" not in cell.run.id + other.run.id
        assert cell.run.id.rsplit(".", 1)[0] == other.run.id.rsplit(".", 1)[0] != cell.run.id
        found[cell.run.id, names["target"], names["metric"]] = other.run.id
    assert len(found) == len(plan.comparisons)
    assert found["liris.et.tns_cwl", "valence", "mse"] == "liris.et.baseline"
    assert found["eev.bi_gru.ccc", "reactions", "correlation"] == "eev.bi_gru.l1", "the row that its table names"
    settings = plan.table_settings("beyond_table_3")["table"]
    assert [row["id"] for row in settings["rows"]] == list(dict.fromkeys(row["id"] for row in settings["rows"]))
    assert {run for cell in cells_of("t", settings) for run in cell.runs} == set(plan.table_runs("beyond_table_3"))
    headings = [row["group"] for row in settings["rows"]]
    assert len(set(headings)) == sum(one != other for one, other in itertools.pairwise(["", *headings])), (
        "no group twice"
    )


def test_names_are_those_of_the_papers_tables() -> None:
    study = load({"study": "miniature"})
    assert set(study.treatments) - {"baseline"} <= set(TREATMENTS), "name it as its table does"
    rows = Plan(study).table_settings("beyond_table_3")["table"]["rows"]
    (row,) = (row for row in rows if row["id"] == "liris.pgl_sum.tns_cwl.valence.mse")
    assert row["title"] == "TNS + CWL" and row["keys"]["treatment"] == "tns_cwl"
    assert row["name"] == "TNS + CWL against baseline, PGL-SUM on LIRIS-ACCEDE: valence MSE"


# -- the table


def run_file(path: Path, by_seed: list[list[float]]) -> Path:
    rows = [MetricRow("valence", "0", str(n), "", "pcc", float(np.mean(values))) for n, values in enumerate(by_seed)]
    rows += [
        MetricRow("valence", "0", str(n), f"m{i}", "pcc", value)
        for n, values in enumerate(by_seed)
        for i, value in enumerate(values)
    ]
    write(path, rows)
    return path


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    rng = np.random.default_rng(5)
    base = rng.normal(0.4, 0.05, size=(3, 9))
    made = {
        "base": base,
        "clear": base + 0.1 + 0.002 * rng.normal(size=(3, 9)),
        "vague": base + 0.01 * rng.normal(size=(3, 9)),
    }
    return {f"d.et.{name}": run_file(tmp_path / f"{name}.csv", values.tolist()) for name, values in made.items()}


def table(*names: str) -> dict[str, Any]:
    columns = [
        {"id": name, "title": name, "dataset": "", "target": "", "metric": "", "decimals": 4, "better": "higher",
         "change": "points", "statistic": statistic}
        for name, statistic in STATISTICS.items()
    ]  # fmt: skip
    measure = {"dataset": "d", "target": "valence", "metric": "pcc", "better": "higher"}
    rows = [
        {"id": name, "title": name, "runs": {}, "against": None, "published": {}, "note": "",
         "changes": {column: [[f"d.et.{name}", "d.et.base"]] for column in STATISTICS},
         "as": dict.fromkeys(STATISTICS, measure)}
        for name in names
    ]  # fmt: skip
    return {"id": "t", "title": "T", "seed": 1, "columns": columns, "rows": rows}


def test_no_p_value_is_printed_as_nothing() -> None:
    assert [p_value(p, 4) for p in (0.0, 4.9e-5, 5.1e-5, 0.00012, 0.5)] == [
        "< 0.0001", "< 0.0001", "0.0001", "0.0001", "0.5000"
    ]  # fmt: skip
    given = table("clear")
    cells = [Cell("t", "clear", column["id"], 1e-7, None, 3, "measured", "", None, 4) for column in given["columns"]]
    layout = lay_out(given, cells)
    texts = [shown.main for shown in layout.lines[0].cells]
    assert texts == ["0.0000", "< 0.0001", "< 0.0001", "< 0.0001", "0.0000"], "p-values alone"
    assert "&lt; 0.0001" in render_markdown.text(layout) and r"\textless{} 0.0001" in render_tex.text(layout)


def test_the_table_of_comparisons(tmp_path: Path, runs: dict[str, Path]) -> None:
    """A clear gain, one that is none, and a run that is not there: a hole, which the others' adjustment leaves out."""
    given = table("clear", "vague", "gone")
    results = Results(runs, {"d.et.gone": "no videos"})
    made = {cell.cell: cell for cell in build(given, results)}
    for name in ("clear", "vague"):
        gain, p = made[f"t/{name}/difference"], made[f"t/{name}/p"].value
        assert gain.status == "measured" and gain.difference_p == p and gain.value == gain.difference
        for column in given["columns"]:
            row = next(row for row in given["rows"] if row["id"] == name)
            again = measured(given, row, column, Results(runs, {}))
            cell = made[f"t/{name}/{column['id']}"]
            assert again is not None and (again.value, again.n) == (cell.value, cell.n) == (cell.value, 3)
    p = [made[f"t/{name}/p"].value for name in ("clear", "vague")]
    assert [made[f"t/{name}/adjusted"].value for name in ("clear", "vague")] == holm(
        [each for each in p if each is not None]
    )
    assert made["t/clear/difference"].difference_verdict == "better" and (made["t/clear/better"].value or 0) > 0.9
    assert made["t/vague/difference"].difference_verdict == "not distinguishable"
    assert {cell.status for name, cell in made.items() if "/gone/" in name} == {"absent"}
    assert made["t/gone/p"].reason == "no videos"
    assert made["t/clear/p"].runs == ["d.et.clear", "d.et.base"]
    assert made["t/clear/adjusted"].runs == ["d.et.clear", "d.et.base", "d.et.vague"], "its own first, then all others"
    assert runs_behind(given, given["rows"][1], "adjusted")[:2] == ["d.et.vague", "d.et.base"]
    of_lineage = {(cell.row, cell.column): set(cell.runs) for cell in cells_of("t", given)}
    assert of_lineage["clear", "adjusted"] == {"d.et.clear", "d.et.base", "d.et.vague", "d.et.gone"}


def test_a_gain_that_does_not_stand_among_all_rows_is_marked_so(tmp_path: Path, runs: dict[str, Path]) -> None:
    rng = np.random.default_rng(0)
    base = np.array(
        [
            [
                float(row["value"])
                for row in csv.DictReader(runs["d.et.base"].open())
                if row["item"] and row["repeat"] == str(n)
            ]
            for n in range(3)
        ]
    )
    for n in range(12):
        gain = 0.02 if n == 0 else 0.0
        runs[f"d.et.t{n}"] = run_file(
            tmp_path / f"t{n}.csv", (base + gain + 0.01 * rng.normal(size=base.shape)).tolist()
        )
    outputs = {form: tmp_path / f"t.{form}" for form in ("csv", "md", "tex", "html")}
    made = render_table(table=table(*(f"t{n}" for n in range(12))), runs=runs, absent={}, outputs=outputs)
    first = next(cell for cell in made if cell.cell == "t/t0/difference")
    adjusted = next(cell for cell in made if cell.cell == "t/t0/adjusted")
    assert first.difference_p is not None and first.difference_p < 0.05 < (adjusted.value or 0)
    assert first.difference_verdict == "better only by itself"
    for form in ("md", "html"):
        assert "△" in outputs[form].read_text(encoding="utf-8")
    assert outputs["tex"].read_text(encoding="utf-8").isascii()


def test_a_study_without_comparisons_has_an_empty_table(tmp_path: Path) -> None:
    outputs = {form: tmp_path / f"t.{form}" for form in ("csv", "md", "tex", "html")}
    assert render_table(table=table(), runs={}, absent={}, outputs=outputs) == []


def test_explain_names_the_measure_of_a_row_and_what_a_column_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows bring target and metric, its columns none: replicas' own metrics are found all the same."""
    monkeypatch.chdir(tmp_path)
    page_study.make(tmp_path)
    given = table("cwl")
    row = given["rows"][0]
    row["changes"] = {column: [["films.et.cwl", "films.et.baseline"]] for column in STATISTICS}
    page_study.render(given | {"id": "against", "source": "beyond the papers", "caption": ""})
    graph = page_study.graph()
    made = explain(graph, find(graph, "against/cwl/difference"), "tiny")
    assert (made["value"]["target"], made["value"]["metric"]) == ("valence", "pcc") and made["value"]["statistic"] == ""
    assert made["replicas"] and all("pcc" in replica["metrics"] for replica in made["replicas"])
    assert explain(graph, find(graph, "against/cwl/adjusted"), "tiny")["value"]["statistic"] == "adjusted"
