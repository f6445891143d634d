"""Two result trees, cell by cell, and what upstream of a cell differs first."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from utopia.errors import UtopiaError
from utopia.evaluation.interval import t_half_width
from utopia.evaluation.verdict import BETTER, WORSE, rounded
from utopia.provenance.current import differences, without_code
from utopia.provenance.environment import KERNELS
from utopia.provenance.job import SUFFIX
from utopia.provenance.ledger import Ledger, Record
from utopia.provenance.lineage import Graph
from utopia.provenance.staleness import changed_modules
from utopia.tables.columns import rows_by_cell

IDENTICAL, ROUNDING, INTERVAL, DIFFERENT = "identical", "within rounding", "within the interval", "different"
ONLY_A, ONLY_B = "only in A", "only in B"
VERDICTS = (IDENTICAL, ROUNDING, INTERVAL, DIFFERENT, ONLY_A, ONLY_B)
_MOST = 5
_ANONYMOUS = re.compile(r"host-\d+")
"""A machine in a record that is kept or published; it does not tell which one that was."""


@dataclass(frozen=True)
class CellDifference:
    """A cell in both trees."""

    cell: str
    a: str
    b: str
    """The values at full precision, or the status of a cell without one; empty where there is no such cell."""
    verdict: str
    """One of `VERDICTS`."""
    claim: str = ""
    """How what the table concludes has changed, `better -> not distinguishable`; empty where it says the same."""
    cause: str = ""
    """What differs first upstream; empty where the cell is identical and says the same."""
    trained: bool = False
    """Whether a training is behind it, in which the rounding of sums grows to as much as another seed makes."""
    spread: bool = False
    """Whether it has a spread over seeds, against which a distance can be judged; p-values and shares have none."""
    units: float = 0.0
    """The distance in units of the last printed decimal; 0 where one has no value."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


class Tree:
    """A study's folder, anywhere, as it stands.

    Args:
        folder: `<anywhere>/results/<study>`, or what is kept of it in `results/reference/<study>`.

    Raises:
        UtopiaError: it is not a study's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        if not (self.folder / "tables").is_dir():
            raise UtopiaError("no tables here", where=folder, remedy="name a study's folder, such as results/miniature")
        base = self.folder.parents[1]
        ledger = Ledger.read(self.folder, base=base)
        self.graph = Graph(ledger, _root(self.folder, ledger) or self.folder.relative_to(base).as_posix())

    def cells(self) -> dict[str, dict[str, str]]:
        """Every row of every table's csv by its cell's id."""
        tables = sorted((self.folder / "tables").glob("*.csv"))
        return {cell: row for path in tables for cell, row in rows_by_cell(path).items()}

    def relative(self, path: str) -> str:
        """A path without the study's own folder, so that two trees can be compared."""
        start = f"{self.graph.root}/"
        return path[len(start) :] if path.startswith(start) else path

    def normal(self, value: Any) -> Any:
        """A JSON value in which the study's own folder is no longer named."""
        if isinstance(value, str):
            return value.replace(f"{self.graph.root}/", "")
        if isinstance(value, Mapping):
            return {name: self.normal(item) for name, item in value.items()}
        return [self.normal(item) for item in value] if isinstance(value, list) else value


def _root(folder: Path, ledger: Ledger) -> str:
    """The folder of a study as its records write it, wherever a copy of it lies; empty where no record tells.

    A record stands beside the first file that its job made, and names it by its path.
    """
    for record in ledger.records:
        beside = record.path.relative_to(folder).as_posix().removesuffix(SUFFIX)
        named = record.first_output
        if named.endswith(f"/{beside}"):
            return named.removesuffix(f"/{beside}")
    return ""


def compare(a: Tree, b: Tree) -> Iterator[CellDifference]:
    """Every cell of both trees, in order."""
    ours, theirs = a.cells(), b.cells()
    for cell in dict.fromkeys([*ours, *theirs]):
        ours_row, theirs_row = ours.get(cell), theirs.get(cell)
        if ours_row is None or theirs_row is None:
            verdict = ONLY_A if theirs_row is None else ONLY_B
            yield CellDifference(cell, _shown(ours_row), _shown(theirs_row), verdict)
            continue
        verdict, claim = _verdict(ours_row, theirs_row), _claim(ours_row, theirs_row)
        cause = "" if verdict == IDENTICAL and not claim else first_cause(a, b, cell)
        trained = any(".reference." not in run for run in ours_row.get("runs", "").split())
        spread = bool(ours_row.get("std")) and int(ours_row["n"]) > 1
        units = _units(ours_row, theirs_row) if verdict != IDENTICAL else 0.0
        yield CellDifference(cell, _shown(ours_row), _shown(theirs_row), verdict, claim, cause, trained, spread, units)


OUTSIDE_AT_MOST, CHANGED_AT_MOST = 0.05, 0.10
"""Shares of cells behind which a training is that may lie outside the interval, and that may say something else, where
another processor made them: what was measured with another instruction set is half of that (docs/clusters.md)."""
_SIDES = (BETTER, WORSE)


def beyond_tolerance(compared: Iterable[CellDifference]) -> list[str]:
    """What in two trees differs by more than another processor explains, in words; nothing where all is within.

    A value without training behind it is off by one unit of its last printed decimal at most, as where a label lies on
    the edge of a bin, and says the same. Of the others, at most `OUTSIDE_AT_MOST`
    lie outside the interval over seeds and at most `CHANGED_AT_MOST` say something else; a single one where there are
    few. No cell turns from better to worse, by itself or not, and none comes or goes.
    """
    faults, outside, changed = [], [], []
    trained = spread = 0
    for cell in compared:
        trained, spread = trained + cell.trained, spread + (cell.trained and cell.spread)
        before, _, after = cell.claim.partition(" -> ")
        turned = any(verdict in before and opposite in after for verdict, opposite in (_SIDES, _SIDES[::-1]))
        if cell.verdict in (ONLY_A, ONLY_B):
            faults.append(f"{cell.cell}: {cell.verdict}")
        elif not (_is_number(cell.a) and _is_number(cell.b)) and cell.a != cell.b:
            faults.append(f"{cell.cell}: {cell.a} -> {cell.b}")
        elif turned:
            faults.append(f"{cell.cell}: {cell.claim}")
        elif not cell.trained and (cell.units > 1 or cell.claim):
            faults.append(
                f"{cell.cell}: {cell.a} -> {cell.b}, and no training is behind it: {cell.claim or cell.cause}"
            )
        else:
            outside += [cell.cell] if cell.spread and cell.verdict == DIFFERENT else []
            changed += [cell.cell] if cell.claim else []
    for cells, total, most, words in (
        (outside, spread, OUTSIDE_AT_MOST, "lie outside the interval over seeds"),
        (changed, trained, CHANGED_AT_MOST, "say something else"),
    ):
        if len(cells) > max(1.0, most * total):
            few = ", ".join(cells[:_MOST]) + (", ..." if len(cells) > _MOST else "")
            faults.append(f"{len(cells)} of {total} trained cells {words}, more than {most:.0%}: {few}")
    return faults


def _units(row: Mapping[str, str], other: Mapping[str, str]) -> float:
    x, y = row.get("value"), other.get("value")
    return abs(float(x) - float(y)) * 10.0 ** int(row["decimals"]) if x and y else 0.0


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _shown(row: Mapping[str, str] | None) -> str:
    return "" if row is None else row.get("value") or row.get("status") or ""


def _verdict(row: Mapping[str, str], other: Mapping[str, str]) -> str:
    numbers = ("value", "std", "n", "status")
    if all(row.get(name) == other.get(name) for name in numbers):
        return IDENTICAL
    if not row.get("value") or not other.get("value"):
        return DIFFERENT
    x, y, decimals = float(row["value"]), float(other["value"]), int(row["decimals"])
    if rounded(x, decimals) == rounded(y, decimals):
        return ROUNDING
    if row.get("std") and int(row["n"]) > 1:
        half = t_half_width(float(row["std"]), int(row["n"]), other=int(other["n"]))
        if abs(x - y) <= half:
            return INTERVAL
    return DIFFERENT


def _claim(row_a: Mapping[str, str], row_b: Mapping[str, str]) -> str:
    """How two tables differ in what they conclude: a gain or not, in agreement with the published value or not (not: by
    how much)."""
    first, second = (
        "; ".join(filter(None, (row.get("difference_verdict", ""), row.get("verdict", "").split(" by ")[0])))
        for row in (row_a, row_b)
    )
    return "" if first == second else f"{first or 'nothing'} -> {second or 'nothing'}"


def first_cause(a: Tree, b: Tree, name: str) -> str:
    """What differs first on the way from raw data to a cell; jobs are compared in the order in which they ended."""
    cell = a.graph.cells.get(name)
    if cell is None:
        return "no record of the table"
    files = [*a.graph.files_of(cell), f"{a.graph.root}/tables/{cell.table}.csv"]
    chain = [*files[:-1], *a.graph.ancestors(files[:-1])]
    records = [*a.graph.jobs(chain), a.graph.tables[cell.table]]
    for record in records:
        if not record.outputs:
            continue
        label = a.relative(record.first_output)
        twin = b.graph.makers.get(f"{b.graph.root}/{label}")
        if twin is None:
            wanted = {a.relative(path) for path in chain}
            made = [path for path in map(a.relative, a.graph.made(record)) if path in wanted]
            twins = (b.graph.makers.get(f"{b.graph.root}/{path}") for path in made)
            twin = next((candidate for candidate in twins if candidate is not None), None)
        if twin is None:
            return f"{label} was made in A only"
        differing = _differing(a, b, record, twin, {a.relative(path) for path in (*chain, *files)})
        if differing:
            return f"{differing[0]}: {_why(a, b, record, twin)}"
    return "all jobs have the same outputs: a file was changed after it was made (run: utopia verify)"


def _differing(a: Tree, b: Tree, ours: Record, theirs: Record, wanted: set[str]) -> list[str]:
    """The files that two jobs did not make alike, of those on the way to the cell."""
    first, second = (
        {tree.relative(path): entry["sha256"] for path, entry in tree.graph.entries(record, "outputs").items()}
        for tree, record in ((a, ours), (b, theirs))
    )
    return [path for path in first if path in wanted and first[path] != second.get(path)]


def _why(a: Tree, b: Tree, first: Record, other: Record) -> str:
    """Why two jobs made different files."""
    inputs, others = (
        {
            tree.relative(path): entry["sha256"]
            for path, entry in tree.graph.entries(record, "inputs").items()
            if "files" not in entry
        }
        for tree, record in ((a, first), (b, other))
    )
    if wrong := sorted(path for path in inputs.keys() | others.keys() if inputs.get(path) != others.get(path)):
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return f"the input {wrong[0]} differs{more}"
    then, now = (
        tree.normal({name: value for name, value in record.facts["params"].items() if name != "code"})
        for tree, record in ((a, first), (b, other))
    )
    settings = [str(change) for change in differences(without_code(then), without_code(now))]
    if settings:
        return "settings differ: " + "; ".join(settings[:_MOST]) + ("; ..." if len(settings) > _MOST else "")
    if changed := changed_modules(first.facts["code"]["modules"], other.facts["code"]["modules"]):
        return f"code differs: {', '.join(changed[:_MOST])}" + (", ..." if len(changed) > _MOST else "")
    versions = list(differences(first.versions, other.versions))
    if versions:
        return "software differs: " + "; ".join(map(str, versions[:_MOST])) + ("; ..." if len(versions) > _MOST else "")
    known = not any(_ANONYMOUS.fullmatch(str(record.facts.get("host"))) for record in (first, other))
    machines = list(differences(_machine(first, host=known), _machine(other, host=known)))
    if machines:
        return "hardware differs: " + "; ".join(map(str, machines[:_MOST]))
    return "same inputs, settings, code, software and hardware: the job does not repeat, or its output was changed"


def _machine(record: Record, *, host: bool = True) -> dict[str, Any]:
    variables = (record.facts.get("environment") or {}).get("variables") or {}
    return {
        "host": record.facts.get("host") if host else None,
        "cpu": record.facts.get("cpu"),
        "gpus": record.gpus,
        "torch": record.facts.get("determinism"),
        "variables": {name: variables[name] for name in KERNELS if name in variables},
    }
