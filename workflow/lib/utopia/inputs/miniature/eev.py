"""A miniature EEV: videos with sound, and the three tables, with fifteen expressions of viewers six times a second.

An expression is a fixed mixture of what is seen and heard (hue, brightness, motion, loudness, pitch) under noise that
is faster than the labels, and in 3 % of the seconds no face is seen: all fifteen are zero. The last video, of the test
table, are no longer available, as the log of fetching says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utopia import arrays
from utopia.datasets._card import CardItem
from utopia.datasets._eev_index import EXPRESSIONS
from utopia.datasets.eev import GRID, PARTS, UNLABELLED
from utopia.fetch.availability import Log, Try
from utopia.files import write_text
from utopia.inputs.miniature import Size, latent, scene
from utopia.inputs.miniature.eev_ids import ids_of
from utopia.inputs.miniature.files import cut_short, write_expected, write_mp4

_RATE = 6
_MEAN, _NOISE, _NOISE_S = -1.5, 0.8, 0.1
_NO_FACE = 0.03
_STEEPNESS = 0.45
"""Of the signals, tanh(0.45 x): dividing it out gives back their unit variance."""


def write(*, ids: Sequence[str], damaged: str | None, size: Size, seed: int, folder: Path) -> list[Path]:
    """Write the videos `ids` but the last; the video of `damaged` is cut short. Returns the files."""
    parts = ids_of(len(ids) - 1)
    weights = expression_weights(seed)
    header = "YouTube ID,Timestamp (microseconds)"
    tables = {part: [header if part == UNLABELLED else f"{header},{','.join(EXPRESSIONS)}"] for part in PARTS}
    files: list[Path] = []
    truth: dict[str, np.ndarray] = {"weights": weights}
    for part, of_part in parts.items():
        for item in of_part:
            planted = latent.plant(seed, "eev", item, size.seconds, size.fps, scene.Drives._fields)
            if item != ids[-1]:
                drives = scene.Drives(*((planted.signals[name] + 1) / 2 for name in scene.Drives._fields))
                pictures = scene.pictures(planted, drives, size.width, size.height, seed, "eev", item)
                sound = scene.sound(planted, drives, seed, "eev", item)
                video = write_mp4(folder / "videos" / f"{item}.mp4", pictures, sound, size.fps)
                files.append(cut_short(video) if item == damaged else video)
            felt, shown = expressions(planted, weights, seed, item)
            truth |= {f"{item}/felt": felt, f"{item}/reactions": shown, f"{item}/shots": planted.shots}
            tables[part] += _lines(item, None if part == UNLABELLED else shown, len(shown))
    for part, name in PARTS.items():
        write_text(folder / name, "\n".join(tables[part]) + "\n")
        files.append(folder / name)
    log = Log(folder / "videos")
    log.path.unlink(missing_ok=True)
    log.add(Try(ids[-1], "gone", "Video unavailable", "2021-05-01T00:00:00Z", 1))
    sidecar = folder / "truth.safetensors"
    arrays.save(sidecar, truth, {"dataset": "eev", "damaged": damaged, "fps": size.fps})
    items = [CardItem(id=item, name=item, key=item) for item in ids]
    expected = write_expected(folder, "eev", items, {"official": parts["validation"]})
    return [*files, log.path, sidecar, expected]


def expression_weights(seed: int) -> np.ndarray:
    """How the expressions mix what is seen and heard: [5, 15], columns of unit norm."""
    drawn = latent.generator(seed, "eev", "mixture").standard_normal((len(scene.Drives._fields), len(EXPRESSIONS)))
    return drawn / np.linalg.norm(drawn, axis=0)


def expressions(
    planted: latent.PlantedVideo, weights: np.ndarray, seed: int, item: str
) -> tuple[np.ndarray, np.ndarray]:
    """What is felt, without noise, and what is shown: both [T, 15] in [0, 1], six rows per second."""
    rng = latent.generator(seed, "eev", item, "expressions")
    length = planted.seconds * _RATE
    at = np.arange(length) * planted.fps / _RATE
    grid = np.arange(planted.frames)
    signals = [np.interp(at, grid, np.arctanh(planted.signals[name]) / _STEEPNESS) for name in scene.Drives._fields]
    mixed = np.stack(signals, axis=1) @ weights + _MEAN
    noise = latent.drifting(rng, len(EXPRESSIONS), length, _NOISE_S * _RATE).T
    seen = np.repeat(rng.random(planted.seconds) >= _NO_FACE, _RATE)[:, None]
    return _sigmoid(mixed), _sigmoid(mixed + _NOISE * noise) * seen


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def _lines(item: str, values: np.ndarray | None, length: int) -> list[str]:
    times = [row // _RATE * 1_000_000 + GRID[row % _RATE] for row in range(length)]
    if values is None:
        return [f"{item},{time}" for time in times]
    rows = zip(times, values, strict=True)
    return [f"{item},{time}," + ",".join(f"{value:.7g}" for value in row) for time, row in rows]
