"""The ancestry of every number of a study as one compact value: what numbers share is in it once.

A number's ancestry is the union of that of its runs, and runs share nearly all of theirs: the jobs and raw files of a
data set. So jobs, raw files, machines, versions, settings and texts are numbered lists, and a run names *sets* of
jobs and files that are lists of ranges `[first, last]` of such numbers. Everything is read off records and small
files of the study; nothing that `utopia explain` tells of a number is computed in another way here.
"""

from __future__ import annotations

import base64
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from utopia.plan.jobs import family
from utopia.provenance import integrity, origin, staleness
from utopia.provenance.failures import job_name
from utopia.provenance.ledger import Record, members
from utopia.provenance.lineage import CellRuns, Graph

RAW = "raw files"


class Reach(NamedTuple):
    """What something was made from."""

    jobs: frozenset[int]
    """Places of records in the ledger."""
    inputs: frozenset[str]
    """Raw files."""

    def __or__(self, other: Reach) -> Reach:
        return Reach(self.jobs | other.jobs, self.inputs | other.inputs)


NOTHING = Reach(frozenset(), frozenset())


class Pool:
    """Values by number; equal ones have one."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[str, int] = {}

    def __call__(self, value: Any) -> int:
        """The number of a value, known or new."""
        key = value if isinstance(value, str) else f"\0{value!r}"
        if key not in self._numbers:
            self._numbers[key] = len(self.values)
            self.values.append(value)
        return self._numbers[key]


class Ancestry:
    """Gathers what results were made from; `as_dict` gives it all.

    Args:
        graph: the lineage.
        apart_from: the rule whose records do not count: the page's own.
    """

    def __init__(self, graph: Graph, apart_from: str = "") -> None:
        self.graph = graph
        self._places = {id(record): place for place, record in enumerate(graph.ledger.records)}
        self._apart = {place for place, record in enumerate(graph.ledger.records) if record.rule == apart_from}
        self._shared: dict[str, Reach] = {}
        self._runs: dict[tuple[str, ...], Reach] = {}
        self._asked: list[Reach] = []

    # -- what things were made from

    def of_files(self, paths: Iterable[str]) -> Reach:
        """The reach of files, these included: the jobs that made them and theirs."""
        key = tuple(paths)
        if key not in self._runs:
            of_run = dict.fromkeys(key)
            waiting, shared = list(of_run), NOTHING
            # A run's own files are walked through; what lies before them is the same for many runs.
            while waiting:
                path = waiting.pop()
                if self.graph.run_of(path) is None and path not in key:
                    shared |= self._before(path)
                    continue
                for source in self.graph.sources(path):
                    if source not in of_run:
                        of_run[source] = None
                        waiting.append(source)
            self._runs[key] = shared | self._split(of_run)
        return self._runs[key]

    def of_record(self, record: Record) -> Reach:
        """The reach of what a job made."""
        made = self.graph.made(record)
        return self.of_files(made[:1]) | self.own(record)

    def own(self, record: Record) -> Reach:
        """A job alone."""
        return Reach(frozenset((self._places[id(record)],)), frozenset())

    def _before(self, path: str) -> Reach:
        if path not in self._shared:
            self._shared[path] = self._split([path, *self.graph.ancestors([path])])
        return self._shared[path]

    def _split(self, paths: Iterable[str]) -> Reach:
        graph, jobs, raw = self.graph, set(), set()
        for path in paths:
            maker = graph.makers.get(path)
            if maker is not None and (place := self._places[id(maker)]) not in self._apart:
                jobs.add(place)
            if graph.is_source(path):
                raw.add(path)
        return Reach(frozenset(jobs), frozenset(raw))

    def by_run(self, cell: CellRuns) -> dict[str, Reach]:
        """The reach of each run of a cell, those that its difference is taken to included."""
        files: dict[str, list[str]] = defaultdict(list)
        for path in self.graph.files_of(cell):
            files[self.graph.run_of(path) or ""].append(path)
        return {run: self.of_files(paths) for run, paths in files.items()}

    # -- all of it

    def note(self, reach: Reach) -> Reach:
        """Remember a reach that will be named: its jobs and files get numbers."""
        self._asked.append(reach)
        return reach

    def numbered(self) -> Numbered:
        """Number every job and file that was noted."""
        jobs = sorted({place for reach in self._asked for place in reach.jobs})
        return Numbered(self.graph, jobs, sorted({path for reach in self._asked for path in reach.inputs}))


class Numbered:
    """The jobs and raw files of a page, numbered.

    Args:
        graph: the lineage.
        places: of the records in the ledger, in order.
        inputs: raw files, sorted.
    """

    def __init__(self, graph: Graph, places: Sequence[int], inputs: Sequence[str]) -> None:
        self.graph = graph
        self.records = [graph.ledger.records[place] for place in places]
        self._jobs = {place: number for number, place in enumerate(places)}
        self._inputs = {path: number for number, path in enumerate(inputs)}
        self._paths = list(inputs)
        self.sets, self.texts, self.folders, self.values = Pool(), Pool(), Pool(), Pool()

    def reach(self, reach: Reach) -> list[int]:
        """`[set of jobs, set of files]` by number."""
        return [self.sets(ranges(self.jobs_of(reach))), self.sets(ranges(self._inputs[path] for path in reach.inputs))]

    def jobs_of(self, reach: Reach) -> set[int]:
        """The numbers of its jobs."""
        return {self._jobs[place] for place in reach.jobs}

    def number_of(self, record: Record) -> int:
        """The number of a job that was noted."""
        return next(number for number, listed in enumerate(self.records) if listed is record)

    def file(self, path: str) -> list[Any]:
        """`[folder, name]`."""
        folder, _, name = path.rpartition("/")
        return [self.folders(folder), name]

    def inputs(self) -> dict[str, Any]:
        """Raw files in columns: `folder`, `name`, `sha256`, `bytes`, `origin`; and the origins."""
        origins = Pool()
        raw_files = origin.inputs(self.graph, self._paths)
        places = [self.file(raw_file["path"]) for raw_file in raw_files]
        where = [
            origins([raw_file["dataset"] or "", raw_file["licence"], raw_file["source"]]) for raw_file in raw_files
        ]
        return {
            "folder": [folder for folder, _ in places],
            "name": [name for _, name in places],
            "sha256": [shortened(raw_file["sha256"]) for raw_file in raw_files],
            "bytes": [raw_file["bytes"] for raw_file in raw_files],
            "origin": where,
            "origins": origins.values,
        }

    def jobs(self, stale: Mapping[int, Sequence[str]]) -> dict[str, Any]:
        """Every job as a row, and the lists that rows refer to.

        Args:
            stale: why a record no longer describes what is there, by its `id`.
        """
        pools = {name: Pool() for name in ("machines", "commits", "software", "locks", "modules", "closures")}
        rows = [self._job(record, pools, stale.get(id(record), ())) for record in self.records]
        return {"rows": rows, **{name: pool.values for name, pool in pools.items()}}

    def _job(self, record: Record, pools: Mapping[str, Pool], stale: Sequence[str]) -> list[Any]:
        facts = record.facts
        declared = {*record.declared("outputs"), record.first_output}
        made = [entry for entry in record.outputs if entry["path"] in declared]
        beside = [file for file in members(record.outputs) if file["path"] not in declared and "files" not in file]
        git = facts.get("git")
        closure = sorted(pools["modules"]([name, sha]) for name, sha in facts["code"]["modules"].items())
        command, target = str(facts.get("command") or ""), record.first_output
        short = bool(target) and command.endswith(target)
        seconds = facts["seconds"]
        return [
            self.texts(job_name(record.rule, record.wildcards)),
            pools["machines"](_machine(record)),
            -1 if git is None else pools["commits"]([git["commit"], bool(git["dirty"]), list(git["changed"])]),
            pools["software"](record.versions),
            -1 if not facts.get("lock") else pools["locks"]([facts["lock"]["path"], facts["lock"]["sha256"]]),
            pools["closures"](ranges(closure)),
            str(facts["started"])[:19],
            round(seconds) if seconds >= 10 else round(seconds, 1),
            facts.get("peak_memory_bytes"),
            [[*self.file(file["path"]), shortened(file["sha256"]), file["bytes"]] for file in made],
            [len(beside), sum(file["bytes"] or 0 for file in beside)],
            [self.texts(command.removesuffix(target) if short else command), int(short)],
            [self.texts(reason) for reason in stale],
            self._settings(record),
            self.file(log) if (log := _log(record)) else -1,
        ]

    def _settings(self, record: Record) -> int:
        """What the configuration said to a job that serves no runs; -1 where nothing."""
        rest = {name: value for name, value in record.settings.items() if name != "run"}
        return self.values(rest) if rest else -1

    def edges(self) -> list[list[str]]:
        """`[rule, rule that reads its files]`, of all jobs; what no job made comes from `raw files`."""
        pairs = {
            (family(maker.rule) if (maker := self.graph.makers.get(path)) else RAW, family(record.rule))
            for record in self.records
            for path in self.graph.entries(record, "inputs")
        }
        return [list(edge) for edge in sorted(pairs) if edge[0] != edge[1]]

    def settings_of_runs(self) -> dict[str, dict[str, int]]:
        """What the configuration said of each run: numbers of values by name."""
        settings_of: dict[str, dict[str, int]] = defaultdict(dict)
        for record in self.records:
            reference = record.facts["params"].get("run")
            runs = dict(record.settings_of_runs)
            if isinstance(reference, Mapping) and "id" in reference:
                runs[reference["id"]] = {name: value for name, value in reference.items() if name not in ("id", "code")}
            for run, settings in runs.items():
                settings_of[run].update({name: self.values(value) for name, value in settings.items()})
        return dict(settings_of)


def _log(record: Record) -> str:
    """What a job said, as a file of the study; empty where it kept none."""
    log = record.facts.get("log") or ""
    return str(log[0] if isinstance(log, list) and log else log or "")


def reasons(graph: Graph, changed: Iterable[str]) -> dict[int, list[str]]:
    """Why records do not hold any more, by their `id`: what costs no hashing to see, and files that changed.

    Args:
        graph: the lineage.
        changed: files that are not those that their records describe.
    """
    reasons_of = {id(record): why for record, why in staleness.stale(graph.ledger)}
    for path in changed:
        if (maker := graph.makers.get(path)) is not None:
            reasons_of.setdefault(id(maker), []).append(f"output: {path} is not the file that the job made")
    for record in graph.ledger.records:
        of_record = reasons_of.setdefault(id(record), [])
        if not record.is_intact:
            of_record.append("record: it was edited")
        of_record += [
            f"{finding.kind}: {finding.where}"
            for finding in integrity.undeclared_reads_of(graph, record)
            if finding.kind != "never read"
        ]
    return {key: why for key, why in reasons_of.items() if why}


def shortened(sha256: str | None) -> str:
    """A sha256 in 43 characters (base64) in place of 64, which the page's script shows; what is none stays as it is."""
    if not re.fullmatch("[0-9a-f]{64}", sha256 or ""):
        return sha256 or ""
    return base64.b64encode(bytes.fromhex(str(sha256))).decode().rstrip("=")


def ranges(numbers: Iterable[int]) -> list[list[int]]:
    """Sorted numbers as ranges `[first, last]`, both inclusive."""
    stretches: list[list[int]] = []
    for number in sorted(numbers):
        if stretches and number == stretches[-1][1] + 1:
            stretches[-1][1] = number
        else:
            stretches.append([number, number])
    return stretches


def _machine(record: Record) -> dict[str, Any]:
    facts = record.facts
    return {
        "host": facts.get("host") or "not recorded",
        "cpu": facts.get("cpu") or {},
        "gpus": [{name: gpu.get(name) for name in ("name", "uuid", "driver")} for gpu in record.gpus],
        "deterministic": (facts.get("determinism") or {}).get("deterministic_algorithms"),
    }
