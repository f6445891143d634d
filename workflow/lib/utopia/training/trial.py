"""The micro-benchmark of a machine: what a training and an extractor cost here, on random data, in half a minute.

`utopia plan --measure` starts it as a program of its own, because no command imports torch. It reads a JSON value from
standard input: `seconds` (how long it may take), `trainings` (list of {key, frames (of a video), width (of features),
run (its settings)}), `extractors` (list of {key, extractor, options}); dearest first. It writes one to standard output:
`training` ({key: {per_frame, device}}: CPU seconds of a frame in an epoch of one replica), `extraction` ({key:
{per_row}}), `left_out` ({key: why}).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from utopia import arrays, memory
from utopia.config import registry
from utopia.distribution.approximate import approximate_distribution
from utopia.labels.read import Labels
from utopia.training.data import Data, Fold
from utopia.training.loop import train_one
from utopia.training.parts import Parts
from utopia.training.replica import Replica
from utopia.training.series import SeriesTrainer
from utopia.training.settings import RunSettings, parse_run
from utopia.training.trainer import ReplicaJob

BINS = {"bins": 10, "low": 0.0, "high": 1.0, "delta": 0.3, "sigma": 0.1}
_VIDEOS = 3
_EPOCHS = (1, 3)
"""Trainings of both lengths are timed: the difference is that of epochs without the start."""
_PICTURE = (360, 640, 3)


class RandomStudy:
    """Videos of random features and smooth labels, in the engine's own files; lengths spread by a half of their mean.

    Args:
        folder: where the files go.
        videos: how many there are.
        frames: mean number of labels of a video.
        width: values of a feature.
        settings: of the label distribution; its limits are those of the labels.
        window: of the TNS plan.
        targets: what is labelled.
        folds: into so many parts, each tested once; 0: one fold that trains on all videos and tests the first.
        features: those of another study of this size, in place of new ones.
    """

    def __init__(
        self,
        folder: Path,
        videos: int,
        frames: int,
        width: int,
        *,
        settings: Mapping[str, Any] = BINS,
        window: int = 10,
        targets: Sequence[str] = ("importance",),
        folds: int = 0,
        features: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        low, high = float(settings["low"]), float(settings["high"])
        rng = np.random.default_rng(0)
        lengths = rng.permutation(np.linspace(0.5, 1.5, videos) * frames).astype(int)
        ids = [f"v{number}" for number in range(videos)]
        contents: dict[str, np.ndarray] = {}
        self.features: dict[str, torch.Tensor] = {}
        for item, length in zip(ids, lengths, strict=True):
            contents[f"{item}/times"] = np.arange(length) * 0.5
            for target in targets:
                track = gaussian_filter1d(rng.normal(size=length), 4)
                contents[f"{item}/{target}"] = low + (high - low) / (1 + np.exp(-track / track.std()))
            known = None if features is None else features[item]
            drawn = rng.standard_normal((length, width), dtype=np.float32) if known is None else known
            self.features[item] = torch.as_tensor(drawn)
        parts = [ids[fold::folds] for fold in range(folds)]
        meta = {
            "dataset": "random",
            "protocol": "affect",
            "targets": {target: {"low": low, "high": high} for target in targets},
            "items": ids,
            "folds": [
                {"name": str(fold), "train": [item for item in ids if item not in part], "test": part}
                for fold, part in enumerate(parts)
            ]
            or [{"name": "0", "train": ids, "test": ids[:1]}],
            "absent": {},
        }
        arrays.save(folder / "labels.safetensors", contents, meta)
        plan = folder / "distribution.safetensors"
        approximate_distribution(
            labels=folder / "labels.safetensors", settings=dict(settings), window=window, output=plan
        )
        self.plan, self.labels = arrays.load(plan), Labels(folder / "labels.safetensors")
        self.data = Data(self.labels, features=self.features, standardised_D=np.zeros(width, dtype=bool))
        self.data.folds = [Fold(fold["name"], tuple(fold["train"]), tuple(fold["test"])) for fold in self.labels.folds]
        self.fold = self.data.folds[0]

    def run(self, model: str, settings: dict[str, Any], **changes: Any) -> RunSettings:
        """A run on it."""
        return parse_run(
            {
                "id": f"random.{model}",
                "dataset": "random",
                "model": model,
                "model_config": settings,
                "features": ["random"],
                "seed": 1,
                "repeats": 1,
                "targets": ["importance"],
                "low": 0.0,
                "high": 1.0,
            }
            | changes
        )

    def job(self, run: RunSettings, repeat: int = 0) -> ReplicaJob:
        """A replica of a run."""
        return ReplicaJob(
            Replica("importance", "0", repeat), run, Parts.of(run, self.plan), self.data, self.fold, self.plan
        )


def training_seconds(study: RandomStudy, model: str, settings: Mapping[str, Any], **changes: Any) -> float:
    """CPU seconds of a frame in an epoch of one replica, on one core."""
    took, cpu = [], torch.device("cpu")
    for epochs in (_EPOCHS[0], *_EPOCHS):  # the first time is for what torch does once
        recipe = {**settings["training"], "epochs": epochs, "selection": "last"}
        run = study.run(model, {**settings, "training": recipe}, **changes)
        start = time.process_time()
        train_one(study.job(run), partial(SeriesTrainer, device=cpu), cpu)
        took.append(time.process_time() - start)
    frames = sum(map(len, study.features.values()))
    return max(took[2] - took[1], 0.0) / (_EPOCHS[1] - _EPOCHS[0]) / frames


def extraction_seconds(extractor: str, options: Mapping[str, Any]) -> float:
    """CPU seconds of an extractor's network per row, on one core; its weights are random."""
    module = registry.load("extractors", extractor)
    network = module.build(module.Config.model_validate({**options, "weights": "random"}), None, 0, "cpu")
    rng = np.random.default_rng(0)
    if registry.constant("extractors", extractor, "MEDIUM") == "frames":
        frames = [rng.integers(0, 256, _PICTURE, dtype=np.uint8) for _ in range(min(4, network.batch))]
        network(frames)  # the first call also chooses how to compute
        start = time.process_time()
        rows = len(network(frames))
    else:
        sound = rng.normal(size=(network.channels, network.rate * 10)).astype(np.float32) * 0.1
        sound = sound[0] if network.channels == 1 else sound
        network(sound)
        start = time.process_time()
        rows = len(network(sound)[0])
    return (time.process_time() - start) / max(1, rows)


def measure(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Try what is asked for, in order, until the time is over (the keys are those that the module's head names)."""
    torch.set_num_threads(1)
    memory.keep_freed()
    end = time.monotonic() + float(asked["seconds"])
    found: dict[str, Any] = {"training": {}, "extraction": {}, "left_out": {}}
    for one in (*asked["extractors"], *asked["trainings"]):
        if time.monotonic() > end:
            found["left_out"][one["key"]] = "there was no time left for it"
            continue
        try:
            if "extractor" in one:
                found["extraction"][one["key"]] = {"per_row": extraction_seconds(one["extractor"], one["options"])}
                continue
            with tempfile.TemporaryDirectory() as folder:
                study = RandomStudy(Path(folder), _VIDEOS, max(8, int(one["frames"])), int(one["width"]))
                run = one["run"]
                seconds = training_seconds(study, run["model"], run["model_config"], loss="mse", sampler=None)
            found["training"][one["key"]] = {"per_frame": seconds, "device": "cpu"}
        except Exception as error:
            # whatever cannot be tried on random data keeps the rate that was measured elsewhere
            found["left_out"][one["key"]] = f"{type(error).__name__}: {error}"[:200]
    return found


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
