"""`utopia compare`: every published value beside the measured one, and every measured one beside what is published.

Keys of `--json`: `study`, `tables` (list of {table, title, source, cells: list of {cell, row, name, keys, column, unit,
status, value, std, n, low, high, interval, against, difference, difference_low, difference_high, difference_p,
difference_p_adjusted (Holm's, among all differences of the study), difference_verdict (by the adjusted one), published,
decimals, verdict, verdict_reason, reason, note, runs}}), `summary` ({`same`, `inside`, `outside`, `not
distinguishable`, `holds` and `does not hold` (statements that compare values), `not comparable`, `not printed`
(measured, but the paper has no such value), `absent`, `quoted`, `dash` (printed), `blank` (neither measured nor
printed)}: number of cells), `published` ({`values`: published values of the papers' tables, `dashes`: dashes printed
there, `text`: numbers that the running texts derive from them, `measured`: all of these with a value of ours}),
`rows` ({`published`: rows of ours with published values, `reproduced`: those in which every one of them rounds to the
same or lies inside our interval}), `comparisons` ({`tests`: different ones between treatments, `better`, `worse`: those
that stand among all, `better_alone`, `worse_alone`: those that would by themselves, `by_chance`: how many gains, and as
many losses, chance alone would give at most if each were taken by itself}), `planted` ({`passed`: cells of planted
effects that were found, `missed`: {cell: why not}}). It ends with 1 if a planted effect was not found.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utopia.cli import options, show
from utopia.errors import UtopiaError
from utopia.tables.columns import NUMBERS

if TYPE_CHECKING:
    from utopia.plan.catalog import Table

KINDS = (
    "same", "inside", "outside", "not distinguishable", "holds", "does not hold", "not comparable", "not printed",
    "passes", "fails", "absent", "quoted", "dash", "blank",
)  # fmt: skip
_WORDS = {
    "same": "round to the same",
    "inside": "inside our interval",
    "outside": "outside it",
    "not distinguishable": "not distinguishable from no gain",
    "holds": "claims hold",
    "does not hold": "claims do not",
    "not printed": "not in the paper",
    "passes": "planted effects found",
    "fails": "planted effects not found",
    "quoted": "only quoted",
}
_UNMEASURED = ("absent", "quoted", "dash", "blank")
_WHOLE = ("n", "decimals")
_ADJUSTED = "difference_p_adjusted"
_TEXTS = (
    "cell", "row", "name", "column", "unit", "status", "interval", "against", "difference_verdict", "verdict",
    "verdict_reason", "reason", "note", "runs",
)  # fmt: skip
_NOT_MADE = "this table has not been made; run: make results STUDY={study}"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    options.add_study(parser)
    options.add_selection(parser)
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print JSON; its keys are stable")
    shape.add_argument("--markdown", action="store_true", help="print Markdown tables")


def run(chosen: argparse.Namespace) -> int:
    """Print the comparison."""
    from utopia.plan.plan import Plan

    study = options.load_study(chosen, as_made=True)
    plan = Plan(study)
    known = {name: plan.catalog[name] for name in plan.tables}
    only = {*known} if chosen.tables or chosen.datasets else None
    comparison = compare(study.root / "tables", study.study, known, only, study.is_asked)
    comparison["warnings"] = doubts(study.root / "tables", {"data": study.data} if study.data else {})
    if chosen.json:
        show.print_json(comparison)
    else:
        print("\n".join(as_markdown(comparison) if chosen.markdown else as_text(comparison)))
        print(
            "\n".join(f"warning: {text}" for text in comparison["warnings"]), end="\n" if comparison["warnings"] else ""
        )
    return 1 if comparison["planted"]["missed"] else 0


def doubts(folder: Path, roots: Mapping[str, Path]) -> list[str]:
    """What speaks against the tables below `folder`: those without a record, and what `reproduction.doubts` finds."""
    from utopia.provenance import ledger, reproduction

    faults = []
    for path in sorted(folder.glob("*.csv")):
        book = ledger.Ledger.read_one(Path(f"{path}{ledger.SUFFIX}"), roots=roots)
        if not book.records:
            faults.append(f"{path}: no record says how it was made")
        for record in book.records:
            if not record.is_intact:
                faults.append(f"{record.path}: the record was edited")
            faults += reproduction.doubts(record, book.portable)
    return faults


def compare(
    folder: Path,
    study: str,
    known: Mapping[str, Table] | None = None,
    only: Collection[str] | None = None,
    is_asked: Callable[[str], bool] = lambda _: True,
) -> dict[str, Any]:
    """Read the tables below `folder` (the keys are those of `--json`).

    Args:
        folder: where the tables' csv files are.
        study: the study's name.
        known: the study's tables, by id. The published values of those that have not been made are listed too.
        only: the tables that are asked about; None: all.
        is_asked: whether a data set is asked about; columns of the others are left out.

    Raises:
        UtopiaError: there are none yet, or one of them is not a table of ours.
    """
    from utopia.plan.expectations import outcome

    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise options.not_made("there are no tables yet", folder, study)
    cells = {path.stem: [_cell(path, line, row) for line, row in _rows(path)] for path in paths}
    # what is judged together is the whole study, whatever part of it is shown
    comparisons = _judge_together([cell for of_table in cells.values() for cell in of_table])
    known = known or {}
    cells |= {name: _not_made(name, table, study) for name, table in known.items() if name not in cells}
    away = {
        (name, column.id)
        for name, table in known.items()
        for column in table.columns
        if column.dataset and not is_asked(column.dataset)
    }
    cells = {
        name: [cell for cell in of_table if (name, cell["column"]) not in away]
        for name, of_table in cells.items()
        if only is None or name in only
    }
    every = [cell for of_cells in cells.values() for cell in of_cells]
    counts = Counter(kind(cell) for cell in every)
    printed = [cell for cell in every if cell["published"] is not None]
    of_text, of_claims = (
        sum(getattr(known.get(cell["cell"].split("/")[0]), kind, False) for cell in printed)
        for kind in ("is_of_text", "is_of_claims")
    )
    return {
        "study": study,
        "tables": [
            {
                "table": name,
                "title": known[name].title if name in known else "",
                "source": known[name].source if name in known else "",
                "cells": of_cells,
            }
            for name, of_cells in sorted(cells.items())
        ],
        "summary": {name: counts[name] for name in KINDS},
        "published": {
            "values": len(printed) - of_text,
            "dashes": counts["dash"],
            "text": of_claims,
            "measured": sum(cell["status"] == "measured" for cell in printed),
        },
        "rows": _reproduced(printed),
        "comparisons": comparisons,
        "planted": outcome(folder)._asdict(),
    }


def _judge_together(cells: list[dict[str, Any]]) -> dict[str, float]:
    """Give the cells that have a difference the verdict that stands among all of them, and count."""
    from utopia.evaluation import verdict

    names = ("against", "difference", "difference_p", "difference_verdict")
    family = verdict.judge_study(
        verdict.Compared(cell["cell"], cell["runs"].split(), *(cell[name] for name in names)) for cell in cells
    )
    for cell in cells:
        if cell["cell"] in family.adjusted:
            cell[_ADJUSTED] = family.adjusted[cell["cell"]]
            cell["difference_verdict"] = family.verdicts[cell["cell"]]
    marks = {"better": verdict.BETTER, "worse": verdict.WORSE}
    return {
        "tests": family.comparisons,
        **{name: family.counts.get(words, 0) for name, words in marks.items()},
        **{f"{name}_alone": family.counts.get(verdict.ALONE[words], 0) for name, words in marks.items()},
        "by_chance": family.by_chance,
    }


def _reproduced(printed: list[dict[str, Any]]) -> dict[str, int]:
    """How many rows have published values beside runs of ours, and in how many of them no value is out.

    A row with one value outside, missing or not comparable is not reproduced, whatever the others are.
    """
    rows: dict[str, list[str]] = {}
    for cell in printed:
        if cell["status"] != "quoted":
            rows.setdefault(cell["cell"].rsplit("/", 1)[0], []).append(kind(cell))
    return {"published": len(rows), "reproduced": sum({*kinds} <= {"same", "inside"} for kinds in rows.values())}


def _not_made(name: str, table: Table, study: str) -> list[dict[str, Any]]:
    """What the paper prints in a table that has not been made."""
    nothing: dict[str, Any] = dict.fromkeys(_TEXTS, "") | dict.fromkeys((*NUMBERS, _ADJUSTED)) | {"n": 0}
    cells = []
    for row in table.rows:
        for column in table.columns:
            if row.number(column.id) is None and row.published.get(column.id) is None:
                continue
            cell = nothing | {"cell": f"{name}/{row.id}/{column.id}", "row": row.id, "name": table.full_name(row)}
            decimals = column.decimals if row.claim is None else row.claim.decimals
            cell |= {"column": column.id, "decimals": decimals, "note": row.note}
            cell |= {"published": row.number(column.id), "status": "quoted", "keys": {}}
            if cell["published"] is None:
                cell["status"] = "dash"
            elif row.run is not None or row.change is not None or row.claim is not None:
                cell |= {"status": "absent", "reason": _NOT_MADE.format(study=study)}
            cells.append(cell)
    return cells


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = [
            name for name in ("table", "keys", *NUMBERS, *_WHOLE, *_TEXTS) if name not in (reader.fieldnames or ())
        ]
        if missing:
            raise UtopiaError(
                f"not a table of this project: without the columns {', '.join(missing)}",
                where=path,
                remedy="delete the file and run the study again",
            )
        return [(reader.line_num, row) for row in reader]


def _cell(path: Path, line: int, row: dict[str, str]) -> dict[str, Any]:
    try:
        numbers: dict[str, Any] = {key: float(row[key]) if row[key] else None for key in NUMBERS}
        numbers |= {key: int(row[key]) for key in _WHOLE}
        keys = json.loads(row["keys"] or "{}")
    except (ValueError, TypeError) as error:
        raise UtopiaError(f"not a table of this project: {error}", where=f"{path}:{line}") from error
    return {key: row[key] for key in _TEXTS} | {"keys": keys} | numbers | {_ADJUSTED: None}


def kind(cell: dict[str, Any]) -> str:
    """Which of `KINDS` a cell is."""
    from utopia.evaluation import verdict

    if cell["status"] != "measured":
        return str(cell["status"])
    for text, name in (
        (verdict.SAME, "same"),
        (verdict.INSIDE, "inside"),
        (verdict.OUTSIDE, "outside"),
        (verdict.NOT_DISTINGUISHABLE, "not distinguishable"),
        (verdict.NOT_PRINTED, "not printed"),
        (verdict.HOLDS, "holds"),
        (verdict.FAILS, "does not hold"),
        (verdict.PASSES, "passes"),
        (verdict.MISSES, "fails"),
    ):
        if cell["verdict"].startswith(text):
            return name
    return "not comparable"


def _summary(comparison: dict[str, Any]) -> str:
    counts = comparison["summary"]
    measured = sum(counts[name] for name in KINDS if name not in _UNMEASURED)
    parts = [f"{counts[name]} {_WORDS.get(name, name)}" for name in KINDS if name not in _UNMEASURED and counts[name]]
    rest = ", ".join(f"{counts[name]} {_WORDS.get(name, name)}" for name in ("absent", "quoted"))
    printed = comparison["published"]
    return (
        f"{measured} cells measured"
        + (f" ({', '.join(parts)})" if parts else "")
        + f", {rest}; the papers' tables print {printed['values']} values and {printed['dashes']} dashes, the text"
        f" {printed['text']} values derived from them; {printed['measured']} of these are beside one of ours;"
        f" {comparison['rows']['reproduced']} of {comparison['rows']['published']} rows agree in every published value"
    )


def _chance(comparison: dict[str, Any]) -> list[str]:
    """What the differences between treatments came to together; nothing where there is none."""
    counts = comparison["comparisons"]
    if not counts["tests"]:
        return []
    return [
        f"{counts['tests']} comparisons of treatments: {counts['better']} better and {counts['worse']} worse among all"
        f" of them (Holm), {counts['better_alone']} better and {counts['worse_alone']} worse only by themselves; by"
        f" themselves, chance alone would give up to {counts['by_chance']:.1f} of each"
    ]


def _lines(table: dict[str, Any]) -> list[list[str]]:
    """Row, its name, column, ours, gain or loss, published, verdict of each cell that is measured or published."""
    if _states(table):
        return [_statement(cell) for cell in table["cells"]]
    return [
        [cell["row"], cell["name"], cell["column"], _ours(cell), _change(cell), _published(cell), _verdict(cell)]
        for cell in table["cells"]
        if cell["status"] in ("measured", "dash") or cell["published"] is not None
    ]


def _states(table: dict[str, Any]) -> bool:
    """Whether a table is one of statements of the texts."""
    return any("said" in cell["keys"] for cell in table["cells"])


def _statement(cell: dict[str, Any]) -> list[str]:
    """A statement: what the text says, what the printed tables make of it, ours and its verdict."""
    said, printed = (cell["keys"].get(key, "-") for key in ("said", "print"))
    agrees = "" if cell["keys"].get("agrees") == "yes" else " (does not agree)"
    return [cell["row"], cell["name"], said, printed + agrees, _ours(cell), _verdict(cell)]


def _ours(cell: dict[str, Any]) -> str:
    if cell["status"] != "measured":
        return "-"
    spread = f" ± {_number(cell['std'], cell)}" if cell["std"] is not None else ""
    unit = f" {cell['unit']}" if cell["unit"] else ""
    return f"{_number(cell['value'], cell)}{spread}{unit} (n={cell['n']})"


def _change(cell: dict[str, Any]) -> str:
    from utopia.tables.layout import signed

    if cell["difference"] is None:
        return "-"
    return f"{signed(cell['difference'], cell['decimals'] + 1)} {cell['difference_verdict']}".strip()


def _number(value: float | None, cell: dict[str, Any]) -> str:
    from utopia.evaluation.verdict import rounded

    return "-" if value is None else rounded(value, cell["decimals"])


def _published(cell: dict[str, Any]) -> str:
    return "–" if cell["status"] == "dash" else _number(cell["published"], cell)


def _verdict(cell: dict[str, Any]) -> str:
    name = kind(cell)
    if name == "blank":
        return "nothing of ours to compare"
    if name == "dash":
        return "the paper prints a dash"
    if name == "quoted":
        return "only quoted: no run of ours is behind this row"
    if name == "absent":
        return f"absent: {cell['reason']}"
    explained = ("not comparable", "not distinguishable", "not printed", "fails")
    reason = cell["verdict_reason"] if name in explained else ""
    return f"{cell['verdict']}: {reason}" if reason else str(cell["verdict"])


def _absences(table: dict[str, Any]) -> list[str]:
    """The reasons of absent cells without a published value; the others have a line of their own."""
    absent = [cell for cell in table["cells"] if cell["status"] == "absent" and cell["published"] is None]
    return [f"absent ({count}): {reason}" for reason, count in Counter(cell["reason"] for cell in absent).most_common()]


def _name(table: dict[str, Any]) -> str:
    return f"{table['table']}: {table['title']} ({table['source']})" if table["title"] else str(table["table"])


_STATEMENTS = ["row", "in words", "the text", "the printed tables", "ours", "verdict"]
_HEAD = ["row", "in words", "column", "ours", "against baseline", "published", "verdict"]


def as_text(comparison: dict[str, Any]) -> list[str]:
    """The lines that people read in a terminal."""
    lines = []
    for table in comparison["tables"]:
        lines.append(_name(table))
        shown = _lines(table)
        lines += show.columns([_STATEMENTS if _states(table) else _HEAD, *shown]) if shown else ["  nothing measured"]
        lines += [f"  {text}" for text in _absences(table)] + [""]
    return [*lines, *_planted(comparison), *_chance(comparison), _summary(comparison)]


def _planted(comparison: dict[str, Any]) -> list[str]:
    """What the planted effects came to; nothing where none was planted."""
    from utopia.plan.expectations import Outcome

    return Outcome(**comparison["planted"]).lines()


def as_markdown(comparison: dict[str, Any]) -> list[str]:
    """The lines of Markdown: a heading and a table for each table of the study."""
    lines = []
    for table in comparison["tables"]:
        lines += [f"### {_name(table)}", ""]
        shown = _lines(table)
        if shown:
            head = _STATEMENTS if _states(table) else _HEAD
            rows = [head, ["---"] * len(head), *shown]
            lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows] + [""]
        lines += [f"- {text}" for text in _absences(table)] + [""]
    return [*lines, *_planted(comparison), *_chance(comparison), _summary(comparison)]
