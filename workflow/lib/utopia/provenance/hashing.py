"""Hashing many files at once, at the speed of the disk or of all cores, whichever is less."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

_BLOCK = 1 << 18
"""Bytes read at once: they stay in the second-level cache until they are hashed."""
_MOST_THREADS = 16

PathOrText = TypeVar("PathOrText", str, Path)


class FileState(NamedTuple):
    """What a file is now."""

    sha256: str | None
    """None: it is not there, or cannot be read."""
    bytes: int
    problem: str = ""


def hash_all(
    paths: Iterable[PathOrText], threads: int | None = None, sizes: Mapping[PathOrText, int] | None = None
) -> Mapping[PathOrText, FileState]:
    """The SHA-256 of every file, each read once; hashing lets other threads run, so all cores work.

    Large files begin first, so that none is left over for a single thread at the end.

    Args:
        paths: the files.
        threads: how many threads; by default as many as there are cores, at most 16.
        sizes: their sizes in bytes where they are known, which need not be right; by default each file is asked.
    """
    known = {path: _size(path) for path in dict.fromkeys(paths)} if sizes is None else sizes
    waiting = iter(sorted(known, key=lambda path: -known[path]))
    states: dict[PathOrText, FileState] = {}
    count = max(1, min(threads or min(_MOST_THREADS, os.cpu_count() or 1), len(known)))
    # Each thread takes the next file when it is free: an order of work for every small file costs more than its hash.
    with ThreadPoolExecutor(count) as pool:
        for worker in [pool.submit(_hash_next, waiting, states) for _ in range(count)]:
            worker.result()
    return states


def _size(path: str | Path) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 (a text or a path)
    except OSError:
        return -1


def _hash_next(waiting: Iterator[PathOrText], states: dict[PathOrText, FileState]) -> None:
    """Hash files until none is left; a list's iterator gives each to one thread only."""
    view = memoryview(bytearray(_BLOCK))
    for path in waiting:
        states[path] = _hashed(path, view)


def _hashed(path: str | Path, view: memoryview) -> FileState:
    digest, count = hashlib.sha256(), 0
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            while size := os.readv(file, [view]):
                digest.update(view[:size])
                count += size
        finally:
            os.close(file)
    except OSError as error:
        return FileState(None, 0, error.strerror or str(error))
    return FileState(digest.hexdigest(), count)
