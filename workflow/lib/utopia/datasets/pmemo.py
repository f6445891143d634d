"""PMEmo: valence and arousal of 767 choruses of pop songs, one value per half second in [0, 1]; sound, no pictures.

Layout (the archive `PMEmo2019`)::

    annotations/dynamic_annotations.csv        musicId, frameTime, Arousal(mean), Valence(mean)
    annotations/dynamic_annotations_std.csv    the annotators' deviations, row by row
    chorus/<musicId>.mp3
    metadata.csv                               musicId, ..., duration, ...

The authors removed the first 15 s of every song's annotations, so rows begin at 15.5 s of the chorus; 27 of the 794
choruses are no longer than that and have none. Deviations are read and checked, but no label is made of them: their
scale is not that of the means (4 to 5 % of them exceed what votes in [0, 1] with that mean can have).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from utopia.config.base import Strict
from utopia.datasets import _card, _common
from utopia.datasets._common import Item, LabelledItem, Limits, Located
from utopia.datasets._names import media_of
from utopia.errors import InputError, counted
from utopia.files import kept_until_changed

PROTOCOL = "affect"
TARGETS = ("valence", "arousal")
LABELS_PER_SECOND = 2.0
MEAN_SECONDS = 38.0
"""Mean length of the official songs, for prices."""
MEDIUM = "audio"
_STEP = 0.5
_ANNOTATIONS = "dynamic_annotations.csv"
_DEVIATIONS = "dynamic_annotations_std.csv"
_INFORMATION = "metadata.csv"
_SPLIT = {"split_train": "train.txt", "split_validation": "validation.txt", "split_test": "test.txt"}
_REMEDY = "get the file again from the PMEmo archive"


class Config(Strict):
    """PMEmo: valence and arousal per half second of 767 songs."""

    split: Literal["random", "files"] = "random"
    """`random`: `test_share` of the songs, drawn by `split_seed`, test. `files`: split/{train,validation,test}.txt."""
    split_seed: int = Field(3, ge=0, le=2**63 - 1)
    """Seed of that draw. With 3 and a share of 0.1 it gives exactly the 77 songs of the authors' own notebook."""
    test_share: float = Field(0.1, gt=0, lt=1)
    """Share of the songs that test; RMN's and ULDA's own split is documented nowhere [U]."""
    twins: Literal["leave_out", "keep"] = "leave_out"
    """A training song that is the same recording as a test song under another id: left out of training, or kept."""
    settle_s: float = Field(15.0, ge=0, le=86_400)
    """Seconds at the start whose labels are dropped; the archive has none there."""
    length_tolerance: float = Field(1.5, ge=0, le=86_400)
    """Seconds by which the last label may miss the end of the song [U]; beyond it the song is refused."""
    checksums: Literal["refuse", "record"] = "refuse"
    """What to do with a file whose sha256 is not the one on the data set's card."""


class _Row(NamedTuple):
    line: int
    fields: list[str]


def locate(folder: Path, options: Config) -> Located:
    """Annotation files, metadata, split files (where they are asked for) and songs below the folder."""

    def choose(files: tuple[Path, ...], items: Sequence[_card.CardItem]) -> dict[str, tuple[Path, ...]]:
        songs = media_of(files, [item.key for item in items], _common.AUDIO_SUFFIXES)
        names = {"annotations": _ANNOTATIONS, "deviations": _DEVIATIONS, "information": _INFORMATION}
        found = {role: _named(files, name) for role, name in names.items()}
        if options.split == "files":
            found |= {role: _named(files, name, "split") for role, name in _SPLIT.items()}
        return found | {"songs": tuple(songs.files.values())}

    remedies = {
        "annotations": f"no {_ANNOTATIONS} below {folder}: unpack the archive PMEmo2019 there",
        "songs": f"none of the songs (chorus/<musicId>.mp3) below {folder}: unpack the archive PMEmo2019 there",
    }
    return _common.assemble("pmemo", folder, choose, remedies, skip=("EDA", "lyrics", "comments"))


def items(located: Located, options: Config) -> list[Item]:
    """All songs with dynamic annotations, by their number."""
    songs = media_of(located.scanned, [entry.key for entry in located.items], _common.AUDIO_SUFFIXES)
    shared = {role: paths[0] for role, paths in located.files.items() if role != "songs"}
    return [songs.item(entry, **shared, audio=songs.files.get(entry.key)) for entry in located.items]


def describe(located: Located, item: Item, options: Config) -> dict[str, Any]:
    """Rows, first and last time and step in seconds; mean deviation per target and length where the files are there.

    Raises:
        InputError: the annotations cannot be read or have no row of this song.
    """
    times, _, _ = read_series(_annotations(item), item, columns_of("mean"))
    facts: dict[str, Any] = {"rows": len(times), "first": float(times[0]), "last": float(times[-1]), "step": _STEP}
    if "deviations" in item.files and not _deviation_faults(item, times):
        _, values, _ = read_series(item.files["deviations"], item, columns_of("std"))
        facts["mean_deviation"] = dict(zip(TARGETS, values.mean(axis=0).tolist(), strict=True))
    if (duration := _duration(item)) is not None:
        facts["duration_s"] = duration
    return facts


def read_labels(located: Located, item: Item, options: Config, limits: Limits) -> LabelledItem:
    """Mean valence and arousal, one row per half second, from `settle_s` on.

    Raises:
        InputError: the file is damaged, rows are missing or repeated, the labels do not end with the song, or one of
            them is not a number within the limits.
    """
    path = _annotations(item)
    times, values, lines = read_series(path, item, columns_of("mean"))
    _common.refuse_uneven_grid(times, _STEP, lambda row: f"{path}:{lines[row]}", _REMEDY)
    notes = [] if located.generated else _known(item)
    if fault := _deviation_faults(item, times):
        notes.append(f"the annotators' deviations are not used: {fault}")
    settled = times > options.settle_s
    if not settled.any():
        raise InputError(
            f"all labels of song {item.key} are in its first {options.settle_s:g} s",
            where=f"{path}:{lines[0]}",
            why="annotators need that long to settle; nothing is left to train or judge on",
        )
    _check_length(path, item, float(times[-1]), options)
    for column, target in enumerate(TARGETS):
        _common.refuse_bad_values(values[:, column], limits, target, lambda row: f"{path}:{lines[row]}")
    labels = {target: np.ascontiguousarray(values[settled, column]) for column, target in enumerate(TARGETS)}
    return LabelledItem(item.id, times[settled], labels, notes=notes)


def folds(located: Located, ids: Iterable[str], options: Config) -> list[dict[str, Any]]:
    """One fold: the songs drawn, or those of split/test.txt, test; all others train, but for twins of a test song.

    Raises:
        InputError: split files are asked for and are missing, or name a song twice or one that is not in the data set.
    """
    if located.generated:
        return _common.restricted_folds(located, ids)
    test = set(_drawn(located, options) if options.split == "random" else _read_split(located))
    twins = {other for song in test for other in _twins().get(song, ())} if options.twins == "leave_out" else set()
    present = set(ids)
    order = [entry.id for entry in located.items if entry.id in present]
    train = [song for song in order if song not in test | twins]
    return [{"name": "test", "train": train, "test": [song for song in order if song in test]}]


def _drawn(located: Located, options: Config) -> list[str]:
    """The first songs of a shuffle by NumPy's legacy generator: the authors' own draw, and frozen for all versions."""
    order = np.arange(len(located.items))
    np.random.RandomState(options.split_seed).shuffle(order)
    count = max(1, round(len(order) * options.test_share))
    return [located.items[index].id for index in order[:count]]


def _read_split(located: Located) -> list[str]:
    """The test songs of the split files, which must part the songs."""
    by_key = {entry.key: entry.id for entry in located.items}
    seen: dict[str, str] = {}
    test: list[str] = []
    for role, name in _SPLIT.items():
        if role not in located.files:
            raise InputError(
                f"split/{name} is not below {located.folder}",
                why="`datasets.pmemo.options.split` asks for the split files",
                remedy="put them there, or set `split: random`",
            )
        path = located.files[role][0]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            key = line.strip()
            if not key:
                continue
            if key not in by_key or key in seen:
                what = f"song {key!r} is in {seen[key]} too" if key in seen else f"there is no song {key!r}"
                raise InputError(what, where=f"{path}:{number}", remedy=f"{_REMEDY}, or set `split: random`")
            seen[key] = name
            if role == "split_test":
                test.append(by_key[key])
    return test


def _twins() -> dict[str, list[str]]:
    """song -> songs that are the same recording."""
    found: dict[str, list[str]] = {}
    for defect in _card.card("pmemo").known_defects:
        if defect.kind == "same_recording":
            found.setdefault(defect.id, []).append(defect.other)
            found.setdefault(defect.other, []).append(defect.id)
    return found


def _known(item: Item) -> list[str]:
    """What the card says about a song's defects."""
    defects = _card.card("pmemo").known_defects
    return [f"{defect.note}: a known defect" for defect in defects if item.id in (defect.id, defect.other)]


def _named(files: tuple[Path, ...], name: str, parent: str = "") -> tuple[Path, ...]:
    return next(((path,) for path in files if path.name == name and parent in ("", path.parent.name)), ())


def _annotations(item: Item) -> Path:
    if "annotations" not in item.files:
        raise InputError(f"{_ANNOTATIONS} is not there", remedy="unpack the archive PMEmo2019")
    return item.files["annotations"]


def columns_of(kind: str) -> tuple[str, ...]:
    """The columns of the targets, in their order."""
    return tuple(f"{target.title()}({kind})" for target in TARGETS)


def _deviation_faults(item: Item, times: np.ndarray) -> str:
    """What is wrong with a song's deviations; empty if nothing is, or if there are none."""
    if "deviations" not in item.files:
        return ""
    try:
        theirs, values, _ = read_series(item.files["deviations"], item, columns_of("std"))
    except InputError as error:
        return error.what
    if not np.array_equal(theirs, times):
        return (
            f"they have {counted(len(theirs), 'row')} at other times than the {counted(len(times), 'row')} of the means"
        )
    return "" if np.isfinite(values).all() and (values >= 0).all() else "one is negative or not a number"


def _duration(item: Item) -> float | None:
    """Seconds of the song by the metadata; None where they do not tell."""
    if "information" not in item.files:
        return None
    rows = _table(item.files["information"], ("duration",)).get(item.key, [])
    return _number(rows[0].fields[0]) if rows else None


def _check_length(path: Path, item: Item, last: float, options: Config) -> None:
    """Compare the last label with the end of the sound, where that is known."""
    duration = item.facts.get("duration_s")
    if isinstance(duration, int | float) and abs(last - duration) > options.length_tolerance:
        raise InputError(
            f"the last label of song {item.key} stands at {last:g} s, but its sound lasts {duration:.1f} s",
            where=path,
            why="labels and sound cannot be brought together: one of the two files is not whole",
            remedy=f"{_REMEDY}; if both are the official files, raise datasets.pmemo.options.length_tolerance",
        )


def read_series(path: Path, item: Item, columns: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """times [T] seconds, values [T, columns], and the line of each row of one song."""
    rows = _table(path, ("frameTime", *columns)).get(item.key, [])
    if not rows:
        raise InputError(f"has no row of song {item.key}", where=path, remedy=_REMEDY)
    table = []
    for row in rows:
        numbers = [_number(field) for field in row.fields]
        if None in numbers:
            shown = ", ".join(row.fields)
            raise InputError(f"expected numbers, found {shown[:80]!r}", where=f"{path}:{row.line}", remedy=_REMEDY)
        table.append(numbers)
    read = np.array(table, dtype=np.float64)
    return np.ascontiguousarray(read[:, 0]), np.ascontiguousarray(read[:, 1:]), [row.line for row in rows]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


@kept_until_changed(8)  # one file holds all songs
def _table(path: Path, columns: tuple[str, ...]) -> dict[str, list[_Row]]:
    """The rows of each song, `columns` of them, in the order of the file."""
    found: dict[str, list[_Row]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if "musicId" not in header or not set(columns) <= set(header):
                raise InputError(
                    f"the header names {', '.join(header)[:200] or 'nothing'}; expected musicId, {', '.join(columns)}",
                    where=f"{path}:1",
                    remedy=_REMEDY,
                )
            places = [header.index(name) for name in columns]
            key = header.index("musicId")
            for fields in reader:
                if not fields:
                    continue
                # A short row still belongs to its song, which is then refused by name.
                picked = [fields[place] if place < len(fields) else "" for place in places]
                found.setdefault(fields[key] if key < len(fields) else "", []).append(_Row(reader.line_num, picked))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read as a table ({error})", where=path, remedy=_REMEDY) from error
    return found
