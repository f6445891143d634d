"""How much of its work a job has done, counted where the work is done: rates of the stages are made of it.

Code that works says `count("frames")`, whether anybody counts or not. A job that counts leaves, every few seconds, what
each of its processes has done beside its log, so that a rate can be told while it runs; in the end its record has the
sum. No number of a result depends on it.
"""

from __future__ import annotations

import glob
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from utopia.errors import UtopiaError
from utopia.files import read_json, write_json

WRITE_EVERY = 5.0
"""Seconds from one writing of a process's counts to the next."""
_current: Tally | None = None
"""Of the job that this process works for; None while nobody counts."""


class Tally:
    """What a job has done: by unit, how many.

    Args:
        log: the job's log; counts are written beside it. None: they are kept in this process alone.
    """

    def __init__(self, log: Path | None) -> None:
        self._log, self._process = log, os.getpid()
        self._counts: Counter[str] = Counter()
        self._begun = self._written = time.monotonic()

    def add(self, unit: str, amount: float) -> None:
        """Count; a fork of the job counts for itself."""
        if self._process != os.getpid():
            self._process, self._written = os.getpid(), time.monotonic()
            self._counts.clear()
        self._counts[unit] += amount  # type: ignore[assignment]
        if time.monotonic() - self._written >= WRITE_EVERY:
            self.write()

    def write(self) -> None:
        """Leave this process's counts beside the log; where that cannot be written, nothing is lost but a rate."""
        self._written = time.monotonic()
        if self._log is not None and self._counts:
            with suppress(UtopiaError):
                seconds = round(self._written - self._begun, 3)
                write_json(_place(self._log, self._process), {"counts": dict(self._counts), "seconds": seconds})

    def total(self) -> dict[str, float]:
        """The counts of all processes of the job."""
        counts = self._counts.copy()
        if self._log is not None:
            counts.update(_read(path for path in _files(self._log) if path != _place(self._log, self._process))[0])
        return {unit: round(counts[unit], 3) for unit in sorted(counts)}


@contextmanager
def counting(log: Path | None) -> Iterator[Tally]:
    """Count what is done within the block, by this process and its forks; what lies beside the log goes with its end.

    Args:
        log: see `Tally`.
    """
    global _current
    _remove(log)  # of a job that was killed
    before, _current = _current, Tally(log)
    try:
        yield _current
    finally:
        _current = before
        _remove(log)


def count(unit: str, amount: float = 1) -> None:
    """Note that so much more is done: `frames` (decoded for a network), `sound_seconds`, `replica_epochs`."""
    if _current is not None:
        _current.add(unit, amount)


def flush() -> None:
    """Write what this process has counted: before it ends without the job's end."""
    if _current is not None:
        _current.write()


def running(log: Path) -> tuple[dict[str, float], float]:
    """What a job that runs has done by now, and in how many seconds; nothing and 0 where it has not said so yet."""
    counts, seconds = _read(_files(log))
    return dict(counts), seconds


def _read(paths: Iterable[Path]) -> tuple[Counter[str], float]:
    counts: Counter[str] = Counter()
    longest = 0.0
    for path in paths:
        with suppress(UtopiaError, LookupError, TypeError, AttributeError, ValueError):  # just removed, or damaged
            facts = read_json(path)
            own, seconds = {unit: float(amount) for unit, amount in facts["counts"].items()}, float(facts["seconds"])
            counts.update(own)
            longest = max(longest, seconds)
    return counts, longest


def _place(log: Path, process: int) -> Path:
    return log.with_name(f"{log.name}.tally.{process}.json")


def _files(log: Path) -> list[Path]:
    return sorted(log.parent.glob(f"{glob.escape(log.name)}.tally.*.json"))


def _remove(log: Path | None) -> None:
    with suppress(OSError):
        for path in _files(log) if log is not None else ():
            path.unlink(missing_ok=True)
