"""What the video-summarisation data sets share: the field's HDF5 layout, the label grid, the choice of annotators."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from utopia import seeds
from utopia.datasets._card import CardItem
from utopia.datasets._common import Item, Located, by_stem, stem_key
from utopia.datasets._names import plain, stored_name
from utopia.errors import InputError, counted

STEP = 15
"""Labels stand at every 15th frame, whatever the frame rate (the `picks` of the field's HDF5 files)."""
_WHOLE = ("picks", "n_frames", "change_points")
_HDF5_REMEDY = "get the file again (its card names where), or remove it"


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading; whatever is wrong with it becomes an InputError naming the file."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"damaged, cut short or not in the expected layout ({error})", where=path, remedy=_HDF5_REMEDY
        ) from error


def one_file(files: tuple[Path, ...], names: Sequence[str]) -> tuple[Path, ...]:
    """The first of `names` that is there, as a role's only file; nothing if none is."""
    for name in names:
        for path in files:
            if path.name == name:
                return (path,)
    return ()


def videos_of(files: tuple[Path, ...], items: Sequence[CardItem], suffixes: Sequence[str]) -> dict[str, Path]:
    """The file of each item (by its id) whose stem is the item's key."""
    found = by_stem(files, suffixes)
    return {item.id: found[stem_key(item.key)] for item in items if stem_key(item.key) in found}


def official(located: Located, item: Item) -> CardItem:
    """The item's entry in the official list."""
    return next(entry for entry in located.items if entry.id == item.id)


def read_shots(path: Path, item: Item) -> dict[str, np.ndarray]:
    """The item's group of a file in the field's layout.

    Returns:
        picks [T] int64, n_frames [1] int64, change_points [shots, 2] int64 (inclusive), user_summary [users, frames]
        uint8, and gtscore [T] float64 where the file has it.

    Raises:
        InputError: the file is damaged, has no such group, or its arrays contradict one another.
    """
    with open_hdf5(path) as file:
        if item.id not in file:
            raise InputError(
                f"has no group {item.id!r} ({item.name})",
                where=path,
                why="the field numbers videos so",
                remedy=_HDF5_REMEDY,
            )
        group = file[item.id]
        if "video_name" in group:
            name = stored_name(group["video_name"][()])
            if plain(name) not in (plain(item.key), plain(item.name)):
                raise InputError(
                    f"{item.id} is {name!r} here, but {item.key!r} in the official list",
                    where=path,
                    why="the published folds go by these numbers",
                    remedy=_HDF5_REMEDY,
                )
        found = {name: group[name][()] for name in (*_WHOLE, "user_summary")}
        found |= {
            name: group[name][()] for name in ("gtscore", "gtsummary", "n_steps", "n_frame_per_seg") if name in group
        }
        found |= {"features": np.empty(group["features"].shape[:1])} if "features" in group else {}
    shots = _agreeing(f"{path}:{item.id}", found)
    return {name: shots[name] for name in (*_WHOLE, "user_summary", "gtscore") if name in shots}


def _agreeing(where: str, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a group in the types of `read_shots`, after each has been held against every other.

    Raises:
        InputError: they contradict one another; all contradictions, with the arrays and the numbers.
    """
    shots, faults = dict(found), []
    for name in (*_WHOLE, *({"n_steps", "n_frame_per_seg"} & set(found))):
        numbers = np.asarray(found[name])
        if numbers.dtype.kind not in "iuf" or not (np.isfinite(numbers).all() and (numbers == np.round(numbers)).all()):
            raise InputError(f"{name} holds other than whole numbers", where=where, remedy=_HDF5_REMEDY)
        shots[name] = numbers.astype(np.int64)
    for name in ("picks", "gtscore", "n_frame_per_seg"):
        if name in shots:
            shots[name] = np.asarray(shots[name]).reshape(-1)
    if shots["n_frames"].size != 1 or (frames := int(shots["n_frames"].reshape(()))) < 1:
        raise InputError(f"n_frames is {shots['n_frames']}, not one number", where=where, remedy=_HDF5_REMEDY)
    shots["n_frames"] = shots["n_frames"].reshape(1)
    faults += _picks_faults(shots["picks"], frames)
    faults += _shot_faults(shots["change_points"], frames, len(shots["picks"]))
    faults += _summary_faults(np.asarray(shots["user_summary"]), frames, len(shots["picks"]))
    steps = len(shots["picks"])
    for name, count in (
        ("gtscore", np.size(shots.get("gtscore", ()))),
        ("features", len(shots.get("features", ()))),
        ("n_steps", int(shots["n_steps"].reshape(-1)[0]) if np.size(shots.get("n_steps", ())) else 0),
    ):
        if name in shots and count != steps:
            faults.append(f"{count} {name} {'values ' if name == 'gtscore' else ''}for {steps} picks")
    if "gtscore" in shots and not np.isfinite(shots["gtscore"].astype(np.float64)).all():
        faults.append("gtscore is not a number everywhere")
    if "gtsummary" in shots and np.size(shots["gtsummary"]) not in (steps, frames):
        faults.append(f"{np.size(shots['gtsummary'])} gtsummary values for {steps} picks of {frames} frames")
    points = shots["change_points"]
    if "n_frame_per_seg" in shots and points.ndim == 2 and points.shape[1:] == (2,):
        lengths = points[:, 1] - points[:, 0] + 1
        if not np.array_equal(lengths, shots["n_frame_per_seg"]):
            faults.append(
                f"n_frame_per_seg gives {shots['n_frame_per_seg'].sum()} frames in {shots['n_frame_per_seg'].size} "
                f"shots, change_points {lengths.sum()} in {lengths.size}"
            )
    if faults:
        raise InputError(
            "; ".join(faults),
            where=where,
            why="the F-score goes by shots and summaries: out of step, it would be 0 or wrong without a word",
            remedy=_HDF5_REMEDY,
        )
    shots["user_summary"] = shots["user_summary"].astype(np.uint8)
    if "gtscore" in shots:
        shots["gtscore"] = shots["gtscore"].astype(np.float64)
    return shots


def _picks_faults(picks: np.ndarray, frames: int) -> list[str]:
    """What is wrong with the frame numbers [T] of the label grid: they must rise, evenly, from 0 to the last frame."""
    if picks.size == 0 or picks[0] < 0 or picks[-1] >= frames or (np.diff(picks) <= 0).any():
        return [f"picks are not increasing frame numbers below n_frames ({frames})"]
    gaps = np.diff(picks)
    step = int(gaps.max()) if gaps.size else frames
    if gaps.size and gaps.min() != step:
        uneven = int(np.flatnonzero(gaps != np.bincount(gaps).argmax())[0])
        return [f"picks are not evenly spaced: {picks[uneven]} is followed by {picks[uneven + 1]}"]
    if picks[0] >= step or frames - picks[-1] > step:
        return [f"picks go from {picks[0]} to {picks[-1]} in steps of {step}, but n_frames is {frames}"]
    return []


def _shot_faults(points: np.ndarray, frames: int, steps: int) -> list[str]:
    """What is wrong with the shots [shots, 2]: one must follow the other, from frame 0 to the last one."""
    if points.ndim != 2 or points.shape[1] != 2 or points.shape[0] == 0:
        return [f"change_points must be [shots, 2], not {list(points.shape)}"]
    first, last = points[:, 0], points[:, 1]
    wrong = np.flatnonzero((last < first) | (first < 0) | np.append(False, first[1:] <= last[:-1]))
    if wrong.size:
        shot = int(wrong[0])
        before = f" after one that ends at {last[shot - 1]}" if shot else ""
        return [f"change_points overlap or go back: shot {shot + 1} is [{first[shot]}, {last[shot]}]{before}"]
    faults = []
    holes = np.flatnonzero(first[1:] != last[:-1] + 1)
    if holes.size:
        hole = int(holes[0])
        between = f"a shot ends at {last[hole]}, the next begins at {first[hole + 1]}"
        faults.append(f"change_points leave {holes.size} holes: {between}")
    if first[0] != 0 or last[-1] != frames - 1:
        units = ", as steps of picks would" if last[-1] in (steps - 1, steps) else ""
        faults.append(
            f"change_points go from {first[0]} to {last[-1]}{units}, but the frames from 0 to {frames - 1} (n_frames)"
        )
    return faults


def _summary_faults(summary: np.ndarray, frames: int, steps: int) -> list[str]:
    """What is wrong with the viewers' summaries [users, frames] of 0 and 1."""
    if summary.ndim != 2 or 0 in summary.shape:
        return [f"user_summary must be [users, frames], not {list(summary.shape)}"]
    faults = []
    if summary.shape[1] != frames:
        guess = ""
        if summary.shape[0] == frames:
            guess = ": it is transposed"
        elif summary.shape[1] == steps:
            guess = ": it has a value per pick, not per frame"
        faults.append(f"user_summary is {summary.shape[0]} x {summary.shape[1]}, but n_frames is {frames}{guess}")
    if not np.isin(summary, (0, 1)).all():
        faults.append("user_summary has values other than 0 and 1")
    return faults


def choose_annotators(count: int, wanted: int | None, seed: int, *identity: str) -> list[int]:
    """Which of `count` annotators make the training label: all, or `wanted` drawn by the seed for this item.

    Raises:
        InputError: there are fewer annotators than wanted.
    """
    if wanted is None:
        return list(range(count))
    if wanted > count:
        raise InputError(
            f"has {counted(count, 'annotator')}, fewer than the {wanted} asked for",
            where=":".join(identity),
            remedy="lower `label_annotators` in this data set's options",
        )
    drawn = np.random.default_rng(seeds.derive(seed, *identity, "label annotators")).choice(
        count, wanted, replace=False
    )
    return sorted(int(index) for index in drawn)


def summary_facts(fps: float, frames: int, annotators: int) -> dict[str, Any]:
    """What the annotations say of a video."""
    return {
        "fps": fps,
        "frames": frames,
        "duration_s": frames / fps,
        "annotators": annotators,
        "steps": len(grid(frames)),
    }


def grid(frames: int) -> np.ndarray:
    """The frame numbers of the label grid [T]."""
    return np.arange(0, frames, STEP, dtype=np.int64)
