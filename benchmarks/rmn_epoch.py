"""CPU seconds of an epoch of RMN beside ET at the miniature's LIRIS-ACCEDE: `python benchmarks/rmn_epoch.py`.

Random features as wide and as long as the miniature's (8 movies of 60 s, 1152 values), one thread, in turns so that
other load hits all alike; the smallest of five second epochs. Replicas go one after another, as on a CPU, or as one
stack, as on a GPU. RMN should take at most twice what ET takes. Then the kernels of RMN's round by replicas.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch
from _study import Study, stack_of
from engine import CPU, epoch_seconds, kernels

from utopia.config.load import load
from utopia.plan.plan import Plan
from utopia.training.trainer import Job
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
    """Measure and print."""
    torch.set_num_threads(1)
    runs = Plan(load(overrides={"study": "miniature"})).runs
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), MOVIES, FRAMES, WIDTH)
        jobs: dict[str, list[Job]] = {}
        for model in ("et", "rmn"):
            settings = dict(runs[f"liris.{model}.baseline"].settings["model_config"])
            settings["training"] = {**settings["training"], "epochs": 3, "selection": "last"}
            run = study.run(model, settings, loss="mse", sampler=None)
            jobs[model] = [study.job(run, repeat) for repeat in range(max(REPLICAS))]
        print("replicas, strategy: CPU seconds of an epoch of ET, of RMN, RMN / ET")
        for replicas in REPLICAS:
            stacks = {model: stack_of(own[:replicas], CPU) for model, own in jobs.items()}
            for training in stacks.values():
                epoch(training)  # the first one makes what is kept
            alone, together = ({model: float("inf") for model in jobs} for _ in range(2))
            for _ in range(ROUNDS):
                for model, own in jobs.items():
                    alone[model] = min(alone[model], sum(epoch_seconds(job) for job in own[:replicas]))
                    together[model] = min(together[model], stacked_seconds(stacks[model]))
            for strategy, seconds in (("sequential", alone), ("vectorized", together)):
                et, rmn = seconds["et"], seconds["rmn"]
                print(f"{replicas}, {strategy}: {et:.3f}, {rmn:.3f}, {rmn / et:.2f}", flush=True)
        plain = study.run("rmn", {"training": {"epochs": 3, "selection": "last"}}, loss="mse", sampler=None)
        counts = []
        for replicas in REPLICAS:  # all movies in one round
            training = stack_of([study.job(plain, repeat) for repeat in range(replicas)], CPU)
            epoch(training)
            training.begin_epochs()
            counts.append(f"{replicas}: {kernels(training.round)}")
        print("kernels of a round of RMN, by replicas: " + ", ".join(counts))


if __name__ == "__main__":
    main()
