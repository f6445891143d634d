"""studyforrest: emotions portrayed in "Forrest Gump", which nine observers noted over two hours of film (CC0).

Layout: `av1o<n>.csv`, the events of observer n, one per line with `start` and `end` in seconds of the film, `arousal`
(HIGH or LOW) and `valence` (POS or NEG); and `confounds_1hz.csv`, twelve features per second of picture and sound,
which `python -m utopia.datasets.studyforrest` makes of the official `conf_{audio,visual}_run-<k>_events.tsv`. Both come
with the project (workflow/resources/embedded/studyforrest), so that this data set needs no download.

The items are the eight segments in which the film was shown. Each begins 16 s before the end of the one before; here a
segment ends where the next begins, so that no second of film is in two of them, and in training and test of one fold.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from utopia.config.base import Strict
from utopia.datasets import _card, _common, _summary
from utopia.datasets._common import Item, LabelledItem, Limits, Located
from utopia.errors import InputError
from utopia.files import write_text

PROTOCOL = "affect"
TARGETS = ("valence", "arousal")
LABELS_PER_SECOND = 1.0
MEAN_SECONDS = 886.0
"""Mean length of the official videos, for prices."""
VALUES = {"valence": {"POS": 1.0, "NEG": -1.0}, "arousal": {"HIGH": 1.0, "LOW": -1.0}}
OBSERVERS = 9
STARTS = (0, 886, 1752, 2612, 3572, 4480, 5342, 6410)
"""Second of the film at which each segment begins."""
END = 7086
"""Second at which the last one ends."""
FEATURES = "confounds_1hz.csv"
SOUND, PICTURE = ("rms", "lrdiff"), ("brmean", "brlr", "brud", "norm_diff")
"""Columns of the official confounds: level and left-right difference of the sound; brightness, its differences
left-right and up-down, and the difference from the frame before."""
_REMEDY = "get the file from the studyforrest repositories again, or use the copy in workflow/resources/embedded"


class Config(Strict):
    """studyforrest: valence and arousal per second, as nine observers noted portrayed emotions."""

    label_annotators: int | None = Field(None, ge=1, le=9)
    """Make the training label from this many observers, drawn by `label_seed`; the label of all judges. Null: all."""
    label_seed: int = Field(2307, ge=0, le=2**63 - 1)
    """Seed of that draw."""
    judges: Literal["all", "others"] = "all"
    """Whose label judges predictions, where `label_annotators` is set: that of all observers, or of those who are not
    behind the training label."""
    checksums: Literal["refuse", "record"] = "refuse"
    """What to do with a file whose sha256 is not the one on the data set's card."""


class Event(NamedTuple):
    """A portrayed emotion as one observer noted it."""

    start: float
    """Seconds of the film."""
    end: float
    values: dict[str, float]
    """By target, 1 or -1."""


def locate(folder: Path, options: Config) -> Located:
    """The observers' files below the folder. The film itself is given out by nobody."""

    def choose(files: tuple[Path, ...], items: Sequence[_card.CardItem]) -> dict[str, tuple[Path, ...]]:
        found = (_summary.one_file(files, (f"av1o{n:02d}.csv",)) for n in range(1, OBSERVERS + 1))
        return {"annotations": tuple(path for paths in found for path in paths)}

    remedies = {
        "annotations": f"no av1o01.csv to av1o09.csv below {folder}: they are in workflow/resources/embedded",
        "videos": f"no video below {folder}: the film is sold, not given out; its features come with the project",
    }
    return _common.assemble("studyforrest", folder, choose, remedies)


def items(located: Located, options: Config) -> list[Item]:
    """The eight segments, each with the files of all observers: `annotations`, then `observer_2` and so on."""
    paths = located.files.get("annotations", ())
    files = {f"observer_{number}" if number > 1 else "annotations": path for number, path in enumerate(paths, start=1)}
    return [Item(entry.id, entry.name, entry.key, dict(files)) for entry in located.items]


def describe(located: Located, item: Item, options: Config) -> dict[str, Any]:
    """Seconds and number of observers.

    Raises:
        InputError: a file of events cannot be read.
    """
    observers = _observers(item)
    start, end = _span(located, item)
    return {
        "rows": end - start,
        "first": 0.0,
        "last": float(end - start - 1),
        "step": 1.0,
        "annotators": len(observers),
    }


def read_labels(located: Located, item: Item, options: Config, limits: Limits) -> LabelledItem:
    """Valence and arousal at each second of a segment: the mean over observers of each observer's state.

    An observer's state is the mean over the events that are open at that second, +1 for POS and HIGH, -1 for NEG and
    LOW; 0 while none is.

    Raises:
        InputError: a file of events cannot be read, or a label lies outside the limits.
    """
    observers = _observers(item)
    start, end = _span(located, item)
    votes = {
        target: np.stack([state(events, target, start, end) for events in observers.values()]) for target in TARGETS
    }
    users = _summary.choose_annotators(
        len(observers), options.label_annotators, options.label_seed, "studyforrest", item.id
    )
    labels = {target: values[users].mean(axis=0) for target, values in votes.items()}
    for target, values in labels.items():
        _common.refuse_bad_values(
            values, limits, target, lambda row: f"{located.folder}: {item.id}, second {start + row} of the film"
        )
    judging = np.arange(len(observers))
    if options.judges == "others" and len(users) < len(observers):
        judging = np.setdiff1d(judging, users)
    few = [f"{len(observers)} of {OBSERVERS} observers"] if len(observers) < OBSERVERS else []
    return LabelledItem(
        id=item.id,
        times=np.arange(end - start, dtype=np.float64),
        labels=labels,
        evaluation={}
        if options.label_annotators is None
        else {target: values[judging].mean(axis=0) for target, values in votes.items()},
        votes=votes,
        annotators=users,
        notes=few,
    )


def folds(located: Located, ids: Iterable[str], options: Config) -> list[dict[str, Any]]:
    """Leave one segment out."""
    return _common.restricted_folds(located, ids)


def state(events: Sequence[Event], target: str, start: int, end: int) -> NDArray[np.float64]:
    """An observer's state at the seconds from `start` to `end` of the film [end - start], in [-1, 1]."""
    total_T, open_T = np.zeros(end - start), np.zeros(end - start)
    for event in events:
        # a second belongs to an event that is open when it begins
        first, last = (min(max(math.ceil(at) - start, 0), end - start) for at in (event.start, event.end))
        total_T[first:last] += event.values[target]
        open_T[first:last] += 1
    return np.divide(total_T, open_T, out=np.zeros_like(total_T), where=open_T > 0)


def _span(located: Located, item: Item) -> tuple[int, int]:
    """First second of a segment, and that of the next one."""
    number = [entry.id for entry in located.items].index(item.id)
    return STARTS[number], (*STARTS, END)[number + 1]


def _observers(item: Item) -> dict[str, list[Event]]:
    """The events of each observer, by the file's role."""
    if "annotations" not in item.files:
        raise InputError("there is no file of events", remedy=_REMEDY)
    return {role: read_events(path) for role, path in item.files.items()}


def read_events(path: Path) -> list[Event]:
    """The events of one observer.

    Raises:
        InputError: the file cannot be read, a column is missing, or a line is not an event.
    """
    events = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in ("start", "end", *TARGETS) if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"the header lacks {', '.join(missing)}", where=f"{path}:1", remedy=_REMEDY)
            for row in reader:
                events.append(_event(row, f"{path}:{reader.line_num}"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read as a table of events ({error})", where=path, remedy=_REMEDY) from error
    if not events:
        raise InputError("has no events", where=path, why="the observer would count as always neutral", remedy=_REMEDY)
    return events


def _event(row: dict[str, str | None], where: str) -> Event:
    try:
        start, end = float(row["start"] or ""), float(row["end"] or "")
        values = {target: VALUES[target][row[target] or ""] for target in TARGETS}
    except (ValueError, KeyError):
        start, end, values = math.nan, math.nan, {}
    if not 0 <= start < end < math.inf:
        shown = ", ".join(f"{name} {row[name]!r}" for name in ("start", "end", *TARGETS))
        raise InputError(
            f"not an event: {shown}",
            where=where,
            why="an event has a start before its end, valence POS or NEG and arousal HIGH or LOW",
            remedy=_REMEDY,
        )
    return Event(start, end, values)


def confounds(folder: Path) -> list[str]:
    """Twelve features per second of every segment, as the lines of `confounds_1hz.csv`.

    Args:
        folder: holds `conf_audio_run-<k>_events.tsv` and `conf_visual_run-<k>_events.tsv` for k from 1 to 8, 25
            rows per second.

    Returns:
        A header and a line per second: segment, second, then of sound and of picture the means and the sample
        deviations (n - 1) of that second's rows.

    Raises:
        InputError: a file is missing, lacks a column, or has a second without two rows.
    """
    import pandas as pd

    groups = (("audio", SOUND), ("visual", PICTURE))
    names = [f"{name}_{what}" for _, columns in groups for what in ("mean", "std") for name in columns]
    lines = [",".join(["segment", "time", *names])]
    for number, (start, end) in enumerate(zip(STARTS, (*STARTS[1:], END), strict=True), start=1):
        parts = []
        for kind, columns in groups:
            path = folder / f"conf_{kind}_run-{number}_events.tsv"
            try:
                table = pd.read_csv(path, sep="\t", usecols=["onset", *columns])
            except (OSError, ValueError) as error:
                raise InputError(f"cannot be read ({error})", where=path, remedy=_REMEDY) from error
            by_second = table.groupby(np.floor(table["onset"] + 1e-6).astype(int))[list(columns)]
            for values in (by_second.mean(), by_second.std(ddof=1)):
                parts.append(values.reindex(range(end - start)).to_numpy())
        rows = np.concatenate(parts, axis=1)
        if not np.isfinite(rows).all():
            second = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise InputError(f"second {second} has fewer than two rows", where=path, remedy=_REMEDY)
        for second, row in enumerate(rows):
            lines.append(",".join([f"segment_{number}", str(second), *(f"{value:.6g}" for value in row)]))
    return lines


def main(arguments: Sequence[str]) -> int:
    """`python -m utopia.datasets.studyforrest <folder with the official tables> <file to write>`."""
    source, output = map(Path, arguments)
    write_text(output, "\n".join(confounds(source)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
