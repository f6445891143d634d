"""A small synthetic problem in the real file formats: features carry the label, hidden in noise and mixed with a
distractor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from utopia import arrays
from utopia.distribution.approximate import approximate_distribution
from utopia.features import store
from utopia.files import write_json
from utopia.training.run import Task, train_runs
from utopia.training.series import OnSeries
from utopia.training.settings import parse_run

SETTINGS = {"bins": 10, "low": 0.0, "high": 1.0, "delta": 0.3, "sigma": 0.1}
SMALL_ET = {
    "d_model": 16,
    "heads": 2,
    "layers": 1,
    "feedforward": 32,
    "head_hidden": 8,
    "dropout": 0.1,
    "head_dropout": 0.1,
}


@dataclass
class Toy:
    """The files of a toy data set, and a way to train on them."""

    root: Path
    labels: Path
    distribution: Path
    features: list[Path]
    truth: dict[str, np.ndarray] = field(default_factory=dict)

    def run(self, **changes: Any) -> dict[str, Any]:
        """A run, as the workflow passes it."""
        training = {"epochs": 4, "learning_rate": 3e-3, "patience": 15} | changes.pop("training", {})
        model = SMALL_ET | changes.pop("model", {}) | {"training": training}
        return {
            "id": "toy.et.baseline",
            "dataset": "toy",
            "model": "et",
            "model_config": model,
            "treatment": "baseline",
            "loss": "mse",
            "loss_config": {},
            "sampler": None,
            "sampler_config": {},
            "features": ["plain"],
            "normalise": {"plain": "standardise"},
            "seed": 7,
            "repeats": 2,
            "device": "cpu",
            "targets": ["importance"],
            "low": 0.0,
            "high": 1.0,
            "code": "abc",
        } | changes

    def task(self, name: str = "run", **changes: Any) -> Task:
        """A run with its places."""
        folder = self.root / name
        return Task(
            parse_run(self.run(**changes)),
            self.distribution,
            folder,
            folder / "predictions.safetensors",
            folder / "training.json",
        )

    def train(self, name: str = "run", **changes: Any) -> tuple[arrays.Arrays, dict[str, Any], list[Path]]:
        """Train; the predictions, the summary and the checkpoints."""
        from utopia.files import read_json

        folder = self.root / name
        progress = changes.pop("progress", lambda done, of, line: None)
        made = train_runs(
            workers=changes.pop("workers", 1),
            tasks=[self.task(name, **changes)],
            labels=self.labels,
            features=self.features,
            mode=OnSeries(),
            progress=progress,
        )
        return arrays.load(folder / "predictions.safetensors"), read_json(folder / "training.json"), made


def make_toy(root: Path, *, items: int = 8, frames: int = 40, seed: int = 0, lacking: str | None = None) -> Toy:
    """Write labels, features and distribution of a toy data set with two targets and two folds."""
    rng = np.random.default_rng(seed)
    ids = [f"v{number}" for number in range(items)]
    mixing = rng.normal(size=(4, 12))
    contents: dict[str, np.ndarray] = {}
    index: dict[str, Any] = {}
    truth = {}
    for number, item in enumerate(ids):
        length = frames + 3 * number
        latent = gaussian_filter1d(rng.normal(size=(4, length)), 3, axis=1) * 2.5
        label = 1 / (1 + np.exp(-1.5 * latent[0]))
        truth[item] = label
        times = np.arange(length) * 0.5
        contents |= {f"{item}/times": times, f"{item}/importance": label, f"{item}/mood": 1 - label**2}
        rows = (latent.T @ mixing * 5 + 40 + rng.normal(size=(length, 12))).astype(np.float32)
        if item == lacking:
            index[item] = {"plain": {"absent": "the file is damaged"}}
        else:
            folder = root / "features" / "store"
            identity = {"item": item, "seed": seed}
            index[item] = {"plain": store.put(store.place(folder, identity), folder, rows, times, identity)}
    folds = [
        {"name": "0", "train": ids[2:], "test": ids[:2]},
        {"name": "1", "train": ids[:-2], "test": ids[-2:]},
    ]
    bounds = {"low": 0.0, "high": 1.0}
    meta = {
        "dataset": "toy",
        "protocol": "affect",
        "targets": {"importance": bounds, "mood": bounds},
        "items": ids,
        "folds": folds,
        "absent": {"v99": "no annotation"},
    }
    arrays.save(root / "labels.safetensors", contents, meta)
    write_json(root / "features" / "toy" / "plain.json", {"dataset": "toy", "items": index})
    approximate_distribution(
        labels=root / "labels.safetensors", settings=SETTINGS, window=10, output=root / "distribution.safetensors"
    )
    return Toy(
        root,
        root / "labels.safetensors",
        root / "distribution.safetensors",
        [root / "features" / "toy" / "plain.json"],
        truth,
    )
