"""Series whose labels depend on a cue far back: features drawn directly, without any video.

Every clip of 10 s shows a value of +1 or -1. In two of the first clips that value is a cue, and a mark says so; half of
the other clips have a false mark. Later clips ask for one of the cues. Nothing else of a video tells the answer, so a
model answers only what it has kept.

    one_cue      from 90 s on the label is the first cue's value, which was shown in the first 20 s
    two_cues     from 90 s on it is the value of the cue that the clip asks for, both shown in the first 40 s
    long_delay   from 150 s on it is the first cue's value: 13 clips back or more, among distractors

Labels are 0.6 times the value, and 0 before. What is asked counts alone (`judged`), so that answering 0 has a mean
squared error of 0.36.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utopia import arrays
from utopia.datasets._card import CardItem
from utopia.inputs.miniature import Size, latent
from utopia.inputs.miniature.files import write_expected, write_hdf5

MAKES = "features"
CLIP_S = 10
TARGETS = ("one_cue", "two_cues", "long_delay")
_WIDTH = 8
"""Channels: the value, marks of the two cues, the false mark, what is asked (2), noise alone (2)."""
_NOISE = 0.3
_LEVEL = 0.6
_ASKED_FROM_S = {"one_cue": 90, "two_cues": 90, "long_delay": 150}
_EARLY_CLIPS = (2, 4)
"""The first cue is in one of the first 2 clips, the second one in another of the first 4."""


def write(*, ids: Sequence[str], damaged: str | None, size: Size, seed: int, folder: Path) -> list[Path]:
    """Write the series `ids`, `size.seconds` long, and their features; every fifth is a test series. Returns the files.

    There are no videos, so none is damaged.
    """
    seconds = max(int(size.seconds), CLIP_S)
    labels: dict[str, np.ndarray] = {}
    groups: dict[str, dict[str, np.ndarray | bytes]] = {}
    for item in ids:
        x_TD, of_target = plant(latent.generator(seed, "planted", item), seconds)
        groups[item] = {"features": x_TD.astype(np.float32), "picks": np.arange(seconds)}
        for target, (label_T, judged_T) in of_target.items():
            labels |= {f"{item}/{target}": label_T, f"{item}/{target}.judged": judged_T}
    sidecar = folder / "labels.safetensors"
    arrays.save(sidecar, labels, {"dataset": "planted", "step_s": 1.0})
    items = [CardItem(id=item, name=f"Planted series {item.rpartition('_')[2]}", key=item, fps=1.0) for item in ids]
    folds = {"test": [item for item in ids if int(item.rpartition("_")[2]) % 5 == 0]}
    return [
        sidecar,
        write_hdf5(folder / "features.h5", groups),
        write_expected(folder, "planted", items, folds),
    ]


def plant(rng: np.random.Generator, seconds: int) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Features x_TD at one step per second, and by target the labels [T] and which of them count [T]."""
    clips = -(-seconds // CLIP_S)
    value_C = rng.choice([-1.0, 1.0], clips)
    marks_CD = np.zeros((clips, _WIDTH))
    first = int(rng.integers(min(_EARLY_CLIPS[0], clips)))
    others = [clip for clip in range(min(_EARLY_CLIPS[1], clips)) if clip != first]
    second = int(rng.choice(others)) if others else first
    marks_CD[:, 3] = rng.random(clips) < 0.5
    marks_CD[[first, second], 3] = 0
    marks_CD[first, 1], marks_CD[second, 2] = 1, 1
    asked_C = rng.integers(2, size=clips)
    marks_CD[np.arange(clips), 4 + asked_C] = np.arange(clips) * CLIP_S >= min(_ASKED_FROM_S.values())
    marks_CD[:, 0] = value_C
    x_TD = marks_CD.repeat(CLIP_S, axis=0)[:seconds]
    x_TD = x_TD + _NOISE * rng.standard_normal(x_TD.shape)
    answer_C = {
        "one_cue": np.full(clips, value_C[first]),
        "two_cues": value_C[np.array([first, second])[asked_C]],
        "long_delay": np.full(clips, value_C[first]),
    }
    made = {}
    for target in TARGETS:
        judged_T = np.arange(seconds) >= _ASKED_FROM_S[target]
        made[target] = (_LEVEL * answer_C[target].repeat(CLIP_S)[:seconds] * judged_T, judged_T.astype(np.uint8))
    return x_TD, made
