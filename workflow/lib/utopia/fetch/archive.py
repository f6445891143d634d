"""Unpacking archives inside one folder: nothing outside it, no links or devices, never more than was declared.

An archive is unpacked into a hidden folder beside its place and its files are then moved, each by one rename, so that a
kill leaves whole files only; the next run begins with the archive again. Zip and tar (plain, gz, bz2, xz) are read by
Python itself; rar (and 7z) where libarchive's `bsdtar` is installed, which turns them into a tar stream, so that the
same checks see every entry.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from utopia.errors import ChecksumError, InputError, counted
from utopia.files import sha256

_BLOCK = 1 << 20
_PADDING = 16 << 20
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, LZMAError, NotImplementedError)
_FOREIGN = {b"Rar!\x1a\x07": "rar", b"7z\xbc\xaf\x27\x1c": "7z"}


@dataclass(frozen=True)
class UnpackLimits:
    """What an archive may unpack to, at most."""

    bytes: int
    files: int = 200_000


@dataclass(frozen=True)
class _Member:
    name: str
    is_folder: bool
    odd: str
    """What it is, if it is neither a file nor a folder."""
    file: IO[bytes] | None
    skipped: int = 0
    """Bytes that must be read even if the entry is not wanted."""


def extract(
    archive: Path,
    into: Path,
    limits: UnpackLimits,
    *,
    members: Sequence[str] = ("*",),
    strip: int = 0,
    nested: Sequence[str] = (),
    known: Mapping[str, str] | None = None,
) -> list[Path]:
    """Unpack the members that match, and give their paths.

    A file that is there already with the same bytes stays; one with other bytes is never overwritten.

    Args:
        into: the folder; it is made.
        limits: most bytes and files, all archives within this one included.
        members: patterns (`fnmatch`, where `*` also matches `/`) of paths inside, after `strip`.
        strip: how many leading folders of each path to leave out.
        nested: patterns of archives inside whose members are unpacked too (into the folder of that archive).
        known: published sha256 by the name of a file.

    Raises:
        InputError: the archive is damaged, encrypted, of a kind that cannot be read here, gives a file with another
            sha256 than the published one, or holds something that has
            no place in a data set (a path outside, a link, a device, more than the limits). Nothing is put into place.
        ChecksumError: a file of the same name with other bytes is in the way.
    """
    scratch = into / f".unpacking-{archive.name}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        budget = _Budget(archive, limits)
        _unpack(archive, scratch, budget, (*members, *nested), strip)
        for inner in [path for path in sorted(scratch.rglob("*")) if path.is_file() and _chosen(path, scratch, nested)]:
            _unpack(inner, inner.parent, budget, ("*",), 0)
            inner.unlink()
        if nested:
            for path in sorted(scratch.rglob("*")):
                if path.is_file() and not _chosen(path, scratch, members):
                    path.unlink()
        for path in sorted(scratch.rglob("*")):
            expected = (known or {}).get(path.name)
            if expected and path.is_file() and (actual := sha256(path)) != expected:
                raise _refused(archive, f"gives another {path.name}: its sha256 is {actual}, expected {expected}")
        return _move(scratch, into)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Budget:
    """What may still be unpacked."""

    def __init__(self, archive: Path, limits: UnpackLimits) -> None:
        self.archive, self.limits = archive, limits
        self.bytes, self.files = limits.bytes, limits.files

    def take(self, size: int) -> None:
        self.bytes -= size
        if self.bytes < 0:
            raise _refused(self.archive, f"unpacks to more than the {self.limits.bytes} bytes that it may")

    def take_file(self) -> None:
        self.files -= 1
        if self.files < 0:
            raise _refused(self.archive, f"holds more than {counted(self.limits.files, 'file')}")


def _chosen(path: Path, folder: Path, patterns: Sequence[str]) -> bool:
    return _matches(path.relative_to(folder).as_posix(), patterns)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _unpack(archive: Path, folder: Path, budget: _Budget, members: Sequence[str], strip: int) -> None:
    try:
        with _entries(archive) as entries:
            for entry in entries:
                # Every entry is judged, wanted or not: an archive with one evil entry is not unpacked at all.
                budget.take_file()
                path = _safe(archive, entry)
                inner = PurePosixPath(*path.parts[strip:])
                if entry.is_folder or not inner.parts or not _matches(inner.as_posix(), members):
                    budget.take(entry.skipped)
                    continue
                assert entry.file is not None
                _write(archive, entry, folder / inner, budget)
    except _DAMAGED as error:
        raise InputError(
            f"is damaged or not an archive ({error})",
            where=archive,
            why="files from it would be incomplete",
            remedy="delete it and fetch it again",
        ) from error
    except RuntimeError as error:  # zipfile's way to say that an entry is encrypted
        raise InputError(f"cannot be unpacked ({error})", where=archive, remedy="unpack it by hand") from error


def _safe(archive: Path, entry: _Member) -> PurePosixPath:
    """The entry's path below the folder."""
    name = entry.name
    if entry.odd:
        raise _refused(archive, f"holds {entry.odd}: {name!r}")
    if not name or "\0" in name or "\\" in name or name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise _refused(archive, f"holds a path that is not inside it: {name!r}")
    path = PurePosixPath(name)
    if ".." in path.parts:
        raise _refused(archive, f"holds a path that leads outside: {name!r}")
    return path


def _refused(archive: Path, what: str) -> InputError:
    return InputError(
        what,
        where=archive,
        why="it is not the archive that was published, or could write elsewhere or fill the disk; nothing was unpacked",
        remedy="look where the archive came from; if it is right, unpack it by hand",
    )


def _write(archive: Path, entry: _Member, target: Path, budget: _Budget) -> None:
    if target.exists():
        raise _refused(archive, f"holds {entry.name!r} twice")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = target.open("xb")
    except (FileExistsError, NotADirectoryError):
        raise _refused(archive, f"holds {entry.name!r} both as a file and as a folder") from None
    with file:
        while block := entry.file.read(_BLOCK) if entry.file else b"":
            budget.take(len(block))
            file.write(block)


@contextmanager
def _entries(archive: Path) -> Iterator[Iterator[_Member]]:
    with archive.open("rb") as file:
        start = file.read(8)
    foreign = next((kind for mark, kind in _FOREIGN.items() if start.startswith(mark)), None)
    if foreign:
        with _by_bsdtar(archive, foreign) as entries:
            yield entries
    elif start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        with zipfile.ZipFile(archive) as zipped:
            yield _of_zip(zipped)
    else:
        with tarfile.open(archive, "r:*") as tar:
            yield _of_tar(tar)
            _refuse_cut(tar)


def _refuse_cut(tar: tarfile.TarFile) -> None:
    """Refuse a tar without its end mark, and read a compressed one to its end, where its own checksum stands."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if len(tar.fileobj.read(tarfile.BLOCKSIZE)) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it ends before its end mark")
    padding = 0
    while block := tar.fileobj.read(_BLOCK):
        padding += len(block)
        if padding > _PADDING:
            raise tarfile.ReadError("it goes on after its end mark")


def _of_zip(zipped: zipfile.ZipFile) -> Iterator[_Member]:
    for info in zipped.infolist():
        kind = (info.external_attr >> 16) & 0o170000
        odd = "" if kind in (0, 0o100000, 0o040000) else "a link" if kind == 0o120000 else "a device"
        # `filename` is what is left after zipfile has cut a path at a NUL byte.
        name = info.orig_filename
        if odd or info.is_dir():
            yield _Member(name, info.is_dir(), odd, None)
        else:
            with zipped.open(info) as file:
                yield _Member(name, False, "", file)


def _of_tar(tar: tarfile.TarFile) -> Iterator[_Member]:
    for info in tar:
        plain = info.isreg() or info.isdir()
        odd = "" if plain else "a link" if info.issym() or info.islnk() else "a device"
        yield _Member(info.name, info.isdir(), odd, tar.extractfile(info) if info.isreg() else None, info.size)


@contextmanager
def _by_bsdtar(archive: Path, kind: str) -> Iterator[Iterator[_Member]]:
    program = shutil.which("bsdtar")
    if program is None:
        raise InputError(
            f"is a {kind} archive, which needs the program bsdtar",
            where=archive,
            why="Python cannot read this kind",
            remedy="install libarchive's bsdtar (package libarchive-tools), or unpack it by hand",
        )
    words = [program, "-cf", "-", "--format=pax", "--", f"@{archive.absolute()}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                yield _of_tar(tar)
        except BaseException:
            process.kill()
            raise
        _, said = process.communicate()
        if process.returncode:
            raise tarfile.ReadError(" ".join(said.decode(errors="replace").split())[:200])


def _move(scratch: Path, into: Path) -> list[Path]:
    files = [path for path in sorted(scratch.rglob("*")) if path.is_file()]
    pairs = [(path, into / path.relative_to(scratch)) for path in files]
    for source, target in pairs:
        if target.exists() and (target.is_dir() or sha256(source) != sha256(target)):
            raise ChecksumError(
                "lies there already, and the archive has it with other bytes",
                where=target,
                why="nothing of yours is overwritten",
                remedy="move it away or delete it, and fetch again",
            )
    for source, target in pairs:
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
    return [target for _, target in pairs]
