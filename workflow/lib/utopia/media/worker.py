"""Decoding in a process of its own, so that a decoder's crash costs one file and not the job.

FFmpeg is written in C: a file that is damaged in the right way ends its process (a segmentation fault), and with it all
that the job was to make. So a job reads media through workers. A worker is a process that decodes one file after
another; it is started once and replaced only after a crash. Samples come through a pipe, which costs one more copy.

A file at which a worker has crashed is tried again in a new one, since what crashed may have been what the file before
it had left behind. After a second crash it is an InputError that says where.

The functions here have the names and the results of those that they call in the worker.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from utopia.errors import CRASHES, InputError, error_of, facts_of
from utopia.media import frames
from utopia.media.audio import NoAudio, blocks, resampled
from utopia.media.container import damaged
from utopia.media.probe import MediaFacts
from utopia.media.probe import probe as _probe

_PIPE_BYTES = 1 << 20
_LIBRARY = str(Path(__file__).parents[2])
SERVE = "import sys; sys.path.insert(0, sys.argv[1]); from utopia.media.worker import serve; serve()"
"""Starts a worker with this very package: a copy of the checkout must not decode with the installed one."""


def sample_frames(path: str | Path, *, fps: float | None = None, every: int | None = None) -> Iterator[frames.Sample]:
    """Sample a video's frames as `frames.sample_frames` does, in a worker.

    Raises:
        InputError: as there; or the decoder crashes at this video.
    """
    pixels = np.empty(0)
    for head, values in _answers({"do": "frames", "path": str(path), "fps": fps, "every": every}):
        # A picture that is on screen at several sample times is sent, and seen by the networks, once.
        pixels = pixels if values is None else values
        yield head["time_s"], pixels


def stream_audio(path: str | Path, rate: int = 16_000, channels: int = 1) -> Iterator[np.ndarray]:
    """The sound of a media file as `audio.stream_audio` gives it, decoded in a worker and resampled here.

    Raises:
        NoAudio, InputError: as there; or the decoder crashes at this file.
    """
    answers = _answers({"do": "sound", "path": str(path), "channels": channels})
    yield from resampled(((head["rate"], values) for head, values in answers if values is not None), rate)


def probe(path: str | Path) -> MediaFacts:
    """Read the facts of a media file as `probe.probe` does, in a worker.

    Raises:
        InputError: as there; or the decoder crashes at this file.
    """
    ((head, _),) = _answers({"do": "probe", "path": str(path)})
    return MediaFacts(**head["facts"])


def _answers(request: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], np.ndarray | None]]:
    """What a worker answers, in order; of a file at which one has crashed, from another one."""
    done, reached = 0, 0.0
    request = {**request, "folder": str(Path.cwd())}  # an idle worker may have been started in another one
    for retry in (False, True):
        worker = _taken()
        try:
            for count, (head, values) in enumerate(worker.ask(request)):
                if count >= done:
                    done, reached = count + 1, head.get("time_s", reached)
                    yield head, values
            return
        except _CrashError as crash:
            if retry:
                raise damaged(request["path"], f"the decoder crashes ({crash}) after", reached) from None
        finally:
            worker.leave()


class _CrashError(Exception):
    """A worker has ended by itself; the message names the signal."""


class _DecodingProcess:
    """A process that decodes, seen from the job."""

    def __init__(self) -> None:
        self._busy = False
        command = [sys.executable, "-c", SERVE, _LIBRARY]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._requests = cast(io.BufferedWriter, self.process.stdin)
        self._answers = cast(io.BufferedReader, self.process.stdout)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self.process.poll() is None

    def ask(self, request: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], np.ndarray | None]]:
        """Its answers, one by one.

        Raises:
            InputError: what the function that was called has raised.
            _CrashError: the process has crashed.
            MemoryError: the process was killed, most often because memory ran out.
        """
        self._busy = True
        try:
            self._requests.write(json.dumps(request).encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError:
            raise self._ended(request) from None
        while True:
            line = self._answers.readline()
            if not line.endswith(b"\n"):
                raise self._ended(request)
            head = json.loads(line)
            if "end" in head:
                self._busy = False
                return
            if "error" in head:
                self._busy = False
                raise error_of(head["error"], NoAudio)
            values = None
            if "shape" in head:
                values = np.empty(head["shape"], head["type"])
                if values.size and self._answers.readinto(values.data.cast("B")) < values.nbytes:
                    raise self._ended(request)
            yield head, values

    def leave(self) -> None:
        """Let others use it; end it where nobody has wanted the rest of its answers."""
        if self._busy:
            self.process.kill()
            self.close()
        elif self.alive:
            with _lock:
                idle_workers.append(self)

    def close(self) -> None:
        """Let it end, and wait for that."""
        self._busy = False
        for pipe in (self._requests, self._answers):
            with suppress(BrokenPipeError):
                pipe.close()
        self.process.wait()

    def _ended(self, request: Mapping[str, Any]) -> Exception:
        status = self.process.wait()
        self.close()
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        if name in CRASHES:
            return _CrashError(name)
        what = f"the process that decodes {request['path']} has ended ({name})"
        return MemoryError(what) if -status == signal.SIGKILL else InterruptedError(what)


idle_workers: list[_DecodingProcess] = []
_lock = threading.Lock()


def _taken() -> _DecodingProcess:
    """A worker that nobody uses, else a new one."""
    while True:
        with _lock:
            if not idle_workers:
                break
            worker = idle_workers.pop()
        if worker.alive:
            return worker
        worker.close()
    return _DecodingProcess()


@atexit.register
def end_idle() -> None:
    """End the workers that nobody uses."""
    with _lock:
        workers, idle_workers[:] = list(idle_workers), []
    for worker in workers:
        worker.close()


# -- in the worker


def serve() -> None:
    """Answer requests, a line of JSON each on standard input, until there are no more.

    An answer is a line of JSON and, where it has a `shape`, that array's bytes; then comes `end`, or an `error`.
    """
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the job, which ends this
    with os.fdopen(os.dup(1), "wb", buffering=0) as output:
        os.dup2(2, 1)  # a library that prints must not print into an answer
        _widen(output)
        try:
            for line in sys.stdin.buffer:
                _answer(json.loads(line), output)
        except BrokenPipeError:  # the job is over
            os._exit(0)


def _widen(pipe: IO[bytes]) -> None:
    """Give the pipe room for a sample, where the system lets us."""
    import fcntl

    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


def _answer(request: Mapping[str, Any], output: IO[bytes]) -> None:
    try:
        os.chdir(request["folder"])
        for head, values in _TASKS[request["do"]](request):
            _send(output, head, values)
        _send(output, {"end": True})
    except BrokenPipeError:
        raise
    except InputError as error:
        _send(output, {"error": facts_of(error)})
    except Exception as error:  # bindings to C raise whatever a file leads them to
        failure = InputError(
            f"the decoder fails ({type(error).__name__}: {error})",
            where=request["path"],
            remedy="tell what file it is, with the log",
        )
        failure.__cause__ = error
        _send(output, {"error": facts_of(failure)})


def _send(output: IO[bytes], head: Mapping[str, Any], values: np.ndarray | None = None) -> None:
    if values is not None:
        values = np.ascontiguousarray(values)
        head = {**head, "shape": values.shape, "type": values.dtype.str}
    _write(output, json.dumps(head).encode() + b"\n")
    if values is not None and values.size:
        _write(output, values.data.cast("B"))


def _write(output: IO[bytes], data: Any) -> None:
    view = memoryview(data)
    while len(view):
        view = view[output.write(view) :]


def _frames(request: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], np.ndarray | None]]:
    last: np.ndarray | None = None
    for time_s, pixels in frames.sample_frames(request["path"], fps=request["fps"], every=request["every"]):
        yield {"time_s": time_s}, None if pixels is last else pixels
        last = pixels


def _sound(request: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], np.ndarray | None]]:
    samples = 0
    for rate, block in blocks(request["path"], request["channels"]):
        samples += block.shape[-1]
        yield {"rate": rate, "time_s": samples / rate}, block


def _facts(request: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], np.ndarray | None]]:
    yield {"facts": _probe(request["path"]).as_dict()}, None


_TASKS: dict[str, Callable[[Mapping[str, Any]], Iterator[tuple[dict[str, Any], np.ndarray | None]]]] = {
    "frames": _frames,
    "sound": _sound,
    "probe": _facts,
}
