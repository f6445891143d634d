"""The folder of a crate that somebody else made, without trusting it."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utopia.errors import InputError
from utopia.provenance.crate.content import METADATA, is_plain


@contextmanager
def extracted(crate: Path) -> Iterator[Path]:
    """The folder of a crate; a zip is unpacked to a temporary one.

    Raises:
        InputError: it is no crate, or it is refused: a path that leads out of it, a link, a name that is there twice.
    """
    if crate.is_dir():
        _refuse_links(crate)
        _has_metadata(crate, crate)
        yield crate
        return
    # A device or a pipe would be read for ever.
    if not crate.is_file() or not zipfile.is_zipfile(crate):
        raise InputError(
            "neither a folder nor a zip file", where=crate, remedy="name a crate that `utopia crate` wrote"
        )
    with tempfile.TemporaryDirectory(prefix="utopia-crate-") as folder:
        _unpack(crate, Path(folder))
        _has_metadata(Path(folder), crate)
        yield Path(folder)


def refused(where: Path | str, what: str) -> InputError:
    """The error of a crate that is not even looked at."""
    return InputError(
        f"refused: {what}", where=where, why="such a crate can make a program read or write files outside of it"
    )


def _has_metadata(folder: Path, crate: Path) -> None:
    if not (folder / METADATA).is_file():
        raise InputError(f"no {METADATA} in it", where=crate, remedy="name a crate that `utopia crate` wrote")


def _refuse_links(folder: Path) -> None:
    for at, folders, names in os.walk(folder, followlinks=False):
        for name in (*folders, *names):
            path = Path(at, name)
            mode = path.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise refused(path, "a link" if stat.S_ISLNK(mode) else "neither a file nor a folder")


def _unpack(crate: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(crate) as file:
            members = file.infolist()
            seen: set[str] = set()
            for member in members:
                # `filename` was cut at a NUL and given other slashes; what the file says is `orig_filename`.
                name = member.orig_filename.removesuffix("/")
                kind = stat.S_IFMT(member.external_attr >> 16)
                if not is_plain(name) or member.filename.removesuffix("/") != name:
                    raise refused(crate, f"the path {member.orig_filename!r} leads out of it")
                if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise refused(crate, f"{name!r} is a link, or neither a file nor a folder")
                if name in seen:
                    raise refused(crate, f"{name!r} is there twice")
                seen.add(name)
            needed = sum(member.file_size for member in members)
            free = shutil.disk_usage(folder).free
            if needed > free:
                raise InputError(
                    f"unpacked it takes {needed} bytes, and {free} are free",
                    where=crate,
                    remedy="set TMPDIR to a larger disk, or unpack the crate and name the folder",
                )
            file.extractall(folder)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"cannot be unpacked ({error})", where=crate, remedy="get it again") from error
