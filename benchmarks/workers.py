"""What the workers of a training job cost: `python benchmarks/workers.py`.

A job with `engine: {workers: N}` against the same job with one worker: CPU seconds of all its processes, in turns, the
checkpoints compared byte by byte in every round. On a machine with few cores the clock says nothing of many workers,
CPU seconds do. From the part of a job that only one process does, and from the replicas' own seconds, follows how long
a job takes with more cores than this machine has.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _results import Rows, finish, in_turns, options, ratio, rows_of, spread

from utopia.files import read_json
from utopia.training.clips import OnClips
from utopia.training.run import Task, train_runs
from utopia.training.series import OnSeries
from utopia.training.settings import parse_run

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "unit" / "training"))
from clip_toy import make_clip_toy
from frame_toy import make_toy

WORKERS = (1, 2, 4, 8)
ROUNDS = 5
MANY, PAPER_REPLICAS, PAPER_EPOCHS = 64, 126, 200
"""Cores of a large node; replicas of the paper study's largest job; epochs that its recipe allows."""


class Cost(NamedTuple):
    """What a job has used."""

    cpu: float
    wall: float


def measured(work: Callable[[], object]) -> Cost:
    """CPU seconds of a process that does some work, with those that it starts, and seconds of the clock.

    Raises:
        RuntimeError: it fails.
    """
    begun = time.perf_counter()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
                work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"the training ended with status {status}")
    return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - begun)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """The checkpoints and predictions of a run."""
    return {path.name: path.read_bytes() for path in folder.rglob("*.safetensors")}


def makespan(seconds: Sequence[float], workers: int) -> float:
    """How long workers take for pieces that are handed out one after another, each to the next that is free."""
    free = [0.0] * workers
    for piece in seconds:
        heapq.heappush(free, heapq.heappop(free) + piece)
    return max(free)


def estimate(serial: float, replica: Sequence[float], workers: int) -> dict[str, Any]:
    """What a job gains with a number of workers, from its serial part and its replicas, in seconds of a core."""
    gained = (serial + sum(replica)) / (serial + makespan(replica, workers))
    return {"faster": gained, "of_cores": gained / workers}


class Training:
    """A small job of one model, to be run with any number of workers."""

    def __init__(self, root: Path, model: str, epochs: int, repeats: int) -> None:
        self.root, self.epochs, self._numbers = root, epochs, itertools.count()
        self._toy: Any = make_clip_toy(root) if model == "bi_gru" else make_toy(root, frames=120)
        self._mode: Any = OnClips() if model == "bi_gru" else OnSeries()
        self._plan = None if model == "bi_gru" else self._toy.distribution
        run = self._toy.run(repeats=2 * repeats if model == "bi_gru" else repeats)
        sizes: dict[str, dict[str, Any]] = {
            "et": {"layers": 2},
            "pgl_sum": {"d_model": 128},
            "bi_gru": {"units": [64, 32]},
        }
        settings = sizes[model]
        clips = {"clips": {"steps": 24, "batch": 3}, "whole_epochs": epochs}
        recipe = {"epochs": epochs} | (clips if model == "bi_gru" else {"selection": "last"})
        self._run = run | {"model": model, "model_config": settings | {"training": recipe}}

    def run(self, name: str, workers: int) -> None:
        """Train what is not stored in a folder."""
        folder = self.root / name
        places = folder / "predictions.safetensors", folder / "training.json"
        task = Task(parse_run(self._run), self._plan, folder, *places)
        train_runs([task], labels=self._toy.labels, features=self._toy.features, mode=self._mode, workers=workers)

    def trained(self, workers: int) -> tuple[Cost, Path]:
        """Train everything in a new folder."""
        folder = f"{workers}-{next(self._numbers)}"
        return measured(lambda: self.run(folder, workers)), self.root / folder


def compare(title: str, training: Training, rounds: int, rows: Rows) -> None:
    """Measure one model."""
    training.trained(1)  # caches are warm
    expected: dict[str, bytes] = {}
    serial: list[float] = []
    replicas: list[float] = []

    def once(workers: int) -> Cost:
        cost, folder = training.trained(workers)
        found = bytes_of(folder)
        if not expected:
            expected.update(found)
        if found != expected:
            raise RuntimeError(f"{title}: {workers} workers made other bytes than one")
        if workers == 1:
            own = [row["seconds"] for row in read_json(folder / "training.json")["replicas"]]
            done = measured(lambda: training.run(folder.name, 1)).cpu  # all is stored: what remains is not split
            serial.append(done)
            replicas[:] = [(cost.cpu - done) * each / sum(own) for each in own]
        return cost

    ways: Mapping[int, Callable[[], Cost]] = {workers: (lambda n=workers: once(n)) for workers in WORKERS}
    costs = in_turns(ways, rounds)
    for workers in WORKERS:
        cpu = [cost.cpu for cost in costs[workers]]
        row: dict[str, Any] = {"model": title, "workers": workers, "CPU seconds": statistics.median(cpu)}
        if workers > 1:
            row["CPU of one / CPU of N"] = ratio([cost.cpu for cost in costs[1]], cpu)
            row["clock of one / clock of N"] = ratio(
                [cost.wall for cost in costs[1]], [cost.wall for cost in costs[workers]]
            )
        rows.add(**row)
    fixed = statistics.median(serial)
    longer = [
        each * PAPER_EPOCHS / training.epochs for each in itertools.islice(itertools.cycle(replicas), PAPER_REPLICAS)
    ]
    on_paper = estimate(fixed, longer, MANY)
    rows.add(
        **{
            "model": title,
            "serial CPU seconds": spread(serial),
            "longest / mean replica": max(replicas) / statistics.fmean(replicas),
        },
        **{"workers": MANY, "estimated gain": on_paper["faster"], "of the cores": on_paper["of_cores"]},
    )


def main() -> None:
    """Measure, print and keep."""
    parser = options(__doc__, ROUNDS)
    parser.add_argument("--repeats", type=int, default=4, help="trainings per fold")
    parser.add_argument("--epochs", type=int, default=0, help="of each model (default: some seconds of work)")
    chosen = parser.parse_args()
    rows = rows_of(chosen)
    torch.set_num_threads(1)
    for title, model, epochs in (("ET", "et", 2), ("PGL-SUM, 128 wide", "pgl_sum", 8), ("bi-GRU", "bi_gru", 30)):
        with tempfile.TemporaryDirectory() as folder:
            training = Training(Path(folder), model, chosen.epochs or epochs, chosen.repeats)
            compare(title, training, chosen.rounds, rows)
    finish("workers", chosen, rows)


if __name__ == "__main__":
    main()
