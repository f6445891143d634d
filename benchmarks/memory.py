"""The memory of a training with 1, 4 and 16 times the videos: does it grow with what lies on disk?

    .venv/bin/python benchmarks/memory.py [--videos 24] [--keep]

Features are generated on disk and trained on as a job does, one epoch of two replicas, each size and model in a process
of its own, one thread, replica by replica. Printed for each: the anonymous memory that the training adds to a process
that has its modules loaded, at its highest (what the kernel can only swap out, unlike pages of mapped files, which it
drops when memory is short), the bytes of the features, and CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import _results
import numpy as np

from utopia import arrays
from utopia.distribution.approximate import approximate_distribution
from utopia.features import store
from utopia.files import write_json

LIBRARY = Path(__file__).resolve().parents[1] / "workflow" / "lib"
TIMES = (1, 4, 16)
SECONDS, WIDTH, COLUMNS = 120, 1024, 15
MODELS: dict[str, dict[str, Any]] = {
    "et": {"d_model": 16, "heads": 2, "layers": 1, "feedforward": 32, "head_hidden": 8},
    "pgl_sum": {"d_model": 16, "heads": 2},
    "rmn": {"d_model": 16},
    "bi_gru": {"units": [8]},
}
_TRAINED = """
import importlib, json, sys, threading, time
from pathlib import Path
from utopia.training.run import Task, mode_named, train_runs
from utopia.training.settings import parse_run
import utopia.training.clips, utopia.training.series

def anonymous():
    text = Path("/proc/self/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) * 1024

asked = json.loads(sys.argv[1])
folder, out = Path(asked["folder"]), Path(asked["out"])
run = parse_run(asked["run"])
__import__(f"utopia.models.{run.model}")
for name, value in asked["limits"].items():
    module, _, constant = name.rpartition(".")
    setattr(importlib.import_module(f"utopia.training.{module}"), constant, value)
before = highest = anonymous()
over = False

def watch():
    global highest
    while not over:
        highest = max(highest, anonymous())
        time.sleep(0.005)

watcher = threading.Thread(target=watch)
watcher.start()
begun = time.process_time()
try:
    distribution = folder / "distribution.safetensors" if asked["mode"] == "series" else None
    task = Task(run, distribution, out, out / "predictions.safetensors", out / "training.json")
    train_runs(
        [task], labels=folder / "labels.safetensors", features=[folder / "features" / "made" / "shard-0000.json"],
        mode=mode_named(asked["mode"]), progress=lambda *line: None,
    )
finally:
    over = True
    watcher.join()
print(json.dumps({"added_bytes": highest - before, "cpu_seconds": time.process_time() - begun}))
"""


def generated(folder: Path, videos: int, reactions: bool, tested: int | None = None) -> int:
    """A data set of so many videos, features and labels once per second; the bytes of its features.

    Args:
        tested: videos to test on; None: one in five.
    """
    rng = np.random.default_rng(0)
    ids = [f"v{number:06d}" for number in range(videos)]
    times, index = np.arange(SECONDS, dtype=np.float64), dict[str, Any]()
    target = "reactions" if reactions else "valence"
    with arrays.Writer(folder / "labels.safetensors") as labels:
        for item in ids:
            rows = rng.standard_normal((SECONDS, WIDTH), np.float32)
            identity, place = {"item": item}, folder / "features" / "store"
            index[item] = {"made": store.put(store.place(place, identity), place, rows, times, identity)}
            labels.add(f"{item}/times", times)
            values = rng.random((SECONDS, COLUMNS), np.float32) if reactions else rng.random(SECONDS)
            labels.add(f"{item}/{target}", values)
        tested = tested or max(2, videos // 5)
        labels.meta = {
            "dataset": "made", "protocol": "reactions" if reactions else "affect", "items": ids, "absent": {},
            "targets": {target: {"low": 0.0, "high": 1.0}}, "dropped_folds": [],
            "folds": [{"name": "0", "train": ids[tested:], "test": ids[:tested]}],
            **({"columns": {target: [f"c{c}" for c in range(COLUMNS)]}, "unlabelled": []} if reactions else {}),
        }  # fmt: skip
    write_json(folder / "features" / "made" / "shard-0000.json", {"dataset": "made", "items": index})
    if not reactions:
        settings = {"bins": 10, "low": 0.0, "high": 1.0, "delta": 0.3, "sigma": 0.1}
        approximate_distribution(
            labels=folder / "labels.safetensors",
            settings=settings,
            window=10,
            output=folder / "distribution.safetensors",
        )
    return videos * SECONDS * WIDTH * 4


def run_of(model: str) -> dict[str, Any]:
    """A run of one epoch, as the workflow passes it."""
    clips = model == "bi_gru"
    training: dict[str, Any] = {"epochs": 1, "selection": "last"} | (
        {"clips": {"steps": 30, "batch": 8}} if clips else {}
    )
    return {
        "id": f"made.{model}.cwl", "dataset": "made", "model": model,
        "model_config": MODELS[model] | {"training": training}, "treatment": "cwl", "loss": "l1" if clips else "cwl",
        "loss_config": {}, "features": ["made"], "normalise": {"made": "none" if clips else "standardise"}, "seed": 7,
        "repeats": 2, "device": "cpu", "targets": ["reactions" if clips else "valence"], "low": 0.0, "high": 1.0,
        "engine": {"strategy": "sequential"},
    }  # fmt: skip


def trained(
    folder: Path, model: str, out: Path, library: Path = LIBRARY, limits: dict[str, int] | None = None
) -> dict[str, float]:
    """What a training of `model` on the data in `folder` took.

    Args:
        limits: other values of constants that bound its memory, by name under `utopia.training`; None: as a job.
    """
    mode = "clips" if model == "bi_gru" else "series"
    asked = {"folder": str(folder), "out": str(out), "run": run_of(model), "mode": mode, "limits": limits or {}}
    command = [sys.executable, "-c", _TRAINED, json.dumps(asked)]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(library)}
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(videos: int, models: list[str], rows: _results.Rows, library: Path, scratch: Path) -> None:
    """Every model at every size."""
    for times in TIMES:
        for reactions in (False, True):
            own = [model for model in models if (model == "bi_gru") == reactions]
            if not own:
                continue
            folder = scratch / f"{'clips' if reactions else 'series'}-{times}"
            size = generated(folder, videos * times, reactions)
            for model in own:
                found = trained(folder, model, folder / f"run-{model}", library)
                rows.add(
                    stage="memory of a training", model=model, videos=videos * times, features_mb=round(size / 1e6),
                    added_mb=round(found["added_bytes"] / 1e6), cpu_seconds=found["cpu_seconds"],
                )  # fmt: skip


def main() -> None:
    """Measure; one JSON line per size and model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=24, help="at the smallest size")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/")
    parser.add_argument("--library", type=Path, default=LIBRARY, help="another version's workflow/lib, for comparison")
    chosen = parser.parse_args()
    rows = _results.Rows(None)
    with tempfile.TemporaryDirectory() as scratch:
        measure(chosen.videos, chosen.models.split(","), rows, chosen.library, Path(scratch))
    if chosen.keep:
        import torch  # noqa: F401 - its version is part of the file's name

        print(_results.keep("memory", _results.machine(), rows.rows))


if __name__ == "__main__":
    main()
