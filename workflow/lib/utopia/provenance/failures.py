"""Failed jobs: what each says about its end, and which of them fail for the same reason."""

from __future__ import annotations

import errno
import json
import re
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utopia.errors import AT_WORK, CRASHES, UtopiaError

SCHEMA = 1
SUFFIX = ".failed.json"
SHOWN_BY_LOGGER = "UTOPIA_LOGGER"
"""Set by the logger plugin, which shows failures itself: a job then leaves the terminal alone."""
HEADER_END = f"{'-' * 100}\n"
"""What a job's log has between its first lines and what the job says."""
MORE_MEMORY = "give it more memory or run fewer jobs at once (`--cores`)"
KILLED = "killed from outside (SIGKILL), most often because memory ran out"
IF_IT_CRASHES = "run the same command again; if it crashes at the same item, take that file away and report it"
_TAIL_BYTES = 16_384


@dataclass(frozen=True)
class Failure:
    """How a job ended that did not succeed."""

    rule: str
    wildcards: dict[str, str] = field(default_factory=dict)
    status: str = "failed"
    """`failed` or `interrupted`."""
    error: str = ""
    """Class of the exception; empty where the job could not say."""
    expected: bool = False
    """Whether the program knows this error: its message then says all."""
    what: str = ""
    where: str = ""
    why: str = ""
    remedy: str = ""
    message: str = ""
    log: str | None = None
    outputs: tuple[str, ...] = ()
    command: str = ""
    ended: str = ""
    attempt: int = 1
    """Which try of the same run it was."""
    traceback: str = ""

    @property
    def name(self) -> str:
        """The job as people name it: `train_run (run=summe.et.cwl)`."""
        return job_name(self.rule, self.wildcards)


@dataclass(frozen=True)
class Cause:
    """Failures for one reason."""

    headline: str
    failures: tuple[Failure, ...]

    @property
    def first(self) -> Failure:
        """The failure that is shown for all."""
        return self.failures[0]


def job_name(rule: str, wildcards: Mapping[str, str]) -> str:
    """A job as people name it: `train_run (run=summe.et.cwl)`."""
    values = ", ".join(f"{name}={value}" for name, value in wildcards.items())
    return f"{rule} ({values})" if values else rule


def read(path: str | Path) -> Failure:
    """Read a `.failed.json`.

    Raises:
        UtopiaError: the file is missing or damaged.
    """
    try:
        facts: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        known = {name: facts[name] for name in Failure.__dataclass_fields__ if name in facts}
        known["outputs"] = tuple(known.get("outputs", ()))
        return Failure(**known)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UtopiaError(f"not a readable record of a failure ({error})", where=path) from error


def hopeless(path: str | Path, attempt: int) -> Failure | None:
    """The failure of the attempt before this one, if another cannot end otherwise: its job failed by itself.

    Executors retry every failure. Only what ran out of memory, was killed or was lost has a chance; a job that was
    killed has left no failure, or an interruption.

    Args:
        path: where the job leaves its failure.
        attempt: the number of this attempt, from 1.
    """
    if attempt < 2 or not Path(path).is_file():
        return None
    former = read(path)
    by_itself = former.status == "failed" and former.remedy != MORE_MEMORY
    return former if by_itself and former.attempt == attempt - 1 else None


def below(folder: str | Path) -> list[Failure]:
    """All failures below a folder that no later success has removed, oldest first; a damaged file is shown as such."""
    failures = []
    for path in sorted(Path(folder).rglob(f"*{SUFFIX}")):
        try:
            failures.append(read(path))
        except UtopiaError as error:
            failures.append(Failure(rule=path.parent.name, what=error.what, where=error.where, message=str(error)))
    return sorted(failures, key=lambda failure: failure.ended)


def silent(
    rule: str, wildcards: Mapping[str, str], log: str | None, outputs: Iterable[str] = (), said: str = ""
) -> Failure:
    """The failure of a job that left no `.failed.json`: it was killed, failed before it began, or is not our script.

    Args:
        said: what Snakemake said about it.
    """
    lines = tail(log, 1)
    status = re.search(r"returned non-zero exit status (-?\d+)", said)
    what, remedy = "ended without a message", ""
    if ended := signalled(said):
        what, remedy = ended
        what += at_work(log)
    elif lines:
        what = lines[-1]
    elif status:
        what = f"exit status {status[1]}, before it wrote to a log: its own message is above"
    elif said.strip():
        said_lines = [line.strip() for line in said.splitlines() if line.strip()]
        what = " ".join(said_lines[1:] or said_lines)
    return Failure(
        rule=rule,
        wildcards=dict(wildcards),
        what=what,
        message=what,
        remedy=remedy,
        log=log,
        outputs=tuple(outputs),
    )


def signalled(said: str) -> tuple[str, str] | None:
    """What a job was ended by that a signal has ended, and what to do; None if none has.

    Args:
        said: what Snakemake said about it: a signal's name, or a status, which a shell makes of a signal by adding 128.
    """
    match = re.search(r"died with <Signals\.(SIG[A-Z0-9]+)|returned non-zero exit status (-?\d+)", said)
    if match is None:
        return None
    name = match[1]
    if name is None:
        number = -int(match[2]) if match[2].startswith("-") else int(match[2]) - 128
        name = next((known.name for known in signal.Signals if known == number), None)
    if name is None:
        return None
    if name == "SIGKILL":
        return KILLED, MORE_MEMORY
    if name in CRASHES:
        return f"crashed ({name}): a fault of a library, or of the hardware", IF_IT_CRASHES
    return f"ended from outside ({name})", "run the same command again"


def at_work(log: str | Path | None) -> str:
    """The item that a job's log names last, as an addition to what ended the job; empty if it names none."""
    named = [line.split(AT_WORK, 1)[1] for line in tail(log, _TAIL_BYTES) if AT_WORK in line]
    return f", while at work on {named[-1]}" if named else ""


def group(failures: Iterable[Failure]) -> list[Cause]:
    """Put failures together that differ only in names and numbers; most frequent first, interrupted ones last."""
    groups: dict[tuple[str, ...], list[Failure]] = {}
    for failure in failures:
        groups.setdefault(cause_of(failure), []).append(failure)
    causes = [Cause(_headline(members), tuple(members)) for members in groups.values()]
    return sorted(causes, key=lambda cause: (cause.first.status == "interrupted", -len(cause.failures)))


def cause_of(failure: Failure) -> tuple[str, ...]:
    """What failures with the same cause have in common."""
    what = re.sub(r"\S*/\S*", "/", failure.what)
    for value in sorted(failure.wildcards.values(), key=len, reverse=True):
        if any(character.isalpha() for character in value):
            what = what.replace(value, "*")
    return failure.status, failure.error, re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "0", what)


def _headline(members: list[Failure]) -> str:
    first = members[0]
    text = first.what.strip().splitlines()[0] if first.what.strip() else "no message"
    places = {failure.where for failure in members}
    if len(places) == 1 and first.where:
        text = f"{first.where}: {text}"
    return f"{first.error}: {text}" if first.error and not first.expected and first.status == "failed" else text


def tail(log: str | Path | None, lines: int) -> list[str]:
    """The last lines of a log that are not empty, below its header; none where there is no log."""
    if log is None:
        return []
    try:
        with Path(log).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            text = file.read().decode("utf-8", errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.split(HEADER_END)[-1].splitlines() if line.strip()][-lines:]


def remedy_for(error: BaseException) -> str:
    """What to do about an error: its own remedy, or ours for the few that every machine knows."""
    if isinstance(error, UtopiaError):
        return error.remedy
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free disk space (`df -h .`), then run the same command again"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return MORE_MEMORY
    return ""
