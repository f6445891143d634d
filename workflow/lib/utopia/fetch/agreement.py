"""Data given out under a signed agreement: only the user may fetch them; their layout is checked.

What lies in the user's folder is found by the data set's own `locate`, so its layout and its words for what is missing
are written once, there.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from utopia.fetch.archive import UnpackLimits, extract
from utopia.fetch.download import Wanted, download
from utopia.fetch.recipe import Agreement
from utopia.fetch.record import FetchRecord
from utopia.fetch.transfer import Policy


@dataclass(frozen=True)
class Seen:
    """What the data set's `locate` finds below a folder."""

    items: Mapping[str, Mapping[str, Path]]
    """Every expected item -> role -> its file; an item without files has none."""
    missing: Mapping[str, str]
    """Roles without any file -> what to do."""


Look = Callable[[Path], Seen]


def unpack(folder: Path, agreement: Agreement, record: FetchRecord) -> list[Path]:
    """Unpack the archives that lie in the folder as they were given out, each once, and give those unpacked now.

    Raises:
        InputError: an archive is damaged or refused; see `archive.extract`.
    """
    done = []
    documents = [path for path in sorted(folder.iterdir()) if path.is_file() and _is_one(path.name, agreement)]
    for path in documents:
        entry = record.entry(path)
        if entry and entry.bytes == path.stat().st_size and _all_there(folder, entry.unpacked):
            continue
        files = extract(path, folder, UnpackLimits(agreement.largest))
        sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
        record.add(path, url="in place", sha256=record.digest(path), pinned="first use", unpacked=sizes)
        done.append(path)
    return done


def _is_one(name: str, agreement: Agreement) -> bool:
    return not name.startswith(".") and any(fnmatch.fnmatch(name, pattern) for pattern in agreement.archives)


def _all_there(folder: Path, unpacked: Mapping[str, int]) -> bool:
    """Whether the files of an archive are there with their sizes."""
    try:
        return bool(unpacked) and all((folder / name).stat().st_size == size for name, size in unpacked.items())
    except OSError:
        return False


def take(origin: Path, folder: Path, look: Look, record: FetchRecord, policy: Policy) -> list[Path]:
    """Copy what `locate` finds in the user's folder into the data folder, in the same arrangement, and record it.

    What is there already is not copied again.

    Raises:
        ChecksumError: a file of the same name with other bytes is there.
        DiskFullError: there is no room.
    """
    seen = look(origin)
    copied = []
    for path in dict.fromkeys(path for files in seen.items.values() for path in files.values()):
        target = folder / path.relative_to(origin)
        entry = record.current(target)
        if entry and entry.bytes == path.stat().st_size:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        expected = record.digest(path) if path.is_relative_to(record.folder) else None
        fetched = download(Wanted(target, [os.fspath(path)], sha256=expected), policy)
        record.add(target, url=str(origin), sha256=fetched.sha256, pinned="first use")
        copied.append(target)
    return copied


def lacking(seen: Seen) -> dict[str, list[str]]:
    """Role -> ids of the items that lack it, for the roles that some item has or that are missing altogether."""
    roles = {role for files in seen.items.values() for role in files} | set(seen.missing)
    return {
        _plural(role): [id for id, files in seen.items.items() if role not in files and _singular(role) not in files]
        for role in sorted(roles)
    }


def _plural(role: str) -> str:
    return "videos" if role == "video" else role


def _singular(role: str) -> str:
    return "video" if role == "videos" else role


def instructions(agreement: Agreement, seen: Seen, folder: Path) -> str:
    """What the user has to do, where something is missing altogether; empty if nothing is."""
    if not seen.missing:
        return ""
    steps = [f"{number}. {step}" for number, step in enumerate([*agreement.steps], 1)]
    lines = [
        f"{folder}: these data are given out under a signed agreement ({agreement.form}); nobody else may fetch them:",
        *steps,
    ]
    return "\n  ".join(lines)
