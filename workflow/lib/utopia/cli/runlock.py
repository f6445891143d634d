"""One run of a study at a time: a lock that the system drops when the run ends, however it ends.

Snakemake's own lock stays behind when its process is killed, and cannot tell a dead run from a live one. This one can:
it is an flock on `<study>/.run.lock`, held by the Snakemake process itself; the file's text says who holds it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from utopia.errors import UtopiaError
from utopia.files import try_lock, write_json

NAME = ".run.lock"
ASKED = Path("audit") / "asked.json"
"""What the last run that had something to do was asked for, whoever started Snakemake."""
VARIABLE = "UTOPIA_RUN_ID"
"""Set in the environment of a run, so that the jobs of a killed one can be found."""
PART = ("tables", "figures", "only_datasets")
"""Settings that choose a part of a study."""
_PATIENCE = 5.0
_SIGN_OF_LIFE = 600.0
"""Seconds after which a run on another machine that writes nothing is taken for dead, where there are no locks."""


@dataclass(frozen=True)
class Owner:
    """Who holds, or held, a lock."""

    run: str
    pid: int
    host: str
    started: str
    data: str | None = None
    arguments: list[str] = field(default_factory=list)
    """Snakemake's options, those for the study, its data and its part left out."""
    part: dict[str, list[str]] = field(default_factory=dict)
    """The part of the study that was asked for, by the settings of `PART`."""

    @classmethod
    def me(
        cls, data: str | None, arguments: Sequence[str] = (), part: Mapping[str, Sequence[str]] | None = None
    ) -> Owner:
        """This process, for a new run."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return cls(
            uuid.uuid4().hex,
            os.getpid(),
            socket.gethostname(),
            now,
            data,
            list(arguments),
            {name: list(names) for name, names in (part or {}).items()},
        )

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.started}"


def owner(folder: Path) -> Owner | None:
    """Who holds the lock of a study, or held it last; None if that is not known."""
    try:
        holder = Owner(**json.loads((folder / NAME).read_text(encoding="utf-8")))
        return replace(holder, part={name: list(holder.part[name]) for name in PART if name in holder.part})
    except (OSError, ValueError, TypeError):
        return None


@dataclass(frozen=True)
class Asked:
    """What a run was asked for: what lies over config.yaml and the study's own settings."""

    config: dict[str, Any] = field(default_factory=dict)
    """The values of `--config`, without the name of the study."""
    files: list[str] = field(default_factory=list)
    """The configuration files: below the working directory, or absolute."""

    @classmethod
    def of(cls, config: Mapping[str, Any], files: Sequence[str | Path] | None) -> Asked:
        """What was asked for, of all values of `--config`; a file of the checkout is named as a copy has it too."""
        here = Path.cwd()
        paths = [Path(file) for file in files or ()]
        named = [str(path.relative_to(here) if path.is_relative_to(here) else path) for path in paths]
        return cls({name: value for name, value in config.items() if name != "study"}, named)


def remember(folder: Path, asked: Asked) -> None:
    """Write down what a run is asked for: called by the Snakefile when jobs are about to begin."""
    write_json(folder / ASKED, asdict(asked))


def asked(folder: Path) -> Asked:
    """What the last run of a study was asked for: of one that never began its jobs, by the lock; else nothing."""
    try:
        known = json.loads((folder / ASKED).read_text(encoding="utf-8"))
        return Asked.of(known["config"], known["files"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        last = owner(folder)
    if last is None:
        return Asked()
    words, files = last.arguments, []
    if "--configfile" in words:
        files = list(takewhile(lambda word: not word.startswith("-"), words[words.index("--configfile") + 1 :]))
    return Asked.of({**({"data": last.data} if last.data else {}), **last.part}, files)


def is_held(folder: Path) -> bool:
    """Whether a run of the study is going on."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        taken = try_lock(descriptor)
    finally:
        os.close(descriptor)
    return _is_alive(folder) if taken is None else not taken


def _is_alive(folder: Path) -> bool:
    """Whether the run that wrote the lock file lives: what is asked where the file system has no locks."""
    last = owner(folder)
    if last is None:
        return False
    if last.host != socket.gethostname():
        # Of a process elsewhere only the signs of life can be seen that it writes.
        with contextlib.suppress(OSError):
            return time.time() - (folder / "audit" / "run.json").stat().st_mtime < _SIGN_OF_LIFE
        return False
    import psutil

    try:
        return last.pid != os.getpid() and psutil.Process(last.pid).environ().get(VARIABLE) == last.run
    except psutil.AccessDenied:
        return True  # another user's process has the number; theirs may be the run
    except psutil.Error:
        return False


def take(
    folder: Path,
    data: str | None,
    arguments: Sequence[str] = (),
    part: Mapping[str, Sequence[str]] | None = None,
) -> Owner | None:
    """Take the lock of a study for as long as this process lives, `exec` included, and say who held it before.

    Raises:
        UtopiaError: a run of the study is going on, the folder cannot be written, or the lock is a link.
    """
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _is_a_link(path) from error
        raise UtopiaError(
            f"cannot write ({error.strerror})",
            where=folder,
            why="results go there",
            remedy="make the folder writable (`ls -ld`), or set `results` to another one",
        ) from error
    taken = try_lock(descriptor)
    if taken is False or (taken is None and _is_alive(folder)):
        os.close(descriptor)
        holder = owner(folder)
        raise UtopiaError(
            f"a run of this study is going on ({holder or 'it does not say whose'})",
            where=path,
            why="two runs at once would write the same files",
            remedy=f"see how far it is (utopia status --study {folder.name}), wait for it, or end it with Ctrl-C there",
        )
    if os.fstat(descriptor).st_nlink > 1:
        os.close(descriptor)
        raise _is_a_link(path)
    if taken is None:
        print(f"{folder}: this file system has no locks; start no second run of the study elsewhere", file=sys.stderr)
    former, mine = owner(folder), Owner.me(data, arguments, part)
    text = (json.dumps(asdict(mine)) + "\n").encode()
    os.pwrite(descriptor, text, 0)
    os.ftruncate(descriptor, len(text))
    os.set_inheritable(descriptor, True)
    os.environ[VARIABLE] = mine.run
    return former


def _is_a_link(path: Path) -> UtopiaError:
    return UtopiaError(
        "the lock is a link to another file",
        where=path,
        why="who takes the lock writes into it, and would overwrite that file",
        remedy="see where it leads (`ls -li`), and remove it",
    )


def end_orphans(former: Owner) -> list[int]:
    """End the jobs of a killed run that are still at work on this machine, and give their process ids.

    Their results would be thrown away, because Snakemake repeats jobs whose end it has not seen.
    """
    import psutil

    orphans = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(VARIABLE) == former.run:
                orphans.append(process)
        except psutil.Error:
            continue  # it has ended, or it is another user's
    for process in orphans:
        _signal(process, "terminate")
    _, alive = psutil.wait_procs(orphans, timeout=_PATIENCE)
    for process in alive:
        _signal(process, "kill")
    psutil.wait_procs(alive, timeout=_PATIENCE)
    return [process.pid for process in orphans]


def _signal(process, how: str) -> None:  # type: ignore[no-untyped-def]
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):  # it has ended by itself
        getattr(process, how)()


def others_at_work(repository: Path, folder: Path) -> bool:
    """Whether Snakemake may be at work in the repository besides the run of this study, on this machine or another."""
    if any(is_held(path.parent) for path in folder.parent.glob(f"*/{NAME}") if path.parent != folder):
        return True
    import psutil

    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if process.pid == os.getpid() or not any(Path(word).name == "snakemake" for word in words[:3]):
                continue
            if not {"-n", "--dry-run", "--dryrun"} & set(words) and Path(process.cwd()) == repository:
                return True
        except psutil.Error:
            continue  # it has ended, or it is another user's
    return False
