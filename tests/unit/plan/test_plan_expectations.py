"""Expectations of planted effects: what passes, what fails and why, and who is told."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snakemake_logger_plugin_utopia.summary import planted_lines
from utopia.cli.compare import compare, kind
from utopia.cli.status import in_words, status
from utopia.config.load import REPOSITORY, load
from utopia.evaluation import verdict
from utopia.evaluation.metrics_csv import MetricRow, write
from utopia.plan import catalog
from utopia.plan.catalog import Row as TableRow
from utopia.plan.catalog import RunChoice
from utopia.plan.expectations import Expectation, outcome, row_settings
from utopia.plan.plan import Plan
from utopia.tables.cells import Cell, measured
from utopia.tables.render import render_table
from utopia.tables.results import Results

COLUMN: dict[str, Any] = {"id": "measured", "title": "Measured", "dataset": "", "target": "", "metric": ""}
COLUMN |= {"decimals": 3, "better": "higher"}
RUN = RunChoice(model="et", treatment="baseline")


def run_file(path: Path, values: dict[str, list[float]], order: tuple[int, ...] = (0, 1, 2, 3)) -> Path:
    """The pcc of items by seed, and the replicas' means; items in an order."""
    rows = [MetricRow("x", "test", seed, "", "pcc", float(np.mean(each))) for seed, each in values.items()]
    rows += [
        MetricRow("x", "test", seed, f"v{i}", "pcc", float(each[i])) for seed, each in values.items() for i in order
    ]
    write(path, rows)
    return path


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    low = {"0": [0.10, 0.14, 0.12, 0.16], "1": [0.11, 0.15, 0.13, 0.17], "2": [0.09, 0.13, 0.11, 0.15]}
    gain = np.array([0.50, 0.52, 0.51, 0.49])
    high = {seed: list(np.array(each) + gain + 0.01 * int(seed)) for seed, each in low.items()}
    mixed = {"0": [0.9, 0.0, 0.1, 0.2], "1": [0.0, 0.0, 0.2, 0.1], "2": [0.5, 0.1, 0.0, 0.3]}
    return {
        "d.et.low": run_file(tmp_path / "low.csv", low),
        "d.et.high": run_file(tmp_path / "high.csv", high, order=(2, 0, 3, 1)),
        "d.et.mixed": run_file(tmp_path / "mixed.csv", mixed),
        "d.et.same": run_file(tmp_path / "same.csv", dict.fromkeys(low, low["0"])),
    }


def row(name: str, run: str, over: str | None = None, **bounds: Any) -> dict[str, Any]:
    expectation = Expectation(dataset="d", target="x", metric="pcc", better=bounds.pop("better", "higher"), **bounds)
    usual: dict[str, Any] = {"id": name, "title": name, "published": {}, "note": "", "runs": {}, "changes": {}}
    usual |= {"changes": {"measured": [[run, over]]}} if over else {"runs": {"measured": run}}
    return usual | row_settings(expectation, RUN if over else None, ["measured"])


def made(folder: Path, runs: dict[str, Path], *rows: dict[str, Any], absent: Any = None) -> dict[str, Cell]:
    table = {"id": "truth", "title": "T", "columns": [COLUMN], "keys": [{"id": "expected", "title": "Expected"}]}
    folder.mkdir(exist_ok=True)
    cells = render_table(
        table=table | {"rows": list(rows)},
        runs=runs,
        absent=absent or {},
        not_comparable="generated miniature data",
        outputs={form: folder / f"truth.{form}" for form in ("csv", "md", "tex", "html")},
    )
    return {cell.row: cell for cell in cells}


def test_a_value_passes_within_its_bounds_alone(tmp_path: Path, runs: dict[str, Path]) -> None:
    cells = made(
        tmp_path / "tables",
        runs,
        row("enough", "d.et.high", at_least=0.6),
        row("too little", "d.et.low", at_least=0.6),
        row("too much", "d.et.high", at_most=0.2),
    )
    assert {name: cell.verdict for name, cell in cells.items()} == {
        "enough": verdict.PASSES, "too little": verdict.MISSES, "too much": verdict.MISSES,
    }  # fmt: skip
    enough = cells["enough"]
    assert enough.value == pytest.approx(0.645)
    assert enough.low is not None and enough.high is not None and enough.low < 0.645 < enough.high
    text = (tmp_path / "tables" / "truth.md").read_text()
    assert "✓ passes" in text and "✗ fails" in text and "Fails: 0.13 is below 0.6" in text and "Measured |" in text
    assert "is below 0.6" in cells["too little"].verdict_reason and "is above 0.2" in cells["too much"].verdict_reason


def test_a_gain_must_be_large_enough_and_more_than_chance(tmp_path: Path, runs: dict[str, Path]) -> None:
    cells = made(
        tmp_path / "tables",
        runs,
        row("gain", "d.et.high", "d.et.low", at_least=0.3),
        row("chance", "d.et.mixed", "d.et.low", at_least=0.01),
        row("loss", "d.et.low", "d.et.high", at_least=0.3),
        row("error", "d.et.low", "d.et.high", at_least=0.3, better="lower"),
        row("none", "d.et.same", "d.et.low", at_least=-0.02, at_most=0.02),
    )
    passing = {name for name, cell in cells.items() if cell.verdict == verdict.PASSES}
    assert passing == {"gain", "error", "none"}
    assert cells["gain"].value == pytest.approx(0.505 + 0.01) and cells["gain"].keys == {"expected": "gain ≥ 0.3"}
    assert "not more than chance" in cells["chance"].verdict_reason and "is below" in cells["loss"].verdict_reason
    assert all(cell.difference_p is None for cell in cells.values()), "no comparison of treatments"


def test_a_spread_over_seeds_of_one_training_is_none(tmp_path: Path, runs: dict[str, Path]) -> None:
    of = {"of": "spread", "at_least": 1e-4}
    cells = made(tmp_path / "tables", runs, row("three", "d.et.low", **of), row("one", "d.et.same", **of))
    assert [cells[name].verdict for name in ("three", "one")] == [verdict.PASSES, verdict.MISSES]
    assert cells["three"].value == pytest.approx(0.01) and cells["one"].value == 0.0


def test_what_an_audit_computes_of_a_cell_is_what_the_table_has(tmp_path: Path, runs: dict[str, Path]) -> None:
    rows = [
        row("value", "d.et.high", at_least=0.6),
        row("gain", "d.et.high", "d.et.low", at_least=0.3),
        row("spread", "d.et.low", of="spread", at_least=1e-4),
    ]
    cells = made(tmp_path / "tables", runs, *rows)
    for each in rows:
        again = measured({"columns": [COLUMN], "rows": rows}, each, COLUMN, Results(runs, {}))
        cell = cells[each["id"]]
        assert again is not None and again._asdict() == {"value": cell.value, "std": cell.std, "n": cell.n}


def test_status_and_compare_name_what_is_not_found(tmp_path: Path, runs: dict[str, Path]) -> None:
    folder = tmp_path / "tables"
    rows = (
        row("fine", "d.et.high", at_least=0.6),
        row("wrong", "d.et.low", at_least=0.6),
        row("gone", "d.et.no", at_least=0),
    )
    made(folder, runs, *rows, absent={"d.et.no": "no features"})
    assert outcome(folder).passed == ["truth/fine/measured"]
    assert set(outcome(folder).missed) == {"truth/wrong/measured", "truth/gone/measured"}
    found = status(tmp_path, "miniature") | {"again": None, "times": None}
    text = "\n".join(in_words(found))
    assert "planted effects: 1 of 3 found" in text and "truth/gone/measured: no features" in text
    page = tmp_path / "report" / "index.html"
    assert planted_lines(page)[0] == "  planted:  planted effects: 1 of 3 found" and len(planted_lines(page)) == 3
    assert planted_lines(tmp_path / "empty" / "report" / "index.html") == planted_lines(None) == []
    compared = compare(folder, "miniature")
    assert set(compared["planted"]["missed"]) == {"truth/wrong/measured", "truth/gone/measured"}
    assert [kind(cell) for cell in compared["tables"][0]["cells"]] == ["passes", "fails", "absent"]
    assert not outcome(tmp_path).total and outcome(tmp_path).lines() == []


@pytest.mark.parametrize(
    ("faulty", "what"),
    [
        ({"at_least": None}, "nothing can fail"),
        ({"at_least": 2, "at_most": 1}, "above"),
    ],
)
def test_an_expectation_that_cannot_fail_or_hold_is_refused(faulty: dict[str, Any], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Expectation(dataset="d", target="x", metric="pcc", better="higher", **faulty)


def test_a_row_of_an_expectation_needs_a_run() -> None:
    expectation = Expectation(dataset="d", target="x", metric="pcc", better="higher", at_least=0.0)
    with pytest.raises(ValueError, match="needs a `run`"):
        TableRow(id="a", title="A", expect=expectation)
    with pytest.raises(ValueError, match="`over` needs"):
        TableRow(id="a", title="A", run=RUN, over=RUN)


def test_the_miniature_trains_only_the_targets_that_are_asked_for() -> None:
    plan = Plan(load({"study": "miniature", "tables": ["planted_truth"], "figures": []}))
    trained = {run.id: run.settings["targets"] for run in plan.runs.values() if run.settings.get("model") == "rmn"}
    assert trained and all(targets == ["cue"] for targets in trained.values())
    assert all("targets=cue" in name for name in trained)
    table = catalog.tables()["planted_truth"]
    assert all(row.expect is not None for row in table.rows) and "planted_effects" in table.datasets


def test_a_part_of_the_study_leaves_expectations_out_unless_all_their_data_are_asked_for() -> None:
    whole = Plan(load({"study": "miniature"}))
    assert "planted_truth" in whole.tables and {"planted_effects", "planted_reactions"} <= set(whole.asked)
    part = Plan(load({"study": "miniature", "only_datasets": ["summe"]}))
    assert "planted_truth" not in part.tables and "planted_truth" in part.left_out


def test_each_of_the_twenty_planted_bugs_still_changes_one_place() -> None:
    bugs = runpy.run_path(str(REPOSITORY / "benchmarks" / "planted_bugs.py"))["BUGS"]
    package = REPOSITORY / "workflow" / "lib" / "utopia"
    assert len({bug.name for bug in bugs}) == 20
    for bug in bugs:
        assert (package / bug.file).read_text(encoding="utf-8").count(bug.old) == 1 and bug.new != bug.old, bug.name
