"""Tables as LaTeX: all of the catalogue compile in an A4 article and fit it, and notes are said once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import latex
import pytest

from utopia.config.load import load
from utopia.plan.plan import Plan
from utopia.tables import tex as render_tex
from utopia.tables.cells import Cell
from utopia.tables.layout import Line, Shown, TableLayout, lay_out
from utopia.tables.notes import said_once, without_empty_columns
from utopia.tables.tex_text import escape

NASTY = 'A & B_{1} <b>100 %</b> | $x$ # ~ ^ \\ "quoted" and "half'
STUDIES = ("miniature", "open", "few_observers", "rmn_memory")
"""Together they have every table of the catalogue."""


def wide_cells(table: dict[str, Any]) -> list[Cell]:
    """Cells of a table as wide as a study may give: negative, with every sign, interval and difference."""
    cells = []
    for row in table["rows"]:
        for column in table["columns"]:
            name = column["id"]
            own = {**column, **(row.get("as") or {}).get(name, {})}
            claim = (row.get("claims") or {}).get(name)
            ours = claim or any((row.get(kind) or {}).get(name) for kind in ("runs", "changes"))
            printed = (row.get("published") or {}).get(name)
            cell = Cell(table["id"], row["id"], name, None, None, 0, "blank", "",
                        None if printed == "-" else printed, int(own["decimals"]))  # fmt: skip
            if claim:
                cell = replace(cell, value=11.0, n=5, status="measured", unit="of 12", verdict="does not hold")
            elif ours:
                cell = replace(
                    cell, value=-0.8765432, std=0.0345, n=5, status="measured", low=-0.912345, high=-0.81234,
                    interval="some", against="base", difference=-0.0123456, difference_low=-0.0234567,
                    difference_high=-0.001234, difference_p=0.04, difference_verdict="better only by itself",
                    verdict="outside by 0.1234", runs=["one"],
                )  # fmt: skip
            elif printed is not None:
                cell = replace(cell, status="dash" if printed == "-" else "quoted")
            cells.append(cell)
    return cells


@pytest.fixture(scope="module")
def catalogue() -> dict[str, str]:
    """Every table of every study as LaTeX, with wide cells."""
    found = {}
    for study in STUDIES:
        plan = Plan(load({"study": study}))
        for name in plan.tables:
            table = plan.table_settings(name)["table"]
            found[name.replace("_", "-")] = render_tex.text(lay_out(table, wide_cells(table)))
    return found


@pytest.mark.parametrize("full", [False, True], ids=["compact", "full"])
def test_every_table_of_the_catalogue_fits_an_a4_article(catalogue: dict[str, str], full: bool, tmp_path: Path) -> None:
    latex.needs_latex()
    assert len(catalogue) >= 23
    assert latex.faults(catalogue, tmp_path / "tables", full=full) == []


def test_what_does_not_fit_is_found(tmp_path: Path) -> None:
    """The check itself: a table that is too wide, one that is too high, and a fault of LaTeX."""
    latex.needs_latex()
    row = " & ".join(["0.123"] * 30)
    high = "\n".join([r"\mbox{x}\par"] * 80)
    tables = {
        "wide": rf"\begin{{table}}\begin{{tabular}}{{{'r' * 30}}}{row}\end{{tabular}}\end{{table}}",
        "high": rf"\begin{{table}}{high}\end{{table}}",
        "fault": r"\nosuchcommand",
        "good": r"\begin{table}x\end{table}",
    }
    assert {fault.split(":")[0] for fault in latex.faults(tables, tmp_path)} == {"wide", "high", "fault"}


@pytest.mark.parametrize("full", [False, True], ids=["compact", "full"])
def test_hostile_words_compile(tmp_path: Path, full: bool) -> None:
    latex.needs_latex()
    symbols = "±†—–−×·≈≠✓✗≤≥↓↑→▲▼△▽○Δσδτρµμ²"
    cell = Shown("measured", "0.1", unit="%", spread="0.01", published="0.2", sign="≈", mark="▲", notes=(1,))
    line = Line(NASTY, (2,), (cell, cell), ("1",), NASTY)
    layout = TableLayout("a_b", NASTY, NASTY, symbols, ("σ",), (NASTY, "b"), (line,), (NASTY, symbols), (NASTY,))
    assert latex.faults({"nasty": render_tex.text(layout)}, tmp_path, full=full) == []


def test_quotes_are_those_of_latex() -> None:
    assert escape('the "best" of 2" and 50 %') == r"the ``best'' of 2'' and 50 \%"


def shown(status: str = "measured", *notes: int) -> Shown:
    return Shown(status, "0.1" if status == "measured" else "—", notes=notes)


def layout_of(rows: list[list[Shown]], notes: tuple[str, ...]) -> TableLayout:
    lines = tuple(Line(f"row {number}", (), tuple(cells)) for number, cells in enumerate(rows))
    heads = tuple(f"head {number} ↑" for number in range(len(rows[0])))
    return TableLayout("t", "T", "", "", (), heads, lines, notes, ("— absent, the note says why",))


def test_a_note_stands_in_the_widest_place_where_it_is_true() -> None:
    rows = [
        [shown("measured", 1, 2), shown("measured", 1), shown("measured", 1, 3)],
        [shown("measured", 1, 2), shown("measured", 1, 4), shown("measured", 1, 4)],
        [shown("measured", 1, 2), shown("measured", 1), shown("absent", 5)],
    ]
    found = said_once(layout_of(rows, ("of all", "of the column", "of a cell", "of two cells", "why absent")))
    assert found.general == ("of all",)
    assert found.notes == ("of the column", "of a cell", "of two cells", "why absent")
    assert found.head_notes == ((1,), (), ())
    assert [[cell.notes for cell in line.cells] for line in found.lines] == [
        [(), (), (2,)],
        [(), (3,), (3,)],
        [(), (), (4,)],
    ]
    rows = [[shown("measured", 1), shown("measured", 1)], [shown(), shown("absent", 2)]]
    found = said_once(layout_of(rows, ("of the row", "why")))
    assert [line.notes for line in found.lines] == [(1,), ()] and found.general == ()
    assert [[cell.notes for cell in line.cells] for line in found.lines] == [[(), ()], [(), (2,)]]


def test_columns_without_values_are_named_once_with_the_reason() -> None:
    rows = [[shown(), shown("absent", 1), shown("absent", 1)] for _ in range(3)]
    found = said_once(without_empty_columns(layout_of(rows, ("the data are missing",))))
    assert found.heads == ("head 0 ↑",) and found.notes == () and found.legend == ()
    assert found.general == ("Without values, and not shown: head 1, head 2 (the data are missing)",)
    rows = [[shown("absent", 1)] * 2] * 2
    found = said_once(without_empty_columns(layout_of(rows, ("the data are missing",))))
    assert len(found.heads) == 2 and found.general == ("—: the data are missing",)


def test_notes_are_said_once_in_every_table_of_the_catalogue(catalogue: dict[str, str]) -> None:
    for name, text in catalogue.items():
        _, compact = text.split(r"\else")
        numbers = re.findall(r"raggedright \$\^\{(\d+)\}\$~", compact)
        assert numbers == [str(number) for number in range(1, len(numbers) + 1)], name
