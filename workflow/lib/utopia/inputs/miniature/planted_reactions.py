"""Reactions whose best rate is known: features and labels drawn directly, six times per second, without any video.

late     comes six seconds after what causes it, which is shown under noise: of a clip of 60 steps a network at six
         per second can know the last four seconds, one at one per second the last 54
quick    changes within a second, and is shown without noise: one step per second misses most of it
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
RATE, SECONDS = 6, 120
LAG_S = 6
"""Seconds from a cause to the late reaction."""
_CAUSE_S, _NOISE_S, _QUICK_S = 5.0, 1.0, 0.5
"""Correlation times."""
_NOISE = 0.5
"""Deviation of the noise on the late reaction's cause, whose own is 1."""


def write(*, ids: Sequence[str], damaged: str | None, size: Size, seed: int, folder: Path) -> list[Path]:
    """Write the series `ids` and their features; every third is a test series. Returns the files.

    Their length is part of the rule, so `size` has no say. There are no videos, so none is damaged.
    """
    labels: dict[str, np.ndarray] = {}
    groups: dict[str, dict[str, np.ndarray | bytes]] = {}
    for item in ids:
        x_TD, y_TC = plant(latent.generator(seed, "planted_reactions", item))
        groups[item] = {"features": x_TD.astype(np.float32), "picks": np.arange(len(x_TD))}
        labels[f"{item}/reactions"] = y_TC.astype(np.float32)
    sidecar = folder / "labels.safetensors"
    arrays.save(sidecar, labels, {"dataset": "planted_reactions", "step_s": 1 / RATE})
    items = [CardItem(id=item, name=f"Planted series {item.rpartition('_')[2]}", key=item, fps=RATE) for item in ids]
    folds = {"test": [item for item in ids if int(item.rpartition("_")[2]) % 3 == 0]}
    return [
        sidecar,
        write_hdf5(folder / "features.h5", groups),
        write_expected(folder, "planted_reactions", items, folds),
    ]


def plant(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features x_TD and reactions y_TC in [0, 1]."""
    lag = LAG_S * RATE
    (cause_U,), (noise_T,), (quick_T,) = (
        latent.drifting(rng, 1, length, correlation * RATE)
        for length, correlation in (
            (SECONDS * RATE + lag, _CAUSE_S),
            (SECONDS * RATE, _NOISE_S),
            (SECONDS * RATE, _QUICK_S),
        )
    )
    y_TC = 1 / (1 + np.exp(-np.stack([cause_U[:-lag], quick_T], axis=1)))
    return np.stack([cause_U[lag:] + _NOISE * noise_T, quick_T], axis=1), y_TC
