"""The catalogue of tables: what it promises of the papers, that equal runs fold, and faults that it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from utopia.config.load import load
from utopia.errors import ConfigError
from utopia.plan import catalog
from utopia.plan.catalog import Table, read_one
from utopia.plan.plan import Plan

UNTREATED = ("baseline", "l1")
"""Treatments that others are compared with: ULDA's and EEV's own."""
EEV_OWN = {("eev_table_1", "hz1"), ("eev_table_2", "none"), ("eev_table_3", "l1"), ("eev_table_4", "single")}
"""Rows of EEV's own settings."""
NINE = [f"ulda_table_{number}" for number in range(1, 10)]


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(load({"study": "miniature"}))


def runs_of(plan: Plan, table: str, row: str) -> set[str]:
    found = {run.id for cell in plan.cells if (cell.table, cell.row.id) == (table, row) for run in cell.runs}
    assert found, f"{table}/{row} has no run"
    return found


def test_all_nine_tables_and_the_percentages_of_the_text_are_there() -> None:
    assert set(catalog.tables()) >= {*NINE, "ulda_claims"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ulda_table_1/et.cwl", "ulda_table_3/et.cwl"),
        ("ulda_table_1/rmn.cwl", "ulda_table_8/rmn.d06.s02"),
        ("ulda_table_1/et.tns_cwl", "ulda_table_8/et.d06.s02"),
        ("ulda_table_1/et.tns_cwl", "ulda_table_9/et.t10"),
        ("ulda_table_1/pgl_sum.tns_cwl", "ulda_table_5/pgl_sum.d06.s02"),
        ("ulda_table_1/pgl_sum.tns_cwl", "ulda_table_6/pgl_sum.t10"),
        ("ulda_table_1/pgl_sum.tns_cwl", "ulda_table_4/pgl_sum.tns_cwl"),
        ("ulda_table_1/pgl_sum.baseline", "ulda_table_5/pgl_sum.baseline"),
    ],
)
def test_a_setting_that_is_the_default_is_the_same_run(plan: Plan, one: str, other: str) -> None:
    assert runs_of(plan, *one.split("/")) == runs_of(plan, *other.split("/"))


def test_settings_that_differ_are_runs_of_their_own(plan: Plan) -> None:
    for table, rows in (("ulda_table_5", 9), ("ulda_table_6", 4), ("ulda_table_9", 4)):
        found = [runs_of(plan, table, row.id) for row in plan.tables[table].rows if not row.id.endswith("baseline")]
        assert len(found) == rows and len(set().union(*found)) == rows


def test_derived_cells_need_no_runs_of_their_own(plan: Plan) -> None:
    derived = {run.id for cell in plan.cells if cell.table == "ulda_claims" for run in cell.runs}
    measured = {run.id for cell in plan.cells if cell.table in ("ulda_table_1", "ulda_table_2") for run in cell.runs}
    assert derived and derived <= measured


def test_rows_are_compared_with_the_same_model_untreated(plan: Plan) -> None:
    by_place = {(cell.table, cell.row.id, cell.column.id): cell for cell in plan.cells}
    compared = [
        cell
        for cell in plan.cells
        if cell.row.against is not None and (cell.row.columns is None or cell.column.id in cell.row.columns)
    ]
    assert len(compared) > 100
    for cell in compared:
        other = by_place[cell.table, str(cell.row.against), cell.column.id]
        assert cell.run is not None and other.run is not None, cell.id
        if cell.row.measure:  # another measure of the same run
            assert cell.run == other.run and other.row.measure.endswith(".as_is"), cell.id
            continue
        dataset, model, treatment = other.run.id.split("@")[0].split(".")
        assert cell.run.id.startswith(f"{dataset}.{model}.") and treatment in UNTREATED, cell.id


def test_every_row_of_a_model_that_is_no_baseline_is_compared(plan: Plan) -> None:
    for name, table in plan.tables.items():
        for row in table.rows:
            treated = row.run is not None and row.run.treatment not in (None, "baseline")
            if treated and (name, row.id) not in EEV_OWN:
                assert row.against is not None or row.expect is not None, f"{name}/{row.id}"


def test_what_is_not_in_the_paper_is_marked(plan: Plan) -> None:
    for name, table in plan.tables.items():
        for row, shown in zip(table.rows, plan.table_settings(name)["table"]["rows"], strict=True):
            assert shown["note"].startswith("Not in the paper") == (row.printed is False), f"{name}/{row.id}"


def test_only_the_papers_figures_carry_their_numbers(plan: Plan) -> None:
    """`ulda_figure_2` is ULDA's Fig. 2 and nothing else is; what no paper prints says so."""
    printed = {f"ulda_figure_{number}": f"ULDA, Fig. {number}" for number in (1, 2, 3, 4)}
    printed["eev_figure_1"] = "EEV 2021 report, Fig. 1"
    known = catalog.figures()
    assert {name: figure.source for name, figure in known.items() if not name.startswith(catalog.BEYOND)} == printed
    for name, figure in known.items():
        assert (name in printed) != figure.source.startswith("beyond the paper"), name


def test_what_the_papers_print_comes_first() -> None:
    for known in (catalog.figures(), catalog.tables()):
        beyond = [name.startswith((catalog.BEYOND, catalog.PLANTED)) for name in known]
        assert beyond == sorted(beyond)


def test_a_data_set_can_change_a_model_without_a_name_for_it() -> None:
    study = load({"study": "paper"})
    plan = Plan(study)
    wide, narrow = (
        next(run for run in _every(plan) if run.id == f"{dataset}.pgl_sum.cwl").settings["model_config"]["d_model"]
        for dataset in ("summe", "liris")
    )
    assert wide is None and narrow == 128


def _every(plan: Plan) -> list[Any]:
    return [run for cell in plan.cells for run in cell.runs]


USUAL = {
    "title": "T",
    "source": "S",
    "caption": "C",
    "keys": [{"id": "k", "title": "K", "decimals": 2}],
    "columns": [
        {"id": "v", "title": "V", "dataset": "d", "target": "t", "metric": "m", "decimals": 1, "better": "lower"},
        {"id": "w", "title": "W", "dataset": "d", "target": "t", "metric": "m", "decimals": 1, "better": "lower",
         "printed": False},
    ],
}  # fmt: skip
RUN = "{model: et, treatment: cwl}"


@pytest.mark.parametrize(
    ("rows", "said", "line"),
    [
        ("- {id: a, title: A, run: RUN, against: base}", "'base' is no other row with a run", 1),
        ("- {id: a, title: A, run: RUN, against: a}", "'a' is no other row with a run", 1),
        ("- {id: a, title: A, against: b}\n- {id: b, title: B, run: RUN}", "this row has none", 1),
        ("- {id: a, title: A, run: RUN, change: {models: [et], treatment: cwl}}", "either `run` or", 1),
        ("- {id: a, title: A, change: {models: [], treatment: cwl}}", "models", 1),
        (
            "- id: a\n  title: A\n  printed: false\n  published: {v: 1.0}",
            "`printed: false` says that there are none",
            1,
        ),
        ("- id: a\n  title: A\n  published:\n    v: 1.0\n    x: 2.0", "'x' is not among the columns of this table", 5),
        ("- id: a\n  title: A\n  published:\n    v: 1.0\n    w: 2.0", "the paper has no such column", 5),
        ("- id: a\n  title: A\n  published:\n    v: 1.00", "1.00 has 2 decimals, its column 1", 4),
        ("- id: a\n  title: A\n  published:\n    v: 1", "1 has 0 decimals, its column 1", 4),
        ("- id: a\n  title: A\n  published:\n    v: 1e-3", "not a number as it is printed", 4),
        ("- id: a\n  title: A\n  keys: {k: 0.1}\n  published: {v: 1.0}", "0.1 has 1 decimals, its column 2", 3),
        ("- id: a\n  title: A\n  keys: {q: 0.10}\n  published: {v: 1.0}", "'q' is not among the keys of this table", 3),
        ("- id: a\n  title: A\n  printed: true", "nothing says what it prints in 'v'", 1),
        ("- id: a\n  title: A\n  published: {v: none}", "published.v", 3),
        ("- {id: a, title: A}\n- {id: a, title: B}", "the id 'a' stands twice", 2),
        ("- {id: a}", "a row needs a `title`, or `keys`", 1),
        ("- {id: a, title: A, columns: [u]}", "there is no column 'u'", 1),
        ("- {id: a, title: A, group: g}\n- {id: b, title: B}", "either all rows are in groups", 2),
        (
            "- {id: a, title: A, group: g}\n- {id: b, title: B, group: h}\n- {id: c, title: C, group: g}",
            "the rows of the group 'g' do not stand together",
            3,
        ),
    ],
)
def test_faults_of_a_table_are_refused_with_their_line(tmp_path: Path, rows: str, said: str, line: int) -> None:
    path = tmp_path / "t.yaml"
    head = yaml.safe_dump(USUAL) + "rows:\n"
    path.write_text(head + rows.replace("RUN", RUN))
    with pytest.raises(ConfigError) as caught:
        read_one(path, Table)
    assert any(
        said in fault and f"t.yaml:{head.count(chr(10)) + line}: " in fault for fault in str(caught.value).splitlines()
    ), caught.value


def test_all_faults_of_a_table_are_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(USUAL) + "rows:\n- {id: a, title: A, published: {v: 1.00, x: 1.0}, against: b}\n")
    with pytest.raises(ConfigError, match="this row has none"):
        read_one(path, Table)
    path.write_text(yaml.safe_dump(USUAL) + "rows:\n- {id: a, title: A, published: {v: 1.00, x: 1.0}, columns: [u]}\n")
    with pytest.raises(ConfigError) as caught:
        read_one(path, Table)
    assert [said in str(caught.value) for said in ("decimals", "'x' is not", "no column 'u'")] == [True] * 3


def test_a_printed_dash_and_a_cell_that_the_paper_has_not_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(
        yaml.safe_dump(USUAL)
        + 'rows:\n- {id: a, title: A, published: {v: "-"}}\n- {id: b, title: B, published: {v: null}}'
    )
    table = read_one(path, Table)
    assert [(row.published, row.number("v"), row.is_printed) for row in table.rows] == [
        ({"v": "-"}, None, True),
        ({"v": None}, None, True),
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"draw": "label_distributoin"}, "f.yaml:3: draw: .*; did you mean 'label_distribution'"),
        ({"options": {"lable": -0.06}}, "has no option 'lable'; did you mean 'label'"),
        ({"draw": "votes", "options": {"label": 0.1}}, "'votes' has no option 'label'"),
        ({"options": {"label": "-0.06 to -0.04"}}, "is a number, not '-0.06 to -0.04'"),
        ({"options": {"label": True}}, "is a number, not True"),
    ],
)
def test_faults_of_a_figure_are_refused_with_their_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    usual = {"title": "T", "source": "S", "caption": "C", "draw": "label_distribution", "dataset": "d", "target": "t"}
    path = tmp_path / "f.yaml"
    path.write_text(yaml.safe_dump(usual | change))
    with pytest.raises(ConfigError, match=said) as caught:
        read_one(path, catalog.Figure)
    assert re.search(r"f\.yaml:\d", str(caught.value))
