"""CASE: valence and arousal that 30 viewers of eight film clips gave with a joystick, 20 times per second. Labels only.

Layout: `annotations/sub_<n>.csv` (of the official `data/interpolated`), one file per viewer with the columns `jstime`
(milliseconds of the session), `valence`, `arousal` (0.5 to 9.5, 5 is neutral) and `video`. Videos 1 to 8 are the clips;
10, 11 and 12 are the start, the blue screen between two clips, and the end. Viewers saw the clips in different orders.

The clips are excerpts of films that nobody gives out, so there are no features: the data set serves studies of labels.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from utopia.config.base import Strict
from utopia.datasets import _card, _common, _summary
from utopia.datasets._common import Item, LabelledItem, Limits, Located
from utopia.errors import InputError, counted
from utopia.files import kept_until_changed

PROTOCOL = "affect"
TARGETS = ("valence", "arousal")
LABELS_PER_SECOND = 20.0
MEAN_SECONDS = 159.0
"""Mean length of the official videos, for prices."""
VIEWERS = 30
NEUTRAL, REACH = 5.0, 4.5
"""Middle of the joystick's scale and its way to either end: votes are brought to [-1, 1]."""
_STEP_MS = 50.0
_COLUMNS = ("jstime", *TARGETS, "video")
_REMEDY = "get the file again from the data set's repository, folder data/interpolated/annotations"


class Config(Strict):
    """CASE: valence and arousal of eight film clips, twenty times per second, as 30 viewers felt them; labels only."""

    label_annotators: int | None = Field(None, ge=1, le=30)
    """Make the training label from this many viewers, drawn by `label_seed`; the label of all judges. Null: all."""
    label_seed: int = Field(2307, ge=0, le=2**63 - 1)
    """Seed of that draw."""
    checksums: Literal["refuse", "record"] = "record"
    """What to do with a file whose sha256 is not the one on the data set's card. Those on the card are of a copy that
    somebody else published, so another one is recorded, not refused, unless you say so."""


class Watched(NamedTuple):
    """What one viewer gave during one clip of T samples."""

    times_ms: np.ndarray
    """[T] of the session."""
    votes: Mapping[str, np.ndarray]
    """By target, [T] in [-1, 1]."""
    lines: np.ndarray
    """[T] lines of the file."""


def locate(folder: Path, options: Config) -> Located:
    """The viewers' files below the folder; not the files of the same names with signals or uneven times."""

    def choose(files: tuple[Path, ...], items: Sequence[_card.CardItem]) -> dict[str, tuple[Path, ...]]:
        found = (_summary.one_file(files, (f"sub_{n}.csv",)) for n in range(1, VIEWERS + 1))
        return {"annotations": tuple(path for paths in found for path in paths)}

    remedies = {
        "annotations": f"no sub_1.csv to sub_{VIEWERS}.csv below {folder}: put the repository's annotations there",
        "videos": f"no videos below {folder}: the clips are excerpts of films, which nobody gives out",
    }
    other_files = ("physiological", "non-interpolated", "initial", "raw", "metadata")
    return _common.assemble("case", folder, choose, remedies, skip=other_files)


def items(located: Located, options: Config) -> list[Item]:
    """The eight clips, each with the files of all viewers: `annotations`, then `viewer_2` and so on."""
    paths = located.files.get("annotations", ())
    files = {f"viewer_{number}" if number > 1 else "annotations": path for number, path in enumerate(paths, start=1)}
    return [Item(entry.id, entry.name, entry.key, dict(files)) for entry in located.items]


def describe(located: Located, item: Item, options: Config) -> dict[str, Any]:
    """Samples, seconds of the first and the last, the step, and how many viewers saw the clip.

    Raises:
        InputError: a viewer's file cannot be read, or nobody saw the clip.
    """
    watched, _ = _watched(item)
    samples = len(next(iter(watched.values())).times_ms)
    step = _STEP_MS / 1000
    return {
        "rows": samples,
        "first": 0.0,
        "last": (samples - 1) * step,
        "step": step,
        "annotators": len(watched),
    }


def read_labels(located: Located, item: Item, options: Config, limits: Limits) -> LabelledItem:
    """Valence and arousal of a clip: the mean over its viewers, at every twentieth of a second from its beginning.

    A viewer who did not see the clip, or not all of it, is left out, and a note says so.

    Raises:
        InputError: a file cannot be read, its times have holes, a vote is not a number or lies outside the scale.
    """
    watched, notes = _watched(item)
    for path, given in watched.items():
        _refuse_faults(path, given, limits)
    votes = {target: np.stack([given.votes[target] for given in watched.values()]) for target in TARGETS}
    viewers = _summary.choose_annotators(len(watched), options.label_annotators, options.label_seed, "case", item.id)
    samples = votes[TARGETS[0]].shape[1]
    everyone = {target: values.mean(axis=0) for target, values in votes.items()}
    return LabelledItem(
        id=item.id,
        times=np.arange(samples) * (_STEP_MS / 1000),
        labels={target: values[viewers].mean(axis=0) for target, values in votes.items()},
        evaluation={} if options.label_annotators is None else everyone,
        votes=votes,
        annotators=viewers,
        notes=notes,
    )


def folds(located: Located, ids: Iterable[str], options: Config) -> list[dict[str, Any]]:
    """Leave one clip out."""
    return _common.restricted_folds(located, ids)


def _refuse_faults(path: Path, given: Watched, limits: Limits) -> None:
    """Refuse times with holes, and votes that are not numbers of the scale, with the line of the file."""

    def line(row: int) -> str:
        return f"{path}:{given.lines[row]}"

    _common.refuse_uneven_grid(given.times_ms / 1000, _STEP_MS / 1000, line, _REMEDY)
    for target in TARGETS:
        _common.refuse_bad_values(given.votes[target], limits, target, line)


def _watched(item: Item) -> tuple[dict[Path, Watched], list[str]]:
    """What each viewer gave during the whole clip, by file, and notes on those who are left out."""
    if not item.files:
        raise InputError("there is no viewer's file", remedy=_REMEDY)
    number = int(item.key.rpartition("_")[2])
    seen = {path: clips[number] for path in item.files.values() if number in (clips := read_viewer(path))}
    if not seen:
        where = next(iter(item.files.values())).parent
        raise InputError(f"no viewer has a row of video {number}", where=where, remedy=_REMEDY)
    lengths = Counter(len(given.times_ms) for given in seen.values())
    whole = max(lengths, key=lambda length: (lengths[length], length))
    kept = {path: given for path, given in seen.items() if len(given.times_ms) == whole}
    notes = [f"{len(kept)} of {VIEWERS} viewers"] if len(kept) < VIEWERS else []
    notes += [
        f"{path.name} is left out: {counted(len(given.times_ms), 'sample')} of video {number},"
        f" most viewers have {whole}"
        for path, given in seen.items()
        if path not in kept
    ]
    return kept, notes


@kept_until_changed(VIEWERS)  # every clip needs all files
def read_viewer(path: Path) -> dict[int, Watched]:
    """What a viewer gave, by the number of the video.

    Raises:
        InputError: the file cannot be read, a column is missing, or a line has other than numbers.
    """
    rows: list[tuple[float, float, float, float, int]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            missing = [name for name in _COLUMNS if name not in header]
            if missing:
                raise InputError(f"the header lacks {', '.join(missing)}", where=f"{path}:1", remedy=_REMEDY)
            time, valence, arousal, video = (header.index(name) for name in _COLUMNS)
            for fields in reader:
                try:
                    row = (float(fields[time]), float(fields[valence]), float(fields[arousal]), float(fields[video]))
                except (ValueError, IndexError):
                    shown = ",".join(fields)[:80]
                    where = f"{path}:{reader.line_num}"
                    raise InputError(f"expected numbers, found {shown!r}", where=where, remedy=_REMEDY) from None
                rows.append((*row, reader.line_num))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read as a table ({error})", where=path, remedy=_REMEDY) from error
    if not rows:
        raise InputError("has no rows", where=path, why="the viewer gave nothing", remedy=_REMEDY)
    table = np.array(rows, dtype=np.float64)
    videos = table[:, 3]
    return {
        int(number): Watched(
            own[:, 0],
            {target: (own[:, column] - NEUTRAL) / REACH for column, target in enumerate(TARGETS, start=1)},
            own[:, 4].astype(np.int64),
        )
        for number in np.unique(videos[np.isfinite(videos)])
        for own in (table[videos == number],)
    }
