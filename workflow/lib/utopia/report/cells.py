"""Cells of tables as the page shows them, and in the short form in which its script knows them."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from utopia.errors import UtopiaError
from utopia.evaluation import verdict
from utopia.report.ancestry import Pool
from utopia.tables.cells import Cell
from utopia.tables.columns import COLUMNS, NUMBERS
from utopia.tables.layout import Line, Shown, TableLayout, lay_out
from utopia.tables.notes import said_once

KINDS = {
    "same": "rounds to the published value",
    "inside": "published value inside our interval",
    "outside": "published value outside our interval",
    "unclear": "gain not distinguishable from none",
    "holds": "claim or planted effect holds of our numbers",
    "fails": "claim or planted effect does not hold of our numbers",
    "apart": "not comparable with the published value",
    "unpublished": "not in the paper",
    "quoted": "quoted from the paper, not measured",
    "absent": "absent",
}
"""What a number may come to, beside print."""

_STARTS = {
    verdict.SAME: "same",
    verdict.INSIDE: "inside",
    verdict.OUTSIDE: "outside",
    verdict.NOT_DISTINGUISHABLE: "unclear",
    verdict.NOT_COMPARABLE: "apart",
    verdict.HOLDS: "holds",
    verdict.FAILS: "fails",
    verdict.PASSES: "holds",
    verdict.MISSES: "fails",
}
_WORDS = tuple(set(COLUMNS) - {*NUMBERS, "n", "decimals", "keys", "runs", "cell"})


@dataclass(frozen=True)
class ShownCell:
    """A cell on the page."""

    shown: Shown
    kind: str
    """One of `KINDS`, or `dash` or `blank`."""
    stale: bool
    button: str
    """`table.cell`, by which the page's script finds it."""


@dataclass(frozen=True)
class ShownTable:
    """A table on the page."""

    id: str
    headline: str
    """Its title, behind its number in the paper."""
    layout: TableLayout
    lines: tuple[tuple[Line, tuple[ShownCell, ...]], ...]
    """Each row with its cells."""
    tally: Mapping[str, int]
    """Cells of each of `KINDS`; those without a number are not counted."""

    @property
    def cells(self) -> list[ShownCell]:
        """All cells, row by row."""
        return [cell for _, cells in self.lines for cell in cells]


def read_cells(path: Path) -> list[Cell]:
    """The cells of a table's csv.

    Raises:
        UtopiaError: it is none.
    """
    cells = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                numbers: dict[str, Any] = {name: float(row[name]) if row[name] else None for name in NUMBERS}
                words: dict[str, Any] = {name: row[name] for name in _WORDS} | {"keys": json.loads(row["keys"] or "{}")}
                counts: dict[str, Any] = {"n": int(row["n"]), "decimals": int(row["decimals"])}
                cells.append(Cell(**numbers, **words, **counts, runs=row["runs"].split()))
    except (OSError, UnicodeDecodeError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise UtopiaError(
            f"not the csv of a table ({type(error).__name__}: {error})", where=path, remedy="run: utopia verify"
        ) from error
    return cells


def adjusted_verdicts(cells: Mapping[str, Sequence[Cell]]) -> tuple[dict[str, list[Cell]], verdict.Family]:
    """The cells of all tables with the verdicts on differences that stand among all of them, and these verdicts."""
    family = verdict.judge_study(
        verdict.Compared(
            cell.cell, cell.runs, cell.against, cell.difference, cell.difference_p, cell.difference_verdict
        )
        for of_table in cells.values()
        for cell in of_table
    )
    with_verdicts = {
        name: [
            replace(cell, difference_verdict=family.verdicts.get(cell.cell, cell.difference_verdict))
            for cell in of_table
        ]
        for name, of_table in cells.items()
    }
    return with_verdicts, family


def kind_of(cell: Cell) -> str:
    """One of `KINDS`, or `dash` or `blank`, where there is no number."""
    if cell.status != "measured":
        return cell.status
    return next((kind for start, kind in _STARTS.items() if cell.verdict.startswith(start)), "unpublished")


def headline(source: str, title: str) -> str:
    """A title behind its number in the paper: `ULDA Table 1: Valence and arousal on LIRIS-ACCEDE`."""
    printed = re.fullmatch(r"(ULDA|EEV)[^,;]*, ((?:Table|Fig[.]) [0-9]+)", source)
    return f"{printed[1]} {printed[2]}: {title}" if printed else title


def shown_table(place: int, table: Mapping[str, Any], cells: Sequence[Cell], stale: Sequence[bool]) -> ShownTable:
    """A table as the page shows it.

    Args:
        place: its number on the page.
        table: its settings, as its rendering job was given them.
        cells: of its csv, row by row.
        stale: whether each is.
    """
    layout = said_once(lay_out(table, cells))
    numbers = {(cell.row, cell.column): number for number, cell in enumerate(cells)}
    lines = []
    for row, line in zip(table["rows"], layout.lines, strict=True):
        of_row = []
        for column, shown in zip(table["columns"], line.cells, strict=True):
            number = numbers[row["id"], column["id"]]
            of_row.append(ShownCell(shown, kind_of(cells[number]), stale[number], f"{place}.{number}"))
        lines.append((line, tuple(of_row)))
    tally = Counter(kind for kind in map(kind_of, cells) if kind in KINDS)
    return ShownTable(table["id"], headline(table["source"], table["title"]), layout, tuple(lines), tally)


def table_in_short(table: Mapping[str, Any]) -> dict[str, Any]:
    """What the page's script is told of a table, apart from its cells."""
    columns = table["columns"]
    return {
        "id": table["id"],
        "title": headline(table["source"], table["title"]),
        "source": table["source"],
        "rows": [[row["id"], row.get("name") or row["title"]] for row in table["rows"]],
        "columns": [[column[name] for name in ("id", "title", "dataset", "target", "metric")] for column in columns],
    }


def cell_in_short(
    cell: Cell, against: Sequence[str], runs: Mapping[str, int], *, stale: bool, texts: Pool
) -> dict[str, Any]:
    """What is known of a cell under short names, the empty left out.

    `v` value, `u` unit, `sd` deviation, `n` seeds, `lo` and `hi` interval, `i` how it was made, `p` published, `d`
    decimals, `k` kind, `ve` verdict, `vr` its reason, `r` why it is absent, `no` note, `ru` runs, `ag` runs that its
    difference is taken to, `df` that difference, `st` 1 if stale.

    Args:
        cell: the cell.
        against: the runs that its difference is taken to.
        runs: numbers of runs.
        stale: whether it is.
        texts: keeps long texts, which many cells share.
    """
    short: dict[str, Any] = {
        "v": cell.value,
        "sd": _nine_digits(cell.std),
        "n": cell.n,
        "lo": _nine_digits(cell.low),
        "hi": _nine_digits(cell.high),
        "p": cell.published,
        "d": cell.decimals,
        "k": kind_of(cell),
        "ve": cell.verdict,
        "u": cell.unit or None,
        "ru": [runs[run] for run in cell.runs],
        "ag": [runs[run] for run in against],
        "st": 1 if stale else None,
    }
    longer = {"i": cell.interval, "vr": cell.verdict_reason, "r": cell.reason, "no": cell.note}
    short |= {name: texts(text) for name, text in longer.items() if text}
    if cell.difference is not None:
        numbers = map(_nine_digits, (cell.difference, cell.difference_low, cell.difference_high))
        short["df"] = [cell.against, *numbers, cell.difference_verdict]
    return {name: value for name, value in short.items() if value is not None and value not in ("", [])}


def _nine_digits(value: float | None) -> float | None:
    """Nine digits of a number, which are more than the page shows; the table's csv has all."""
    return None if value is None else float(f"{value:.9g}")
