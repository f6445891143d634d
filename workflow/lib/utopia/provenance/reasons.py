"""Why a file would be regenerated: what has changed since, furthest upstream first."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from utopia.files import sha256
from utopia.fingerprint import PACKAGE, file_of
from utopia.plan.jobs import PlannedJob
from utopia.provenance import environment, staleness
from utopia.provenance.current import ChangedSetting, Current
from utopia.provenance.ledger import Record
from utopia.provenance.lineage import Graph

_MOST_LINES = 60


@dataclass(frozen=True)
class Reason:
    """One reason why a job would run again."""

    job: str
    kind: str
    """`missing`, `code`, `setting` or `input`."""
    what: str
    diff: tuple[str, ...] = ()
    """What has changed, line by line."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: `{job, kind, what, diff}`."""
        return {**asdict(self), "diff": list(self.diff)}


def reasons(graph: Graph, path: str, current: Current | None) -> Iterator[Reason]:
    """Every reason why a file would be regenerated, of the jobs furthest upstream first.

    The jobs are those of today's plan, whatever the files are called that they read; without a plan, those of the
    records. A changed lock file is no reason: no rule depends on it. Inputs count as changed where their content
    differs; of those that are not newer than what was made from them, only the size is looked at, as Snakemake does
    (`utopia verify` hashes them all).

    Args:
        graph: the lineage.
        path: the file, as records write paths.
        current: today's plan. A file that it does not ask for is not regenerated.
    """
    if current is None:
        for record in graph.jobs([path, *graph.ancestors([path])]):
            yield from _reasons_of(graph, record, path, [])
        return
    for job in current.upstream(*_planned(graph, path, current)):
        records = current.records(job)
        yield from _never_made(job, current, records)
        for record in records:
            yield from _reasons_of(graph, record, path, current.changes_of(job, record))


def jobs_to_run(graph: Graph, current: Current) -> dict[str, list[Reason]]:
    """The jobs of today's plan that a run would do, by first output, upstream first; with their own reasons.

    A job without a reason of its own runs because one upstream of it does, or because another needs what is missing.
    Times of files are not looked at (`utopia.provenance.adopt` does).
    """
    jobs, write = current.plan.jobs, current.portable.write
    reasons_of = {id(job): list(_own(graph, current, job)) for job in jobs}
    makers = {write(path): job for job in jobs for path in job.made()}
    wanted = {id(job) for job in jobs if reasons_of[id(job)]}
    targets = {write(path) for path in current.plan.targets()}
    wanted |= {id(makers[path]) for path in targets if path in makers and not _is_there(graph, path)}
    before = -1
    while len(wanted) != before:
        before = len(wanted)
        for job in jobs:
            read = [makers[path] for path in map(write, job.read()) if path in makers]
            if any(id(maker) in wanted for maker in read):
                wanted.add(id(job))
            if id(job) in wanted:
                wanted |= {id(makers[path]) for path in map(write, job.read()) if _is_lost(graph, makers, path)}
    return {write(job.made()[0]): reasons_of[id(job)] for job in jobs if id(job) in wanted}


def _own(graph: Graph, current: Current, job: PlannedJob) -> Iterator[Reason]:
    records = current.records(job)
    yield from _never_made(job, current, records)
    for record in records:
        yield from _of_code_and_settings(record, current.changes_of(job, record), is_short=True)


def _is_there(graph: Graph, path: str) -> bool:
    try:
        return graph.ledger.portable.read(path).exists()
    except KeyError:
        return True  # below a folder that was not named: nothing can be said


def _is_lost(graph: Graph, makers: Mapping[str, PlannedJob], path: str) -> bool:
    return path in makers and not _is_there(graph, path)


def _planned(graph: Graph, path: str, current: Current) -> list[str]:
    """The file, or the declared outputs beside which it was made, that today's study asks for."""
    if path in current.makers:
        return [path]
    maker = graph.makers.get(path)
    return [] if maker is None else [output for output in maker.declared("outputs") if output in current.makers]


def _never_made(job: PlannedJob, current: Current, records: list[Record]) -> Iterator[Reason]:
    """Outputs of today's job that no job has made so far."""
    made = {path for record in records for path in record.declared("outputs")}
    for path in map(current.portable.write, job.made()):
        if path not in made:
            former = current.former.get(path)
            changes = current.apart(former, path) if former else []
            if changes:
                yield _of_settings(path, changes, f" (so far: {former})")
            else:
                yield Reason(path, "missing", f"{path} was never made")


def _reasons_of(graph: Graph, record: Record, path: str, changes: list[ChangedSetting]) -> Iterator[Reason]:
    """Why the job that a record describes would run again, apart from jobs upstream of it."""
    name = record.first_output or record.rule
    yield from (Reason(name, "missing", f"{missing} is not there") for missing in _missing(graph, record, path))
    yield from _of_code_and_settings(record, changes)
    for file, then, now in _changed_inputs(graph, record):
        yield Reason(name, "input", f"{file} has changed", (f"- sha256 {then}", f"+ sha256 {now}"))


def _of_code_and_settings(record: Record, changes: list[ChangedSetting], *, is_short: bool = False) -> Iterator[Reason]:
    name = record.first_output or record.rule
    if changed := staleness.code_change(record):
        modules = () if is_short else changed.modules
        diff = tuple(line for module in modules for line in code_diff(record, module))
        yield Reason(name, "code", f"{changed} has changed", diff[:_MOST_LINES])
    if changes:
        yield _of_settings(name, changes)


def _of_settings(job: str, changes: list[ChangedSetting], more: str = "") -> Reason:
    what = ", ".join(change.name for change in changes[:3]) + (", ..." if len(changes) > 3 else "")
    lines = (
        line
        for setting in changes
        for line in (f"- {setting.name}: {setting.then!r}", f"+ {setting.name}: {setting.now!r}")
    )
    return Reason(job, "setting", f"{what} has changed{more}", tuple(lines)[:_MOST_LINES])


def _missing(graph: Graph, record: Record, asked: str) -> Iterator[str]:
    """Declared outputs that are not there (what a job made beside them does not make it run again)."""
    if record is graph.makers.get(asked) and not graph.ledger.portable.read(asked).exists():
        yield asked
    for path in record.declared("outputs"):
        if path != asked and not graph.ledger.portable.read(path).exists():
            yield path


def _changed_inputs(graph: Graph, record: Record) -> Iterator[tuple[str, str, str]]:
    try:
        made = graph.ledger.portable.read(record.first_output).stat().st_mtime_ns
    except (OSError, KeyError):
        return
    for path, entry in graph.entries(record, "inputs").items():
        if "files" in entry or entry["sha256"] is None:
            continue
        maker = graph.makers.get(path)
        if maker is not None:
            now = graph.sha256_of(path)
            if now != entry["sha256"]:
                yield path, entry["sha256"], str(now)
                continue
        try:
            place = graph.ledger.portable.read(path)
            status = place.stat()
        except (OSError, KeyError):
            continue  # missing, which its own job says, or below a folder that was not named
        if status.st_mtime_ns > made or status.st_size != entry["bytes"]:
            now = sha256(place)
            if now != entry["sha256"]:
                yield path, entry["sha256"], now


def code_diff(record: Record, module: str) -> list[str]:
    """What has changed in a module (or script) since the commit that a job ran on, as git shows it."""
    git, folder = record.facts.get("git"), environment.checkout()
    path = _file(module)
    if not git or folder is None or path is None or shutil.which("git") is None:
        return [f"{module}: no commit is known to compare with"]
    name = path.relative_to(folder).as_posix()
    command = ["git", "--no-optional-locks", "-C", str(folder), "diff", "--no-color", "-U1", git["commit"], "--", name]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode:
        return [f"{module}: the commit {git['commit'][:12]} is not in this repository"]
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("diff ", "index "))]
    if name in git["changed"]:
        lines.insert(0, f"{module}: the job ran with edits that were not committed, so this may not be all")
    return lines or [
        f"{module}: git shows no difference to {git['commit'][:12]}: the file is new, or the job ran with edits"
    ]


def _file(module: str) -> Path | None:
    if "/" in module:
        return file_of(module)
    parts = module.split(".")[1:]
    for path in (PACKAGE.joinpath(*parts).with_suffix(".py"), PACKAGE.joinpath(*parts, "__init__.py")):
        if path.is_file():
            return path
    return PACKAGE.joinpath(*parts).with_suffix(".py") if parts else None
