"""LIRIS-ACCEDE: valence and arousal of 66 movies (MediaEval 2018), one value per second in [-1, 1].

Layout (one folder per part, as the archives unpack)::

    MEDIAEVAL18-<set>-Valence_Arousal-annotations/annotations/MEDIAEVAL18_<id>_Valence-Arousal.txt
    MEDIAEVAL18-<set>-Data/data/MEDIAEVAL18_<id>.mp4

with movies 00-13 in DevSet-Part1, 14-43 in DevSet-Part2, 44-53 in DevSet-Part3 and 54-65 in TestSet. Any other
arrangement of files with these names is accepted too. An annotation file has a header line and the columns time,
valence, arousal, separated by tabs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from utopia.config.base import Strict
from utopia.datasets import _card, _common
from utopia.datasets._common import Item, LabelledItem, Limits, Located
from utopia.datasets._names import media_of
from utopia.errors import InputError, counted

PROTOCOL = "affect"
TARGETS = ("valence", "arousal")
LABELS_PER_SECOND = 1.0
_ENDING = "_Valence-Arousal"
_STEP = 1.0
_REMEDY = "get the file again from the LIRIS-ACCEDE site, or remove it: the movie is then a declared absence"


class Config(Strict):
    """LIRIS-ACCEDE, MediaEval 2018: valence and arousal per second of 66 movies."""

    length_tolerance: float = Field(5.0, ge=0, le=86_400)
    """Seconds by which the labels may be longer or shorter than the video [U]; beyond it the movie is refused."""


def locate(folder: Path, options: Config) -> Located:
    """Annotation files and videos below the folder. The provided feature files (millions) are not looked through."""

    def choose(files: tuple[Path, ...], items: Sequence[_card.CardItem]) -> dict[str, tuple[Path, ...]]:
        keys = {_common.stem_key(item.key) for item in items}
        annotations = _common.by_stem(files, (".txt",), _ENDING)
        return {
            "annotations": tuple(path for key, path in annotations.items() if key in keys),
            "videos": tuple(media_of(files, [item.key for item in items]).files.values()),
        }

    remedies = {
        "annotations": f"no MEDIAEVAL18_<id>{_ENDING}.txt below {folder}: LIRIS-ACCEDE is given out under a signed "
        "agreement; unpack its Valence_Arousal-annotations archives there",
        "videos": f"no MEDIAEVAL18_<id>.mp4 below {folder}: unpack the Data archives of MediaEval 2018 there",
    }
    return _common.assemble("liris", folder, choose, remedies, skip=("*_features", "*-features", "*Fear*"))


def items(located: Located, options: Config) -> list[Item]:
    """All movies, in the official order."""
    annotations = _common.by_stem(located.files.get("annotations", ()), (".txt",), _ENDING)
    videos = media_of(located.scanned, [entry.key for entry in located.items])
    return [
        videos.item(entry, annotations=annotations.get(_common.stem_key(entry.key)), video=videos.files.get(entry.key))
        for entry in located.items
    ]


def describe(located: Located, item: Item, options: Config) -> dict[str, Any]:
    """Number of labelled seconds and the first and last time.

    Raises:
        InputError: the file cannot be read as an annotation file.
    """
    times, _, _ = _read(_annotations(item))
    return {"rows": len(times), "first": float(times[0]), "last": float(times[-1]), "step": _STEP}


def read_labels(located: Located, item: Item, options: Config, limits: Limits) -> LabelledItem:
    """Valence and arousal, one row per second.

    Raises:
        InputError: the file is damaged, rows are missing or repeated, its length is not the video's, or a label is not
            a
            number within the limits.
    """
    path = _annotations(item)
    times, values, lines = _read(path)
    _common.refuse_uneven_grid(times, _STEP, lambda row: f"{path}:{lines[row]}", _REMEDY)
    notes = _check_length(path, times, item, located, options)
    for column, target in enumerate(TARGETS):
        _common.refuse_bad_values(values[:, column], limits, target, lambda row: f"{path}:{lines[row]}")
    labels = {target: np.ascontiguousarray(values[:, column]) for column, target in enumerate(TARGETS)}
    return LabelledItem(item.id, times, labels, notes=notes)


def folds(located: Located, ids: Iterable[str], options: Config) -> list[dict[str, Any]]:
    """One fold: the development movies train, the test-set movies test (as in MediaEval 2018)."""
    return _common.restricted_folds(located, ids)


def _annotations(item: Item) -> Path:
    if "annotations" not in item.files:
        raise InputError(
            f"{item.key}{_ENDING}.txt is not there", remedy="unpack the Valence_Arousal-annotations archives"
        )
    return item.files["annotations"]


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """times [T] seconds, values [T, 2] (valence, arousal), and the line of each row."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read as text ({error})", where=path, remedy=_REMEDY) from error
    columns = [0, 1, 2]
    rows: list[list[float]] = []
    lines: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = [part for part in re.split(r"[\t, ]+", line.strip()) if part]
        if not fields:
            continue
        if number == 1 and not _is_number(fields[0]):
            columns = _columns(path, fields)
            continue
        if len(fields) != 3 or not all(_is_number(part) for part in fields):
            raise InputError(
                f"expected three numbers (time, valence, arousal), found {line.strip()[:80]!r}",
                where=f"{path}:{number}",
                why="the file is damaged or of another kind",
                remedy=_REMEDY,
            )
        rows.append([float(fields[column]) for column in columns])
        lines.append(number)
    if not rows:
        raise InputError("has no rows", where=path, why="the movie has no labels", remedy=_REMEDY)
    table = np.array(rows, dtype=np.float64)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1:]), lines


def _columns(path: Path, header: Sequence[str]) -> list[int]:
    names = [name.strip().lower() for name in header]
    if len(names) == 3 and set(TARGETS) <= set(names):
        times = next(index for index, name in enumerate(names) if name not in TARGETS)
        return [times, *(names.index(target) for target in TARGETS)]
    raise InputError(
        f"the header names {', '.join(header)}; expected time, valence and arousal", where=f"{path}:1", remedy=_REMEDY
    )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_length(path: Path, times: np.ndarray, item: Item, located: Located, options: Config) -> list[str]:
    """Compare the labelled span with the video, where its length is known; the notes to keep."""
    duration = item.facts.get("duration_s")
    if not isinstance(duration, int | float):
        return []
    difference = len(times) * _STEP - float(duration)
    if abs(difference) <= options.length_tolerance:
        return []
    lengths = f"{counted(len(times), 'label')} (one per second) for a video of {duration:.1f} s"
    known = {defect.id: defect for defect in _card.card("liris").known_defects if defect.kind == "short_labels"}
    if difference < 0 and item.id in known and not located.generated:
        return [f"{lengths}: a known defect; the labelled seconds are used"]
    raise InputError(
        lengths,
        where=path,
        why="labels and frames cannot be brought together",
        remedy=f"{_REMEDY}; if both are the official files, raise datasets.liris.options.length_tolerance",
    )
