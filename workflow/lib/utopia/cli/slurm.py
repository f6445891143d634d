"""Jobs that a killed run has left on a SLURM cluster: they go on without it, and a second copy must not join them."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from utopia.errors import UtopiaError
from utopia.files import read_json

_WAITING = ("PENDING", "REQUEUED", "SUSPENDED", "CONFIGURING")
_POLL_SECONDS = 5.0
_PATIENCE = 60.0


class SlurmJob(NamedTuple):
    """A job on the cluster."""

    id: str
    state: str
    what: str
    """The plugin's comment: the rule and its wildcards."""

    @property
    def at_work(self) -> bool:
        """Whether it has begun: what it does is lost if it is cancelled."""
        return self.state not in _WAITING


def run_name(folder: Path) -> str:
    """The name that all SLURM jobs of the last run of a study have; empty where it was not on SLURM."""
    path = folder / "audit" / "run.json"
    facts = read_json(path) if path.is_file() else {}
    return str(facts.get("slurm") or "")


def left(folder: Path) -> list[SlurmJob]:
    """The jobs of the last run of the study in `folder` that are still on the cluster.

    Raises:
        UtopiaError: the cluster cannot be asked.
    """
    name = run_name(folder)
    if not name:
        return []
    if shutil.which("squeue") is None:
        raise _silent(folder, name, "there is no squeue on this machine")
    said = _run("squeue", "--noheader", "--name", name, "--format=%i|%T|%k")
    if said.returncode:
        raise _silent(folder, name, said.stderr.strip() or "squeue failed")
    return [SlurmJob(*line.split("|", 2)) for line in said.stdout.splitlines() if line.count("|") >= 2]


def cancel(folder: Path, jobs: Sequence[SlurmJob]) -> None:
    """Cancel jobs and wait until they are gone from the cluster.

    Raises:
        UtopiaError: they are still there after a minute.
    """
    if not jobs:
        return
    _run("scancel", *(job.id for job in jobs))
    gone = {job.id for job in jobs}
    until = time.monotonic() + _PATIENCE
    while {job.id for job in left(folder)} & gone:
        if time.monotonic() > until:
            names = ", ".join(sorted(gone))
            raise UtopiaError(
                f"SLURM has not ended what was cancelled a minute ago: {names}",
                why="a second run would write the same files beside these jobs",
                remedy="see `squeue --me`; when they are gone, give the same command again",
            )
        time.sleep(1.0)


def wait(folder: Path, say: Callable[[str], None], poll: float = _POLL_SECONDS) -> None:
    """Wait until no job of the last run is on the cluster, and say now and then how many are."""
    before = -1
    while jobs := left(folder):
        if len(jobs) != before:
            say(f"waiting for {len(jobs)} on SLURM: {listed(jobs)}")
            before = len(jobs)
        time.sleep(poll)


def listed(jobs: Sequence[SlurmJob]) -> str:
    """Jobs for people: `12 (train_summe_et_1), 13 (...) and 3 more`."""
    names = [f"{job.id} ({job.what.removeprefix('rule_').replace('_wildcards_', ' ')})" for job in jobs[:3]]
    return ", ".join(names) + (f" and {len(jobs) - 3} more" if len(jobs) > 3 else "")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)


def _silent(folder: Path, name: str, why: str) -> UtopiaError:
    return UtopiaError(
        f"cannot ask SLURM whether jobs of the last run are still at work ({why})",
        where=folder,
        why="they would write the same files as a second run beside them",
        remedy=f"try again where SLURM answers; or, when you know that no job is named {name}, "
        f"remove {folder / 'audit' / 'run.json'}",
    )
