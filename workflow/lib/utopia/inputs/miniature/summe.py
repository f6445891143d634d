"""A miniature SumMe: videos with sound, official `.mat` files, and the field's HDF5 file with the planted shots.

All annotators' summaries are in the files; that few of them make the training label is an option of the data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utopia import arrays
from utopia.datasets._card import CardItem
from utopia.inputs.miniature import Size, latent, scene
from utopia.inputs.miniature.files import (
    cut_short,
    field_group,
    overlapping_folds,
    write_expected,
    write_hdf5,
    write_mat,
    write_mp4,
)

_SHORTEST_S = 1.0
_BUDGET = (0.08, 0.18)


def write(*, ids: Sequence[str], damaged: str | None, size: Size, seed: int, folder: Path) -> list[Path]:
    """Write the videos `ids`, `Miniature_01` and so on; the video of `damaged` is cut short. Returns the files."""
    people = latent.recruit(seed, "summe", size.annotators)
    budgets = latent.generator(seed, "summe", "budgets").uniform(*_BUDGET, size.annotators)
    files: list[Path] = []
    truth: dict[str, np.ndarray] = {}
    items: list[CardItem] = []
    groups: dict[str, dict[str, np.ndarray | bytes]] = {}
    for number, item in enumerate(ids, start=1):
        name = f"Miniature_{number:02d}"
        planted = latent.plant(seed, "summe", item, size.seconds, size.fps, ("importance",))
        drives = scene.Drives(*[(planted.signals["importance"] + 1) / 2] * 5)
        video = folder / "videos" / f"{name}.mp4"
        pictures = scene.pictures(planted, drives, size.width, size.height, seed, "summe", item)
        write_mp4(video, pictures, scene.sound(planted, drives, seed, "summe", item), size.fps)
        files.append(cut_short(video) if item == damaged else video)

        felt = latent.perceive(people, planted.signals["importance"], size.fps, seed, "summe", item)
        chosen = [_summary(series, budget, size.fps) for series, budget in zip(felt, budgets, strict=True)]
        files.append(_write_annotations(folder / "GT" / f"{name}.mat", chosen, planted))
        summary = np.stack([segments > 0 for segments in chosen]).astype(np.uint8)
        shown = field_group(planted.shots, summary, summary.mean(axis=0))
        groups[item] = {**shown, "video_name": name.encode()}
        truth |= {f"{item}/importance": planted.signals["importance"], f"{item}/importance.votes": summary}
        items.append(CardItem(id=item, name=name, key=name, fps=size.fps, frames=planted.frames))
    sidecar = folder / "truth.safetensors"
    arrays.save(sidecar, truth, {"dataset": "summe", "damaged": damaged, "fps": size.fps})
    whole = [item for item in ids if item != damaged]
    folds = overlapping_folds(whole, latent.generator(seed, "summe", "folds"))
    return [
        *files,
        write_hdf5(folder / "summe_labels.h5", groups),
        sidecar,
        write_expected(folder, "summe", items, folds),
    ]


def _summary(felt: np.ndarray, budget: float, fps: int) -> np.ndarray:
    """The segments that a user keeps, numbered from 1, 0 elsewhere: [N]. Segments under a second are given up."""
    kept = felt > np.quantile(felt, 1 - budget)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], kept, [False]]).astype(int)))
    spans = edges.reshape(-1, 2)
    long = spans[spans[:, 1] - spans[:, 0] >= _SHORTEST_S * fps]
    # Everybody keeps something: at least the longest span.
    spans = long if len(long) else spans[[np.argmax(spans[:, 1] - spans[:, 0])]]
    segments = np.zeros(len(felt), dtype=np.uint8)
    for number, (start, end) in enumerate(spans, start=1):
        segments[start:end] = number
    return segments


def _write_annotations(path: Path, chosen: Sequence[np.ndarray], planted: latent.PlantedVideo) -> Path:
    """The official MATLAB file: scores per frame and user, segments in seconds per user."""
    scores = np.stack(chosen, axis=1)
    users = len(chosen)
    segments, names = np.empty((1, users), dtype=object), np.empty((1, users), dtype=object)
    for user, kept in enumerate(chosen):
        spans = [np.flatnonzero(kept == number)[[0, -1]] for number in range(1, int(kept.max()) + 1)]
        segments[0, user] = np.array(spans, dtype=np.float64) / planted.fps
        names[0, user] = f"annotator_{user + 1:02d}"
    content = {
        "all_userIDs": names,
        "segments": segments,
        "nFrames": np.array([[planted.frames]], dtype=np.uint16),
        "video_duration": np.array([[planted.frames / planted.fps]]),
        "FPS": np.array([[planted.fps]], dtype=np.uint8),
        "gt_score": (scores > 0).mean(axis=1, keepdims=True),
        "user_score": scores,
    }
    return write_mat(path, content)
