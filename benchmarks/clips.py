"""Training on clips (EEV 2021) against a plain loop of torch's own layers, at the published sizes.

CPU seconds of a step of one replica beside the plain loop, in turns, and the kernels of a step of a pack of replicas.
`python benchmarks/clips.py`; `--videos` sets how many clips a step has.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from _results import finish, in_turns, options, ratio, rows_of, spread
from _study import stack_of_clips
from engine import kernels
from torch import Tensor, nn

from utopia.training.adam import RecipeStep
from utopia.training.clip_data import ClipData
from utopia.training.clips import ClipTrainer
from utopia.training.data import Fold
from utopia.training.loop import chunk_loss
from utopia.training.parts import Parts
from utopia.training.replica import Replica
from utopia.training.settings import RunSettings, parse_run
from utopia.training.trainer import ReplicaJob

CPU = torch.device("cpu")
ROUNDS = 5
SECONDS, WIDTHS, OUTPUTS = 90, [1536, 128], 15


class Plain(nn.Module):
    """The reference network, with torch's own dropout."""

    def __init__(self) -> None:
        super().__init__()
        how: dict[str, Any] = {"num_layers": 2, "batch_first": True, "bidirectional": True, "dropout": 0.3}
        self.picture, self.sound = nn.GRU(1536, 512, **how), nn.GRU(128, 128, **how)
        self.gate, self.out, self.gate_out = (
            nn.Linear(1280, 1280),
            nn.Linear(1280, OUTPUTS),
            nn.Linear(OUTPUTS, OUTPUTS),
        )

    def forward(self, picture: Tensor, sound: Tensor) -> Tensor:
        """y [V, L, C]."""
        f = torch.cat([self.picture(picture)[0], self.sound(sound)[0]], dim=2)
        y = self.out(f * torch.sigmoid(self.gate(f)))
        return torch.sigmoid(y * torch.sigmoid(self.gate_out(y)))


def make_data(videos: int) -> ClipData:
    """Random features and labels of videos of a minute and a half."""
    rng = np.random.default_rng(0)
    ids = [f"v{number}" for number in range(videos)]
    data = ClipData(None, standardised_D=np.zeros(sum(WIDTHS), dtype=bool))  # type: ignore[arg-type]
    data.bank_ND = torch.from_numpy(rng.normal(size=(videos * SECONDS, sum(WIDTHS))).astype(np.float32))
    for number, item in enumerate(ids):
        data.first[item], data.rows[item] = number * SECONDS, SECONDS * 6
        data.features[item] = data.bank_ND[number * SECONDS : (number + 1) * SECONDS]
        data.targets[item] = torch.from_numpy(rng.random((SECONDS, OUTPUTS)).astype(np.float32))
    data.widths, data.columns, data.every, data.per_second = WIDTHS, [f"c{c}" for c in range(OUTPUTS)], 6, 6
    data.folds = [Fold("official", tuple(ids), ())]
    return data


def make_job(data: ClipData, videos: int, repeat: int = 0) -> ReplicaJob:
    """A replica."""
    training = {"selection": "last", "epochs": 1000, "clips": {"batch": videos}}
    run: RunSettings = parse_run(
        {
            "id": "random.bi_gru.l1",
            "dataset": "random",
            "model": "bi_gru",
            "model_config": {"training": training},
            "loss": "l1",
            "features": ["picture", "sound"],
            "seed": 1,
            "repeats": 1,
            "targets": ["reactions"],
            "low": 0.0,
            "high": 1.0,
        }
    )
    return ReplicaJob(Replica("reactions", "official", repeat), run, Parts.of(run, None), data, data.folds[0], None)


def plain_step(data: ClipData, videos: int) -> Callable[[], None]:
    """A step as the reference code takes it: clips stacked item by item."""
    network = Plain()
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-4, weight_decay=1e-5)
    rng = np.random.default_rng(1)

    def step() -> None:
        clips = []
        for item in data.folds[0].train[:videos]:
            start = int(rng.integers(0, SECONDS - 59))
            clips.append((data.features[item][start : start + 60], data.targets[item][start : start + 60]))
        x, y = (torch.stack(part) for part in zip(*clips, strict=True))
        optimiser.zero_grad()
        loss = 2 * (network(x[..., :1536].contiguous(), x[..., 1536:].contiguous()) - y).abs().mean()
        loss.backward()
        optimiser.step()

    return step


def our_step(job: ReplicaJob) -> Callable[[], None]:
    """A step of the engine, one replica."""
    trainer = ClipTrainer(job, CPU)
    update = RecipeStep(list(trainer.network.parameters()), trainer.recipe)

    def step() -> None:
        trainer.begin_epoch()
        trainer.state.epoch += 1
        chunk_loss(trainer.network, trainer.chunks[0], trainer.loss, trainer.samples, trainer.epoch_seed).backward()
        update()

    trainer.network.train()
    return step


def cpu_time(function: Callable[[], None]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    """Measure, print and keep."""
    parser = options(__doc__, ROUNDS)
    parser.add_argument("--videos", type=int, default=32)
    parser.add_argument("--replicas", type=int, default=8)
    chosen = parser.parse_args()
    rows = rows_of(chosen)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = make_data(chosen.videos)
    steps = {"plain loop": plain_step(data, chosen.videos), "ours": our_step(make_job(data, chosen.videos))}
    for step in steps.values():
        step()
    seconds = in_turns({name: lambda s=step: cpu_time(s) for name, step in steps.items()}, chosen.rounds)
    stage = f"a step of {chosen.videos} clips of 60 s, one replica"
    for name, own in seconds.items():
        beside = {} if name == "plain loop" else {"of the plain loop": ratio(own, seconds["plain loop"])}
        rows.add(stage=stage, what=name, **{"CPU s": spread(own)}, **beside)

    jobs = [make_job(data, chosen.videos, repeat) for repeat in range(chosen.replicas)]
    training = stack_of_clips(jobs, CPU)
    training.begin_epochs()
    stack, loop = kernels(training.round), kernels(steps["plain loop"]) * len(jobs)
    stage = f"kernels of a step of {len(jobs)} replicas"
    rows.add(stage=stage, stack=stack, **{"plain loop": loop, "times fewer": loop / stack})
    finish("clips", chosen, rows)


if __name__ == "__main__":
    main()
