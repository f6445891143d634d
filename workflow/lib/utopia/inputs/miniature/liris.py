"""A miniature LIRIS-ACCEDE: movies with sound and valence/arousal files in the layout of MediaEval 2018.

The label of a development movie is the mean of few annotators, that of a test movie the mean of all: the premise of
ULDA (sec. 1, 3.1), labels that are biased because few people made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utopia import arrays
from utopia.datasets._card import CardItem
from utopia.files import write_text
from utopia.inputs.miniature import Size, latent, scene
from utopia.inputs.miniature.files import cut_short, write_expected, write_mp4

MOST = 48
_TARGETS = ("valence", "arousal")
_PARTS = ((14, "DevSet-Part1"), (44, "DevSet-Part2"), (54, "DevSet-Part3"), (66, "TestSet"))
_FIRST_TEST = 54


def write(*, ids: Sequence[str], damaged: str | None, size: Size, seed: int, folder: Path) -> list[Path]:
    """Write the movies `ids`; the video of `damaged` is cut short. Returns the files."""
    people = latent.recruit(seed, "liris", size.annotators)
    files: list[Path] = []
    truth: dict[str, np.ndarray] = {}
    for item in ids:
        planted = latent.plant(seed, "liris", item, size.seconds, size.fps, _TARGETS)
        drives = _drives(planted)
        part = _part(item)
        video = folder / f"MEDIAEVAL18-{part}-Data" / "data" / f"{item}.mp4"
        pictures = scene.pictures(planted, drives, size.width, size.height, seed, "liris", item)
        write_mp4(video, pictures, scene.sound(planted, drives, seed, "liris", item), size.fps)
        files.append(cut_short(video) if item == damaged else video)

        tested = int(item[-2:]) >= _FIRST_TEST
        labels = {}
        rng = latent.generator(seed, "liris", item, "label annotators")
        voters = (
            np.arange(size.annotators) if tested else rng.choice(size.annotators, size.label_annotators, replace=False)
        )
        for target in _TARGETS:
            signal = latent.per_step(planted.signals[target], size.fps)
            votes = np.clip(latent.perceive(people, signal, 1.0, seed, "liris", item, target), -1, 1)
            labels[target] = votes[voters].mean(axis=0)
            truth |= {f"{item}/{target}": signal, f"{item}/{target}.votes": votes}
        truth[f"{item}/shots"] = planted.shots
        files.append(_write_annotations(folder, part, item, labels))
    sidecar = folder / "truth.safetensors"
    arrays.save(sidecar, truth, {"dataset": "liris", "damaged": damaged, "fps": size.fps})
    items = [CardItem(id=item, name=f"Generated movie {item[-2:]}", key=item) for item in ids]
    folds = {"test": [item for item in ids if int(item[-2:]) >= _FIRST_TEST]}
    return [*files, sidecar, write_expected(folder, "liris", items, folds)]


def _drives(planted: latent.PlantedVideo) -> scene.Drives:
    """Valence shows in hue and pitch, arousal in brightness, motion and loudness."""
    valence, arousal = ((planted.signals[target] + 1) / 2 for target in _TARGETS)
    return scene.Drives(hue=valence, brightness=arousal, motion=arousal, loudness=arousal, pitch=valence)


def _part(item: str) -> str:
    return next(part for end, part in _PARTS if int(item[-2:]) < end)


def _write_annotations(folder: Path, part: str, item: str, labels: dict[str, np.ndarray]) -> Path:
    path = folder / f"MEDIAEVAL18-{part}-Valence_Arousal-annotations" / "annotations" / f"{item}_Valence-Arousal.txt"
    rows = zip(*(labels[target] for target in _TARGETS), strict=True)
    lines = [f"{second}\t{valence:.6f}\t{arousal:.6f}" for second, (valence, arousal) in enumerate(rows)]
    write_text(path, "\n".join(["Time\tValence\tArousal", *lines]) + "\n")
    return path
