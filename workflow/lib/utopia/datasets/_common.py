"""What every data set is made of: the files found below its folder, its items, their labels, and its card.

A data-set file offers `Config`, `PROTOCOL`, `TARGETS`, where its media are sound without pictures also
`MEDIUM = "audio"`, where a target is a vector also `COLUMNS` (target -> names of its numbers), and five functions;
`tests/contract/test_datasets.py` holds all of them to it:

* `locate(folder, options) -> Located`: which files are there, by name alone (no hashing, no decoding);
* `items(located, options) -> list[Item]`: every expected item in official order, with the files that are there;
* `describe(located, item, options) -> dict`: facts read from the annotations; InputError where they cannot be read;
* `read_labels(located, item, options, limits) -> LabelledItem`: the labels on one time grid; InputError for a bad file;
* `folds(located, ids, options) -> list[dict]`: name, train and test ids, restricted to `ids`.

It may offer `seconds(located) -> dict`: id -> how long an item is by its tables, where the card's list has no frames:
extraction jobs are then cut by it.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from utopia.datasets._card import CardFile, CardFold, CardItem, Expected, card, faults
from utopia.errors import InputError, counted
from utopia.fetch.availability import LOG
from utopia.files import read_json, sha256

VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv")
AUDIO_SUFFIXES = (".mp3", ".wav", ".flac", ".m4a", ".aac", ".ogg", ".opus", ".wma")
EXPECTED = "expected.json"
DEPTH = 5
_ROUNDING = 1e-9
_HASHED_AT_ONCE = 1 << 28
"""Bytes of the largest file that is hashed while a study is planned."""


@dataclass(frozen=True)
class Located:
    """Files of a data set below its folder, by role (`annotations`, `shots`, `videos`, ...; `availability`: the log of
    fetching its videos one by one)."""

    folder: Path
    files: Mapping[str, tuple[Path, ...]]
    missing: Mapping[str, str]
    """Roles that cannot be filled, with the reason and the remedy."""
    items: tuple[CardItem, ...]
    """The official list, or the list of a generated folder."""
    published: tuple[CardFold, ...]
    """The published folds, or those of a generated folder."""
    generated: bool = False
    """Whether the miniature made this folder."""
    duplicates: tuple[Path, ...] = ()
    """Files of the same name as one that is used, deeper in the folder; they are not used."""
    scanned: tuple[Path, ...] = ()
    """All files below the folder, used or not, the nearest first."""
    unlike_published: tuple[str, ...] = ()
    """What of the protocol is not as published, by the choice of an option: every value says so."""
    obtained: frozenset[str] | None = None
    """Ids of the items whose video can be used; None before there is a manifest."""


@dataclass(frozen=True, slots=True)
class Item:
    """An expected item with the files that are there: roles `annotations`, `shots`, `video`, ..."""

    id: str
    name: str
    key: str
    files: Mapping[str, Path]
    facts: dict[str, Any] = field(default_factory=dict)
    """What the manifest knows of it (`duration_s`, `frames`, ...); empty before there is a manifest."""
    part: str = ""
    """The part of the data set that lists it, where the list is in the published files."""
    hint: str = ""
    """What is there in the place of a video (a song) that is missing; see `_names.media_of`."""


@dataclass(frozen=True)
class LabelledItem:
    """Labels of one item on its time grid of T points.

    times: [T] seconds. labels: target -> [T] training label, or [T, C] where a target has the columns that `COLUMNS`
    names; empty of an item whose labels are not published. evaluation: target -> like labels, only where predictions
    are judged by another label. utopia: target -> [2, T] mean and deviation of the law that
    the label of infinitely many annotators was drawn from, only where it is planted.
    votes: target -> [annotators, T], in label units, so that their mean is the label of all annotators.
    shots: for the summary protocol `picks` [T], `n_frames` [1], and, where they are known, `change_points` [shots, 2]
    (inclusive frames) and `user_summary` [users, frames] of 0/1. counted: target -> [T] bool, the labels that metrics
    count, only where that is not all. annotators: the annotators behind the training label.
    notes: what a reader of the numbers should know.
    """

    id: str
    times: np.ndarray
    labels: Mapping[str, np.ndarray]
    evaluation: Mapping[str, np.ndarray] = field(default_factory=dict)
    utopia: Mapping[str, np.ndarray] = field(default_factory=dict)
    votes: Mapping[str, np.ndarray] = field(default_factory=dict)
    shots: Mapping[str, np.ndarray] = field(default_factory=dict)
    counted: Mapping[str, np.ndarray] = field(default_factory=dict)
    annotators: Sequence[int] = ()
    notes: Sequence[str] = ()


class Medium(NamedTuple):
    """What an item is decoded from."""

    role: str
    """The role of an item's own file."""
    files: str
    """The role of all of them."""
    word: str
    """What one is called in messages."""


MEDIA = {"video": Medium("video", "videos", "video"), "audio": Medium("audio", "songs", "song")}


def medium(module: Any) -> Medium:
    """The medium of a data-set file: video, unless it says otherwise."""
    return MEDIA[getattr(module, "MEDIUM", "video")]


class Limits(NamedTuple):
    """The label range that the study works on, `[low, high]`."""

    low: float
    high: float


def label_limits(dataset: str, distribution: Mapping[str, Any]) -> Limits:
    """The label range of the study: that of the distribution's settings, or the card's where there are none (empty)."""
    if distribution:
        return Limits(float(distribution["low"]), float(distribution["high"]))
    ranges = card(dataset).label_range.values()
    return Limits(min(low for low, _ in ranges), max(high for _, high in ranges))


def _expected(dataset: str, folder: Path) -> Expected | None:
    path = folder / EXPECTED
    if not os.path.lexists(path):
        return None
    try:
        expected = Expected.model_validate(read_json(path))
    except ValidationError as error:
        raise InputError(
            f"not a list of generated items: {faults(error)}",
            where=path,
            why="this file tells which items a generated folder holds",
            remedy="delete the generated folder and run the command again; in a folder of real data, delete this file",
        ) from None
    if expected.dataset != dataset:
        raise InputError(f"this folder was generated for {expected.dataset!r}, not for {dataset!r}", where=path)
    return expected


class Scan(NamedTuple):
    """The files below a folder, and why some of it could not be looked into (empty: all was)."""

    files: tuple[Path, ...]
    problem: str


def scan(folder: Path, skip: Iterable[str] = ()) -> Scan:
    """Files down to five folders below `folder`, nearest first, without hidden names and folders matching `skip`."""
    patterns = [pattern.lower() for pattern in skip]
    problems: list[str] = []

    def problem(error: OSError) -> None:
        problems.append(f"{error.filename} cannot be read ({error.strerror})")

    found: list[tuple[int, str]] = []
    top = str(folder).count(os.sep)
    for root, folders, names in os.walk(folder, onerror=problem, followlinks=True):
        depth = root.count(os.sep) - top
        deep = depth >= DEPTH
        folders[:] = (
            [] if deep else sorted(name for name in folders if not _hidden(name) and not _matches(name, patterns))
        )
        found.extend((depth, f"{root}{os.sep}{name}") for name in names if not _hidden(name))
    found.sort()
    return Scan(tuple(Path(path) for _, path in found), "; ".join(problems))


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern) for pattern in patterns)


def stem_key(stem: str) -> str:
    """A file's stem as it is compared: tools rename spaces to underscores and change the case."""
    return stem.replace(" ", "_").lower()


def by_stem(files: Iterable[Path], suffixes: Sequence[str], ending: str = "") -> dict[str, Path]:
    """The first file per stem (compared by `stem_key`, `ending` taken off) among those with one of the suffixes."""
    found: dict[str, Path] = {}
    end = stem_key(ending)
    for path in files:
        stem = stem_key(path.stem)
        if path.suffix.lower() in suffixes and stem.endswith(end):
            found.setdefault(stem[: len(stem) - len(end)], path)
    return found


def assemble(
    dataset: str,
    folder: Path,
    choose: Callable[[tuple[Path, ...], Sequence[CardItem]], Mapping[str, tuple[Path, ...]]],
    remedies: Mapping[str, str],
    skip: Iterable[str] = (),
) -> Located:
    """Look for a data set's files: `choose(files, items)` sorts what was found into roles.

    Args:
        remedies: for each role, what is not there and what to do about it, used where the role stays empty.

    Raises:
        InputError: the folder has an `expected.json` that is damaged or of another data set.
    """
    folder = Path(folder)
    expected = _expected(dataset, folder)
    official = expected or card(dataset)
    looked = scan(folder, skip) if folder.is_dir() else Scan((), f"there is no folder {folder}")
    roles = choose(looked.files, official.items)
    missing = {}
    for role, remedy in remedies.items():
        why = f"the miniature makes no {role} for this data set" if expected else remedy
        if not roles.get(role):
            missing[role] = f"{why} ({looked.problem})" if looked.problem else why
            others = [
                path for path in looked.files if path.suffix.lower() in (*VIDEO_SUFFIXES, *AUDIO_SUFFIXES, ".part")
            ]
            if others and role in {medium.files for medium in MEDIA.values()}:
                missing[role] += (
                    f"; {counted(len(others), 'file there has another name', 'files there have other names')}"
                    f" or {'is' if len(others) == 1 else 'are'} unfinished, as {others[0].name}"
                )
    if (log := folder / "videos" / LOG).is_file():
        roles = {**roles, "availability": (log,)}
    used = {path for files in roles.values() for path in files}
    names = {path.name for path in used}
    return Located(
        folder=folder,
        files={role: files for role, files in roles.items() if files},
        missing=missing,
        items=tuple(official.items),
        published=tuple(official.folds),
        generated=expected is not None,
        scanned=looked.files,
        duplicates=tuple(path for path in looked.files if path.name in names and path not in used),
    )


def not_published(name: str) -> str:
    """What every value says that is computed from such a file."""
    return f"{name} is not the published file"


def other_versions(dataset: str, located: Located) -> tuple[str, ...]:
    """Of the files that are used, those that are not the published ones of their names, in words.

    A file of the published size is hashed, unless that would hold every start up; the manifest's job hashes all.
    """
    if located.generated:
        return ()
    listed = {file.name: file for file in card(dataset).files if file.sha256}
    used = sorted({path for files in located.files.values() for path in files if path.name in listed})
    return tuple(not_published(path.name) for path in used if _is_other(path, listed[path.name]))


def _is_other(path: Path, published: CardFile) -> bool:
    try:
        size = path.stat().st_size
        if published.bytes not in (None, size):
            return True
        return size <= _HASHED_AT_ONCE and sha256(path) != published.sha256
    except OSError:  # the job that lists the files says so
        return False


def restricted_folds(located: Located, ids: Iterable[str]) -> list[dict[str, Any]]:
    """The published folds with train = all other items, both restricted to `ids`, in official order."""
    present = set(ids)
    order = [item.id for item in located.items if item.id in present]
    return [
        {
            "name": fold.name,
            "train": [item for item in order if item not in set(fold.test)],
            "test": [item for item in order if item in set(fold.test)],
        }
        for fold in located.published
    ]


def refuse_bad_values(values: np.ndarray, limits: Limits, target: str, where: Callable[[int], str]) -> None:
    """Refuse labels that are not numbers or lie outside the range.

    Args:
        values: [T] labels.
        where: index -> file and row, for the message.

    Raises:
        InputError: naming the first bad row and how many there are.
    """
    holes = np.flatnonzero(~np.isfinite(values))
    if holes.size:
        raise InputError(
            f"the {target} label is not a number ({holes.size} of {values.size} rows)",
            where=where(int(holes[0])),
            why="a model cannot be trained or judged on it",
            remedy="get the file again; do not fill the hole by hand",
        )
    outside = np.flatnonzero((values < limits.low - _ROUNDING) | (values > limits.high + _ROUNDING))
    if outside.size:
        first = int(outside[0])
        raise InputError(
            f"the {target} label {values[first]:g} lies outside [{limits.low:g}, {limits.high:g}] "
            f"({outside.size} of {values.size} rows)",
            where=where(first),
            why="it has no bin in the label distribution",
            remedy="check the file, or the `distribution` range (low, high) of this data set in config.yaml",
        )


def refuse_uneven_grid(times: np.ndarray, step: float, where: Callable[[int], str], remedy: str) -> None:
    """Refuse times [T] that are not one row every `step` seconds, in order, none missing, none repeated.

    Args:
        where: index -> file and row, for the message.

    Raises:
        InputError: naming the first bad row and how many there are.
    """
    bad = np.flatnonzero(~(np.abs(np.diff(times) - step) < 1e-3))
    if np.isfinite(times[0]) and not bad.size:
        return
    row = int(bad[0]) + 1 if bad.size else 0
    before, after = float(times[max(row - 1, 0)]), float(times[row])
    what = (
        f"the times {before:g} s and {after:g} s repeat or go back"
        if after <= before
        else f"rows are missing: {before:g} s is followed by {after:g} s"
    )
    raise InputError(
        f"{what} ({bad.size} such places)",
        where=where(row),
        why=f"labels are one per {'second' if step == 1 else f'{step:g} s'}; with a hole or a double they would belong "
        "to the wrong time",
        remedy=remedy,
    )
