"""Writing files so that a kill at any moment leaves the old or the new one, and hashing them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from utopia.errors import UtopiaError

_BLOCK = 1 << 20
_known: Mapping[str, str] = {}
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed to disk and takes the place of `path`.

    An exception inside the block leaves `path` as it was and removes the temporary file. The temporary name keeps the
    suffix of `path`, because some writers choose their format by it.

    Raises:
        UtopiaError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    temporary = None
    try:
        with _said_of(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=_mark(path.stem), suffix=f".tmp{path.suffix}")
            os.close(handle)
            temporary = Path(name)
        try:
            yield temporary
        except OSError as error:
            # The block may also have failed to read something else: that is not a fault of writing.
            if error.errno in _DISK or error.filename == name:
                with _said_of(path):
                    raise
            raise
        with _said_of(path):
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _mark(stem: str) -> str:
    """The beginning of a temporary name; it says whose it is, so that what a killed process leaves can be told."""
    return f".{stem[:40]}.{os.getpid()}@{_host()}."


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:60]


def remove_leftovers(folder: str | Path) -> list[Path]:
    """Remove the temporary files below `folder` of processes of this machine that are no more, and name them."""
    mine = re.compile(rf"\..*\.(\d+)@{re.escape(_host())}\.[^.]+\.tmp(\..*)?")
    removed = []
    for path in sorted(Path(folder).rglob(".*.tmp*")):
        match = mine.fullmatch(path.name)
        if match and not _is_alive(int(match[1])):
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UtopiaError(
            f"cannot write ({error.strerror or error})",
            where=path,
            why="the result of this job is not stored; what stood there before is untouched",
            remedy="free disk space or make the folder writable (`df -h`, `ls -ld`), then run the same command again",
        ) from error


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def write_text(path: str | Path, text: str) -> None:
    """Write `text` (UTF-8, as it is) to `path` atomically."""
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys (the same value gives the same bytes) to `path` atomically."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        UtopiaError: the file is missing or is not JSON (with the line).
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UtopiaError(f"not valid JSON: {error.msg}", where=f"{path}:{error.lineno}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UtopiaError(f"cannot read ({error})", where=path) from error


@contextmanager
def hashed(known: Mapping[str, str]) -> Iterator[None]:
    """Within the block, `sha256` takes what is known already: absolute path -> SHA-256. For one thread."""
    global _known
    former, _known = _known, known
    try:
        yield
    finally:
        _known = former


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    if _known and (stated := _known.get(str(Path(path).absolute()))):
        return stated
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def digest(value: Any, length: int = 16) -> str:
    """A short digest of a JSON-able value, independent of key order: equal values, equal digests."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
