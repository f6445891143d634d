"""Hashing many files at once, at the speed of the disk or of all cores, whichever is less."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

_BLOCK = 1 << 18
"""Bytes read at once: they stay in the second-level cache until they are hashed."""
_MOST_THREADS = 16


class Found(NamedTuple):
    """What a file is now."""

    sha256: str | None
    """None: it is not there, or cannot be read."""
    bytes: int
    problem: str = ""


def hash_all(paths: Iterable[Path], threads: int | None = None) -> Mapping[Path, Found]:
    """The SHA-256 of every file, each read once; hashing lets other threads run, so all cores work.

    Large files begin first, so that none is left over for a single thread at the end.
    """
    sizes = {path: _size(path) for path in dict.fromkeys(paths)}
    order = sorted(sizes, key=lambda path: -sizes[path])
    with ThreadPoolExecutor(threads or min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        return dict(zip(order, pool.map(_hashed, order), strict=True))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _hashed(path: Path) -> Found:
    digest, count = hashlib.sha256(), 0
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    try:
        with path.open("rb", buffering=0) as file:
            while size := file.readinto(buffer):
                digest.update(view[:size])
                count += size
    except OSError as error:
        return Found(None, 0, error.strerror or str(error))
    return Found(digest.hexdigest(), count)
