"""CPU seconds of an epoch of RMN beside ET at the miniature's LIRIS-ACCEDE: `python benchmarks/rmn_epoch.py`.

Random features as wide and as long as the miniature's (8 movies of 60 s, 1152 values), one thread, the smallest of five
second epochs. RMN should take at most twice what ET takes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from _study import Study
from engine import epoch_seconds

from utopia.config.load import load
from utopia.outputs.plan import Plan

MOVIES, FRAMES, WIDTH, ROUNDS = 8, 60, 1152, 5


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    runs = Plan(load(overrides={"study": "miniature"})).runs
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), MOVIES, FRAMES, WIDTH)
        for model in ("et", "rmn"):
            settings = dict(runs[f"liris.{model}.baseline"].settings["model_config"])
            settings["training"] = {**settings["training"], "epochs": 3, "selection": "last"}
            run = study.run(model, settings, loss="mse", sampler=None)
            seconds[model] = min(epoch_seconds(study.job(run)) for _ in range(ROUNDS))
            print(f"{model}: {seconds[model]:.3f} CPU s per epoch", flush=True)
    print(f"rmn / et = {seconds['rmn'] / seconds['et']:.2f}")


if __name__ == "__main__":
    main()
