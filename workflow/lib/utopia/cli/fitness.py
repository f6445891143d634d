"""What `utopia doctor` tries of the machine: each check does the thing itself, in small, and names the remedy."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from utopia.cli import show, slurm
from utopia.cli.surroundings import Note
from utopia.errors import UtopiaError, counted

State = Literal["ok", "warn", "fail"]
_MEGABYTE = 10**6
_GIGABYTE = 10**9
_FEW_NAMES = 20_000
_SKEW = 2.0
"""Seconds that the clock of a file system may differ from this machine's before files look new, or old."""
_ELSEWHERE = "set `results` to a folder on another disk"


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    check: str
    state: State
    found: str
    remedy: str = ""


def surroundings(notes: Iterable[Note]) -> Iterator[Check]:
    """What the shell, the account and the container have brought; a run uses something else instead."""
    noted = [Check(note.subject, "warn", f"{note.found}; used instead: {note.done}", note.remedy) for note in notes]
    yield from noted or [Check("surroundings", "ok", "account, home, caches, encoding and variables are fit for a run")]


def temporary() -> Check:
    """Whether temporary files can be written."""
    try:
        with tempfile.NamedTemporaryFile(prefix="utopia-doctor.") as file:
            file.write(b"x" * 4096)
            file.flush()
            folder = Path(file.name).parent
            free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check("temporary", "fail", f"no temporary file can be written ({error.strerror})", "set TMPDIR")
    space = f"{folder}, {show.bytes_in_words(free)} free"
    if free < 500 * _MEGABYTE:
        return Check("temporary", "warn", space, "free some space there, or set TMPDIR to another folder")
    return Check("temporary", "ok", space)


def drawing() -> Check:
    """Whether a figure can be drawn here."""
    import io

    try:
        from matplotlib.figure import Figure

        import utopia.figures  # noqa: F401  # chooses the backend

        Figure(figsize=(1, 1)).savefig(io.BytesIO(), format="png")
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        return Check("figures", "fail", f"matplotlib cannot draw ({error})", "unset MPLBACKEND; then: make setup")
    return Check("figures", "ok", "matplotlib draws without a screen")


def folder(results: Path) -> Iterator[Check]:
    """Whether results can be written, locked and timed where they go."""
    where = existing(results)
    try:
        with tempfile.NamedTemporaryFile(dir=where, prefix=".utopia-doctor.") as file:
            file.write(b"x")
            file.flush()
            yield Check("results", "ok", f"{results} can be written")
            yield _locks(where, file.fileno())
            yield _clock(where, os.fstat(file.fileno()).st_mtime - time.time())
    except OSError as error:
        remedy = f"make the folder writable (`ls -ld`), or {_ELSEWHERE}"
        yield Check("results", "fail", f"{results} cannot be written ({error.strerror})", remedy)


def _locks(where: Path, descriptor: int) -> Check:
    from utopia.files import try_lock

    if try_lock(descriptor):
        return Check("locks", "ok", "the file system has locks")
    fault = f"the file system of {where} has no locks: two runs of a study at once are told apart by their process only"
    return Check("locks", "warn", fault, f"mount it with locks (NFS: lockd; Lustre: -o flock), or {_ELSEWHERE}")


def _clock(where: Path, ahead: float) -> Check:
    if abs(ahead) <= _SKEW:
        return Check("clock", "ok", "the file system's clock is this machine's")
    fault = f"the clock of the file system of {where} is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
    remedy = f"files look newer or older than they are: set both clocks (NTP), or {_ELSEWHERE}"
    return Check("clock", "fail" if abs(ahead) > 60 else "warn", fault, remedy)


def disk(results: Path, needed: float = 0.0) -> Check:
    """Room where results go: bytes, and names of files.

    Args:
        results: the folder of the study.
        needed: bytes that the study is expected to write.
    """
    from utopia.files import free_names

    where = existing(results)
    free, names = shutil.disk_usage(where).free, free_names(where)
    space = f"{show.bytes_in_words(free)} free where {results} goes"
    if names is not None and names < _FEW_NAMES:
        few = f"room for {names} more files only where {results} goes (`df -i`)"
        return Check("disk", "fail" if names < 2000 else "warn", few, f"remove small files there, or {_ELSEWHERE}")
    if free < _GIGABYTE // 2:
        return Check("disk", "fail", space, f"free some space, or {_ELSEWHERE}")
    if free < max(_GIGABYTE, 1.5 * needed):
        return Check("disk", "warn", f"{space}; the study needs about {show.bytes_in_words(needed)}", _ELSEWHERE)
    return Check("disk", "ok", space)


def existing(place: Path) -> Path:
    """The nearest folder above a place that is there."""
    return next(path for path in (place.absolute(), *place.absolute().parents) if path.is_dir())


def profile(name: str, repository: Path) -> Iterator[Check]:
    """Whether a run with this profile can begin: its file, its executor, and the cluster behind it."""
    from utopia.cli import run

    try:
        words = run.where(name, None, repository)
        executor = run.executor(words, repository)
        slurm.require(executor)
    except UtopiaError as error:  # also where no cluster answers
        yield Check(f"profile {name}", "fail", error.what, error.remedy)
        return
    if executor != "slurm":
        yield Check(f"profile {name}", "ok", f"jobs run by {executor or 'this machine'}")
        return
    yield Check(f"profile {name}", "ok", f"{', '.join(slurm.PROGRAMS)} are here")
    yield from _cluster()


def _cluster() -> Iterator[Check]:
    yield Check("slurm", "ok", f"it answers; {counted(len(slurm.answer().stdout.splitlines()), 'job')} of yours")
    chosen = {name: os.environ[name] for name in ("SBATCH_ACCOUNT", "SBATCH_PARTITION") if os.environ.get(name)}
    words = ", ".join(f"{name}={value}" for name, value in chosen.items()) or "default account and partition"
    tried = slurm.ask("sbatch", "--test-only", "--time=1", "--wrap", "true")
    if tried.returncode:
        fault = f"it would not take a job ({words}): {slurm.last_line(tried.stderr, 'sbatch failed')}"
        yield Check("submission", "fail", fault, "set SBATCH_ACCOUNT and SBATCH_PARTITION to yours (docs/clusters.md)")
    else:
        yield Check("submission", "ok", f"it would take a job ({words})")
    if shutil.which("sacct") is None:
        fault = "there is no sacct: why a job was killed is read in its log alone"
        yield Check("accounting", "warn", fault, "nothing is needed: profiles/slurm/bin answers in its place")
    shared = [str(prefix) for prefix in (Path(sys.prefix), Path.cwd()) if prefix.is_relative_to(tempfile.gettempdir())]
    if shared:
        fault = f"{', '.join(shared)} lies among temporary files, which nodes do not share"
        yield Check("shared folder", "fail", fault, "clone into a folder that all nodes see")
