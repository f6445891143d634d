"""CPU seconds of training per frame and epoch, by model at its published size: `python benchmarks/rates.py`.

What `utopia plan --videos` prices training with (`utopia/plan/scale.py`). Random features of 1024 values, one
thread, the smallest of three second epochs; at two lengths of videos, because attention's cost grows with the length.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from _study import Study
from engine import epoch_seconds

MODELS = {"et": {}, "pgl_sum": {}, "pgl_sum, 128 wide": {"d_model": 128}, "rmn": {}}
VIDEOS, FRAMES, ROUNDS = 8, (120, 480), 3


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    print("model, frames per video, CPU seconds per frame and epoch")
    for frames in FRAMES:
        with tempfile.TemporaryDirectory() as folder:
            study = Study(Path(folder), VIDEOS, frames, 1024)
            total = sum(map(len, study.features.values()))
            for name, settings in MODELS.items():
                model = name.split(",")[0]
                training = {"epochs": 3, "selection": "last"}
                run = study.run(model, {**settings, "training": training}, loss="mse", sampler=None)
                seconds = min(epoch_seconds(study.job(run)) for _ in range(ROUNDS))
                print(f"{name}, {frames}, {seconds / total:.2e}", flush=True)


if __name__ == "__main__":
    main()
