"""A miniature CASE: viewers' files as the joystick wrote them, each with the clips in its own order; no videos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utopia import arrays
from utopia.datasets._card import CardItem
from utopia.files import write_text
from utopia.inputs.miniature import Size, latent
from utopia.inputs.miniature.files import write_expected

MAKES = "labels"
_TARGETS = ("valence", "arousal")
_RATE = 20
_START, _BLUE, _END = 10, 11, 12
_PAUSE_S = 2
"""Seconds of the start, the blue screens and the end."""


def write(*, ids: Sequence[str], damaged: str | None, size: Size, seed: int, folder: Path) -> list[Path]:
    """Write a file per viewer and the list of items; the last clip is in no test part. Returns the files."""
    people = latent.recruit(seed, "case", size.annotators)
    clips: dict[str, dict[str, np.ndarray]] = {}
    truth: dict[str, np.ndarray] = {}
    for item in ids:
        planted = latent.plant(seed, "case", item, size.seconds, _RATE, _TARGETS)
        clips[item] = {}
        for target in _TARGETS:
            felt = latent.perceive(people, planted.signals[target], _RATE, seed, "case", item, target)
            clips[item][target] = np.clip(felt, -1, 1)
            truth |= {f"{item}/{target}": planted.signals[target], f"{item}/{target}.votes": clips[item][target]}
    files = []
    for viewer in range(size.annotators):
        order = latent.generator(seed, "case", "order", str(viewer)).permutation(len(ids))
        shown: list[tuple[int, dict[str, np.ndarray]]] = [(_START, _at_rest())]
        for index in order:
            item = ids[int(index)]
            shown += [(_BLUE, _at_rest())] if len(shown) > 1 else []
            shown.append((_number(item), {target: clips[item][target][viewer] for target in _TARGETS}))
        shown.append((_END, _at_rest()))
        files.append(_write_viewer(folder / "annotations" / f"sub_{viewer + 1}.csv", shown))
    sidecar = folder / "truth.safetensors"
    arrays.save(sidecar, truth, {"dataset": "case", "rate": _RATE})
    items = [CardItem(id=item, name=f"Generated clip {item}", key=f"video_{_number(item)}") for item in ids]
    folds = {str(number): [item] for number, item in enumerate(ids[:-1])}
    return [*files, sidecar, write_expected(folder, "case", items, folds)]


def _number(item: str) -> int:
    """The number of a clip in the column `video`; those of start, blue screen and end are left free."""
    number = int(item.rpartition("_")[2])
    return number if number < _START else number + 3


def _at_rest() -> dict[str, np.ndarray]:
    return {target: np.zeros(_PAUSE_S * _RATE) for target in _TARGETS}


def _write_viewer(path: Path, shown: Sequence[tuple[int, dict[str, np.ndarray]]]) -> Path:
    lines, row = ["jstime,valence,arousal,video"], 0
    for video, votes in shown:
        for valence, arousal in zip(*(5 + 4.5 * votes[target] for target in _TARGETS), strict=True):
            lines.append(f"{row * 1000 // _RATE},{valence:.3f},{arousal:.3f},{video}")
            row += 1
    write_text(path, "\n".join(lines) + "\n")
    return path
