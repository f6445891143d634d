"""Series whose utopia labels are known, and the votes on them: features and labels drawn directly, without any video.

Two targets, for two ways in which labels and utopia labels may be apart. `u` is the utopia label of a frame, `g` the
label that any number of the annotators who were asked would give it; both wander with time.

    theory_holds   u = g + scatter, and annotators agree on g but for a little noise. The utopia labels are normally
                   distributed about the labels (ULDA Eq. 1), with the variance of its published kernel, so their
                   distribution is that of the labels convolved with it (Eq. 2). More annotators give the same label.
    theory_fails   votes = u + bias of the annotator + lasting noise. The labels are distributed about the utopia
                   labels, so theirs is the wider distribution, the fewer annotators the more; a convolution makes it
                   wider still. This is what docs/calibrated.md assumes.

Features are noisy linear functions of the utopia labels, so that what weights change in the error of the best linear
map follows from the variances alone (docs/calibrated.md). Annotators are the same people on every series.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utopia import arrays
from utopia.datasets._card import CardItem
from utopia.inputs.miniature import Size, latent
from utopia.inputs.miniature.files import write_expected, write_hdf5

MAKES = "features"
ALWAYS = True
TARGETS = ("theory_holds", "theory_fails")
LABELS = "labels.safetensors"
TESTED = 3
"""Every third series tests."""
SCATTER = 0.0742
"""Deviation of `u` from `g` where the theory holds: that of the kernel with delta .3 and sigma .1 in bins of .1."""
WITHIN, BETWEEN = 0.13, 0.05
"""Deviation of a label within a series, and of the series' means."""
AGREEING = 0.05
"""Deviation of a vote from `g`, from frame to frame, where the theory holds."""
BIAS, NOISE = 0.15, 0.3
"""Deviation of the annotators' biases, and of their noise about `u`, where it fails."""
_WANDERS_S, _NOISE_S = 8.0, 3.0
"""Correlation times of labels and of an annotator's noise."""
_CHANNELS = 4
"""Features of each target; as many show nothing."""
_CHANNEL_NOISE, _SCALE = 0.1, 5.0
"""Noise of a feature in label units, and what features are multiplied by."""


class PlantedVotes(NamedTuple):
    """A series of T seconds: features [T, D] and, by target, utopia labels [T], the law that each was drawn from (mean
    and deviation, [2, T]; deviation 0: there is nothing to be drawn) and votes [A, T]."""

    features: np.ndarray
    utopia: dict[str, np.ndarray]
    law: dict[str, np.ndarray]
    votes: dict[str, np.ndarray]


def write(*, ids: Sequence[str], damaged: str | None, size: Size, seed: int, folder: Path) -> list[Path]:
    """Write the series `ids`, `size.seconds` long, and their features; every third is a test series. Returns the files.

    There are no videos, so none is damaged.
    """
    bias_A = BIAS * latent.generator(seed, "planted_votes", "annotators").standard_normal(size.annotators)
    labels: dict[str, np.ndarray] = {}
    groups: dict[str, dict[str, np.ndarray | bytes]] = {}
    for item in ids:
        series = plant(latent.generator(seed, "planted_votes", item), int(size.seconds), bias_A)
        groups[item] = {"features": series.features.astype(np.float32), "picks": np.arange(int(size.seconds))}
        for target in TARGETS:
            labels[f"{item}/{target}.utopia"] = series.utopia[target]
            labels[f"{item}/{target}.law"] = series.law[target]
            labels[f"{item}/{target}.votes"] = series.votes[target].astype(np.float32)
    sidecar = folder / LABELS
    arrays.save(sidecar, labels, {"dataset": "planted_votes", "step_s": 1.0})
    numbers = {item: int(item.rpartition("_")[2]) for item in ids}
    items = [CardItem(id=item, name=f"Planted series {numbers[item]}", key=item, fps=1.0) for item in ids]
    folds = {"test": [item for item in ids if numbers[item] % TESTED == 0]}
    return [
        sidecar,
        write_hdf5(folder / "features.h5", groups),
        write_expected(folder, "planted_votes", items, folds),
    ]


def plant(rng: np.random.Generator, seconds: int, bias_A: np.ndarray) -> PlantedVotes:
    """Draw a series with a value per second, voted on by annotators with the biases [A]."""
    utopia: dict[str, np.ndarray] = {}
    law: dict[str, np.ndarray] = {}
    votes: dict[str, np.ndarray] = {}
    for target in TARGETS:
        mean = BETWEEN * rng.standard_normal()
        wandering_T, scatter_T = latent.drifting(rng, 2, seconds, _WANDERS_S)
        label_T = np.clip(mean + WITHIN * wandering_T, -1, 1)
        law[target] = np.stack([label_T, np.full(seconds, SCATTER if target == "theory_holds" else 0.0)])
        if target == "theory_holds":
            utopia_T = label_T + SCATTER * scatter_T
            votes_AT = label_T + AGREEING * rng.standard_normal((len(bias_A), seconds))
        else:
            utopia_T = label_T
            votes_AT = label_T + bias_A[:, None] + NOISE * latent.drifting(rng, len(bias_A), seconds, _NOISE_S)
        utopia[target], votes[target] = np.clip(utopia_T, -1, 1), np.clip(votes_AT, -1, 1)
    shown = [utopia[target] for target in TARGETS for _ in range(_CHANNELS)]
    shown += [np.zeros(seconds)] * _CHANNELS
    features_TD = np.stack(shown, axis=1)
    features_TD = features_TD + _CHANNEL_NOISE * rng.standard_normal(features_TD.shape)
    return PlantedVotes(_SCALE * features_TD, utopia, law, votes)
