"""CPU seconds of a training epoch: our engine against a plain loop of the same model in torch's own parts, and what
ULDA adds.

Usage: python benchmarks/training.py [--videos 11] [--frames 300] [--width 768] [--rounds 5]

All variants run in this process on the same data, one after another in each round; the ratios are medians over the
rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from utopia import registry
from utopia.config.study import Distribution
from utopia.distribution.series import describe_series
from utopia.models import et
from utopia.models._layers import use_generator
from utopia.training.adam import Adam
from utopia.training.chunks import Video, chunk_loss, make_chunks
from utopia.training.network import Network

CPU = torch.device("cpu")
SETTINGS = Distribution(bins=10, low=0.0, high=1.0, delta=0.3, sigma=0.1)


class PlainEt(nn.Module):
    """ET at its default sizes, from torch's own transformer encoder."""

    def __init__(self, d_in: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(d_in, 64), nn.ReLU(), nn.Linear(64, 128))
        self.dropout = nn.Dropout(0.2)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 8, 2048, 0.2, batch_first=True), 4)
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 1), nn.Sigmoid())

    def forward(self, x_TD: Tensor) -> Tensor:
        """y_T of one video."""
        mask = nn.Transformer.generate_square_subsequent_mask(len(x_TD))
        f_1Td = self.encoder(self.dropout(self.embed(x_TD))[None], mask=mask, is_causal=True)
        y_T: Tensor = self.head(f_1Td)[0, :, 0]
        return y_T


def plain_epoch(videos: list[Video], width: int) -> Callable[[], None]:
    """An epoch as one would write it: a video, its loss, a step."""
    model = PlainEt(width)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)

    def epoch() -> None:
        for video in videos:
            optimiser.zero_grad()
            nn.functional.mse_loss(model(video.x_TD), video.target_T).backward()
            optimiser.step()

    return epoch


def our_epoch(videos: list[Video], width: int, loss_name: str, sampler_name: str | None) -> Callable[[], None]:
    """An epoch of the engine."""
    network = Network(et.build(et.Config(), width, "sigmoid"), torch.zeros(width), torch.ones(width)).train()
    use_generator(network, torch.Generator().manual_seed(0))
    module = registry.load("losses", loss_name)
    loss = module.build(module.Config())
    sampler = registry.load("samplers", sampler_name) if sampler_name else None
    make = partial(sampler.build, sampler.Config()) if sampler else None
    chunks = make_chunks([[video] for video in videos], loss, make, CPU)
    optimiser, generator = Adam(list(network.parameters()), 1e-4), torch.Generator().manual_seed(1)

    def epoch() -> None:
        for chunk in chunks:
            chunk_loss(network, chunk, loss, generator).backward()
            optimiser.step()

    return epoch


def make_videos(number: int, frames: int, width: int) -> list[Video]:
    """Smooth label tracks and random features."""
    rng = np.random.default_rng(0)
    videos = []
    for index in range(number):
        track = gaussian_filter1d(rng.normal(size=frames), 4)
        label_T = 1 / (1 + np.exp(-track / track.std()))
        series = describe_series(label_T, SETTINGS, 10)
        x_TD = torch.from_numpy(rng.normal(size=(frames, width)).astype(np.float32))
        videos.append(Video(f"v{index}", x_TD, torch.as_tensor(label_T, dtype=torch.float32), series))
    return videos


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--videos", type=int, default=11)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    videos = make_videos(chosen.videos, chosen.frames, chosen.width)
    epochs = {
        "plain loop": plain_epoch(videos, chosen.width),
        "baseline": our_epoch(videos, chosen.width, "mse", None),
        "cwl": our_epoch(videos, chosen.width, "cwl", None),
        "tns_cwl": our_epoch(videos, chosen.width, "cwl", "tns"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for turn in range(chosen.rounds + 1):  # the first warms up
        for name, epoch in epochs.items():
            start = time.process_time()
            epoch()
            if turn:
                seconds[name].append(time.process_time() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = {
        name: statistics.median(a / b for a, b in zip(seconds[over], seconds[under], strict=True))
        for name, over, under in (
            ("baseline / plain loop", "baseline", "plain loop"),
            ("cwl / baseline", "cwl", "baseline"),
            ("tns_cwl / baseline", "tns_cwl", "baseline"),
        )
    }
    new = float(np.mean([video.series.need.sum() / len(video.x_TD) for video in videos if video.series is not None]))
    if chosen.json:
        print(json.dumps({"cpu_seconds_per_epoch": median, "ratio": ratio, "new_samples_per_frame": new}, indent=1))
        return
    print(
        f"ET d=128, {chosen.videos} videos x {chosen.frames} steps x {chosen.width}, one thread; "
        f"TNS adds {new:.1%} samples"
    )
    for name, value in median.items():
        print(f"{name:24s} {value:8.3f} CPU s per epoch   (least {min(seconds[name]):.3f})")
    for name, value in ratio.items():
        print(f"{name:24s} {value:8.3f}")


if __name__ == "__main__":
    main()
