"""The job that trains runs: all their replicas, each stored as soon as it is done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utopia import arrays, files, memory
from utopia.errors import ComputeError, ConfigError
from utopia.evaluation.predictions import FORMAT
from utopia.training.checkpoints import HalfwayCheckpoint, checkpoint_path, load_replica, save_replica
from utopia.training.data import Data
from utopia.training.loop import train_sequential
from utopia.training.parts import Parts
from utopia.training.replica import Replica
from utopia.training.selection import best_members
from utopia.training.settings import RunSettings
from utopia.training.trainer import Fitted, ReplicaJob, TrainingMode
from utopia.training.vectorized.engine import train_vectorized
from utopia.training.workers import Ended, spread

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Task:
    """A run to be trained, its label distribution, and where its files go."""

    run: RunSettings
    distribution: Path | None
    """None where nothing is weighed or sampled by it."""
    folder: Path
    """Checkpoints go to `replicas/` in it."""
    predictions: Path
    summary: Path


@dataclass
class _TaskInWork:
    """A task in work."""

    task: Task
    parts: Parts
    jobs: list[ReplicaJob]
    done: dict[Replica, tuple[Fitted, float | None]] = field(default_factory=dict)


OLD_MODES = {"frames": "series"}
"""What a training mode was called before, in the records of jobs."""


def mode_named(name: str) -> TrainingMode:
    """A training mode: `series` or `clips`. It is imported by name, so that code of the other changes no run."""
    mode: TrainingMode = import_module(f"utopia.training.{OLD_MODES.get(name, name)}").MODE
    return mode


def train_runs(
    tasks: Sequence[Task],
    *,
    labels: Path,
    features: list[Path],
    mode: TrainingMode,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Path]:
    """Train all replicas (targets x folds x repeats) of some runs and predict their test items.

    The runs use the same data and the same model; they differ in treatment. A replica whose checkpoint is already
    there, made by the same settings, inputs and code, is not trained again; one that is half trained goes on. A
    replica's numbers depend on its identity alone: trained one after another it is the same to the bit as by itself (on
    one kind of device and library version), stacked with others up to the rounding of sums. Where no fold can be
    trained, the files are written all the same: no predictions, and the reasons in the summary's `dropped_folds`.

    Args:
        tasks: what to train.
        labels: a labels file.
        features: indexes that hold the runs' features.
        mode: how runs of this kind are trained.
        workers: processes that share the replicas; no number depends on it. One trains where replicas are stacked or on
            a GPU: there it is the same pack that gives the same bytes.
        progress: called after each replica with the number done, the number of all and a line about it; default: print
            it.

    Returns:
        The checkpoints, one per replica.

    Raises:
        ConfigError: the runs do not belong together.
        InputError: an input is damaged.
        ComputeError: a loss is not finite; names run, replica and epoch. The other replicas have then been trained and
            stored.
        MemoryError: a worker was killed, most often because memory ran out.
    """
    _check_together([task.run for task in tasks])
    first = tasks[0].run
    device = prepare(first)
    tell = progress or (lambda done, of, line: print(f"[{done}/{of}] {line}", flush=True))
    plans = {path: arrays.load(path) for path in {task.distribution for task in tasks} if path is not None}
    parts_of_tasks = [parts_of(task, plans) for task in tasks]
    fewest = 2 if parts_of_tasks[0].recipe.selection == "early_stopping" else 1
    data = mode.load(first, labels, features, fewest, tasks[0].folder)
    work = [open_task(task, parts, data, plans) for task, parts in zip(tasks, parts_of_tasks, strict=True)]
    if not data.folds:
        print(f"no fold can be trained: {'; '.join(map(': '.join, data.dropped_folds.items()))}", flush=True)
    common_inputs = [files.sha256(path) for path in (labels, *features)]
    distributions = {path: [files.sha256(path)] for path in plans}

    queue: list[tuple[_TaskInWork, ReplicaJob, str]] = []
    total, number = sum(len(in_work.jobs) for in_work in work), 0
    for in_work in work:
        files.remove_leftovers(in_work.task.folder / "replicas")
        inputs = [
            *common_inputs,
            *(distributions[in_work.task.distribution] if in_work.task.distribution is not None else ()),
        ]
        for job in in_work.jobs:
            key = _key(job.run, job.replica, inputs, device)
            stored = load_replica(checkpoint_path(in_work.task.folder, job.replica), key)
            if stored is None:
                queue.append((in_work, job, key))
                continue
            in_work.done[job.replica] = _without_predictions(stored), None
            number += 1
            tell(number, total, _line(job, stored, None))

    failed: list[ComputeError] = []

    def share(numbers: Iterator[int]) -> Generator[Ended, None, None]:
        """Train and store replicas of the queue."""
        return _trained([entry[1:] for entry in queue], numbers, places, mode, device)

    places = [checkpoint_path(in_work.task.folder, job.replica) for in_work, job, _ in queue]
    splits = device.type == "cpu" and first.strategy(device.type) == "sequential"
    if workers > 1 and not splits:
        print(f"one process, not {workers}: replicas are vectorized, or on a GPU", flush=True)
    if min(workers, len(queue)) > 1 and splits:
        outcomes = spread(len(queue), workers, share, lambda number: queue[number][1].where)
    else:
        outcomes = share(iter(range(len(queue))))
    with closing(outcomes):
        for ended in outcomes:
            number += 1
            if ended.error is not None:
                failed.append(ended.error)
                continue
            in_work, job, key = queue[ended.number]
            fitted = load_replica(places[ended.number], key)
            if fitted is None:
                raise ComputeError(
                    "a replica's checkpoint was just stored and cannot be read",
                    where=places[ended.number],
                    remedy="look at the disk (`df -h .`), then run again: what is stored stays",
                )
            in_work.done[job.replica] = _without_predictions(fitted), ended.seconds
            tell(number, total, _line(job, fitted, ended.seconds))
    if failed:
        if len(failed) > 1:
            print(f"{len(failed)} replicas could not be trained; the first one follows", flush=True)
        raise failed[0]
    return [path for in_work in work for path in _write(in_work, data, device)]


def _trained(
    queue: Sequence[tuple[ReplicaJob, str]],
    numbers: Iterator[int],
    places: Sequence[Path],
    mode: TrainingMode,
    device: torch.device,
) -> Generator[Ended, None, None]:
    """Train and store the replicas of a queue that have these numbers; each as it is done."""
    if not queue:
        return
    number_of = {id(job): number for number, (job, _) in enumerate(queue)}
    waiting = ((queue[number][0], HalfwayCheckpoint(places[number], queue[number][1])) for number in numbers)
    started = time.perf_counter()
    for job, outcome in _outcomes(queue[0][0].run, waiting, mode, device):
        number = number_of[id(job)]
        key, path = queue[number][1], places[number]
        if isinstance(outcome, ComputeError):
            yield Ended(number, 0.0, outcome)
            continue
        save_replica(path, key, job.replica, job.replica.seed(job.run), outcome)
        HalfwayCheckpoint(path, key).remove()
        seconds, started = time.perf_counter() - started, time.perf_counter()
        yield Ended(number, seconds, None)


def _outcomes(
    run: RunSettings,
    waiting: Iterator[tuple[ReplicaJob, HalfwayCheckpoint | None]],
    mode: TrainingMode,
    device: torch.device,
) -> Iterator[tuple[ReplicaJob, Fitted | ComputeError]]:
    """Every replica, as it is done, or why it could not be trained; by the strategy that fits the run."""
    if run.strategy(device.type) == "vectorized":
        return train_vectorized(waiting, partial(mode.trainer, device=device, padded=True), run.engine, device)
    return train_sequential(waiting, partial(mode.trainer, device=device, padded=False), device)


def _check_together(runs: Sequence[RunSettings]) -> None:
    """Refuse runs that do not share data and model."""
    for run in runs[1:]:
        if run.shared() != runs[0].shared():
            raise ConfigError(
                f"{run.id} and {runs[0].id} cannot be trained in one job: they differ in more than their treatment",
                why="a job loads its data once, and the replicas in it share a model",
                remedy="train them in jobs of their own",
            )


def parts_of(task: Task, plans: Mapping[Path, arrays.Arrays]) -> Parts:
    """What the run of a task is made of."""
    return Parts.of(task.run, plans[task.distribution] if task.distribution is not None else None)


def open_task(task: Task, parts: Parts, data: Data, plans: Mapping[Path, arrays.Arrays]) -> _TaskInWork:
    """A task with all its replicas."""
    run = task.run
    if run.best is not None and parts.recipe.selection not in ("best_validation", "early_stopping"):
        raise ConfigError(
            f"the best {run.best} of {run.members} networks are asked for, and nothing says which these are",
            where=f"run {run.id}, treatment {run.treatment}, best",
            why=f"training.selection: {parts.recipe.selection} looks at no validation video",
            remedy="leave `best` null, or select the epoch by best_validation or early_stopping",
        )
    plan = plans[task.distribution] if task.distribution is not None else None
    replicas = [
        (Replica(target, fold.name, repeat, member, run.members - member <= run.fit_on_all), fold)
        for fold in data.folds
        for target in run.targets
        for repeat in range(run.repeats)
        for member in range(run.members)
    ]
    return _TaskInWork(task, parts, [ReplicaJob(replica, run, parts, data, fold, plan) for replica, fold in replicas])


def _write(in_work: _TaskInWork, data: Data, device: torch.device) -> list[Path]:
    """A run's predictions and summary, of all its replicas; its checkpoints."""
    task, entries = in_work.task, []
    paths = [checkpoint_path(task.folder, job.replica) for job in in_work.jobs]
    by_place: dict[str, list[Path]] = {}
    averaged = _averaged(in_work)
    for job, path in zip(in_work.jobs, paths, strict=True):
        fitted, seconds = in_work.done[job.replica]
        if job.replica in averaged:
            by_place.setdefault(job.replica.place, []).append(path)
        entries.append(_entry(job, fitted, seconds, path, task.folder) | {"averaged": job.replica in averaged})
    with arrays.Writer(task.predictions) as predictions:
        predictions.meta = _predictions_meta(task.run, data, in_work.jobs, entries)
        for place, stored in by_place.items():
            members = [arrays.load(path).below("predictions") for path in stored]
            for item in dict.fromkeys(item for member in members for item in member):
                predictions.add(f"{place}/{item}", mean([member[item] for member in members if item in member]))
    some = next(iter(in_work.done.values()), None)
    shapes = {} if some is None else {name: list(value.shape) for name, value in some[0].parameters.items()}
    files.write_json(task.summary, _summary(task.run, in_work.parts, data, entries, device) | {"parameters": shapes})
    return paths


def _without_predictions(fitted: Fitted) -> Fitted:
    """What is kept of a replica until all are done: its predictions are in its checkpoint."""
    return replace(fitted, predictions={})


def _averaged(in_work: _TaskInWork) -> set[Replica]:
    """The replicas whose predictions are averaged: of every ensemble those that `best` leaves."""
    ensembles: dict[str, list[Replica]] = {}
    for job in in_work.jobs:
        ensembles.setdefault(job.replica.place, []).append(job.replica)
    averaged: set[Replica] = set()
    for members in ensembles.values():
        losses = [_validation_loss(in_work.done[member][0]) for member in members]
        chosen = best_members(losses, [member.fit_on_all for member in members], in_work.task.run.best)
        averaged |= {members[number] for number in chosen}
    return averaged


def _validation_loss(fitted: Fitted) -> float | None:
    """At the selected epoch."""
    return fitted.history.validation[fitted.epoch] if fitted.history.validation else None


def mean(members: list[np.ndarray]) -> np.ndarray:
    """The mean of an ensemble's predictions, float32."""
    return members[0] if len(members) == 1 else np.stack(members).mean(axis=0, dtype=np.float64).astype(np.float32)


def prepare(run: RunSettings) -> torch.device:
    """Set what makes torch reproducible, and name the device."""
    if run.device == "cuda" and not torch.cuda.is_available():
        raise ComputeError(
            "the study asks for a GPU and torch finds none", remedy="set `device: auto` or `cpu`; see `nvidia-smi`"
        )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms does the same and imports the compiler
    torch.set_num_threads(1)
    memory.keep_freed()
    device = torch.device("cuda" if run.device != "cpu" and torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = run.engine.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = run.engine.precision == "tf32"
    return device


def _key(run: RunSettings, replica: Replica, inputs: list[str], device: torch.device) -> str:
    """Digest of everything that determines a replica's numbers."""
    # `whole` is what `fit_on_all` was called: with another text, stored replicas would not be found again
    identity = [
        replica.target,
        replica.fold,
        replica.repeat,
        replica.member,
        *(["whole"] if replica.fit_on_all else []),
    ]
    return files.digest(
        [run.determinants(), run.numerics_key(device.type), identity, inputs, device.type, torch.__version__], length=64
    )


def _line(job: ReplicaJob, fitted: Fitted, seconds: float | None) -> str:
    history = fitted.history
    validation = _validation_loss(fitted)
    kind, value = ("training", history.loss[fitted.epoch]) if validation is None else ("validation", validation)
    return (
        f"{job.run.id} {job.replica.name}: {kind} loss {value:.5f} "
        f"after epoch {fitted.epoch + 1} of {len(history.loss)}, "
        + ("found stored" if seconds is None else f"{seconds:.1f} s")
    )


def _entry(job: ReplicaJob, fitted: Fitted, seconds: float | None, path: Path, folder: Path) -> dict[str, Any]:
    replica = job.replica
    return {
        "target": replica.target,
        "fold": replica.fold,
        "repeat": replica.repeat,
        "member": replica.member,
        "fit_on_all": replica.fit_on_all,
        "seed": replica.seed(job.run),
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
        "test": list(job.fold.test),
        **({"diagnostics": fitted.diagnostics} if fitted.diagnostics else {}),
    }


def _predictions_meta(
    run: RunSettings, data: Data, jobs: list[ReplicaJob], entries: list[dict[str, Any]]
) -> dict[str, Any]:
    epochs: dict[str, list[int]] = {}
    for job, entry in zip(jobs, entries, strict=True):
        if entry["averaged"]:
            epochs.setdefault(job.replica.place, []).append(entry["selected_epoch"])
    return {
        "format": FORMAT,
        "run": run.id,
        "dataset": run.dataset,
        "targets": run.targets,
        "folds": [fold.name for fold in data.folds],
        "repeats": list(range(run.repeats)),
        "epochs": {place: of[0] if len(of) == 1 else of for place, of in epochs.items()},
    }


def _summary(
    run: RunSettings, parts: Parts, data: Data, entries: list[dict[str, Any]], device: torch.device
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "run": run.id,
        "settings": run.model_dump(by_alias=True),
        "selection": parts.recipe.selection,
        "oracle": parts.recipe.selection == "best_test",
        "device": device.type,
        "strategy": run.strategy(device.type),
        "items": {item: len(x_TD) for item, x_TD in data.features.items()},
        "left_out": data.left_out,
        "outside": data.outside,
        "other_shots": data.other_shots,
        "unlike_published": list(data.labels.meta.get("unlike_published", [])),
        "folds": {fold.name: {"train": list(fold.train), "test": list(fold.test)} for fold in data.folds},
        "dropped_folds": data.dropped_folds,
        "replicas": entries,
    }
