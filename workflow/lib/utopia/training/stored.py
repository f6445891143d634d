"""What stored checkpoints predict: one forward pass each, to be compared with what training stored beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utopia import arrays
from utopia.errors import InputError
from utopia.files import read_json
from utopia.training.checkpoints import checkpoint_path
from utopia.training.run import Task, mean, open_task, parts_of, prepare
from utopia.training.trainer import ReplicaTrainer, TrainingMode


def predict_again(
    tasks: Sequence[Task], *, labels: Path, features: list[Path], mode: TrainingMode
) -> list[dict[str, np.ndarray]]:
    """The predictions of some runs of one job, from the parameters in their checkpoints alone.

    Args:
        tasks: the runs; their summaries say which members of an ensemble are averaged; their predictions are not read.
        labels: the labels file that they were trained with.
        features: indexes that hold their features.
        mode: how runs of this kind are trained.

    Returns:
        For each task what its predictions file is to hold: `<target>/<fold>/<repeat>/<item>` -> y_T (of reactions
        y_TC), float32.

    Raises:
        InputError: a checkpoint is not there or is damaged, or its parameters do not fit the model.
        ComputeError: the run asks for a GPU and there is none.
    """
    first = tasks[0].run
    device = prepare(first)
    plans = {path: arrays.load(path) for path in {task.distribution for task in tasks} if path is not None}
    parts = [parts_of(task, plans) for task in tasks]
    data = mode.load(first, labels, features, 2 if parts[0].recipe.selection == "early_stopping" else 1)
    found = []
    for task, own in zip(tasks, parts, strict=True):
        members: dict[str, list[np.ndarray]] = {}
        left_out = {_identity(one) for one in read_json(task.summary)["replicas"] if not one.get("averaged", True)}
        for job in open_task(task, own, data, plans).jobs:
            if _identity(vars(job.replica)) in left_out:
                continue
            trainer = mode.trainer(job, device, padded=False)
            for item, y_T in _predicted(trainer, checkpoint_path(task.folder, job.replica)).items():
                members.setdefault(f"{job.replica.place}/{item}", []).append(y_T)
        found.append({name: mean(of) for name, of in members.items()})
    return found


def _identity(replica: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(replica[name] for name in ("target", "fold", "repeat", "member"))


def _predicted(trainer: ReplicaTrainer, path: Path) -> dict[str, np.ndarray]:
    stored = arrays.load(path).under("parameters")
    try:
        trainer.network.load_state_dict({name: torch.as_tensor(value) for name, value in stored.items()})
    except RuntimeError as error:
        raise InputError(
            f"its parameters do not fit the model ({str(error).splitlines()[-1].strip()})",
            where=path,
            why="the predictions that stand beside it were made by another network",
            remedy="train the run again: delete its folder and run the same command",
        ) from error
    return trainer.predict(trainer.network, trainer.predicted)
