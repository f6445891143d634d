"""What the times of files would make Snakemake do, and which jobs records prove to be done whatever the times say.

Snakemake goes by the times of files and by notes of its own in `.snakemake`. A folder of results that was copied has
new times and no notes; a node whose clock is ahead leaves times in the future, and nothing that is made now is newer.
Records hold the content of every file, so they can tell what is really out of date.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from utopia import fingerprint
from utopia.plan.jobs import PlannedJob
from utopia.plan.plan import Plan
from utopia.provenance import staleness
from utopia.provenance.current import Current
from utopia.provenance.integrity import FileHashes
from utopia.provenance.lineage import Graph

_CLOCKS_DIFFER = 2.0
"""Seconds by which a file may seem to be from the future: clocks and file systems round."""


@dataclass
class Times:
    """What is wrong with the times of a study's files."""

    future: list[Path] = field(default_factory=list)
    """Files from the future. Snakemake refuses whatever is made from them, and removes it."""
    late: list[str] = field(default_factory=list)
    """First outputs of jobs that are older than what they read: Snakemake may run them again."""


def times(plan: Plan, base: Path, now: float | None = None) -> Times:
    """Look at the times of all files that today's jobs declare; nothing is read.

    Args:
        plan: today's jobs.
        base: the working directory that their paths mean.
        now: seconds since the epoch.
    """
    latest = (time.time() if now is None else now) + _CLOCKS_DIFFER
    stamps: dict[str, float | None] = {}

    def stamp(path: str) -> float | None:
        if path not in stamps:
            stamps[path] = _time(base / path)
        return stamps[path]

    wrong = Times()
    for job in plan.jobs:
        read = [seconds for path in job.read() if (seconds := stamp(path)) is not None]
        made = [seconds for path in job.made() if (seconds := stamp(path)) is not None]
        if read and made and max(read) > min(made):
            wrong.late.append(job.made()[0])
    wrong.future = [Path(path) for path, seconds in sorted(stamps.items()) if seconds is not None and seconds > latest]
    return wrong


def _time(path: Path) -> float | None:
    """When a file was last written; of a folder that a job made, what Snakemake goes by."""
    inside = path / ".snakemake_timestamp"
    try:
        return (inside if inside.exists() else path).stat().st_mtime
    except OSError:
        return None


@dataclass
class Proof:
    """Today's jobs, sorted by whether records prove that nothing changed since they were done."""

    proven: list[PlannedJob] = field(default_factory=list)
    """Upstream first. Everything that they depend on is proven too."""
    refused: dict[str, str] = field(default_factory=dict)
    """First output -> why its job is not proven; those that only follow another one that is not are left out."""
    following: list[str] = field(default_factory=list)
    """First outputs of jobs that are whole themselves, but depend on one that is not proven."""


def prove(graph: Graph, current: Current) -> Proof:
    """Compare every byte, setting and line of code behind the study's jobs with their records.

    Args:
        graph: the lineage.
        current: today's jobs.
    """
    fingerprint.read_afresh()
    proof = Proof()
    whole: set[str] = set()
    planned = {path for job in current.plan.jobs for path in job.made()}
    wrong = _wrong(graph)
    for job in current.plan.jobs:
        reason = next(_against(graph, current, job, wrong), None)
        if reason is not None:
            proof.refused[job.made()[0]] = reason
        elif any(path in planned and path not in whole for path in job.read()):
            proof.following.append(job.made()[0])
        else:
            proof.proven.append(job)
            whole.update(job.made())
    return proof


def _wrong(graph: Graph) -> dict[str, str]:
    """Path -> what is wrong with a file that a record names."""
    hashed = FileHashes(graph)
    wrong = dict.fromkeys(hashed.unknown, "lies below a folder that was not named (--data)")
    for path in hashed.damaged:
        is_lost = hashed.states[path].sha256 is None
        wrong[path] = "is not there" if is_lost else "has another content than its record says"
    return wrong


def _against(graph: Graph, current: Current, job: PlannedJob, wrong: dict[str, str]) -> Iterator[str]:
    """What speaks against a job's being done."""
    made = [current.portable.write(path) for path in job.made()]
    records = current.records(job)
    if any(path not in graph.makers for path in made):
        yield "no record says that it was ever done"
    for record in records:
        if not record.is_intact:
            yield "its record was edited"
        if changes := current.changes_of(job, record):
            yield f"settings: {changes[0]}"
        if changed := staleness.code_change(record):
            yield f"code: {changed}"
        read = graph.entries(record, "inputs")
        for path in (*read, *graph.made(record)):
            if path in wrong:
                yield f"{path} {wrong[path]}"
        for path, entry in read.items():
            if entry.get("sha256") != graph.sha256_of(path):
                yield f"{path} was regenerated since, with other content"


def ends(jobs: Iterable[PlannedJob]) -> list[str]:
    """The first outputs of the jobs that no other one of them depends on."""
    chosen = list(jobs)
    read = {path for job in chosen for path in job.read()}
    return [job.made()[0] for job in chosen if read.isdisjoint(job.made())]


def set_back(current: Current, proof: Proof) -> list[str]:
    """Give what is not proven a time before everything else, so that Snakemake makes it again; says what."""
    done = []
    for job in current.plan.jobs:
        if job.made()[0] not in proof.refused:
            continue
        for path in job.made():
            place = current.portable.base / path
            for stamped in (place, place / ".snakemake_timestamp"):
                if stamped.exists():
                    os.utime(stamped, (1, 1))
                    done.append(path)
    return list(dict.fromkeys(done))
