"""PGL-SUM as the engine runs it against a plain loop of the same model, one video at a time: CPU seconds of an epoch.

python benchmarks/models.py [videos]

Random data, mean length as TVSum's (470 steps of 1024 values). An epoch is a full-batch step: gradients of all videos,
clipping, Adam. The two models are first compared on the same parameters. The plain loop is timed as the reference code
is written (every head makes its matrix of positions anew) and, kinder, with that matrix kept. Each is timed in turn, so
that other load hits all alike; the first turn does not count.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from utopia.models._layers import use_generator
from utopia.models.pgl_sum import Config, Summariser, build
from utopia.training.adam import Adam

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from plain_pgl_sum import PlainPglSum, copy_parameters, fast_absolute_positions

REPEATS = 5
WIDTH = 1024
MEAN_FRAMES = 470
ROWS = (512, 1024, 2048)
"""Most rows that go through the network together."""
TARGETS = {None: 0.75, 128: 0.85}


def make_videos(number: int) -> list[tuple[Tensor, Tensor]]:
    """Features and labels; lengths spread by a half of the mean, which is exact."""
    generator = torch.Generator().manual_seed(0)
    lengths = torch.linspace(0.5, 1.5, number) * MEAN_FRAMES
    return [
        (torch.rand(int(frames), WIDTH, generator=generator), torch.rand(int(frames), generator=generator))
        for frames in lengths[torch.randperm(number, generator=generator)]
    ]


def chunks(videos: list[tuple[Tensor, Tensor]], rows: int) -> list[tuple[Tensor, Tensor, Tensor, list[int]]]:
    """Packed videos with the weights that make the loss a sum of means over videos."""
    groups: list[list[tuple[Tensor, Tensor]]] = []
    for video in videos:
        if not groups or sum(len(x) for x, _ in groups[-1]) + len(video[0]) > rows:
            groups.append([])
        groups[-1].append(video)
    return [
        (
            torch.cat([x for x, _ in group]),
            torch.cat([y for _, y in group]),
            torch.cat([torch.full((len(y),), 1 / len(y)) for _, y in group]),
            [len(y) for _, y in group],
        )
        for group in groups
    ]


def plain_epoch(model: PlainPglSum, videos: list[tuple[Tensor, Tensor]]) -> Callable[[], None]:
    """The loop to beat."""
    optimiser = torch.optim.Adam(model.parameters(), 5e-5, weight_decay=1e-5)

    def epoch() -> None:
        optimiser.zero_grad()
        for x, y in videos:
            torch.nn.functional.mse_loss(model(x), y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()

    return epoch


def packed_epoch(model: Summariser, videos: list[tuple[Tensor, Tensor]], rows: int) -> Callable[[], None]:
    """The same epoch as the engine runs it: packed rows, its own Adam."""
    optimiser = Adam(list(model.parameters()), 5e-5, 1e-5)
    packed = chunks(videos, rows)

    def epoch() -> None:
        for x, y, weight, lengths in packed:
            (weight * (model(x, lengths) - y).square()).sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()

    return epoch


def compare(model: Summariser, plain: PlainPglSum, x: Tensor) -> float:
    """Largest difference of the two models' predictions."""
    model.eval()
    plain.eval()
    with torch.no_grad():
        difference = (model(x, [len(x)]) - plain(x)).abs().max().item()
    model.train()
    plain.train()
    return difference


def cpu_seconds(epochs: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    """CPU seconds of each, in turns, so that other load hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for turn in range(REPEATS + 1):
        for name, epoch in epochs.items():
            start = time.process_time()
            epoch()
            if turn:
                seconds[name].append(time.process_time() - start)
    return seconds


def main() -> None:
    """Print a table for each width; fail where the two models differ."""
    torch.set_num_threads(1)
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    videos = make_videos(number)
    frames = sum(len(x) for x, _ in videos)
    print(f"{number} videos, {frames} steps of {WIDTH}, one thread, median of {REPEATS} epochs in CPU seconds")
    for d_model, target in TARGETS.items():
        torch.manual_seed(0)
        model = build(Config(d_model=d_model), WIDTH, "sigmoid")
        assert isinstance(model, Summariser)
        use_generator(model, torch.Generator().manual_seed(1))
        plain = PlainPglSum(WIDTH, d_model, positions=fast_absolute_positions)
        kept = PlainPglSum(WIDTH, d_model, positions=functools.cache(fast_absolute_positions))
        copy_parameters(model, plain)
        copy_parameters(model, kept)
        difference = compare(model, plain, videos[0][0])
        print(f"\nPGL-SUM, width {d_model or WIDTH}: largest difference of predictions {difference:.1e}")
        if difference > 1e-5:
            raise SystemExit("the two models differ")
        epochs = {"plain loop": plain_epoch(plain, videos), "plain loop, positions kept": plain_epoch(kept, videos)}
        epochs |= {f"packed, {rows} rows": packed_epoch(model, videos, rows) for rows in ROWS}
        seconds = cpu_seconds(epochs)
        reference, kinder = (statistics.median(times) for times in list(seconds.values())[:2])
        for name, times in seconds.items():
            median = statistics.median(times)
            ratios = f"{median / reference:5.2f} of the loop, {median / kinder:5.2f} of the kinder one"
            print(f"  {name:28s} {median:7.3f} s  {ratios}  (target {target})")


if __name__ == "__main__":
    main()
