"""`fetched.json` of a data folder: what was fetched, from where, with which sha256; and locks between processes.

A file whose sha256 nobody has published is trusted on first use: its digest is written here, and a later fetch of it
must give the same bytes. A file's digest is believed without reading it again as long as its size and time of change
are those written here.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from utopia.errors import InputError
from utopia.files import read_json, sha256, try_lock, write_json

NAME = "fetched.json"
Pin = Literal["card", "first use"]


@dataclass(frozen=True)
class Entry:
    """What is known of a fetched file."""

    url: str
    """Where its bytes came from; the name of a folder, or `in place` for a file that was there already."""
    sha256: str
    bytes: int
    time: str
    """When it was recorded, UTC."""
    mtime_ns: int
    pinned: Pin
    """Whether the digest is a published one, or that of the first fetch."""
    etag: str = ""
    unpacked: dict[str, int] = field(default_factory=dict)
    """Of an archive: the files that it gave, below the data set's folder, with their sizes."""


class FetchRecord:
    """The record of one data folder. Several processes may write it: each addition is made under a lock.

    Args:
        folder: the data folder; `fetched.json` lies in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.path = self.folder / NAME

    def name(self, path: Path) -> str:
        """The name of a file in the record: its path below the data folder."""
        return path.relative_to(self.folder).as_posix()

    def entry(self, path: Path) -> Entry | None:
        """What is written of a file, whether or not it still is that file.

        Raises:
            InputError: `fetched.json` is damaged.
        """
        stored = self._read().get(self.name(path))
        return None if stored is None else self._entry(stored)

    def current(self, path: Path) -> Entry | None:
        """The entry of a file, if the file has the size and the time of change that are written there."""
        entry = self.entry(path)
        try:
            facts = path.stat()
        except OSError:
            return None
        return entry if entry and (facts.st_size, facts.st_mtime_ns) == (entry.bytes, entry.mtime_ns) else None

    def digest(self, path: Path, *, verify: bool = False) -> str:
        """The sha256 of a file: the recorded one if the file has not changed since, else from its bytes."""
        entry = None if verify else self.current(path)
        return entry.sha256 if entry else sha256(path)

    def add(
        self,
        path: Path,
        *,
        url: str,
        sha256: str,
        pinned: Pin,
        etag: str = "",
        unpacked: dict[str, int] | None = None,
    ) -> Entry:
        """Write down a file that is there."""
        facts = path.stat()
        entry = Entry(
            url=url,
            sha256=sha256,
            bytes=facts.st_size,
            time=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            mtime_ns=facts.st_mtime_ns,
            pinned=pinned,
            etag=etag,
            unpacked=dict(unpacked or {}),
        )
        with locked(self.path):
            write_json(self.path, self._read() | {self.name(path): asdict(entry)})
        return entry

    def _read(self) -> dict[str, Any]:
        if not self.path.exists():
            return {}
        stored = read_json(self.path)
        if not isinstance(stored, dict):
            raise self._damaged()
        return stored

    def _entry(self, stored: Any) -> Entry:
        try:
            return Entry(**stored)
        except TypeError:
            raise self._damaged() from None

    def _damaged(self) -> InputError:
        return InputError(
            "is not a record of fetched files",
            where=self.path,
            why="it says which bytes were trusted when they first came; without it a changed file would not be noticed",
            remedy="restore it from a copy; or delete it, and the files that are there are hashed and recorded again",
        )


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock that belongs to `path`: an flock on `.<name>.lock` beside it, dropped however this process ends.

    Where the file system has no locks, nothing is held.

    Args:
        waiting: called once if another process holds it, before waiting for that one.
    """
    beside = path.with_name(f".{path.name}.lock")
    beside.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(descriptor, waiting)
            # Its last holder may have removed the file between our opening and locking it: then the lock is nobody's.
            if _is_same(descriptor, beside):
                try:
                    yield
                finally:
                    beside.unlink(missing_ok=True)
                return
        finally:
            os.close(descriptor)


def _take(descriptor: int, waiting: Callable[[], None] | None) -> None:
    if try_lock(descriptor) is False:
        if waiting is not None:
            waiting()
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
