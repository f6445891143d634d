"""What a shell, a notebook, a container or an account may bring that would break a run, and what is done about it.

Every command adapts its own environment first, so what it starts (Snakemake, its jobs, git) inherits a fit one. Nothing
outside the process is changed, but for folders below `.snakemake`.
"""

from __future__ import annotations

import contextlib
import locale
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GIT = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE")
"""Variables that a git hook sets, and that would make git speak of another repository than this checkout."""


class Note(NamedTuple):
    """One thing of the environment that was not fit."""

    subject: str
    found: str
    done: str
    """What this process and those that it starts use instead."""
    remedy: str


def adapt(checkout: Path) -> list[Note]:
    """Make the environment of this process fit for a run in `checkout`, and say what was changed."""
    return [*_temporary(checkout), *_home(checkout), *_user(), *_encoding(), *_packages(), *_variables()]


def other_checkout(mine: Path) -> Path | None:
    """The checkout that the working directory belongs to, if that is another one than this program's own.

    Commands work in the checkout that holds their program, wherever they are started.
    """
    package = Path("workflow", "lib", "utopia")
    with contextlib.suppress(OSError):  # the folder may be gone
        here = Path.cwd()
        for folder in (here, *here.parents):
            if (folder / package / "cli").is_dir():
                return None if (folder / package).resolve() == (mine / package).resolve() else folder
    return None


def open_streams() -> None:
    """Give this process the standard streams that a daemon, cron or `>&-` has closed.

    Otherwise Python has none, and the next file that is opened takes the place of standard output.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, number)
            os.set_inheritable(number, True)
            if nothing != number:
                os.close(nothing)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 (as Python's)


def _temporary(checkout: Path) -> Iterator[Note]:
    asked = os.environ.get("TMPDIR")
    if asked is None or _is_writable(Path(asked)):
        return
    tempfile.tempdir = None
    try:
        used = tempfile.gettempdir()
    except OSError:  # nowhere on this machine
        used = str(_made(checkout / ".snakemake" / "tmp"))
        tempfile.tempdir = used
    os.environ["TMPDIR"] = used
    yield Note("TMPDIR", f"{asked!r} is no folder that can be written", used, "set TMPDIR to a folder, or unset it")


def _home(checkout: Path) -> Iterator[Note]:
    try:
        home = Path.home()
    except RuntimeError:
        home = Path("~")
    named = home.is_absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    if named and (_is_writable(cache) or (not cache.exists() and _is_writable(cache.parent))):
        return
    fault = f"{cache} cannot be written" if named else "this account has no home folder (HOME is not set)"
    mine = _made(checkout / ".snakemake" / "cache")
    if not named:
        os.environ["HOME"] = str(mine)
    os.environ["XDG_CACHE_HOME"] = os.environ["MPLCONFIGDIR"] = str(mine)
    yield Note("cache", fault, str(mine), "set HOME, or XDG_CACHE_HOME, to a folder of yours")


def _user() -> Iterator[Note]:
    import getpass

    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["USER"] = os.environ["LOGNAME"] = f"uid{os.getuid()}"
        fault = f"the account {os.getuid()} has no name here"
        yield Note("user", fault, os.environ["USER"], "set USER, or add the account to /etc/passwd of the container")


def _encoding() -> Iterator[Note]:
    os.environ.setdefault("PYTHONUTF8", "1")
    if sys.getfilesystemencoding().lower() != "utf-8":
        fault = f"names of files are read as {sys.getfilesystemencoding()} ({locale.getlocale()[0]})"
        yield Note("encoding", fault, "UTF-8 in what it starts", "set LC_ALL=C.UTF-8, or PYTHONUTF8=1")


def _packages() -> Iterator[Note]:
    """Leave out the packages that PYTHONPATH puts before those of the lock; what holds this program stays."""
    given = os.environ.get("PYTHONPATH", "")
    kept = [folder for folder in given.split(os.pathsep) if (Path(folder) / "utopia" / "cli").is_dir()]
    if not given or kept == given.split(os.pathsep):
        return
    os.environ["PYTHONPATH"] = os.pathsep.join(kept)
    if not kept:
        del os.environ["PYTHONPATH"]
    others = {str(Path(folder or ".").absolute()) for folder in given.split(os.pathsep)} - {
        str(Path(folder).absolute()) for folder in kept
    }
    sys.path[:] = [place for place in sys.path if not place or str(Path(place).absolute()) not in others]
    fault = f"PYTHONPATH={given}: packages there would be taken instead of those of the lock file"
    yield Note("PYTHONPATH", fault, "the packages of .venv", "unset PYTHONPATH")


def _variables() -> Iterator[Note]:
    # Each job is a process or two: without kept bytecode each takes twice as long to start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # Long sums of NumPy's linear algebra differ in the last digit with the number of threads: what a command computes
    # again must be what a job on one core has computed.
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if profile := os.environ.pop("SNAKEMAKE_PROFILE", ""):
        fault = f"SNAKEMAKE_PROFILE={profile}: it would send jobs elsewhere than --profile says"
        yield Note("SNAKEMAKE_PROFILE", fault, "--profile alone", f"to use it: utopia run -- --profile {profile}")
    backend = os.environ.get("MPLBACKEND", "agg")
    if backend.lower() != "agg":
        os.environ["MPLBACKEND"] = "agg"
        yield Note("MPLBACKEND", f"MPLBACKEND={backend}: it is for a notebook or a screen", "agg", "unset MPLBACKEND")
    for name in GIT:
        if value := os.environ.pop(name, ""):
            yield Note(name, f"{name}={value}: git would speak of that repository", "this checkout", f"unset {name}")


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _made(folder: Path) -> Path:
    with contextlib.suppress(OSError):  # what needs it will say so
        folder.mkdir(parents=True, exist_ok=True)
    return folder
