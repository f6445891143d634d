"""A data set of random features and smooth labels, in the engine's own files, for the benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from utopia import arrays
from utopia.distribution.approximate import approximate_distribution
from utopia.labels.read import Labels
from utopia.training.data import Data, Fold
from utopia.training.parts import Parts
from utopia.training.replica import Replica
from utopia.training.settings import Run, parse_run
from utopia.training.trainee import Job

BINS = {"bins": 10, "low": 0.0, "high": 1.0, "delta": 0.3, "sigma": 0.1}


class Study:
    """Videos of random features whose lengths spread by a half of their mean."""

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
        """Generate it.

        Args:
            folder: for its files.
            videos: how many.
            frames: of a video, on average.
            width: of the features.
            settings: of the label distribution; its limits are those of the labels.
            window: of the TNS plan.
            targets: what is labelled.
            features: those of another study of this size, in place of new ones.
            folds: into so many parts, each tested once; 0: one fold that trains on all videos and tests the first.
        """
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
            made = rng.standard_normal((length, width), dtype=np.float32) if known is None else known
            self.features[item] = torch.as_tensor(made)
        meta = {
            "dataset": "random",
            "protocol": "affect",
            "targets": {target: {"low": low, "high": high} for target in targets},
            "items": ids,
            "folds": [
                {"name": str(fold), "train": [i for i in ids if i not in ids[fold::folds]], "test": ids[fold::folds]}
                for fold in range(folds)
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
        self.data.folds = [Fold(one["name"], tuple(one["train"]), tuple(one["test"])) for one in self.labels.folds]
        self.fold = self.data.folds[0]

    def run(self, model: str, settings: dict[str, Any], **changes: Any) -> Run:
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

    def job(self, run: Run, repeat: int = 0) -> Job:
        """A replica of a run."""
        return Job(Replica("importance", "0", repeat), run, Parts.of(run, self.plan), self.data, self.fold, self.plan)
