"""Comparing what was made again in a scratch folder with what a study has stored."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utopia import arrays
from utopia.errors import UtopiaError
from utopia.files import read_json, sha256
from utopia.outputs.cells import Results, build
from utopia.outputs.comparability import frames, promised
from utopia.provenance.lineage import Cell, Graph

IDENTICAL, WITHIN, DIFFERENT = "identical", "within tolerance", "different"
FEATURE_TOLERANCE = 1e-3
"""Relative L2 error of a stored feature that other hardware or another decoder may bring."""


@dataclass(frozen=True)
class Compared:
    """Something that was made again."""

    name: str
    """A cell's id, or `feature of item`."""
    then: float | None
    now: float | None
    """Values of a cell; of a feature, `now` is the relative L2 error against what is stored."""
    tolerance: float
    verdict: str
    """`identical` (the same bytes), `within tolerance` or `different`."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def link(source: Path, target: Path) -> None:
    """Give every file below a folder a second name below another one (a copy where the disk is another one).

    A job replaces files and never writes into them, so what it makes leaves the first name's content alone.
    """

    def one(file: str, place: str) -> str:
        try:
            os.link(file, place, follow_symlinks=True)
        except OSError:
            shutil.copy2(file, place)
        return place

    if source.is_dir():
        shutil.copytree(source, target, copy_function=one, dirs_exist_ok=True)


def runs_of(graph: Graph, cells: Iterable[Cell]) -> list[str]:
    """The runs behind some cells, in order; those that their differences are taken to are left out."""
    return list(dict.fromkeys(run for cell in cells for run in cell.runs))


def is_stacked(graph: Graph, run: str) -> bool:
    """Whether a run was trained beside the others of its pack in one network: then it repeats with all of them only."""
    path = graph.ledger.portable.read(f"{graph.root}/runs/{run}/training.json")
    return path.is_file() and read_json(path)["strategy"] == "stacked"


def compare_cell(graph: Graph, cell: Cell, scratch: Path, tolerance: float | None) -> Compared:
    """A cell computed from metrics made again, against its stored value.

    Args:
        graph: the lineage of what is stored.
        cell: which cell.
        scratch: the folder whose results were made again.
        tolerance: how far apart the values may be; by default half a unit of the last decimal that is printed.
    """
    portable = graph.ledger.portable
    names = {run: f"{graph.root}/runs/{run}/metrics.csv" for run in cell.runs}
    then = _value(graph, cell, {run: portable.read(name) for run, name in names.items()})
    now = _value(graph, cell, {run: scratch / name for run, name in names.items()})
    column = _column(graph, cell)
    allowed = 0.5 * 10.0 ** -int(column["decimals"]) if tolerance is None else tolerance
    same = all(sha256(scratch / name) == graph.sha256_of(name) for name in names.values())
    verdict = IDENTICAL if same else WITHIN if abs(now - then) <= allowed else DIFFERENT
    return Compared(cell.id, then, now, allowed, verdict)


def _column(graph: Graph, cell: Cell) -> Mapping[str, Any]:
    table = graph.tables[cell.table].facts["params"]["settings"]["table"]
    return next(each for each in table["columns"] if each["id"] == cell.column)


def _value(graph: Graph, cell: Cell, found: Mapping[str, Path]) -> float:
    table = graph.tables[cell.table].facts["params"]["settings"]["table"]
    row = next(each for each in table["rows"] if each["id"] == cell.row)
    alone = {**table, "columns": [_column(graph, cell)], "rows": [{**row, "against": None}]}
    summaries = [
        path
        for run in cell.runs
        if (path := graph.ledger.portable.read(f"{graph.root}/runs/{run}/training.json")).is_file()
    ]
    results = Results(found, {}, "", promised(summaries), frames(summaries))
    value = build(alone, results)[0].value
    if value is None:
        raise UtopiaError(f"the cell {cell.id} has no value", remedy="ask for a measured cell")
    return value


def compare_features(graph: Graph, indexes: Iterable[str], scratch: Path) -> list[Compared]:
    """Features extracted again, against the stored ones, by item and feature."""
    found = []
    for index in indexes:
        then, now = (
            {
                (item, name): entry
                for item, entries in read_json(path)["items"].items()
                for name, entry in entries.items()
            }
            for path in (graph.ledger.portable.read(index), scratch / index)
        )
        folder = Path(index).parents[1]
        for item, name in sorted(then.keys() | now.keys()):
            one, other = then.get((item, name), {}), now.get((item, name), {})
            label = f"{name} of {item}"
            if "file" not in one or "file" not in other:
                verdict = IDENTICAL if ("file" in one) == ("file" in other) else DIFFERENT
                found.append(Compared(label, None, None, 0.0, verdict))
                continue
            if one["sha256"] == other["sha256"]:
                found.append(Compared(label, None, 0.0, FEATURE_TOLERANCE, IDENTICAL))
                continue
            stored = arrays.load(graph.ledger.portable.read(f"{folder}/{one['file']}"))["features"]
            error = _relative_error(arrays.load(scratch / folder / other["file"])["features"], stored)
            verdict = WITHIN if error <= FEATURE_TOLERANCE else DIFFERENT
            found.append(Compared(label, None, error if np.isfinite(error) else None, FEATURE_TOLERANCE, verdict))
    return found


def _relative_error(now: np.ndarray, then: np.ndarray) -> float:
    if now.shape != then.shape:
        return float("inf")
    then, now = then.astype(np.float64), now.astype(np.float64)
    return float(np.linalg.norm(now - then) / max(float(np.linalg.norm(then)), 1e-12))
