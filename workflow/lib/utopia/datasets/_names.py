"""Which item a media file is of, by its name, as downloaders and people leave such names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from utopia.datasets._card import CardItem
from utopia.datasets._common import AUDIO_SUFFIXES, VIDEO_SUFFIXES, Item, stem_key
from utopia.errors import counted

UNFINISHED = (".part", ".ytdl", ".temp", ".tmp", ".crdownload", ".download", ".aria2", ".partial")
"""Endings of downloads that are not over, or were broken off."""
_FORMAT = re.compile(r"\.f\d+(?:-\w+)?")
_FRAGMENT = re.compile(r"\.part-frag\d+")
_WEB_ID = re.compile(r".*(?:\[([\w-]{11})\]|-([\w-]{11}))")
"""A title and the id of a web video, as youtube-dl and its followers write them."""
_COPY = re.compile(r"(.+?) ?\(\d+\)")


class NamedFiles(NamedTuple):
    """The file of each item, by its key, and of items without one what is there in its place."""

    files: dict[str, Path]
    hints: dict[str, str]

    def item(self, entry: CardItem, **files: Path | None) -> Item:
        """An item of the card with its files by role, those that are there; where its medium is missing, the hint."""
        present = {role: path for role, path in files.items() if path is not None}
        return Item(entry.id, entry.name, entry.key, present, hint=self.hints.get(entry.key, ""))


class _Name(NamedTuple):
    path: Path
    stem: str
    """Without all endings of media, formats and unfinished downloads."""
    exact: bool
    """Whether there was one ending only, that of a media file."""
    form: bool
    """Whether a format's number stood there: pictures or sound alone, which were to be joined."""
    unfinished: bool


def plain(name: str) -> str:
    """A name without what spellings differ in: case, spaces and underscores, a media file's folder and ending."""
    path = PurePath(name)
    stem = path.stem if path.suffix.lower() in (*VIDEO_SUFFIXES, *AUDIO_SUFFIXES) else name
    return " ".join(stem.replace("_", " ").casefold().split())


def stored_name(value: Any) -> str:
    """The name that an array file holds: text, bytes in whatever encoding, or either in an array of one.

    Raises:
        ValueError: it holds several names, or none.
    """
    values = np.asarray(value, dtype=object).reshape(-1)
    if len(values) != 1:
        raise ValueError(f"video_name holds {counted(len(values), 'name')}")
    name = values[0]
    if isinstance(name, bytes):
        try:
            return name.decode()
        except UnicodeDecodeError:
            return name.decode("latin-1")
    return str(name)


def media_of(
    files: Iterable[Path],
    keys: Sequence[str],
    suffixes: Sequence[str] = VIDEO_SUFFIXES,
    same: Callable[[str], str] = stem_key,
) -> NamedFiles:
    """The media file of each item.

    A file is of the item whose key is its stem. Where there is none: of the item whose key is left when further endings
    (`key.f137.mp4`, `key.mp4.webm`, `key (1).mp4`) or the title of a web video (`Title [key].mp4`, `Title-key.mp4`) are
    taken off, if only one file is so. Unfinished downloads are never used.

    Args:
        files: nearest first: of several with exactly the key the first is used.
        keys: of the items.
        suffixes: endings of the medium.
        same: brings a stem to the form in which stems are compared.
    """
    files = list(files)
    exact: dict[str, Path] = {}
    likely: dict[str, list[_Name]] = defaultdict(list)
    wanted = {same(key) for key in keys}
    for path in files:
        name = _parsed(path)
        if name is None:
            continue
        if name.exact and same(name.stem) in wanted:
            if path.suffix.lower() in suffixes:
                exact.setdefault(same(name.stem), path)
            continue
        for stem in _stems(name.stem):
            if same(stem) in wanted:
                likely[same(stem)].append(name)
                break
    found: dict[str, Path] = {}
    hints: dict[str, str] = {}
    lowered = _by_lower(files, {key.lower() for key in keys if same(key) not in exact and same(key) not in likely})
    for key in keys:
        names = likely.get(same(key), ())  # a list for each of a million keys is a tenth of a gigabyte
        finished = [name for name in names if not name.unfinished]
        fitting = [name for name in finished if name.path.suffix.lower() in suffixes]
        if same(key) in exact:
            found[key] = exact[same(key)]
        elif len(finished) == 1 and fitting:
            found[key] = fitting[0].path
        elif names:
            hints[key] = _hint(key, names, finished)
        elif (other := lowered.get(key.lower())) is not None:
            hints[key] = f"{other.name} may be it: rename it to {key}{other.suffix} if it is"
    return NamedFiles(found, hints)


def _by_lower(files: Iterable[Path], stems: set[str]) -> dict[str, Path]:
    """The first media file of each of these stems in lower case, however it is written."""
    found: dict[str, Path] = {}
    for path in files if stems else ():
        name = _parsed(path)
        if name is not None and name.stem.lower() in stems:
            found.setdefault(name.stem.lower(), path)
    return found


def _parsed(path: Path) -> _Name | None:
    """The parts of a name; None of a file that is no media."""
    stem, endings, form, unfinished = path.name, 0, False, False
    while suffix := _suffix(stem):
        low = suffix.lower()
        if low in VIDEO_SUFFIXES or low in AUDIO_SUFFIXES:
            endings += 1
        elif low in UNFINISHED or _FRAGMENT.fullmatch(low):
            unfinished = True
        elif endings and _FORMAT.fullmatch(low):
            form = True
        else:
            break
        stem = stem.removesuffix(suffix)
    if not (endings or unfinished):
        return None
    return _Name(path, stem, endings == 1 and not form and not unfinished, form, unfinished)


def _suffix(name: str) -> str:
    """What `PurePath.suffix` gives, at a tenth of its price."""
    at = name.rfind(".")
    return name[at:] if 0 < at < len(name) - 1 else ""


def _stems(stem: str) -> list[str]:
    """What a stem may be the name of, the whole first."""
    stems = [stem]
    if copy := _COPY.fullmatch(stem):
        stems.append(copy[1])
    stems += [id for one in list(stems) if (match := _WEB_ID.fullmatch(one)) for id in match.groups() if id]
    return stems


def _hint(key: str, names: Sequence[_Name], finished: Sequence[_Name]) -> str:
    shown = " and ".join(sorted(name.path.name for name in finished or names))
    if not finished:
        return f"only an unfinished download is there ({shown}): let the downloader finish it, or fetch it again"
    if len(finished) > 1 and all(name.form for name in finished):
        return (
            f"its pictures and its sound were never joined ({shown}): let the downloader run again, or join them "
            f"(`ffmpeg -i ONE -i OTHER -c copy {key}.mkv`)"
        )
    if len(finished) == 1:
        return f"{shown} holds no pictures by its name: fetch the video again as {key}.mp4"
    return f"several files may be it ({shown}): rename the right one to {key}{finished[0].path.suffix.lower()}"
