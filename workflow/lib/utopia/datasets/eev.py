"""EEV: fifteen expressions of viewers of YouTube videos (challenge of 2021), six times per second; one row for each.

Layout: `train.csv`, `val.csv` and `test.csv`, each with a video id, a time in microseconds and fifteen expressions in
[0, 1] (the labels of the test videos are not published: ids and times only), and `videos/<id>.<suffix>`. Rows in which
all fifteen are zero mean that no face was seen; they are labels like others here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal

import numpy as np

from utopia.config.base import Strict
from utopia.datasets import _card, _common
from utopia.datasets._common import Item, LabelledItem, Limits, Located
from utopia.datasets._eev_index import EXPRESSIONS, index_of, read_columns
from utopia.datasets._eev_rows import Rows, read_rows
from utopia.datasets._names import media_of
from utopia.errors import InputError, counted

PROTOCOL = "reactions"
TARGETS = ("reactions",)
LABELS_PER_SECOND = 6.0
COLUMNS = {"reactions": EXPRESSIONS}
PARTS = {"train": "train.csv", "validation": "val.csv", "test": "test.csv"}
"""Part -> its file, in official order."""
UNLABELLED = "test"
GRID = (0, 166_666, 333_333, 500_000, 666_666, 833_333)
"""Microseconds of the six rows of a second."""
_SECOND = 1_000_000
_ID = "[A-Za-z0-9_-]+"
_REMEDY = "get the file again; do not correct it by hand"


class Config(Strict):
    """EEV 2021: fifteen expressions of viewers, six times per second, of YouTube videos."""

    checksums: Literal["refuse", "record"] = "refuse"
    """What to do with a file whose sha256 is not the one on the data set's card."""
    label_gap: Literal["fixed", "reference"] = "fixed"
    """`reference`: as in the reference code, a video's labels go on with those of the videos after it in the file that
    are not used because they could not be obtained, up to the next that is. `fixed`: they end where they end."""


class _FilesOfVideo(Mapping[str, Path]):
    """The table that lists a video, and the video where it is there: a million dictionaries take 140 MB more."""

    __slots__ = ("_table", "_video")

    def __init__(self, table: Path, video: Path | None) -> None:
        self._table, self._video = table, video

    def __getitem__(self, role: str) -> Path:
        path = self._table if role == "annotations" else self._video if role == "video" else None
        if path is None:
            raise KeyError(role)
        return path

    def __iter__(self) -> Iterator[str]:
        return iter(("annotations",) if self._video is None else ("annotations", "video"))

    def __len__(self) -> int:
        return 1 if self._video is None else 2


def locate(folder: Path, options: Config) -> Located:
    """The three files, where their headers are understood, and the videos."""
    problems: list[str] = []

    def choose(files: tuple[Path, ...], items: Sequence[_card.CardItem]) -> dict[str, tuple[Path, ...]]:
        tables: dict[str, Path] = {}
        for part, name in PARTS.items():
            path = next((path for path in files if path.name.lower() == name), None)
            if path is None:
                continue
            try:
                columns = read_columns(path)
            except InputError as error:
                problems.append(" ".join(str(error).split()))
                continue
            if part == UNLABELLED or columns.expressions:
                tables[part] = path
            else:
                problems.append(f"{path} has no columns of expressions")
        labelled = [path for part, path in tables.items() if part != UNLABELLED]
        return {
            "annotations": tuple(labelled) if len(labelled) == len(PARTS) - 1 else (),
            "unlabelled": (tables[UNLABELLED],) if UNLABELLED in tables else (),
            "videos": tuple(_by_id(files).values()),
        }

    remedies = {
        "annotations": f"train.csv and val.csv are not both below {folder}",
        "unlabelled": f"no test.csv below {folder}: nothing can be predicted for the challenge",
        "videos": f"no <id>.mp4 below {folder}: the videos have to be fetched one by one",
    }
    located = _common.assemble("eev", folder, choose, remedies)
    said = {role: "; ".join(problems) for role in ("annotations", "unlabelled") if problems and role in located.missing}
    return replace(located, missing={**located.missing, **said})


def items(located: Located, options: Config) -> list[Item]:
    """All videos in the order of the files, those to train on first.

    Raises:
        InputError: a file cannot be read, or changes meanwhile.
    """
    tables = _tables(located)
    ids = list(dict.fromkeys(id for path in tables.values() for id in index_of(path).videos))
    videos = media_of(located.scanned, ids, same=str)
    del ids
    listed: dict[str, Item] = {}
    unknown: dict[str, Any] = {}  # one for all: an empty one for each of a million items takes 64 MB
    for part, path in tables.items():
        for id in index_of(path).videos:
            if id not in listed:
                video = videos.files.pop(id, None)
                listed[id] = Item(id, id, id, _FilesOfVideo(path, video), unknown, part, videos.hints.get(id, ""))
    for entry in located.items:  # of a generated folder
        listed.setdefault(entry.id, Item(entry.id, entry.name, entry.key, {}))
    return list(listed.values())


def describe(located: Located, item: Item, options: Config) -> dict[str, Any]:
    """Number of rows, of those in which no face was seen and of those that the 6 Hz grid lacks; first and last time.

    Raises:
        InputError: the video's labels cannot be used; see `read_labels`.
    """
    _, rows, notes = _read(located, item, _common.label_limits("eev", {}))
    sixths = _on_grid(rows.times)
    facts = {
        "rows": len(sixths),
        "first": float(rows.times[0]) / _SECOND,
        "last": float(rows.times[-1]) / _SECOND,
        "missing_rows": int(sixths[-1] - sixths[0]) + 1 - len(sixths),
        "notes": notes,
    }
    return facts | ({} if item.part == UNLABELLED else {"no_face": int((rows.values == 0).all(axis=1).sum())})


def read_labels(located: Located, item: Item, options: Config, limits: Limits) -> LabelledItem:
    """The fifteen expressions as `reactions` [T, 15]; of a test video no labels, only times.

    Rows that the grid lacks are not made up: the times tell where they are, and a note how many.

    Raises:
        InputError: the video is listed without rows or in two files, its rows cannot be read, times repeat, go back or
            are no microseconds, or an expression is not a number within the limits.
    """
    path, rows, notes = _read(located, item, limits)
    times, values = rows.times / _SECOND, rows.values
    if item.part == UNLABELLED:
        return LabelledItem(item.id, times, {}, notes=notes)
    if options.label_gap == "reference":
        leaked = _leaked(located, item, path, limits)
        if len(leaked):
            # On the grid after its own last row, since their own times start from 0 again.
            after = _on_grid(rows.times[-1:])[0] + 1 + np.arange(len(leaked))
            times = np.concatenate([times, (after // 6 * _SECOND + np.array(GRID)[after % 6]) / _SECOND])
            values = np.concatenate([values, leaked])
            notes.append(
                f"{counted(len(leaked), 'row')} of videos that are not used"
                f" {'follows' if len(leaked) == 1 else 'follow'} its own, as in the reference code"
            )
    return LabelledItem(item.id, times, {"reactions": values.astype(np.float32)}, notes=notes)


def folds(located: Located, ids: Iterable[str], options: Config) -> list[dict[str, Any]]:
    """One fold, `official`: the videos of train.csv train, those of val.csv test; those of test.csv are in none."""
    present = set(ids)
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    listed: set[str] = set()
    for part, path in _tables(located).items():  # a video belongs to the first part that lists it
        own = [id for id in index_of(path).videos if id not in listed]
        parts[part] = [id for id in own if id in present]
        listed.update(own)
    return [{"name": "official", "train": parts["train"], "test": parts["validation"]}]


def seconds(located: Located) -> dict[str, float]:
    """How long each video is by its number of rows; known before any video is opened."""
    known: dict[str, float] = {}
    for path in _tables(located).values():
        index = index_of(path)
        for id in index.videos:
            known.setdefault(id, index.rows(id) / LABELS_PER_SECOND)
    return known


def _tables(located: Located) -> dict[str, Path]:
    """Part -> file, of those that are there, in official order."""
    there = {path.name.lower(): path for role in ("annotations", "unlabelled") for path in located.files.get(role, ())}
    return {part: there[name] for part, name in PARTS.items() if name in there}


def _by_id(files: Iterable[Path]) -> dict[str, Path]:
    """The first video file per id; ids differ by case alone, so stems are compared as they are."""
    found: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() in _common.VIDEO_SUFFIXES:
            found.setdefault(path.stem, path)
    return found


def _read(located: Located, item: Item, limits: Limits) -> tuple[Path, Rows, list[str]]:
    """The file that lists an item, its rows, which have been found to be good, and what there is to say of them."""
    if "annotations" not in item.files:
        raise InputError(f"no file lists {item.id}", remedy=_REMEDY)
    path = item.files["annotations"]
    if not re.fullmatch(_ID, item.id):
        raise InputError(
            f"{item.id!r} is not the id of a video",
            where=path,
            why="it would become part of the names of files",
            remedy=_REMEDY,
        )
    others = [table.name for table in _tables(located).values() if table != path and item.id in index_of(table).videos]
    if others:
        raise InputError(
            f"it is listed in {' and '.join([path.name, *others])}",
            where=f"{path}:{index_of(path).videos[item.id][0].line}",
            why="a video that is trained on must not be tested",
            remedy=_REMEDY,
        )
    index = index_of(path)
    wanted = index.columns.expressions if item.part != UNLABELLED else ()
    rows = read_rows(path, index.videos[item.id], index.columns, wanted)
    if not len(rows.times):
        raise InputError("it is listed without rows", where=f"{path}:{index.videos[item.id][0].line}", remedy=_REMEDY)
    notes = _check_times(path, rows)
    _check_values(path, rows, limits)
    if len(index.videos[item.id]) > 1:
        notes.append(f"its rows are in {counted(len(index.videos[item.id]), 'place')} of {path.name}")
    if index.cut and max(run.end for run in index.videos[item.id]) == path.stat().st_size:
        notes.append(f"{path.name} ends without an end of line: its last row may be cut")
    if item.part == UNLABELLED and index.columns.expressions:
        notes.append(f"{path.name} has columns of expressions, which are not used")
    return path, rows, notes


def _check_values(path: Path, rows: Rows, limits: Limits) -> None:
    for column in range(rows.values.shape[1]):
        name, values = EXPRESSIONS[column], rows.values[:, column]
        _common.refuse_bad_values(values, limits, name, lambda row: f"{path}:{rows.lines[row]}")


def _on_grid(times: np.ndarray) -> np.ndarray:
    """The nearest row of the 6 Hz grid, [T] int64 sixths of a second, of times in microseconds."""
    return (times * 6 + _SECOND // 2) // _SECOND


def _check_times(path: Path, rows: Rows) -> list[str]:
    """Refuse times that repeat, go back or are no microseconds; the notes on those that the grid lacks or has not."""
    times = rows.times
    back = np.flatnonzero(np.diff(times) <= 0)
    if back.size:
        row = int(back[0]) + 1
        what = "repeats" if times[row] == times[row - 1] else "goes back"
        raise InputError(
            f"the time {what}: {times[row - 1]} is followed by {times[row]} ({back.size} such places)",
            where=f"{path}:{rows.lines[row]}",
            why="labels would belong to the wrong moment",
            remedy=_REMEDY,
        )
    sixths = _on_grid(times)
    exact = sixths // 6 * _SECOND + np.array(GRID)[sixths % 6]
    off = np.flatnonzero(np.abs(times - exact) > 1)
    if times[0] < 0 or 2 * off.size > len(times) or (np.diff(sixths) <= 0).any():
        raise InputError(
            f"the times are not microseconds of a 6 Hz grid ({off.size} of {len(times)} lie beside it)",
            where=f"{path}:{rows.lines[int(off[0]) if off.size else 0]}",
            why="labels and frames cannot be brought together",
            remedy=_REMEDY,
        )
    notes = []
    if off.size:
        notes.append(f"{off.size} times lie beside the 6 Hz grid (the first: line {rows.lines[int(off[0])]})")
    if lacking := int(sixths[-1] - sixths[0]) + 1 - len(sixths):
        gap = int(np.flatnonzero(np.diff(sixths) > 1)[0])
        notes.append(f"{lacking} rows of the 6 Hz grid are missing (the first after {times[gap] / _SECOND:.3f} s)")
    if sixths[0]:
        notes.append(f"its first row stands at {times[0] / _SECOND:.3f} s")
    return notes


def _leaked(located: Located, item: Item, path: Path, limits: Limits) -> np.ndarray:
    """Labels of the videos after an item in its file, up to the next whose video can be used: [rows, 15].

    After the last one that can be used, all that follow in the file; an item whose own video cannot be used has none.
    """
    index = index_of(path)
    kept = located.obtained if located.obtained is not None else set(_by_id(located.files.get("videos", ())))
    found = [np.empty((0, len(EXPRESSIONS)))]
    if item.id in kept:
        order = list(index.videos)
        for id in takewhile(lambda id: id not in kept, order[order.index(item.id) + 1 :]):
            rows = read_rows(path, index.videos[id], index.columns, index.columns.expressions)
            _check_values(path, rows, limits)
            found.append(rows.values)
    return np.concatenate(found)
