"""Series in which it is known what must help: features and the votes of annotators drawn directly, without any video.

A series is 60 s long. Twelve features are drawn at one step per second; what annotators feel follows from them by a
rule of each target. Three annotators make the training label, six others judge predictions and know no habit.

    signal      0.6 times the product of two features of random sign and size: no linear map finds it
    linear      a weighted sum of two features: a linear map finds all of it
    biased      as `linear` (of other features); but in a quarter of the seconds, which nothing marks, all three who
                make the label press the same wrong button, 0.9, where no true label is
    unbiased    as `biased`, of the same features, without the button
    cue         the sign that a mark pointed at in the first 20 s, asked for from 30 s on (`judged`)
    luck        a level drawn for each series: nothing in the features of other series tells it
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
TARGETS = ("signal", "linear", "biased", "unbiased", "cue", "luck")
LABEL_ANNOTATORS, ANNOTATORS = 3, 9
"""The first so many of all annotators make the training label."""
SECONDS = 60
CLIP_S = 5
"""Seconds that the value of a cue's channel holds."""
ASKED_FROM_S = 30
_CUE_CLIPS = 4
"""The cue is in one of the first so many clips."""
_DISAGREEMENT = 0.05
"""Deviation of a vote about what is felt."""
_NOISE = 0.3
"""Deviation of the noise on the channels of the cue."""
_LEVEL = 0.6
BUTTON, PRESSED = 0.9, 0.25
"""The wrong label, and the share of seconds that have it."""
_CODE = 6
"""Channels of the series' own code, by which a level of `luck` could be learnt by heart."""


def write(*, ids: Sequence[str], damaged: str | None, size: Size, seed: int, folder: Path) -> list[Path]:
    """Write the series `ids` and their features; every third is a test series. Returns the files.

    Their length and the number of annotators are part of the rule, so `size` has no say. There are no videos, so none
    is damaged.
    """
    contents: dict[str, np.ndarray] = {}
    groups: dict[str, dict[str, np.ndarray | bytes]] = {}
    for item in ids:
        x_TD, felt, judged_T = plant(latent.generator(seed, "planted_effects", item))
        groups[item] = {"features": x_TD.astype(np.float32), "picks": np.arange(SECONDS)}
        for target, felt_T in felt.items():
            rng = latent.generator(seed, "planted_effects", item, target)
            contents[f"{item}/{target}.votes"] = votes(rng, felt_T, pressed=target == "biased")
        contents[f"{item}/cue.judged"] = judged_T.astype(np.uint8)
    sidecar = folder / "votes.safetensors"
    arrays.save(
        sidecar, contents, {"dataset": "planted_effects", "step_s": 1.0, "label": list(range(LABEL_ANNOTATORS))}
    )
    items = [CardItem(id=item, name=f"Planted series {item.rpartition('_')[2]}", key=item, fps=1.0) for item in ids]
    folds = {"test": [item for item in ids if int(item.rpartition("_")[2]) % 3 == 0]}
    return [
        sidecar,
        write_hdf5(folder / "features.h5", groups),
        write_expected(folder, "planted_effects", items, folds),
    ]


def plant(rng: np.random.Generator) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Features x_TD, what is felt [T] by target, and which labels of `cue` count [T]."""
    size_T2 = rng.uniform(0.4, 1.0, (SECONDS, 2)) * rng.choice([-1.0, 1.0], (SECONDS, 2))
    plain_T2 = rng.uniform(-1.0, 1.0, (SECONDS, 2))
    shown_TC, answer = _cue(rng)
    code_D, level = rng.choice([-1.0, 1.0], _CODE), float(rng.choice([-1.0, 1.0]))
    x_TD = np.concatenate([size_T2, plain_T2, shown_TC, np.tile(code_D, (SECONDS, 1))], axis=1)
    judged_T = np.arange(SECONDS) >= ASKED_FROM_S
    sum_T = 0.4 * plain_T2[:, 0] - 0.2 * plain_T2[:, 1]
    felt = {
        "signal": _LEVEL * size_T2[:, 0] * size_T2[:, 1],
        "linear": sum_T,
        "biased": sum_T,
        "unbiased": sum_T,
        "cue": _LEVEL * answer * judged_T,
        "luck": np.full(SECONDS, _LEVEL * level),
    }
    return x_TD, felt, judged_T


def votes(rng: np.random.Generator, felt_T: np.ndarray, *, pressed: bool) -> np.ndarray:
    """Votes [A, T] on what is felt; with the button, those of the annotators who make the label have it at times."""
    vote_AT = felt_T + _DISAGREEMENT * rng.standard_normal((ANNOTATORS, len(felt_T)))
    if pressed:
        wrong_T = rng.random(len(felt_T)) < PRESSED
        vote_AT[:LABEL_ANNOTATORS, wrong_T] = BUTTON
    return np.clip(vote_AT, -1.0, 1.0)


def _cue(rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Channels that show a value per clip and a mark on one of the first clips [T, 2]; and the value marked."""
    value_C = rng.choice([-1.0, 1.0], SECONDS // CLIP_S)
    mark_C = np.zeros(SECONDS // CLIP_S)
    clip = int(rng.integers(_CUE_CLIPS))
    mark_C[clip] = 1.0
    shown_TC = np.stack([value_C, mark_C], axis=1).repeat(CLIP_S, axis=0)
    return shown_TC + _NOISE * rng.standard_normal(shown_TC.shape), float(value_C[clip])
