"""The lineage of a study: which file was made from which, by which job, read off its records alone.

An edge leads from what a job read to what it made. A job that treats several runs at once (a pack) reads some files for
one run only; its records name inputs by role, so that a file of one run is no ancestor of another run's results. What a
job made beside its declared outputs (checkpoints, stored features) counts as an ancestor of these: they were made from
it, or name it.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from utopia.files import digest
from utopia.provenance.ledger import Ledger, Record, members

BY_RUN = frozenset(("distributions", "predictions", "summaries"))
"""Roles whose files go one by one with the runs of a job."""


class CellRuns(NamedTuple):
    """A cell of a table and the runs behind it, as the record of its table lays it out."""

    table: str
    row: str
    column: str
    runs: tuple[str, ...]
    """The runs behind its value."""
    against: tuple[str, ...]
    """The runs that its difference is taken to."""

    @property
    def id(self) -> str:
        """`table/row/column`."""
        return f"{self.table}/{self.row}/{self.column}"


class Impact(NamedTuple):
    """Results that something has touched; all sorted."""

    cells: list[str]
    figures: list[str]
    files: list[str]


class Graph:
    """Files and jobs of a study. Paths are texts as records write them.

    Args:
        ledger: the records.
        root: the study's folder as records write it, such as `results/miniature`.
    """

    def __init__(self, ledger: Ledger, root: str) -> None:
        self.ledger, self.root = ledger, root.rstrip("/")

    def seal(self, records: Iterable[Record] | None = None) -> str:
        """One digest of some records, by default of all. Written down elsewhere, it shows whether any was replaced."""
        chosen = self.ledger.records if records is None else records
        named = [[self.ledger.portable.write(record.file), record.facts.get("digest", "")] for record in chosen]
        return digest(sorted(named), 64)

    # -- files and jobs

    @cached_property
    def makers(self) -> dict[str, Record]:
        """The job that made each file, the last one where several did; members of folders count as files."""
        return {path: record for record in self.ledger.records for path in self.made(record)}

    @cached_property
    def readers(self) -> dict[str, list[Record]]:
        """The jobs that read each file."""
        readers: dict[str, list[Record]] = defaultdict(list)
        for record in self.ledger.records:
            for path in self.entries(record, "inputs"):
                readers[path].append(record)
        return dict(readers)

    def made(self, record: Record) -> list[str]:
        """Every file (and folder) that a job made."""
        return list(self.entries(record, "outputs"))

    def latest(self, record: Record) -> list[str]:
        """What a job made and no other one has made since."""
        return [path for path in self.made(record) if self.makers.get(path) is record]

    def sha256_of(self, path: str) -> str | None:
        """The SHA-256 of a file: as its maker left it, else as the last reader found it."""
        return (self.entry(path) or {}).get("sha256")

    def entry(self, path: str) -> dict[str, Any] | None:
        """The entry of a file in its maker's record, else in that of its last reader."""
        maker = self.makers.get(path)
        if maker is not None:
            return self.entries(maker, "outputs")[path]
        readers = self.readers.get(path)
        return self.entries(readers[-1], "inputs")[path] if readers else None

    def entries(self, record: Record, side: str) -> dict[str, dict[str, Any]]:
        """The entries of a job's `inputs` or `outputs` by path; members of folders count as files."""
        key = (id(record), side)
        if key not in self._entries:
            self._entries[key] = {entry["path"]: entry for entry in members(record.facts[side])}
        return self._entries[key]

    @cached_property
    def _entries(self) -> dict[tuple[int, str], dict[str, dict[str, Any]]]:
        return {}

    def is_raw(self, path: str) -> bool:
        """Whether no job of the study made it, and it does not lie among the study's results."""
        return path not in self.makers and not self.is_below(path)

    def is_source(self, path: str) -> bool:
        """Whether a file (no folder) was made from no other: no job made it, or it is generated raw data."""
        made = path in self.makers and not path.startswith(f"{self.root}/inputs/raw/")
        return not made and "files" not in (self.entry(path) or {})

    def is_below(self, path: str) -> bool:
        """Whether a path lies in the study's folder."""
        return path.startswith(f"{self.root}/")

    def run_of(self, path: str) -> str | None:
        """The run in whose folder a file lies; None where it lies in none."""
        start = f"{self.root}/runs/"
        return path[len(start) :].split("/", 1)[0] if path.startswith(start) else None

    # -- edges

    def sources(self, path: str) -> list[str]:
        """The files that a file was directly made from, in the order of its job's inputs."""
        maker = self.makers.get(path)
        return [] if maker is None else self._sources(maker, path)

    def _sources(self, record: Record, path: str) -> list[str]:
        return [source for source in self._fitting(record, path) if source != path]

    def _fitting(self, record: Record, path: str) -> list[str]:
        """The files that `path`, and what its job made of the same kind for the same run, was made from."""
        job = self._job(record)
        run = self.run_of(path)
        return [
            source
            for source in (*job.inputs, *(job.beside if path in job.declared else ()))
            if run is None or run not in job.runs or job.runs_of.get(source, {run}) & {run}
        ]

    def derived(self, path: str) -> list[str]:
        """The files that were directly made from a file."""
        derived: dict[str, None] = {}
        maker = self.makers.get(path)
        for record in self.readers.get(path, ()):
            for made, sources in self._alike(record).values():
                if path in sources:
                    derived.update(dict.fromkeys(made))
        if maker is not None and path in self._job(maker).beside:
            for (is_declared, _), (made, sources) in self._alike(maker).items():
                if is_declared and path in sources:
                    derived.update(dict.fromkeys(made))
        derived.pop(path, None)
        return list(derived)

    def _alike(self, record: Record) -> dict[tuple[bool, str | None], tuple[list[str], frozenset[str]]]:
        """What a job was the last to make, each group of files with their sources, which are the same for all."""
        job = self._job(record)
        if job.alike is None:
            groups: dict[tuple[bool, str | None], list[str]] = defaultdict(list)
            for made in self.latest(record):
                run = self.run_of(made)
                groups[made in job.declared, run if run in job.runs else None].append(made)
            job.alike = {key: (made, frozenset(self._fitting(record, made[0]))) for key, made in groups.items()}
        return job.alike

    def _job(self, record: Record) -> _Job:
        key = id(record)
        if key not in self._jobs:
            self._jobs[key] = _Job(record, self.run_of)
        return self._jobs[key]

    @cached_property
    def _jobs(self) -> dict[int, _Job]:
        return {}

    def ancestors(self, paths: Iterable[str]) -> dict[str, None]:
        """Everything that files were made from, nearest first; the files themselves are left out."""
        return _closure(paths, self.sources)

    def descendants(self, paths: Iterable[str]) -> dict[str, None]:
        """Everything that was made from files, nearest first; the files themselves are left out."""
        return _closure(paths, self.derived)

    def jobs(self, paths: Iterable[str]) -> list[Record]:
        """The jobs that made some files, in the order in which they ended."""
        wanted = {id(record): record for path in paths if (record := self.makers.get(path))}
        return sorted(wanted.values(), key=lambda record: record.facts["ended"])

    # -- cells and figures

    @cached_property
    def tables(self) -> dict[str, Record]:
        """The job of each table that was made."""
        return self._rendered("tables", "csv")

    @cached_property
    def figures(self) -> dict[str, Record]:
        """The job of each figure that was made."""
        return self._rendered("figures", "csv")

    def _rendered(self, kind: str, suffix: str) -> dict[str, Record]:
        start = f"{self.root}/{kind}/"
        return {
            path[len(start) : -len(suffix) - 1]: record
            for path, record in _below(self.makers, start)
            if path.endswith(f".{suffix}") and "settings" in record.facts["params"]
        }

    @cached_property
    def cells(self) -> dict[str, CellRuns]:
        """Every cell of every table that was made, by id; those that are only quoted have no runs."""
        cells_by_id: dict[str, CellRuns] = {}
        for name, record in self.tables.items():
            # Settings that are none: doing the job again, and a look at today's settings, tell it.
            with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError):
                cells = list(cells_of(name, record.facts["params"]["settings"]["table"]))
                cells_by_id.update((cell.id, cell) for cell in cells)
        return cells_by_id

    def files_of(self, cell: CellRuns, *, value_only: bool = False) -> list[str]:
        """The files that a cell was computed from: metrics of its runs, and what training said of them.

        Args:
            cell: which cell.
            value_only: leave out the run that its difference is taken to.
        """
        read = self.entries(self.tables[cell.table], "inputs")
        runs = dict.fromkeys(cell.runs if value_only else (*cell.runs, *cell.against))
        names = (f"{self.root}/runs/{run}/{name}" for run in runs for name in ("metrics.csv", "training.json"))
        return [path for path in names if path in read]

    def touched(self, paths: Iterable[str]) -> Impact:
        """The results that derive from files, these included."""
        given = dict.fromkeys(paths)
        reached = given | self.descendants(given)
        cells, figures = self._results(given, reached)
        return Impact(cells, figures, sorted(reached))

    def results(self, paths: Iterable[str]) -> tuple[list[str], list[str]]:
        """The cells and figures of `touched`; files from which no result derives are not walked through."""
        given = dict.fromkeys(path for path in paths if path in self._behind_results)
        behind = _closure(given, lambda path: [made for made in self.derived(path) if made in self._behind_results])
        return self._results(given, given | behind)

    @cached_property
    def _behind_results(self) -> frozenset[str]:
        """Every file that a cell or a figure derives from, and the forms of these."""
        files = {*self._cells_of_tables, *self._cells_behind, *self._figures_of}
        return frozenset((*files, *self.ancestors(files)))

    def _results(self, given: Iterable[str], reached: Iterable[str]) -> tuple[list[str], list[str]]:
        """The cells and figures of files, given those that were asked about and those that derive from them."""
        cells = {cell for path in given for cell in self._cells_of_tables.get(path, ())}
        cells |= {cell for path in reached for cell in self._cells_behind.get(path, ())}
        drawn = {figure for path in reached for figure in self._figures_of.get(path, ())}
        return sorted(cells), sorted(drawn)

    @cached_property
    def _cells_behind(self) -> dict[str, list[str]]:
        """The cells that were computed from each file."""
        return _by_file((cell.id, self.files_of(cell)) for cell in self.cells.values())

    @cached_property
    def _cells_of_tables(self) -> dict[str, list[str]]:
        """The cells in each form of a table."""
        return _by_file((cell.id, self.made(self.tables[cell.table])) for cell in self.cells.values())

    @cached_property
    def _figures_of(self) -> dict[str, list[str]]:
        """The figure in each form of it."""
        return _by_file((name, self.made(record)) for name, record in self.figures.items())


class _Job:
    """What the edges of a job are made from."""

    def __init__(self, record: Record, run_of: Any) -> None:
        named = set(record.declared("outputs"))
        made = [entry["path"] for entry in members(record.outputs)]
        first = {entry["path"] for entry in record.outputs[:1]}
        folders = {part["path"] for part in record.outputs if "files" in part}
        inside = {part["path"] for entry in record.outputs if entry["path"] in named for part in entry.get("files", ())}
        self.declared = ((named or first) | inside | folders) & set(made)
        self.beside = dict.fromkeys(path for path in made if path not in self.declared)
        self.inputs = dict.fromkeys(entry["path"] for entry in members(record.inputs))
        self.alike: dict[tuple[bool, str | None], tuple[list[str], frozenset[str]]] | None = None
        given = record.facts["params"].get("runs") or []
        ids = (
            [str(run.get("id")) if isinstance(run, dict) else str(run) for run in given]
            if isinstance(given, list)
            else []
        )
        self.runs = set(ids)
        self.runs_of: dict[str, set[str]] = defaultdict(set)
        for role, paths in record.roles("inputs").items():
            if role in BY_RUN and len(paths) == len(ids):
                for path, run in zip(paths, ids, strict=True):
                    self.runs_of[path].add(run)
        for path in self.beside:
            if run := run_of(path):
                self.runs_of[path].add(run)


def cells_of(name: str, table: Mapping[str, Any]) -> Iterator[CellRuns]:
    """The cells of a table from its settings, as a rendering job is given them."""
    rows = {row["id"]: row for row in table["rows"]}
    # what is adjusted among all rows depends on all their runs
    among = {
        column["id"]: [run for row in table["rows"] for pair in row["changes"][column["id"]] for run in pair]
        for column in table["columns"]
        if column.get("statistic") == "adjusted"
    }
    for row in table["rows"]:
        other = rows.get(row.get("against") or "", {}).get("runs") or {}
        for column in table["columns"]:
            run = (row.get("runs") or {}).get(column["id"])
            pairs = (row.get("changes") or {}).get(column["id"]) or []
            claim = (row.get("claims") or {}).get(column["id"]) or {"cells": {}}
            compared = [compared_cell["run"] for compared_cell in claim["cells"].values() if compared_cell["run"]]
            runs = (
                (run,)
                if run
                else tuple(
                    dict.fromkeys(
                        [*(partner for pair in pairs for partner in pair), *compared, *among.get(column["id"], ())]
                    )
                )
            )
            against = (other[column["id"]],) if run and column["id"] in other else ()
            yield CellRuns(name, row["id"], column["id"], runs, against)


def _below(makers: Mapping[str, Record], start: str) -> list[tuple[str, Record]]:
    return [(path, makers[path]) for path in sorted(made for made in makers if made.startswith(start))]


def _by_file(named: Iterable[tuple[str, Iterable[str]]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    for name, paths in named:
        for path in paths:
            names[path].append(name)
    return dict(names)


def _closure(paths: Iterable[str], step: Any) -> dict[str, None]:
    given = dict.fromkeys(paths)
    reached: dict[str, None] = {}
    waiting = list(given)
    while waiting:
        following = []
        for path in waiting:
            for neighbour in step(path):
                if neighbour not in reached:
                    reached[neighbour] = None
                    following.append(neighbour)
        waiting = following
    return {path: None for path in reached if path not in given}
