"""A data set of random features and smooth labels, in the engine's own files, for the benchmarks."""

from __future__ import annotations

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

    def __init__(self, folder: Path, videos: int, frames: int, width: int) -> None:
        rng = np.random.default_rng(0)
        lengths = rng.permutation(np.linspace(0.5, 1.5, videos) * frames).astype(int)
        ids = [f"v{number}" for number in range(videos)]
        contents: dict[str, np.ndarray] = {}
        self.features: dict[str, torch.Tensor] = {}
        for item, length in zip(ids, lengths, strict=True):
            track = gaussian_filter1d(rng.normal(size=length), 4)
            contents[f"{item}/times"] = np.arange(length) * 0.5
            contents[f"{item}/importance"] = 1 / (1 + np.exp(-track / track.std()))
            self.features[item] = torch.from_numpy(rng.normal(size=(length, width)).astype(np.float32))
        meta = {
            "dataset": "random",
            "protocol": "affect",
            "targets": {"importance": {"low": 0.0, "high": 1.0}},
            "items": ids,
            "folds": [{"name": "0", "train": ids, "test": ids[:1]}],
            "absent": {},
        }
        arrays.save(folder / "labels.safetensors", contents, meta)
        plan = folder / "distribution.safetensors"
        approximate_distribution(labels=folder / "labels.safetensors", settings=BINS, window=10, output=plan)
        self.plan, self.labels = arrays.load(plan), Labels(folder / "labels.safetensors")
        self.data = Data(self.labels, features=self.features, standardised_D=np.zeros(width, dtype=bool))
        self.fold = Fold("0", tuple(ids), tuple(ids[:1]))

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
