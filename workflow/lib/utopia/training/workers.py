"""Several processes for one training job on the CPU: each takes the next replica that nobody has taken.

The processes are forks of the job, made when its data are loaded: features and labels are in memory once. A replica
that is trained alone is a function of its identity, so its bytes are the same in any process, and it comes back as
what it is stored as: its checkpoint. Messages are JSON; nothing is unpickled.

A worker ends with the job: it is killed when the job fails, is interrupted or has all it needs, and on Linux by the
kernel where the job itself is killed. What it had half trained is stored every minute or two, so a later job goes on
from there.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, NoReturn

from utopia import tally
from utopia.errors import CRASHES, ComputeError, error_of, facts_of

_PR_SET_PDEATHSIG = 1


class Ended(NamedTuple):
    """A piece of work that a worker has ended."""

    number: int
    seconds: float
    error: ComputeError | None
    """None: it is done."""


Work = Callable[[Iterator[int]], Generator[Ended, None, None]]
"""Does the pieces that it is given, one after another."""


class _TrainingProcess:
    """A process that works, seen from the job."""

    def __init__(self, work: Work, others: list[_TrainingProcess]) -> None:
        self.connection, own = multiprocessing.Pipe()
        self.doing: int | None = None
        self.status: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for each in [*others, self]:  # else a worker would not see that the job is gone
                    each.connection.close()
                _serve(own, work, parent)
            finally:
                os._exit(1)
        own.close()

    def give(self, number: int | None) -> None:
        """Name the next piece; None: there is none."""
        self.doing = number
        with suppress(BrokenPipeError):  # it has ended; reading tells why
            self.connection.send_bytes(json.dumps(number).encode())

    def end(self) -> None:
        """Kill it, if it lives, and let the system forget it."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        self.connection.close()

    def wait(self) -> int:
        """Its status once it has ended: negative, the number of the signal that ended it."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status


def spread(pieces: int, workers: int, work: Work, name: Callable[[int], str]) -> Generator[Ended, None, None]:
    """Do pieces of work in several processes; each as it ends.

    Args:
        pieces: how many there are; they are numbered from 0 and begun in this order.
        workers: how many processes, 1 or more.
        work: what a process does with the numbers that it is given; it says what it has done by storing it.
        name: what people call a piece.

    Raises:
        UtopiaError: what `work` raised.
        MemoryError: a worker was killed, most often because memory ran out; names the piece that it had in work.
        ComputeError: a worker has crashed; names the piece too.
        Exception: what else `work` raised, by its own name where Python has it, with its traceback in a note.
    """
    numbers = iter(range(pieces))
    running: list[_TrainingProcess] = []
    try:
        for _ in range(min(workers, pieces)):
            running.append(_TrainingProcess(work, running))
            running[-1].give(next(numbers, None))
        by_connection = {worker.connection: worker for worker in running}
        while by_connection:
            for worker in [by_connection[each] for each in wait(list(by_connection)) if isinstance(each, Connection)]:
                try:
                    answer = json.loads(worker.connection.recv_bytes())
                except (EOFError, ConnectionResetError):
                    if worker.doing is not None or worker.wait() != 0:
                        raise _death(worker, name) from None
                    del by_connection[worker.connection]
                    continue
                if "raised" in answer:
                    raise _raised(answer["raised"])
                failed = answer["failed"]
                yield Ended(answer["number"], answer["seconds"], failed and _raised(failed))
                worker.give(next(numbers, None))
    finally:
        for worker in running:
            worker.end()


def _serve(connection: Connection, work: Work, parent: int) -> NoReturn:
    """What a worker does from its first moment to its last; it never returns into the job's code."""
    status = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the job ends its workers
        _die_with(parent)
        try:
            for done in work(_numbers(connection)):
                failed = None if done.error is None else facts_of(done.error)
                _send(connection, {"number": done.number, "seconds": done.seconds, "failed": failed})
            status = 0
        except Exception as error:
            _send(connection, {"raised": facts_of(error)})
    finally:
        tally.flush()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _numbers(connection: Connection) -> Iterator[int]:
    """The pieces that the job gives, until it has no more or is gone."""
    with suppress(EOFError, ConnectionResetError):
        while (number := json.loads(connection.recv_bytes())) is not None:
            yield number


def _send(connection: Connection, answer: dict[str, Any]) -> None:
    connection.send_bytes(json.dumps(answer).encode())


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when the job is killed; elsewhere it ends with the piece in work."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _raised(facts: dict[str, str]) -> Any:
    """The error that a worker has told, with its traceback in a note."""
    error = error_of(facts)
    error.add_note(f"in a worker process:\n{facts['trace']}")
    return error


def _death(worker: _TrainingProcess, name: Callable[[int], str]) -> Exception:
    status = worker.wait()
    where = name(worker.doing) if worker.doing is not None else "the end of its work"
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    if status < 0 and how not in CRASHES:
        return MemoryError(f"a worker process was killed ({how}) at {where}; what is stored stays, a next run goes on")
    return ComputeError(
        f"a worker process has crashed ({how})",
        where=where,
        why="its replica is not trained; those that are stored stay",
        remedy="run again: it goes on from there; with `engine: {workers: 1}` the job's log ends where it crashes",
    )
