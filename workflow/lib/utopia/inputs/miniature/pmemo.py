"""A miniature PMEmo: songs as mp3 files and the archive's four tables, labels from 15.5 s on.

The label of a training song is the mean of few annotators, that of a test song the mean of all: the premise of ULDA
(sec. 1, 3.1). Songs are 15 s longer than the study's videos, since nobody's first 15 s are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utopia import arrays
from utopia.datasets._card import CardItem
from utopia.files import write_text
from utopia.inputs.miniature import Size, latent, scene
from utopia.inputs.miniature.files import cut_short, write_expected, write_mp3

_TARGETS = ("valence", "arousal")
_SETTLE_S = 15
_STEP_S = 0.5
_RATE = 10
"""Samples of the planted signal per second: a song has no frames of its own."""


def tested(item: str) -> bool:
    """Whether a song is a test song: every third is."""
    return int(item.rpartition("_")[2]) % 3 == 0


def write(*, ids: Sequence[str], damaged: str | None, size: Size, seed: int, folder: Path) -> list[Path]:
    """Write the songs `ids`; the sound of `damaged` is cut short. Returns the files."""
    people = latent.recruit(seed, "pmemo", size.annotators)
    files: list[Path] = []
    truth: dict[str, np.ndarray] = {}
    items: list[CardItem] = []
    tables: dict[str, list[str]] = {
        "annotations/dynamic_annotations.csv": ["musicId,frameTime,Arousal(mean),Valence(mean)"],
        "annotations/dynamic_annotations_std.csv": ["musicId,frameTime,Arousal(std),Valence(std)"],
        "annotations/static_annotations.csv": ["song_id,valence_mean,valence_std,arousal_mean,arousal_std"],
        "metadata.csv": ["musicId,fileName,title,artist,album,duration,chorus_start_time,chorus_end_time"],
    }
    means, deviations, static, songs = tables.values()
    for item in ids:
        key = item.rpartition("_")[2]
        planted = latent.plant(seed, "pmemo", item, size.seconds + _SETTLE_S, _RATE, _TARGETS)
        valence, arousal = ((planted.signals[target] + 1) / 2 for target in _TARGETS)
        drives = scene.Drives(hue=valence, brightness=arousal, motion=arousal, loudness=arousal, pitch=valence)
        song = write_mp3(folder / "chorus" / f"{key}.mp3", scene.sound(planted, drives, seed, "pmemo", item))
        files.append(cut_short(song) if item == damaged else song)

        rng = latent.generator(seed, "pmemo", item, "label annotators")
        few = rng.choice(size.annotators, size.label_annotators, replace=False)
        voters = np.arange(size.annotators) if tested(item) else few
        of_song: dict[str, np.ndarray] = {}
        for target in _TARGETS:
            signal = latent.per_step(planted.signals[target], round(_STEP_S * _RATE))
            felt = latent.perceive(people, signal, 1 / _STEP_S, seed, "pmemo", item, target)
            kept = round(_SETTLE_S / _STEP_S)
            votes = np.clip(felt, -1, 1)[:, kept:]
            of_song[target] = votes[voters]
            truth |= {f"{item}/{target}": signal[kept:], f"{item}/{target}.votes": votes}
        # The value of a half second stands at its end, as the archive's last rows do at the end of a song.
        times = _SETTLE_S + _STEP_S * np.arange(1, of_song["valence"].shape[1] + 1)
        means += _rows(key, times, *((of_song[target].mean(axis=0) + 1) / 2 for target in ("arousal", "valence")))
        # Deviations stay on the annotators' own scale of -1 to 1, as those of the archive seem to.
        deviations += _rows(key, times, *(of_song[target].std(axis=0) for target in ("arousal", "valence")))
        whole = [of_song[target].mean(axis=1) for target in _TARGETS]
        static.append(f"{key}," + ",".join(f"{5 + 4 * votes.mean():.6f},{votes.std() / 2:.6f}" for votes in whole))
        songs.append(f"{key},{key}.mp3,Generated song {key},Nobody,,{planted.seconds:.2f},00:00,{_clock(planted)}")
        items.append(CardItem(id=item, name=f"Generated song {key}", key=key))
    for name, lines in tables.items():
        write_text(folder / name, "\n".join(lines) + "\n")
        files.append(folder / name)
    sidecar = folder / "truth.safetensors"
    arrays.save(sidecar, truth, {"dataset": "pmemo", "damaged": damaged, "rate": 1 / _STEP_S})
    folds = {"test": [item for item in ids if tested(item)]}
    return [*files, sidecar, write_expected(folder, "pmemo", items, folds)]


def _rows(key: str, times: np.ndarray, *columns: np.ndarray) -> list[str]:
    return [
        f"{key},{time:.1f}," + ",".join(f"{value:.6f}" for value in values)
        for time, *values in zip(times, *columns, strict=True)
    ]


def _clock(planted: latent.PlantedVideo) -> str:
    return f"{planted.seconds // 60:02d}:{planted.seconds % 60:02d}"
