"""SumMe: 25 user videos, each summarised by 15 to 18 people; the label is the share of them who kept a frame.

Layout: `GT/<name>.mat` (MATLAB v5: `user_score` [frames, users], 0 where a user left the frame out; `nFrames`, `FPS`),
the videos as `videos/<name>.mp4`, and the field's HDF5 file with a group `video_<i>` per video (`change_points`,
`user_summary`, `picks`, `n_frames`), which gives the shots of the F-score protocol and the numbering of the published
folds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from utopia.config.base import Strict
from utopia.datasets import _card, _common, _summary
from utopia.datasets._common import Item, LabelledItem, Limits, Located
from utopia.datasets._names import media_of
from utopia.errors import InputError

PROTOCOL = "summary"
TARGETS = ("importance",)
LABELS_PER_SECOND = 2.0
MEAN_SECONDS = 160.0
"""Mean length of the official videos, for prices."""
SPLITS = 5
"""Published splits."""
F_SCORE = "max"
"""Over several users, as the field does it."""
_SHOTS = ("eccv16_dataset_summe_google_pool5.h5", "summe_labels.h5")
_REMEDY = "get the file again from the SumMe site, or remove it: the video is then a declared absence"


class Config(Strict):
    """SumMe: importance of every 15th frame of 25 videos."""

    label_annotators: int | None = Field(None, ge=1, le=1000)
    """Make the training label from this many users, drawn by `label_seed`; the label of all judges. Null: all."""
    label_seed: int = Field(2307, ge=0, le=2**63 - 1)
    """Seed of that draw."""
    checksums: Literal["refuse", "record"] = "refuse"
    """What to do with a file whose sha256 is not the one on the data set's card."""


class _UserSummaries(NamedTuple):
    """chosen: [users, frames] 0/1."""

    chosen: np.ndarray
    fps: float
    notes: tuple[str, ...]


def locate(folder: Path, options: Config) -> Located:
    """The official `.mat` files, the field's HDF5 file and the videos below the folder."""

    def choose(files: tuple[Path, ...], items: Sequence[_card.CardItem]) -> dict[str, tuple[Path, ...]]:
        shots = _summary.one_file(files, _SHOTS)
        return {
            # The HDF5 file repeats the votes, so it can replace .mat files that are not there.
            "annotations": tuple(_summary.videos_of(files, items, (".mat",)).values()) or shots,
            "shots": shots,
            "videos": tuple(media_of(files, [item.key for item in items]).files.values()),
        }

    remedies = {
        "annotations": f"neither GT/<video>.mat nor {' nor '.join(_SHOTS)} below {folder}: unpack SumMe.zip there",
        "shots": f"neither {' nor '.join(_SHOTS)} below {folder}: without shots and user summaries there is no F-score",
        "videos": f"none of the 25 videos below {folder}: unpack SumMe.zip there",
    }
    return _common.assemble("summe", folder, choose, remedies)


def items(located: Located, options: Config) -> list[Item]:
    """All videos, in the field's numbering."""
    annotations = _summary.videos_of(located.files.get("annotations", ()), located.items, (".mat",))
    videos = media_of(located.scanned, [entry.key for entry in located.items])
    shots = dict.fromkeys((entry.id for entry in located.items), *located.files.get("shots", (None,)))
    return [
        videos.item(
            entry, annotations=annotations.get(entry.id), shots=shots[entry.id], video=videos.files.get(entry.key)
        )
        for entry in located.items
    ]


def describe(located: Located, item: Item, options: Config) -> dict[str, Any]:
    """Frame rate, frames, duration and number of annotators.

    Raises:
        InputError: the annotations cannot be read or contradict one another.
    """
    votes, _ = _read(located, item)
    return _summary.summary_facts(votes.fps, votes.chosen.shape[1], votes.chosen.shape[0])


def read_labels(located: Located, item: Item, options: Config, limits: Limits) -> LabelledItem:
    """Share of users who kept the frame, at every 15th frame.

    Raises:
        InputError: the annotations are damaged, contradict one another or leave the limits.
    """
    votes, shots = _read(located, item)
    frames = votes.chosen.shape[1]
    picks = shots["picks"] if shots else _summary.grid(frames)
    at_picks = votes.chosen[:, picks].astype(np.float64)
    users = _summary.choose_annotators(len(at_picks), options.label_annotators, options.label_seed, "summe", item.id)
    everyone = at_picks.mean(axis=0)
    label = at_picks[users].mean(axis=0)
    _common.refuse_bad_values(
        label, limits, "importance", lambda row: f"{item.files.get('annotations')}:frame {picks[row]}"
    )
    notes = list(votes.notes)
    printed = shots.pop("gtscore", None)
    if printed is not None and np.abs(printed - everyone).max() > 1e-6:
        notes.append("gtscore of the HDF5 file is not the mean of its user summaries; the mean is used")
    return LabelledItem(
        id=item.id,
        times=picks / votes.fps,
        labels={"importance": label},
        evaluation={} if options.label_annotators is None else {"importance": everyone},
        votes={"importance": at_picks},
        shots=shots or {"picks": picks, "n_frames": np.array([frames], dtype=np.int64)},
        annotators=users,
        notes=notes,
    )


def folds(located: Located, ids: Iterable[str], options: Config) -> list[dict[str, Any]]:
    """The five published 80/20 splits of PGL-SUM; they overlap: 18 of the 25 videos are ever tested."""
    return _common.restricted_folds(located, ids)


def _read(located: Located, item: Item) -> tuple[_UserSummaries, dict[str, np.ndarray]]:
    """The votes and, where the HDF5 file is there, the shots; checked against one another."""
    shots = _summary.read_shots(item.files["shots"], item) if "shots" in item.files else {}
    if "annotations" in item.files:
        votes = _read_mat(item.files["annotations"])
        if shots:
            _refuse_disagreement(item, votes, shots)
        return votes, shots
    fps = _summary.official(located, item).fps
    if not shots or fps is None:
        raise InputError(f"GT/{item.key}.mat is not there", remedy="unpack SumMe.zip")
    return _UserSummaries(
        shots["user_summary"], fps, ("no official .mat file: votes from the HDF5 file, frame rate from the card",)
    ), shots


def _read_mat(path: Path) -> _UserSummaries:
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=("user_score", "nFrames", "FPS"))
        scores = np.asarray(content["user_score"], dtype=np.float64)
        frames, fps = int(np.asarray(content["nFrames"]).item()), float(np.asarray(content["FPS"]).item())
    except Exception as error:  # the reader raises whatever damaged bytes lead it to
        raise InputError(f"not a readable SumMe annotation file ({error})", where=path, remedy=_REMEDY) from error
    faults = []
    if scores.ndim != 2 or scores.shape[0] != frames or scores.shape[1] == 0:
        faults.append(f"user_score is {' x '.join(map(str, scores.shape))} but nFrames is {frames}")
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores).all(axis=-1))[0])
        faults.append(f"user_score is not a number in frame {row}")
    if not fps > 0:
        faults.append(f"FPS is {fps}")
    if faults:
        raise InputError(
            "; ".join(faults), where=path, why="votes and frames cannot be brought together", remedy=_REMEDY
        )
    return _UserSummaries((scores > 0).T.astype(np.uint8), fps, ())


def _refuse_disagreement(item: Item, votes: _UserSummaries, shots: dict[str, np.ndarray]) -> None:
    """The official file and the field's file must tell of the same votes."""
    ours, theirs = votes.chosen, shots["user_summary"]
    frames = int(shots["n_frames"][0])
    if ours.shape != theirs.shape or ours.shape[1] != frames:
        what = (
            f"{ours.shape[0]} users x {ours.shape[1]} frames, but the HDF5 file has "
            f"{theirs.shape[0]} x {theirs.shape[1]} (n_frames {frames})"
        )
    elif not np.array_equal(ours, theirs):
        what = f"the HDF5 file has other votes in {int((ours != theirs).any(axis=0).sum())} of {frames} frames"
    else:
        return
    raise InputError(
        what,
        where=item.files["annotations"],
        why=f"one of this file and {item.files['shots'].name} is not the published one",
        remedy="get both again; their cards name where",
    )
