"""CPU seconds of training per frame and epoch, by model at its published size: `python benchmarks/rates.py`.

What `utopia plan --videos` prices training with (`utopia/plan/scale.py`). Random features of 1024 values, one
thread, medians of five second epochs in turns; two lengths of videos, because attention's cost grows with the length.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import torch
from _results import finish, in_turns, options, rows_of, spread
from _study import Study
from engine import epoch_seconds

MODELS = {"et": {}, "pgl_sum": {}, "pgl_sum, 128 wide": {"d_model": 128}, "rmn": {}}
VIDEOS, FRAMES, ROUNDS = 8, (120, 480), 5


def main() -> None:
    """Measure, print and keep."""
    chosen = options(__doc__, ROUNDS).parse_args()
    rows = rows_of(chosen)
    torch.set_num_threads(1)
    for frames in FRAMES:
        with tempfile.TemporaryDirectory() as folder:
            study = Study(Path(folder), VIDEOS, frames, 1024)
            total = sum(map(len, study.features.values()))
            jobs = {}
            for name, settings in MODELS.items():
                training = {"epochs": 3, "selection": "last"}
                run = study.run(name.split(",")[0], {**settings, "training": training}, loss="mse", sampler=None)
                jobs[name] = study.job(run)
            seconds = in_turns({name: partial(epoch_seconds, job) for name, job in jobs.items()}, chosen.rounds)
            for name, own in seconds.items():
                milliseconds = [1000 * each / total for each in own]
                rows.add(model=name, **{"frames per video": frames, "CPU ms per frame and epoch": spread(milliseconds)})
    finish("rates", chosen, rows)


if __name__ == "__main__":
    main()
