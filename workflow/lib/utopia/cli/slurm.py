"""Jobs that a killed run has left on a SLURM cluster: they go on without it, and a second copy must not join them."""

from __future__ import annotations

import os
import shutil
import signal
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


PROGRAMS = ("sbatch", "squeue", "scancel")
"""What a run on SLURM cannot do without; what else the executor asks for, `profiles/slurm/bin` has."""
PATIENCE_S = 30.0
"""How long a program of SLURM is waited for, in seconds."""
_REMINDER = 300.0


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


def require(executor: str) -> None:
    """Refuse a run on SLURM where there is none: Snakemake would wait for ever for jobs that nothing took.

    Raises:
        UtopiaError: naming the programs that are missing, or what the cluster that does not answer says.
    """
    if executor != "slurm":
        return
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise UtopiaError(
            f"there is no SLURM on this machine: {', '.join(missing)} not found in PATH",
            where="profiles/slurm",
            why="jobs would be handed to a program that is not there, and waited for",
            remedy="run it where SLURM's programs are (a login node; `module load slurm`), or without --profile; "
            "`utopia doctor --profile slurm` looks at all that such a run needs",
        )
    asked = answer()
    if asked.returncode:
        raise UtopiaError(
            f"SLURM's programs are here, but no cluster answers them: {last_line(asked.stderr, 'squeue failed')}",
            where="profiles/slurm",
            why="no job would be taken, and the run would wait for ever",
            remedy="is slurmctld up? `scontrol ping` tells; try again when it answers, or run without --profile",
        )


def answer() -> subprocess.CompletedProcess[str]:
    """What the cluster answers to the simplest question: your jobs, one a line."""
    return ask("squeue", "--me", "--noheader")


def last_line(text: str, otherwise: str) -> str:
    """The last line of what a program said."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), otherwise)


def watch_over(executor: str) -> None:
    """In a run of Snakemake: make sure that its cluster is there, and that SIGTERM ends a run that only waits for it.

    Snakemake takes SIGTERM as the wish to wait until the jobs at work have ended. Those of a cluster go on without it,
    and `utopia resume` takes them over.

    Raises:
        UtopiaError: see `require`.
    """
    require(executor)
    if executor == "slurm":
        signal.signal(signal.SIGTERM, _ends)


def _ends(number: int, _: object) -> None:
    text = "ended by SIGTERM; its jobs on SLURM go on, and `utopia resume` goes on from them\n"
    os.write(2, text.encode())
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


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
    said = ask("squeue", "--noheader", "--name", name, "--format=%i|%T|%k", seconds=120.0)
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
    ask("scancel", *(job.id for job in jobs), seconds=120.0)
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


def wait(folder: Path, say: Callable[[str], None], poll: float = _POLL_SECONDS, remind: float = _REMINDER) -> None:
    """Wait until no job of the last run is on the cluster; say how many are, when that changes and every five minutes.

    Raises:
        UtopiaError: the cluster cannot be asked.
    """
    before, said = -1, 0.0
    while jobs := left(folder):
        if len(jobs) != before or time.monotonic() - said > remind:
            states = ", ".join(sorted({job.state.lower() for job in jobs}))
            say(f"waiting for {len(jobs)} on SLURM ({states}): {listed(jobs)}; Ctrl-C ends the wait, not the jobs")
            before, said = len(jobs), time.monotonic()
        time.sleep(poll)


def listed(jobs: Sequence[SlurmJob]) -> str:
    """Jobs for people: `12 (train_summe_et_1), 13 (...) and 3 more`."""
    names = [f"{job.id} ({job.what.removeprefix('rule_').replace('_wildcards_', ' ')})" for job in jobs[:3]]
    return ", ".join(names) + (f" and {len(jobs) - 3} more" if len(jobs) > 3 else "")


def ask(*command: str, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
    """What one of SLURM's programs says; one that does not answer in time, or cannot be started, has failed."""
    seconds = PATIENCE_S if seconds is None else seconds
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} has not answered for {seconds:.0f} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 1, "", f"{command[0]} cannot be started ({error.strerror})")


def _silent(folder: Path, name: str, why: str) -> UtopiaError:
    return UtopiaError(
        f"cannot ask SLURM whether jobs of the last run are still at work ({why})",
        where=folder,
        why="they would write the same files as a second run beside them",
        remedy=f"try again where SLURM answers; or, when you know that no job is named {name}, "
        f"remove {folder / 'audit' / 'run.json'}",
    )
