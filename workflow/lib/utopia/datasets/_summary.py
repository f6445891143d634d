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
from utopia.errors import InputError

STEP = 15
"""Labels stand at every 15th frame, whatever the frame rate (the `picks` of the field's HDF5 files)."""
_HDF5_REMEDY = "get the file anew (its card names where), or remove it"


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
            name = group["video_name"][()]
            name = name.decode() if isinstance(name, bytes) else str(name)
            if stem_key(name) != stem_key(item.key):
                raise InputError(
                    f"{item.id} is {name!r} here, but {item.key!r} in the official list",
                    where=path,
                    why="the published folds go by these numbers",
                    remedy=_HDF5_REMEDY,
                )
        shots: dict[str, np.ndarray] = {
            "picks": group["picks"][()].astype(np.int64).reshape(-1),
            "n_frames": np.array([int(group["n_frames"][()])], dtype=np.int64),
            "change_points": group["change_points"][()].astype(np.int64),
            "user_summary": group["user_summary"][()],
        }
        if "gtscore" in group:
            shots["gtscore"] = group["gtscore"][()].astype(np.float64).reshape(-1)
    _refuse_contradictions(f"{path}:{item.id}", shots)
    shots["user_summary"] = shots["user_summary"].astype(np.uint8)
    return shots


def _refuse_contradictions(where: str, shots: dict[str, np.ndarray]) -> None:
    picks, points, summary = shots["picks"], shots["change_points"], shots["user_summary"]
    frames = int(shots["n_frames"][0])
    faults = []
    if picks.size == 0 or picks[0] < 0 or picks[-1] >= frames or (np.diff(picks) <= 0).any():
        faults.append(f"picks are not increasing frame numbers below n_frames ({frames})")
    if points.ndim != 2 or points.shape[1] != 2 or points.shape[0] == 0:
        faults.append(f"change_points must be [shots, 2], not {list(points.shape)}")
    elif (points[:, 1] < points[:, 0]).any() or (points[1:, 0] <= points[:-1, 1]).any() or points[0, 0] < 0:
        faults.append("change_points overlap or go back")
    if summary.ndim != 2 or summary.shape[0] == 0:
        faults.append(f"user_summary must be [users, frames], not {list(summary.shape)}")
    elif not np.isin(summary, (0, 1)).all():
        faults.append("user_summary has values other than 0 and 1")
    if "gtscore" in shots and shots["gtscore"].shape != picks.shape:
        faults.append(f"{shots['gtscore'].size} gtscore values for {picks.size} picks")
    if faults:
        raise InputError("; ".join(faults), where=where, remedy=_HDF5_REMEDY)


def choose_annotators(count: int, wanted: int | None, seed: int, *identity: str) -> list[int]:
    """Which of `count` annotators make the training label: all, or `wanted` drawn by the seed for this item.

    Raises:
        InputError: there are fewer annotators than wanted.
    """
    if wanted is None:
        return list(range(count))
    if wanted > count:
        raise InputError(
            f"has {count} annotators, fewer than the {wanted} asked for",
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
