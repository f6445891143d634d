"""TVSum: 50 web videos whose two-second shots 20 people rated 1 to 5; the label is the mean vote brought to [0, 1].

Layout: `ydata-tvsum50.mat` (MATLAB v7.3, that is HDF5: a struct `tvsum50` of references, one per video, with `video`,
`nframes`, `length`, `user_anno` [20, frames]), the videos as `<YouTube id>.mp4`, and the field's HDF5 file with a group
`video_<i>` per video in the same order, the only source of shots and user summaries for the F-score protocol. A file
`tvsum_labels.h5` of that layout without features serves as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import h5py
import numpy as np
from pydantic import Field

from utopia.config.base import Strict
from utopia.datasets import _card, _common, _keyshots, _summary
from utopia.datasets._common import Item, LabelledItem, Limits, Located
from utopia.datasets._names import media_of
from utopia.errors import InputError

PROTOCOL = "summary"
TARGETS = ("importance",)
LABELS_PER_SECOND = 2.0
MEAN_SECONDS = 251.0
"""Mean length of the official videos, for prices."""
SPLITS = 5
"""Published splits."""
F_SCORE = "mean"
"""Over several users."""
_ANNOTATIONS = ("ydata-tvsum50.mat",)
_SHOTS = ("eccv16_dataset_tvsum_google_pool5.h5", "tvsum_labels.h5")
_LOWEST, _HIGHEST = 1.0, 5.0
_SHOT_S = 2.0
UNIFORM = "uniform shots of 2 s instead of the published ones"
"""What every value on shots says that are not the published ones."""


class Config(Strict):
    """TVSum: importance of every 15th frame of 50 videos."""

    tvsum_gt_scale: Literal["minus_one_quarter", "over_five", "min_max"] = "minus_one_quarter"
    """How the mean vote x becomes a label in [0, 1] [U]: (x - 1) / 4, x / 5, or min-max per video."""
    missing_shots: Literal["hole", "uniform"] = "hole"
    """What to do about the F-score where the HDF5 file with shots and user summaries is not there: declare a hole, or
    take shots of two seconds, as TVSum was annotated, and make each user's summary of them from that user's votes."""
    label_annotators: int | None = Field(None, ge=1, le=1000)
    """Make the training label from this many users, drawn by `label_seed`; the label of all judges. Null: all."""
    label_seed: int = Field(2307, ge=0, le=2**63 - 1)
    """Seed of that draw."""
    checksums: Literal["refuse", "record"] = "refuse"
    """What to do with a file whose sha256 is not the one on the data set's card."""


class _UserScores(NamedTuple):
    """scores: [users, frames] in 1..5."""

    scores: np.ndarray
    fps: float


def locate(folder: Path, options: Config) -> Located:
    """The official `.mat` file, the field's HDF5 file and the videos below the folder."""

    def choose(files: tuple[Path, ...], items: Sequence[_card.CardItem]) -> dict[str, tuple[Path, ...]]:
        return {
            "annotations": _summary.one_file(files, _ANNOTATIONS),
            "shots": _summary.one_file(files, _SHOTS),
            "videos": tuple(media_of(files, [item.key for item in items]).files.values()),
        }

    remedies = {
        "annotations": f"no {_ANNOTATIONS[0]} below {folder}: it is in the TVSum repository, folder matlab",
        "shots": f"neither {' nor '.join(_SHOTS)} below {folder}: without shots and user summaries there is no F-score",
        "videos": f"none of the 50 videos (<YouTube id>.mp4) below {folder}: TVSum is given out on request",
    }
    located = _common.assemble("tvsum", folder, choose, remedies)
    if options.missing_shots == "uniform" and "annotations" in located.files and "shots" in located.missing:
        missing = {role: why for role, why in located.missing.items() if role != "shots"}
        return replace(located, missing=missing, unlike_published=(UNIFORM,))
    return located


def items(located: Located, options: Config) -> list[Item]:
    """All videos, in the order of the official file, which is the field's numbering."""
    videos = media_of(located.scanned, [entry.key for entry in located.items])
    shared = {role: located.files[role][0] for role in ("annotations", "shots") if role in located.files}
    return [videos.item(entry, **shared, video=videos.files.get(entry.key)) for entry in located.items]


def describe(located: Located, item: Item, options: Config) -> dict[str, Any]:
    """Frame rate, frames, duration and number of annotators.

    Raises:
        InputError: the annotations cannot be read or contradict one another.
    """
    votes, _ = _read(located, item)
    return _summary.summary_facts(votes.fps, votes.scores.shape[1], votes.scores.shape[0])


def read_labels(located: Located, item: Item, options: Config, limits: Limits) -> LabelledItem:
    """Mean vote, brought to [0, 1], at every 15th frame.

    Raises:
        InputError: the annotations are damaged, contradict one another or leave the limits.
    """
    votes, shots = _read(located, item)
    frames = votes.scores.shape[1]
    if not shots and options.missing_shots == "uniform":
        shots = uniform_shots(votes.scores, votes.fps)
    shots.pop("gtscore", None)  # its scale is documented nowhere; ours is `tvsum_gt_scale`
    picks = shots["picks"] if shots else _summary.grid(frames)
    users = _summary.choose_annotators(
        len(votes.scores), options.label_annotators, options.label_seed, "tvsum", item.id
    )
    low, span = _scale(votes.scores.mean(axis=0), options)
    everyone = (votes.scores[:, picks].mean(axis=0) - low) / span
    low_label, span_label = _scale(votes.scores[users].mean(axis=0), options)
    label = (votes.scores[users][:, picks].mean(axis=0) - low_label) / span_label
    _common.refuse_bad_values(
        label, limits, "importance", lambda row: f"{item.files['annotations']}:{item.key}:frame {picks[row]}"
    )
    return LabelledItem(
        id=item.id,
        times=picks / votes.fps,
        labels={"importance": label},
        evaluation={} if options.label_annotators is None else {"importance": everyone},
        votes={"importance": (votes.scores[:, picks] - low) / span},
        shots=shots or {"picks": picks, "n_frames": np.array([frames], dtype=np.int64)},
        annotators=users,
    )


def folds(located: Located, ids: Iterable[str], options: Config) -> list[dict[str, Any]]:
    """The five published 80/20 splits of PGL-SUM; they overlap: 34 of the 50 videos are ever tested."""
    return _common.restricted_folds(located, ids)


def uniform_shots(scores: np.ndarray, fps: float) -> dict[str, np.ndarray]:
    """Shots of two seconds and the users' summaries of them, as `read_shots` returns them.

    Args:
        scores: [users, frames] in 1..5; each user's summary is the best set of shots by their own votes.
    """
    frames = scores.shape[1]
    starts = np.unique(np.rint(np.arange(0, frames, _SHOT_S * fps)).astype(np.int64))
    starts = starts[starts < frames]
    points = np.stack([starts, np.append(starts[1:], frames) - 1], axis=1)
    every = np.arange(frames)
    summaries = [_keyshots.summarise(user, every, frames, points) for user in scores]
    return {
        "picks": _summary.grid(frames),
        "n_frames": np.array([frames], dtype=np.int64),
        "change_points": points,
        "user_summary": np.stack(summaries).astype(np.uint8),
    }


def _scale(mean: np.ndarray, options: Config) -> tuple[float, float]:
    """(low, span) such that the label is (mean vote - low) / span. A constant series has span 1 under `min_max`."""
    if options.tvsum_gt_scale == "minus_one_quarter":
        return _LOWEST, _HIGHEST - _LOWEST
    if options.tvsum_gt_scale == "over_five":
        return 0.0, _HIGHEST
    return float(mean.min()), float(np.ptp(mean)) or 1.0


def _read(located: Located, item: Item) -> tuple[_UserScores, dict[str, np.ndarray]]:
    """The votes and, where the HDF5 file is there, the shots; checked against one another."""
    if "annotations" not in item.files:
        raise InputError(f"{_ANNOTATIONS[0]} is not there", remedy="get it from the TVSum repository, folder matlab")
    votes = _read_mat(item.files["annotations"], item, [entry.id for entry in located.items].index(item.id))
    if "shots" not in item.files:
        return votes, {}
    shots = _summary.read_shots(item.files["shots"], item)
    if int(shots["n_frames"][0]) != votes.scores.shape[1]:
        raise InputError(
            f"{item.key} has {votes.scores.shape[1]} frames, but {item.id} of the HDF5 file has "
            f"{int(shots['n_frames'][0])}",
            where=item.files["annotations"],
            why=f"one of this file and {item.files['shots'].name} is not the published one",
            remedy="get both again; their cards name where",
        )
    return votes, shots


def _read_mat(path: Path, item: Item, position: int) -> _UserScores:
    """The entry at `position` of the struct, which must be the item's."""

    def entry(file: h5py.File, name: str) -> np.ndarray:
        return np.asarray(file[file["tvsum50"][name][position, 0]][()])

    with _summary.open_hdf5(path) as file:
        key = "".join(chr(code) for code in entry(file, "video").reshape(-1))
        frames, duration = float(entry(file, "nframes").item()), float(entry(file, "length").item())
        scores = entry(file, "user_anno").astype(np.float64)
    faults = []
    if key != item.key:
        faults.append(f"entry {position + 1} is {key!r}, but {item.key!r} in the official list")
    if scores.ndim != 2 or scores.shape[1] != frames or not len(scores):
        faults.append(
            f"user_anno of {key} is {' x '.join(map(str, scores.shape))} (users x frames) but nframes is {frames:g}"
        )
    else:
        bad = ~np.isfinite(scores) | (scores < _LOWEST) | (scores > _HIGHEST)
        if bad.any():
            user, frame = (int(index[0]) for index in np.nonzero(bad))
            faults.append(
                f"user_anno of {key} is {scores[user, frame]:g} for user {user + 1} in frame {frame}; votes are 1 to 5"
            )
    if not (frames > 0 and duration > 0):
        faults.append(f"{key} has {frames:g} frames in {duration:g} s")
    if faults:
        raise InputError(
            "; ".join(faults), where=path, remedy="get the file again from the TVSum repository, folder matlab"
        )
    return _UserScores(scores, frames / duration)
