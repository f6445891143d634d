"""Writing files so that a kill at any moment leaves the old or the new one, and hashing them."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from utopia.errors import UtopiaError

_Function = TypeVar("_Function", bound=Callable[..., Any])
_BLOCK = 1 << 20
_known: Mapping[str, str] = {}
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems answer that have no locks: NFS without its lock daemon, Lustre without `-o flock`."""
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


def try_lock(descriptor: int) -> bool | None:
    """Take an flock, which lasts until the descriptor is closed or all processes that have it end.

    Returns:
        True if it was taken, False if another process has it, None if the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


def free_names(folder: str | Path) -> int | None:
    """How many more files the file system of `folder` can hold; None where it does not say (it makes room itself)."""
    facts = os.statvfs(folder)
    return facts.f_favail if facts.f_files else None


def _remedy(path: Path, error: OSError) -> str:
    folder = next((each for each in path.absolute().parents if each.is_dir()), Path("/"))
    if error.errno == errno.ENOSPC and free_names(folder) == 0:
        return "the file system holds as many files as it can (`df -i`): remove some, then run the same command again"
    if error.errno == errno.EDQUOT:
        return "your quota is used up (`quota -s`): free some of it, then run the same command again"
    return "free disk space or make the folder writable (`df -h`, `ls -ld`), then run the same command again"


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UtopiaError(
            f"cannot write ({error.strerror or error})",
            where=path,
            why="the result of this job is not stored; what stood there before is untouched",
            remedy=_remedy(path, error),
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
    except RecursionError as error:
        raise UtopiaError("not JSON of ours: its lists and objects are nested too deep", where=path) from error
    except (OSError, ValueError) as error:  # not text, or a number of thousands of digits
        raise UtopiaError(f"cannot read ({error})", where=path) from error


def kept_until_changed(maxsize: int) -> Callable[[_Function], _Function]:
    """Keep in memory what a function makes of a file (its first argument) until the file is another one.

    That is told by its absolute path, inode, size and time. A file that cannot be looked at is left to the function,
    which knows what to say.

    Args:
        maxsize: how many results are kept.
    """

    def decorate(function: _Function) -> _Function:
        @lru_cache(maxsize)
        def kept(version: object, path: Path, *arguments: Any) -> Any:
            return function(path, *arguments)

        @wraps(function)
        def current(path: Path, *arguments: Any) -> Any:
            try:
                status = path.stat()
            except OSError:
                return function(path, *arguments)
            version = (path.absolute(), status.st_ino, status.st_size, status.st_mtime_ns)
            return kept(version, path, *arguments)

        return cast(_Function, current)

    return decorate


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
