"""CPU seconds of an epoch of RMN beside ET at the miniature's LIRIS-ACCEDE: `python benchmarks/rmn_epoch.py`.

Random features as wide and as long as the miniature's (8 movies of 60 s, 1152 values), one thread, in turns so that
other load hits all alike; medians of five second epochs. Replicas go one after another, as on a CPU, or as one stack,
as on a GPU. RMN should take at most twice what ET takes. Then the kernels of RMN's round by replicas.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _results import finish, in_turns, options, ratio, rows_of
from _study import Study, stack_of
from engine import CPU, epoch_seconds, kernels

from utopia.config.load import load
from utopia.plan.plan import Plan
from utopia.training.trainer import ReplicaJob
from utopia.training.vectorized.engine import VectorizedTraining

MOVIES, FRAMES, WIDTH, ROUNDS = 8, 60, 1152, 5
REPLICAS = (1, 3, 15)


def epoch(training: VectorizedTraining) -> None:
    """An epoch of every replica."""
    training.begin_epochs()
    while training.active[0].order:
        training.round()


def stacked_seconds(training: VectorizedTraining) -> float:
    """CPU seconds of an epoch of all replicas."""
    start = time.process_time()
    epoch(training)
    return time.process_time() - start


def main() -> None:
    """Measure, print and keep."""
    chosen = options(__doc__, ROUNDS).parse_args()
    rows = rows_of(chosen)
    torch.set_num_threads(1)
    runs = Plan(load(overrides={"study": "miniature"})).runs
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), MOVIES, FRAMES, WIDTH)
        jobs: dict[str, list[ReplicaJob]] = {}
        for model in ("et", "rmn"):
            settings = dict(runs[f"liris.{model}.baseline"].settings["model_config"])
            settings["training"] = {**settings["training"], "epochs": 3, "selection": "last"}
            run = study.run(model, settings, loss="mse", sampler=None)
            jobs[model] = [study.job(run, repeat) for repeat in range(max(REPLICAS))]
        for replicas in REPLICAS:
            stacks = {model: stack_of(own[:replicas], CPU) for model, own in jobs.items()}
            for training in stacks.values():
                epoch(training)  # the first one makes what is kept
            ways: dict[tuple[str, str], Callable[[], float]] = {}
            for model, own in jobs.items():
                ways["one after another", model] = lambda own=own[:replicas]: sum(map(epoch_seconds, own))
                ways["stacked", model] = lambda stack=stacks[model]: stacked_seconds(stack)
            seconds = in_turns(ways, chosen.rounds)
            for strategy in ("one after another", "stacked"):
                et, rmn = seconds[strategy, "et"], seconds[strategy, "rmn"]
                medians = {"ET, CPU s": statistics.median(et), "RMN, CPU s": statistics.median(rmn)}
                rows.add(replicas=replicas, trained=strategy, **medians, **{"RMN / ET": ratio(rmn, et)})
        plain = study.run("rmn", {"training": {"epochs": 3, "selection": "last"}}, loss="mse", sampler=None)
        for replicas in REPLICAS:  # all movies in one round
            training = stack_of([study.job(plain, repeat) for repeat in range(replicas)], CPU)
            epoch(training)
            training.begin_epochs()
            rows.add(replicas=replicas, trained="stacked, one round", **{"operations of RMN": kernels(training.round)})
    finish("rmn_epoch", chosen, rows)


if __name__ == "__main__":
    main()
