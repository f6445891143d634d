"""Which bytes of EEV's CSV files belong to which video: one pass over a file, kept beside it for the next start.

The files hold a row per video and sixth of a second, 1.1 GB in all, and every start of the workflow asks which videos
there are. The pass looks at the ends of lines and at the first twelve bytes of each; `read_rows` then reads one video.
"""

from __future__ import annotations

import csv
import itertools
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utopia import arrays
from utopia.errors import InputError, UtopiaError
from utopia.files import digest

EXPRESSIONS = (
    "amusement",
    "anger",
    "awe",
    "concentration",
    "confusion",
    "contempt",
    "contentment",
    "disappointment",
    "doubt",
    "elation",
    "interest",
    "pain",
    "sadness",
    "surprise",
    "triumph",
)
NO_ID = "(no id)"
_VERSION = 2
_BLOCK = 1 << 22
_ID_LENGTH = 11
_IDS = ("id", "videoid", "youtubeid", "youtubevideoid", "video", "ytid", "youtube")
_WHY = "it tells which column holds the video, the time and each expression"


class Columns(NamedTuple):
    """Where the columns of a file are.

    expressions: in `EXPRESSIONS`' order; empty where the file has none. width: columns in all.
    """

    id: int
    time: int
    expressions: tuple[int, ...]
    width: int


class RowRange(NamedTuple):
    """Rows of one video that stand together: half-open byte range, how many, and the first one's line."""

    start: int
    end: int
    rows: int
    line: int


class RowsOfVideos(Mapping[str, list[RowRange]]):
    """Id -> its runs, in the file's order; ids in order of their first row.

    Of a million videos, lists of runs take 250 MB more than four numbers for each run.
    """

    def __init__(self) -> None:
        self._numbers = array("q")
        self._first: dict[str, int] = {}
        """Id -> the number of its first run."""
        self._more: dict[str, list[int]] = {}
        """Id -> the numbers of its other runs, of ids that have some."""

    def __getitem__(self, video: str) -> list[RowRange]:
        return [self._run(number) for number in (self._first[video], *self._more.get(video, ()))]

    def __contains__(self, video: object) -> bool:
        return video in self._first

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def add(self, video: str, run: RowRange) -> None:
        """The next run of the file is one of this video."""
        self._own(video, len(self._numbers) // len(run))
        self._numbers.extend(run)

    def lengthen(self, end: int, rows: int) -> None:
        """The last run of the file has so many rows more, up to this byte."""
        last = self._run(-1)
        self._numbers[-len(last) :] = array("q", last._replace(end=end, rows=last.rows + rows))

    def packed(self) -> dict[str, np.ndarray]:
        """As arrays: the ids, the runs [n, 4], and of each run the number of its video [n]."""
        runs = np.array(self._numbers, np.int64).reshape(-1, len(RowRange._fields))
        owner = np.zeros(len(runs), np.int64)
        for number, (video, first) in enumerate(self._first.items()):
            owner[[first, *self._more.get(video, ())]] = number
        ids = np.frombuffer("\n".join(self._first).encode(), np.uint8)
        return {"ids": ids, "runs": runs, "owner": owner}

    @classmethod
    def unpacked(cls, parts: Mapping[str, np.ndarray]) -> RowsOfVideos:
        """What was packed.

        Raises:
            ValueError: the parts do not fit one another.
        """
        videos, ids, runs = cls(), parts["ids"].tobytes().decode().split("\n"), parts["runs"]
        if runs.dtype != np.int64 or runs.shape != (len(parts["owner"]), len(RowRange._fields)):
            raise ValueError(f"{runs.dtype} {runs.shape} are no runs")
        videos._numbers.frombytes(runs.tobytes())
        for number, owner in enumerate(parts["owner"].tolist()):
            videos._own(ids[owner], number)
        return videos

    def _own(self, video: str, number: int) -> None:
        if self._first.setdefault(video, number) != number:
            self._more.setdefault(video, []).append(number)

    def _run(self, number: int) -> RowRange:
        start = number * len(RowRange._fields)
        return RowRange(*self._numbers[start : start + len(RowRange._fields) or None])


@dataclass
class Index:
    """What a file holds."""

    columns: Columns
    videos: RowsOfVideos = field(default_factory=RowsOfVideos)
    cut: bool = False
    """Whether the last line has no end."""

    def rows(self, video: str) -> int:
        """Number of rows of a video."""
        return sum(run.rows for run in self.videos[video])


def read_columns(path: Path) -> Columns:
    """The columns of a file, recognised by name in any order and case.

    Raises:
        InputError: the header cannot be read or understood; it is named.
    """
    try:
        with path.open("rb") as file:
            return _columns(path, file.readline())
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror})", where=path, remedy="make it readable (`ls -l`, `chmod`)"
        ) from error


def _columns(path: Path, line: bytes) -> Columns:
    text = line.decode("utf-8-sig", errors="replace").rstrip("\r\n")
    names = [re.sub(r"[^a-z0-9]", "", name.lower()) for name in next(csv.reader([text]), [])]
    ids = [column for column, name in enumerate(names) if name in _IDS]
    times = [column for column, name in enumerate(names) if name.startswith("time")]
    known = {name: column for column, name in enumerate(names) if name in EXPRESSIONS}
    odd = [name for column, name in enumerate(names) if column not in {*ids, *times, *known.values()}]
    lacking = [name for name in EXPRESSIONS if name not in known] if known else []
    faults = [
        *([] if len(ids) == 1 else [f"{len(ids)} columns of video ids"]),
        *([] if len(times) == 1 else [f"{len(times)} columns of times"]),
        *([f"no {', '.join(lacking)}"] if lacking else []),
        *([f"columns twice or not known: {', '.join(name or '(no name)' for name in odd)}"] if odd else []),
    ]
    if faults:
        raise InputError(
            f"its header is not understood: {text[:200]!r} ({'; '.join(faults)})",
            where=f"{path}:1",
            why=_WHY,
            remedy="expected are a video id, a timestamp in microseconds and the fifteen expressions (or none of "
            "them); get the file again",
        )
    return Columns(ids[0], times[0], tuple(known[name] for name in EXPRESSIONS) if known else (), len(names))


def index_of(path: Path) -> Index:
    """The index of a file: the one kept beside it (or in the user's cache) if size and time of change agree, else made.

    Raises:
        InputError: the header is not understood, the file cannot be read, or it changes while it is read.
    """
    try:
        facts = path.stat()
        return indexed(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror})", where=path, remedy="make it readable (`ls -l`, `chmod`)"
        ) from error


@lru_cache(maxsize=16)
def indexed(path: Path, size: int, mtime_ns: int) -> Index:
    """The index of a table of this size and time: kept, or made now."""
    places = kept_at(path)
    key = {"version": _VERSION, "bytes": size, "mtime_ns": mtime_ns}
    for place in places:
        if (kept := _kept(place, key)) is not None:
            return kept
    index = build(path)
    after = path.stat()
    if (after.st_size, after.st_mtime_ns) != (size, mtime_ns):
        raise InputError("changes while it is read", where=path, remedy="run the command again when it is whole")
    meta = {**key, "columns": index.columns._asdict(), "cut": index.cut}
    packed = index.videos.packed()
    for place in places:
        try:
            arrays.save(place, packed, meta)
            break
        except UtopiaError:  # a folder that cannot be written: the next place, or none, and the pass is made again
            continue
    return index


def kept_at(path: Path) -> tuple[Path, Path]:
    """Where the index of a file is kept: beside it, or in the user's cache where that cannot be written."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "utopia"
    name = f"eev-{digest(str(path.resolve()))}.index.safetensors"
    return path.parent / f".{path.name}.index.safetensors", cache / name


def _kept(place: Path, key: dict[str, int]) -> Index | None:
    """The index in a file, if it is one and was made of exactly the file that the key tells."""
    if not place.is_file():
        return None
    try:
        content = arrays.Arrays(place)
        if any(content.meta[name] != value for name, value in key.items()):
            return None
        columns = Columns(**content.meta["columns"] | {"expressions": tuple(content.meta["columns"]["expressions"])})
        return Index(columns, RowsOfVideos.unpacked(content), bool(content.meta["cut"]))
    except (UtopiaError, LookupError, TypeError, ValueError):
        return None  # damaged: it is only a copy of what the file says, and regenerated


def build(path: Path, block: int = _BLOCK) -> Index:
    """Make the index of a file, in memory that does not grow with it but by its videos.

    Args:
        block: bytes read at a time.

    Raises:
        InputError: the header is not understood.
    """
    with path.open("rb") as file:
        header = file.readline()
        runs = RunsOfRows(Index(_columns(path, header)), len(header))
        rest = b""
        while part := file.read(block):
            text = rest + part
            end = text.rfind(b"\n") + 1
            runs.take(text, end)
            rest = text[end:]
        if rest:
            runs.index.cut = True
            runs.take(rest + b"\n", len(rest) + 1, virtual=True)
    return runs.index


class RunsOfRows:
    """Puts an index together from blocks of whole lines."""

    def __init__(self, index: Index, offset: int) -> None:
        self.index = index
        self._offset, self._line = offset, 2
        self._last = ""

    def take(self, text: bytes, end: int, virtual: bool = False) -> None:
        """The lines text[:end]; `virtual`: the last byte, an end of line, is not in the file."""
        if not end:
            return
        data = np.frombuffer(text, dtype=np.uint8)
        stops = np.flatnonzero(data[:end] == 10) + 1
        starts = np.concatenate([[0], stops[:-1]])
        plain = self.index.columns.id == 0 and text.find(b'"', 0, end) < 0
        heads = self._heads(text, starts, stops) if plain else None
        for first, last, video in heads if heads is not None else self.one_by_one(text, starts, stops):
            run_end = int(stops[last - 1]) - (1 if virtual and last == len(stops) else 0)
            self._add(video, int(starts[first]), run_end, last - first, first)
        self._offset += end
        self._line += len(stops)

    def _add(self, video: str, start: int, end: int, rows: int, line: int) -> None:
        if self._last == video:
            self.index.videos.lengthen(self._offset + end, rows)
        else:
            self.index.videos.add(video, RowRange(self._offset + start, self._offset + end, rows, self._line + line))
        self._last = video

    def _heads(self, text: bytes, starts: np.ndarray, stops: np.ndarray) -> list[tuple[int, int, str]] | None:
        """First and last row (half-open) and id where the first twelve bytes change; None: not that easy."""
        if int((stops - starts).min()) <= 2:  # a line without anything is no row
            return None
        padded = text + bytes(16)
        words = np.ndarray(len(padded) - 7, dtype="<u8", buffer=padded, strides=(1,))
        low, high = words[starts], words[starts + (_ID_LENGTH + 1 - 8)]
        changes = np.flatnonzero((low[1:] != low[:-1]) | (high[1:] != high[:-1])) + 1
        bounds = [0, *changes.tolist(), len(starts)]
        found = []
        for first, last in itertools.pairwise(bounds):
            start = int(starts[first])
            comma = text.find(b",", start, start + _ID_LENGTH + 1)
            if comma < 0:
                return None  # two longer ids may begin alike
            found.append((first, last, _name(text[start:comma])))
        return found

    def one_by_one(self, text: bytes, starts: np.ndarray, stops: np.ndarray) -> Iterable[tuple[int, int, str]]:
        """The same by splitting each line."""
        column = self.index.columns.id
        before, first, last = None, 0, 0
        for row, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
            line = text[start:stop].rstrip(b"\r\n")
            if not line.strip():
                continue
            fields = fields_of(line)
            video = _name(fields[column]) if len(fields) > column else NO_ID
            if video != before or row != last:  # after an empty line a new run begins, which `_add` joins to the last
                if before is not None:
                    yield first, last, before
                first, before = row, video
            last = row + 1
        if before is not None:
            yield first, last, before


def fields_of(line: bytes) -> list[bytes]:
    """The fields of a line without its end."""
    if b'"' not in line:
        return line.split(b",")
    text = line.decode("utf-8", errors="surrogateescape")
    return [part.encode("utf-8", errors="surrogateescape") for part in next(csv.reader([text]), [])]


def _name(field: bytes) -> str:
    return field.strip().decode("utf-8", errors="backslashreplace") or NO_ID
