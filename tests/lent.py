"""A folder that tests damage one after another: what a test has changed is put back, so that it is copied once."""

from __future__ import annotations

import os
import shutil
import stat
import time
from pathlib import Path

_TICK = 0.02
"""Seconds: more than the steps in which a file system tells times."""
_State = tuple[int, ...]


class Lent:
    """A copy of a folder, lent to one test after another.

    A changed file is told by what no program can set: the time at which the file system last changed its entry.

    Args:
        source: what is copied; nobody changes it.
        folder: where the copy goes, on one file system with every place that it is lent to.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        self._source, self._kept = source, folder
        shutil.copytree(source, folder, symlinks=True)
        self._states = {name: _state(folder / name) for name in _below(folder)}
        time.sleep(_TICK)  # a change that comes later has another time

    def lend(self, place: Path) -> Path:
        """Move the copy to a place, as it was when it was made."""
        self._kept.rename(place)
        return place

    def take_back(self, place: Path) -> None:
        """Move it back from there, and undo what was done to it."""
        if place.is_symlink() or not place.is_dir():
            self._kept.mkdir()
        else:
            place.rename(self._kept)
        for name in sorted(_below(self._kept), reverse=True):  # what lies in a folder goes before it
            path = self._kept / name
            if self._states.get(name) != _state(path):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        lost = [name for name in self._states if not os.path.lexists(self._kept / name)]
        for name in lost:  # a folder comes before what lies in it
            here, there = self._source / name, self._kept / name
            there.mkdir() if here.is_dir() and not here.is_symlink() else shutil.copy2(
                here, there, follow_symlinks=False
            )
        for name in self._states:
            here, there = self._source / name, self._kept / name
            if stat.S_ISDIR(self._states[name][0]) and there.stat().st_mtime_ns != here.stat().st_mtime_ns:
                shutil.copystat(here, there)
        self._states |= {name: _state(self._kept / name) for name in lost}
        if lost:
            time.sleep(_TICK)


def _below(folder: Path) -> list[str]:
    """Everything in a folder; links are not followed, and a folder comes before what lies in it."""
    return sorted(
        Path(base, name).relative_to(folder).as_posix()
        for base, folders, names in os.walk(folder)
        for name in (*folders, *names)
    )


def _state(path: Path) -> _State:
    """What changes with every change of a file; of a folder, that it is one: its entries are looked at themselves."""
    found = path.lstat()
    if stat.S_ISDIR(found.st_mode):
        return (stat.S_IFDIR,)
    return (found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
