"""Errors that people read: what happened, where, why it matters and what to do next."""

from __future__ import annotations

from pathlib import Path

AT_WORK = "at work on "
"""What a log says before the item that a job turns to: a job that a signal ends cannot name it any more."""
CRASHES = ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS")
"""The signals by which a process ends that has gone wrong by itself."""


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
