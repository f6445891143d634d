"""`utopia compare`: every published value beside the measured one.

Keys of `--json`: `study`, `tables` (list of {table, cells: list of {cell, row, column, status, value, std, n,
published, decimals, verdict, verdict_reason, reason, runs}}), `summary` ({`same`, `inside`, `outside`,
`not comparable`, `not transcribed`, `absent`, `quoted`}: number of cells).
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path
from typing import Any

from utopia.cli import options, show
from utopia.errors import UtopiaError

KINDS = ("same", "inside", "outside", "not comparable", "not transcribed", "absent", "quoted")
_WORDS = {
    "same": "round to the same",
    "inside": "inside our interval",
    "outside": "outside it",
    "not transcribed": "without a published value at hand",
    "quoted": "only quoted",
}
_COLUMNS = (
    "table", "row", "column", "value", "std", "n", "status", "reason", "published", "decimals", "verdict",
    "verdict_reason", "cell", "runs",
)  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    options.add_study(parser)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON; its keys are stable")
    shape.add_argument("--markdown", action="store_true", help="print Markdown tables")


def run(chosen: argparse.Namespace) -> int:
    """Print the comparison."""
    study = options.load_study(chosen)
    found = compare(study.root / "tables", study.study)
    if chosen.json:
        show.print_json(found)
    else:
        print("\n".join(_markdown(found) if chosen.markdown else _plain(found)))
    return 0


def compare(folder: Path, study: str) -> dict[str, Any]:
    """Read all tables below `folder` (the keys are those of `--json`).

    Raises:
        UtopiaError: there are none yet, or one of them is not a table of ours.
    """
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise UtopiaError("there are no tables yet", where=folder, remedy=f"run: make results STUDY={study}")
    cells = {path.stem: [_cell(path, line, row) for line, row in _rows(path)] for path in paths}
    counts = Counter(kind(cell) for found in cells.values() for cell in found)
    return {
        "study": study,
        "tables": [{"table": name, "cells": found} for name, found in cells.items()],
        "summary": {name: counts[name] for name in KINDS},
    }


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise UtopiaError(
                f"not a table of this project: without the columns {', '.join(missing)}",
                where=path,
                remedy="delete the file and run the study again",
            )
        return [(reader.line_num, row) for row in reader]


def _cell(path: Path, line: int, row: dict[str, str]) -> dict[str, Any]:
    try:
        numbers: dict[str, Any] = {key: float(row[key]) if row[key] else None for key in ("value", "std", "published")}
        numbers |= {key: int(row[key]) for key in ("n", "decimals")}
    except (ValueError, TypeError) as error:
        raise UtopiaError(f"not a table of this project: {error}", where=f"{path}:{line}") from error
    words = ("cell", "row", "column", "status", "verdict", "verdict_reason", "reason", "runs")
    return {key: row[key] for key in words} | numbers


def kind(cell: dict[str, Any]) -> str:
    """Which of `KINDS` a cell is."""
    from utopia.outputs import verdict

    if cell["status"] != "measured":
        return str(cell["status"])
    for text, name in (
        (verdict.SAME, "same"),
        (verdict.INSIDE, "inside"),
        (verdict.OUTSIDE, "outside"),
        (verdict.NOTHING_PUBLISHED, "not transcribed"),
    ):
        if cell["verdict"].startswith(text):
            return name
    return "not comparable"


def _summary(found: dict[str, Any]) -> str:
    counts = found["summary"]
    measured = sum(counts[name] for name in KINDS if name not in ("absent", "quoted"))
    parts = [f"{counts[name]} {_WORDS.get(name, name)}" for name in KINDS[:5] if counts[name]]
    rest = ", ".join(f"{counts[name]} {_WORDS.get(name, name)}" for name in KINDS[5:])
    return f"{measured} cells measured" + (f" ({', '.join(parts)})" if parts else "") + f", {rest}"


def _lines(table: dict[str, Any]) -> list[list[str]]:
    """Row, column, ours, published, verdict of each cell that is measured."""
    return [
        [cell["row"], cell["column"], _ours(cell), _number(cell["published"], cell), _verdict(cell)]
        for cell in table["cells"]
        if cell["status"] == "measured"
    ]


def _ours(cell: dict[str, Any]) -> str:
    spread = f" ± {_number(cell['std'], cell)}" if cell["std"] is not None else ""
    return f"{_number(cell['value'], cell)}{spread} (n={cell['n']})"


def _number(value: float | None, cell: dict[str, Any]) -> str:
    from utopia.outputs.verdict import rounded

    return "-" if value is None else rounded(value, cell["decimals"])


def _verdict(cell: dict[str, Any]) -> str:
    name = kind(cell)
    reason = cell["verdict_reason"] if name in ("not comparable", "not transcribed") else ""
    return f"{cell['verdict']}: {reason}" if reason else str(cell["verdict"])


def _absences(table: dict[str, Any]) -> list[str]:
    reasons = Counter(cell["reason"] for cell in table["cells"] if cell["status"] == "absent")
    return [f"absent ({count}): {reason}" for reason, count in reasons.most_common()]


_HEAD = ["row", "column", "ours", "published", "verdict"]


def _plain(found: dict[str, Any]) -> list[str]:
    lines = []
    for table in found["tables"]:
        lines.append(table["table"])
        measured = _lines(table)
        lines += show.columns([_HEAD, *measured]) if measured else ["  nothing measured"]
        lines += [f"  {text}" for text in _absences(table)] + [""]
    return [*lines, _summary(found)]


def _markdown(found: dict[str, Any]) -> list[str]:
    lines = []
    for table in found["tables"]:
        lines += [f"### {table['table']}", ""]
        measured = _lines(table)
        if measured:
            rows = [_HEAD, ["---"] * len(_HEAD), *measured]
            lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows] + [""]
        lines += [f"- {text}" for text in _absences(table)] + [""]
    return [*lines, _summary(found)]
