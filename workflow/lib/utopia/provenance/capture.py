"""Sending all that a job says to its log, at the level of file descriptors, so that C libraries are caught too."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from utopia.errors import UtopiaError


class LogError(UtopiaError):
    """The log of a job cannot be opened."""


class Terminated(BaseException):
    """SIGTERM arrived; like KeyboardInterrupt not an Exception, so that no handler on the way takes it for an error."""


class Capture:
    """Where a job's words go: `log` for everything, `tell` for the terminal that the log hides."""

    def __init__(self, log: IO[str] | None, terminal: int) -> None:
        self.log = log
        self._terminal = terminal

    def write(self, text: str) -> None:
        """Write to the log (standard error where there is none). A full disk must not hide the first error."""
        with contextlib.suppress(OSError, ValueError):
            stream = self.log or sys.stderr
            stream.write(text)
            stream.flush()

    def tell(self, text: str) -> None:
        """Write to the standard error that the process was started with."""
        with contextlib.suppress(OSError):
            os.write(self._terminal, text.encode(errors="replace"))


@contextmanager
def captured(path: Path | None) -> Iterator[Capture]:
    """Redirect stdout, stderr (descriptors 1 and 2 and Python's objects) and logging to a new file at `path`.

    With None nothing is redirected. Everything is put back at the end, whatever happens.

    Raises:
        LogError: the file cannot be opened.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        if path is None:
            yield Capture(None, terminal)
            return
        log = _open(path)
        try:
            with _descriptors(log.fileno()), _python_streams(log), _logging(log):
                yield Capture(log, terminal)
        finally:
            with contextlib.suppress(OSError):  # a full disk: what could not be written is lost, the job's end is not
                log.close()
    finally:
        os.close(terminal)


def _open(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_char_device():  # it may be a link to a file elsewhere, which must not be overwritten
            path.unlink(missing_ok=True)
        return path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)
    except OSError as error:
        raise LogError(
            f"cannot write the log ({error.strerror or error})",
            where=path,
            why="a job without a log cannot say what went wrong",
            remedy="free disk space or make the folder writable (`df -h`, `ls -ld`), then run the same command again",
        ) from error


@contextmanager
def _descriptors(target: int) -> Iterator[None]:
    saved = os.dup(1), os.dup(2)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield
    finally:
        for descriptor, original in zip((1, 2), saved, strict=True):
            os.dup2(original, descriptor)
            os.close(original)


@contextmanager
def _python_streams(log: IO[str]) -> Iterator[None]:
    saved = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = log
    try:
        yield
    finally:
        sys.stdout, sys.stderr = saved


@contextmanager
def _logging(log: IO[str]) -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    handler = logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@contextmanager
def termination_raises() -> Iterator[None]:
    """Turn SIGTERM into `Terminated` within the block, so that a job that a scheduler ends can still write why."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def raise_terminated(_signal: int, _frame: FrameType | None) -> None:
        raise Terminated

    previous: Any = signal.signal(signal.SIGTERM, raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous if previous is not None else signal.SIG_DFL)
