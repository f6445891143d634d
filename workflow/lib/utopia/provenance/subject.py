"""What a person may ask about: a cell, a figure, a run, or a file of a study."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from utopia.config.suggest import nearest
from utopia.errors import UtopiaError
from utopia.provenance.lineage import Cell, Graph


class Subject(NamedTuple):
    """What was asked about."""

    kind: str
    """`cell`, `figure`, `run` or `file`."""
    name: str
    files: tuple[str, ...]
    """The files whose lineage answers, as records write paths."""
    cell: Cell | None = None


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
    """The subject that a text names: `table/row/column`, a figure's id, a run's id, or the path of a file.

    Raises:
        UtopiaError: nothing has that name; with the nearest one that there is.
    """
    if text in graph.cells:
        cell = graph.cells[text]
        table = f"{graph.root}/tables/{cell.table}.csv"
        return Subject("cell", text, (table, *graph.files_of(cell)), cell)
    if text in graph.figures:
        return Subject("figure", text, tuple(graph.made(graph.figures[text])))
    runs = {run for path in graph.makers if (run := graph.run_of(path))}
    if text in runs:
        made = tuple(path for path in graph.makers if graph.run_of(path) == text)
        return Subject("run", text, made)
    for path in (text, graph.ledger.portable.write(text), graph.ledger.portable.write(Path.cwd() / text)):
        if path in graph.makers or path in graph.readers:
            return Subject("file", path, (path,))
    known = [*graph.cells, *graph.figures, *runs, *graph.tables]
    raise UtopiaError(
        f"nothing in this study is called {text!r}{nearest(text, known)}",
        where=graph.root,
        remedy="name a cell (table/row/column, as in the column `cell` of a table's csv), a figure, a run or a file",
    )
