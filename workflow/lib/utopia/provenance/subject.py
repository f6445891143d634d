"""What a person may ask about: a table, a row or a cell of it, a figure, a run, or a file of a study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from utopia.config.suggest import nearest
from utopia.errors import UtopiaError
from utopia.plan import naming
from utopia.provenance.ledger import Record
from utopia.provenance.lineage import CellRuns, Graph


class Subject(NamedTuple):
    """What was asked about."""

    kind: str
    """`cell`, `table`, `row`, `figure`, `run` or `file`."""
    name: str
    files: tuple[str, ...]
    """The files whose lineage answers, as records write paths."""
    cell: CellRuns | None = None
    cells: tuple[CellRuns, ...] = ()
    """Of a table or a row: its cells."""
    others: tuple[str, ...] = ()
    """What else the name may mean."""


def starts(text: str, root: str, made: Iterable[str]) -> list[str]:
    """Of all files that jobs have made, those that a cell, a figure or a run of this name begins with.

    Args:
        text: what was asked about; of a file, nothing: what it is may depend on who reads it.
        root: the study's folder as records write it.
        made: paths as records write them.
    """
    run = f"{root}/runs/{text}/"
    names = {f"{root}/tables/{text.split('/', 1)[0]}.csv", f"{root}/figures/{text}.csv"}
    return [path for path in made if path in names or path.startswith(run)]


def beside(path: str, root: str) -> tuple[str, ...]:
    """What an answer tells of a run whose files it is computed from: its metrics and training.

    Args:
        path: a file, as records write it.
        root: the study's folder as records write it.
    """
    start = f"{root}/runs/"
    run = path[len(start) :].split("/", 1)[0] if path.startswith(start) else ""
    return (f"{start}{run}/metrics.csv", f"{start}{run}/training.json") if run else ()


def find(graph: Graph, text: str) -> Subject:
    """The subject that a text names: `table/row/column`, `table/row`, a table, a figure, a run, or the path of a file.

    Tables, figures and their parts may also be named as printed: `Table 1`, `ULDA Table 1/PGL-SUM: Baseline`. Where a
    printed name fits several, it means the first, and the others are told.

    Raises:
        UtopiaError: nothing has that name; with the nearest one that there is.
    """
    if text in graph.cells:
        return _cell(graph.cells[text], graph)
    if text in graph.figures:
        return Subject("figure", text, tuple(graph.made(graph.figures[text])))
    runs = {run for path in graph.makers if (run := graph.run_of(path))}
    if text in runs:
        made = tuple(path for path in graph.makers if graph.run_of(path) == text)
        return Subject("run", text, made)
    for path in (text, graph.ledger.portable.write(text), graph.ledger.portable.write(Path.cwd() / text)):
        if path in graph.makers or path in graph.readers:
            return Subject("file", path, (path,))
    if (printed := _printed(graph, text)) is not None:
        return printed
    known = [*graph.cells, *graph.figures, *runs, *graph.tables, *sorted({_row(cell) for cell in graph.cells.values()})]
    raise UtopiaError(
        f"nothing in this study is called {text!r}{nearest(text, known)}",
        where=graph.root,
        remedy="name a table, a row (table/row) or a cell (table/row/column, as in the column `cell` of a table's "
        "csv), a figure, a run or a file",
    )


def _row(cell: CellRuns) -> str:
    return f"{cell.table}/{cell.row}"


def _cell(cell: CellRuns, graph: Graph) -> Subject:
    return Subject("cell", cell.id, (f"{graph.root}/tables/{cell.table}.csv", *graph.files_of(cell)), cell)


def _printed(graph: Graph, text: str) -> Subject | None:
    """A table, a row, a cell or a figure by its id or as it is printed; None if it is neither."""
    name, *parts = (part.strip() for part in text.split("/"))
    tables = naming.matches(name, {entry: _names(record, "table") for entry, record in graph.tables.items()})
    figures = naming.matches(name, {entry: _names(record, "figure") for entry, record in graph.figures.items()})
    if not parts and figures and not tables:
        return Subject("figure", figures[0], tuple(graph.made(graph.figures[figures[0]])), others=tuple(figures[1:]))
    for table in tables:
        cells = [cell for cell in graph.cells.values() if cell.table == table]
        layout = _settings(graph.tables[table], "table")
        rows, columns = (
            {entry["id"]: [str(entry.get(key, "")) for key in ("name", "title")] for entry in layout.get(part, ())}
            for part in ("rows", "columns")
        )
        others = tuple(entry for entry in tables if entry != table)
        if len(parts) > 2:
            return None
        if parts:
            chosen = naming.matches(parts[0], rows)
            cells = [cell for cell in cells if cell.row in chosen[:1]]
        if len(parts) == 2 and cells:
            chosen = naming.matches(parts[1], columns)
            cells = [cell for cell in cells if cell.column in chosen[:1]]
            if cells:
                return _cell(cells[0], graph)._replace(others=others)
        elif cells:
            made = tuple(graph.made(graph.tables[table]))
            kind, shown = ("row", _row(cells[0])) if parts else ("table", table)
            return Subject(kind, shown, made, cells=tuple(cells), others=others)
    return None


def _settings(record: Record, part: str) -> Mapping[str, Any]:
    """The settings of a table or figure as its job was given them; empty where its record was edited."""
    settings = record.facts["params"].get("settings")
    part_settings = settings.get(part) if isinstance(settings, Mapping) else None
    return part_settings if isinstance(part_settings, Mapping) else {}


def _names(record: Record, part: str) -> list[str]:
    settings = _settings(record, part)
    return [str(settings.get(name, "")) for name in ("source", "title")]
