"""Errors that people read: what happened, where, why it matters and what to do next."""

from __future__ import annotations

import builtins
import traceback
from collections.abc import Mapping
from pathlib import Path

AT_WORK = "at work on "
"""What a log says before the item that a job turns to: a job that a signal ends cannot name it any more."""
CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS")
"""The signals by which a process ends that has gone wrong by itself."""


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters; a longer one ends with three dots."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def counted(number: int, thing: str, things: str = "") -> str:
    """How many of something, as people say it: `1 repeat`, `2 repeats`, and with a verb `1 job is`, `2 jobs are`."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


class UtopiaError(Exception):
    """An error whose message is meant for the user, printed without a traceback (the log keeps it).

    Args:
        what: what happened, one sentence.
        where: the file (and line) or the item concerned.
        why: why it matters, where that is not obvious.
        remedy: what to do next.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str | Path | None = None, why: str = "", remedy: str = "") -> None:
        self.what, self.where, self.why, self.remedy = what, str(where) if where else "", why, remedy
        super().__init__(str(self))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.what, self.where, self.why, self.remedy)

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.why:
            lines.append(f"  why it matters: {self.why}")
        if self.remedy:
            lines.append(f"  what to do:     {self.remedy}")
        return "\n".join(lines)


def _rebuild(kind: type[UtopiaError], what: str, where: str, why: str, remedy: str) -> UtopiaError:
    return kind(what, where=where or None, why=why, remedy=remedy)


class ConfigError(UtopiaError):
    """The configuration is not valid; the message lists every fault at once."""

    exit_code = 2


class InputError(UtopiaError):
    """A file that the user gave is missing, damaged or not what it should be."""


class ChecksumError(InputError):
    """A file is not the one that its card or its record names."""


class ComputeError(UtopiaError):
    """A computation met values for which its result is not defined."""


# -- from one process to another, as JSON: nothing is unpickled

_CAUSES = (OSError, MemoryError)
"""Causes that are in the machine and not in a file; they are told too."""


def facts_of(error: BaseException) -> dict[str, str]:
    """An error in plain values, for `error_of` in another process; `trace` is its traceback."""
    cause = next((kind.__name__ for kind in _CAUSES if isinstance(error.__cause__, kind)), "")
    trace = "".join(traceback.format_exception(error)).rstrip()
    facts = {"kind": type(error).__name__, "cause": cause, "trace": trace}
    if isinstance(error, UtopiaError):
        return facts | {"what": error.what, "where": error.where, "why": error.why, "remedy": error.remedy}
    return facts | {"what": str(error)}


def error_of(facts: Mapping[str, str], *kinds: type[UtopiaError]) -> Exception:
    """The error that another process has told, of the same kind where that can be made of its message.

    Args:
        facts: of the error.
        kinds: that may be meant besides those of this module and of Python.
    """
    name = facts["kind"]
    kind = {kind.__name__: kind for kind in kinds}.get(name) or globals().get(name) or getattr(builtins, name, None)
    error: Exception
    if isinstance(kind, type) and issubclass(kind, UtopiaError):
        error = kind(facts["what"], where=facts["where"] or None, why=facts["why"], remedy=facts["remedy"])
    elif isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, UnicodeError):
        error = kind(facts["what"])
    else:
        error = RuntimeError(f"{name}: {facts['what']}")
    error.__cause__ = next((kind() for kind in _CAUSES if kind.__name__ == facts["cause"]), None)
    return error
