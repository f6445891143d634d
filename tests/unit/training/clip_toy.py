"""A small synthetic problem for training on clips, in the real file formats: reactions follow two features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utopia import arrays
from utopia.features import store
from utopia.files import read_json, write_json
from utopia.training.clips import OnClips
from utopia.training.run import Task, train_runs
from utopia.training.settings import parse_run

COLUMNS = ["awe", "pain", "triumph"]
TICKS = np.array([0, 166666, 333333, 500000, 666666, 833333])


def label_times(rows: int) -> np.ndarray:
    """Times of labels, as the data set gives them: whole microseconds, six per second."""
    row = np.arange(rows)
    return (row // 6 * 1_000_000 + TICKS[row % 6]) / 1e6


@dataclass
class ClipToy:
    """The files of a toy data set, and a way to train on them."""

    root: Path
    labels: Path
    features: list[Path]
    truth: dict[str, np.ndarray]
    """y_TC of every item, those without labels too."""
    picture: dict[str, np.ndarray]
    sound: dict[str, np.ndarray]

    def run(self, **changes: Any) -> dict[str, Any]:
        """A run, as the workflow passes it."""
        clips = {"steps": 8, "batch": 3} | changes.pop("clips", {})
        training = {"epochs": 5, "learning_rate": 3e-3, "whole_epochs": 4, "milestones": [3]} | changes.pop(
            "training", {}
        )
        model = {"units": [6, 4]} | changes.pop("model", {}) | {"training": training | {"clips": clips}}
        return {
            "id": "toy.bi_gru.l1",
            "dataset": "toy",
            "model": "bi_gru",
            "model_config": model,
            "treatment": "l1",
            "loss": "l1",
            "features": ["picture", "sound"],
            "seed": 7,
            "repeats": 2,
            "device": "cpu",
            "targets": ["reactions"],
            "low": 0.0,
            "high": 1.0,
            "code": "abc",
        } | changes

    def task(self, name: str, **changes: Any) -> Task:
        """A run with its places."""
        folder = self.root / name
        return Task(
            parse_run(self.run(**changes)), None, folder, folder / "predictions.safetensors", folder / "training.json"
        )

    def train(self, name: str = "run", **changes: Any) -> tuple[arrays.Arrays, dict[str, Any], list[Path]]:
        """Predictions, summary and checkpoints of a run."""
        task = self.task(name, **changes)
        made = train_runs(
            [task], labels=self.labels, features=self.features, mode=OnClips(), progress=lambda *line: None
        )
        return arrays.load(task.predictions), read_json(task.summary), made


def make_clip_toy(root: Path, rows: Mapping[str, int] | None = None) -> ClipToy:
    """Seven training videos, two to validate on, one without labels; a sound row lasts 0.96 s."""
    rng = np.random.default_rng(0)
    rows = rows or {f"t{i}": 60 + 11 * i for i in range(7)} | {"v0": 75, "v1": 110, "u0": 64}
    truth, picture, sound, contents = {}, {}, {}, {}
    index: dict[str, Any] = {"dataset": "toy", "items": {}}
    for item, length in rows.items():
        walk = np.cumsum(rng.normal(size=(length, 3)), axis=0)
        y_TC = 1 / (1 + np.exp(-walk / 4))
        truth[item] = y_TC.astype(np.float32)
        picture[item] = np.concatenate([walk, rng.normal(size=(length, 4))], axis=1).astype(np.float32)
        sound[item] = rng.normal(size=(int(length / 6 / 0.96) + 1, 3)).astype(np.float32)
        times = {"picture": np.arange(length) / 6, "sound": np.arange(len(sound[item])) * 0.96}
        index["items"][item] = {}
        for name, values in (("picture", picture[item]), ("sound", sound[item])):
            identity, folder = {"item": item, "name": name}, root / "features" / "store"
            entry = store.put(store.place(folder, identity), folder, values, times[name], identity)
            index["items"][item][name] = entry
        contents[f"{item}/times"] = label_times(length)
        if not item.startswith("u"):
            contents[f"{item}/reactions"] = truth[item]
    path = root / "features" / "toy" / "shard-0000.json"
    write_json(path, index)
    labels = root / "labels.safetensors"
    meta = {
        "dataset": "toy",
        "protocol": "reactions",
        "targets": {"reactions": {"low": 0.0, "high": 1.0}},
        "columns": {"reactions": COLUMNS},
        "items": list(rows),
        "unlabelled": [item for item in rows if item.startswith("u")],
        "folds": [
            {
                "name": "official",
                "train": [item for item in rows if item.startswith("t")],
                "test": [item for item in rows if item.startswith("v")],
            }
        ],
        "dropped_folds": [],
        "absent": {},
    }
    arrays.save(labels, contents, meta)
    return ClipToy(root, labels, [path], truth, picture, sound)
