"""The job that trains a run: all its replicas, one after another, each stored as soon as it is done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utopia import arrays, files
from utopia.errors import ComputeError
from utopia.training.data import Data, Fold, load_data
from utopia.training.fit import Fitted, Parts, fit_replica
from utopia.training.replica import Replica
from utopia.training.settings import Run, parse_run
from utopia.training.store import checkpoint_path, load_replica, save_replica

Progress = Callable[[int, int, str], None]


def train_run(
    *,
    run: dict[str, Any],
    labels: Path,
    distribution: Path,
    features: list[Path],
    folder: Path,
    predictions: Path,
    summary: Path,
    progress: Progress | None = None,
) -> list[Path]:
    """Train all replicas (targets x folds x repeats) of a run and predict their test items.

    A replica whose checkpoint is already there, made by the same settings, inputs and code, is not trained again. A
    replica's numbers depend on its identity alone: trained by itself it is the same to the bit (on one kind of device
    and library version).

    Args:
        run: a `utopia.training.settings.Run`, as a dictionary.
        labels: a labels file.
        distribution: its distribution file, with the sampler's window.
        features: indexes that hold the run's features.
        folder: the run's folder; checkpoints go to `replicas/` in it.
        predictions: the predictions file to write.
        summary: the training.json to write.
        progress: called after each replica with the number done, the number of all and a line about it; default: print
            it.

    Returns:
        The checkpoints, one per replica.

    Raises:
        ConfigError: the run is not valid.
        InputError: an input is damaged, or no fold has enough items.
        ComputeError: a loss is not finite; names replica and epoch.
    """
    chosen = parse_run(run)
    device = _prepare(chosen.device)
    plan = arrays.load(distribution)
    parts = Parts.of(chosen, plan)
    data = load_data(chosen, labels, features, fewest=2 if parts.recipe.selection == "early_stopping" else 1)
    replicas = [
        (Replica(target, fold.name, repeat), fold)
        for fold in data.folds
        for target in chosen.targets
        for repeat in range(chosen.repeats)
    ]
    files.remove_leftovers(folder / "replicas")
    inputs = [files.sha256(path) for path in (labels, distribution, *features)]
    tell = progress or (lambda done, of, line: print(f"[{done}/{of}] {line}", flush=True))

    collected: dict[str, np.ndarray] = {}
    entries: list[dict[str, Any]] = []
    paths: list[Path] = []
    for done, (replica, fold) in enumerate(replicas, start=1):
        path = checkpoint_path(folder, replica)
        key = _key(chosen, replica, inputs, device)
        start, fitted = time.perf_counter(), load_replica(path, key)
        seconds = None
        if fitted is None:
            fitted = fit_replica(replica, chosen, parts, data, fold, plan, device)
            seconds = time.perf_counter() - start
            save_replica(path, key, replica, replica.seed(chosen), fitted)
        paths.append(path)
        place = f"{replica.target}/{replica.fold}/{replica.repeat}"
        collected.update({f"{place}/{item}": y_T for item, y_T in fitted.predictions.items()})
        entries.append(_entry(chosen, replica, fold, fitted, seconds, path, folder))
        tell(done, len(replicas), _line(replica, fitted, seconds))
    arrays.save(predictions, collected, _predictions_meta(chosen, data, entries))
    files.write_json(summary, _summary(chosen, parts, data, entries, device))
    return paths


def _prepare(wanted: str) -> torch.device:
    """Set what makes torch reproducible, and name the device."""
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ComputeError(
            "the study asks for a GPU and torch finds none", remedy="set `device: auto` or `cpu`; see `nvidia-smi`"
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms does the same and imports the compiler
    torch.set_num_threads(1)
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def _key(run: Run, replica: Replica, inputs: list[str], device: torch.device) -> str:
    """Digest of everything that determines a replica's numbers."""
    identity = [replica.target, replica.fold, replica.repeat]
    return files.digest([run.determinants(), identity, inputs, device.type, torch.__version__], length=64)


def _line(replica: Replica, fitted: Fitted, seconds: float | None) -> str:
    history = fitted.history
    watched = history.validation or history.loss
    kind = "validation" if history.validation else "training"
    return (
        f"{replica.name}: {kind} loss {watched[fitted.epoch]:.5f} "
        f"after epoch {fitted.epoch + 1} of {len(history.loss)}, "
        + ("found stored" if seconds is None else f"{seconds:.1f} s")
    )


def _entry(
    run: Run, replica: Replica, fold: Fold, fitted: Fitted, seconds: float | None, path: Path, folder: Path
) -> dict[str, Any]:
    return {
        "target": replica.target,
        "fold": replica.fold,
        "repeat": replica.repeat,
        "seed": replica.seed(run),
        "selected_epoch": fitted.epoch,
        "epochs": len(fitted.history.loss),
        "loss": fitted.history.loss,
        "validation_loss": fitted.history.validation,
        "test_error": fitted.history.test,
        "seconds": seconds,
        "checkpoint": path.relative_to(folder).as_posix(),
        "sha256": files.sha256(path),
        "fitted": fitted.fitted,
        "held_out": fitted.held_out,
        "test": list(fold.test),
    }


def _predictions_meta(run: Run, data: Data, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "run": run.id,
        "dataset": run.dataset,
        "targets": run.targets,
        "folds": [fold.name for fold in data.folds],
        "seeds": list(range(run.repeats)),
        "epochs": {f"{one['target']}/{one['fold']}/{one['repeat']}": one["selected_epoch"] for one in entries},
    }


def _summary(run: Run, parts: Parts, data: Data, entries: list[dict[str, Any]], device: torch.device) -> dict[str, Any]:
    return {
        "run": run.id,
        "settings": run.model_dump(by_alias=True),
        "selection": parts.recipe.selection,
        "oracle": parts.recipe.selection == "best_test",
        "device": device.type,
        "items": {item: len(x_TD) for item, x_TD in data.features.items()},
        "left_out": data.left_out,
        "folds": {fold.name: {"train": list(fold.train), "test": list(fold.test)} for fold in data.folds},
        "dropped_folds": data.dropped_folds,
        "replicas": entries,
    }
