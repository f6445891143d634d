"""Chunks: videos that go through the network together, one after another, with their loss weights and their sampler.

Videos differ in length. Where they are ragged, the rows of one follow those of another, without padding: that is the
fastest on a CPU, and two thousand rows at a time make its matrix products efficient. Where they are padded to one
length, those of a similar length go together. In shapes: R rows of a chunk, Q new samples, V videos, b bins.
"""

# ruff: noqa: N802, N815 - fields carry their shape

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from utopia import seeds
from utopia.distribution.item import ItemDistribution
from utopia.losses._common import Loss
from utopia.models._dropout import counted, frame_keys, pass_keys
from utopia.models._layout import Packed
from utopia.samplers._common import Sampler, Samples

ROWS = 2048
"""Most rows of a ragged chunk of several videos."""
PAIRS = 2**24
"""Most pairs of frames, V T^2, of a padded chunk: bounds the memory that attention takes."""

MakeSampler = Callable[[Sequence[ItemDistribution], Tensor, torch.device], Sampler]


@dataclass(frozen=True)
class Video:
    """A video of a replica."""

    item: str
    x_TD: Tensor
    target_T: Tensor
    series: ItemDistribution | None = None
    """Its label distribution; training videos only."""
    number: int = 0
    """What the keys of its frames start from: its own under its replica; training videos only."""


@dataclass(frozen=True)
class Chunk:
    """Videos to train on, as ragged rows on the device."""

    parts: Sequence[Tensor]
    """Features, in pieces that follow one another; on a CPU those of its videos, wherever they are kept."""
    rows: Packed
    key_R: Tensor
    """Keys of the frames, the same in every epoch; `pass_keys` makes those of a pass."""
    new_key: int
    """What the keys of new samples start from."""
    target_R: Tensor
    bin_R: Tensor
    video_R: Tensor
    weight_R: Tensor
    new_weight_Vb: Tensor
    sampler: Sampler | None

    @property
    def x_RD(self) -> Tensor:
        """Features, put together each time they are asked for: who trains on them needs them for a step."""
        return self.parts[0] if len(self.parts) == 1 else torch.cat([*self.parts])


def ragged_groups(videos: Iterable[Video], rows: int = ROWS) -> list[list[Video]]:
    """Group videos, in order, so that a group has at most `rows` rows; a longer video is a group of its own."""
    groups: list[list[Video]] = []
    filled = rows + 1
    for video in videos:
        filled += len(video.x_TD)
        if filled > rows:
            groups.append([])
            filled = len(video.x_TD)
        groups[-1].append(video)
    return groups


def padded_groups(videos: Sequence[Video]) -> list[list[Video]]:
    """Group videos of similar length, the longest first: a padded group has at most `PAIRS` pairs of frames."""
    groups: list[list[Video]] = []
    longest = 0
    for video in sorted(videos, key=lambda video: (-len(video.x_TD), video.item)):
        if not groups or (len(groups[-1]) + 1) * longest**2 > PAIRS:
            groups.append([])
            longest = len(video.x_TD)
        groups[-1].append(video)
    return groups


def give_labels(function: Callable[..., Any], labels: Sequence[np.ndarray]) -> Callable[..., Any]:
    """The function with the labels of all training videos filled in, if it takes them."""
    return partial(function, labels=labels) if "labels" in inspect.signature(function).parameters else function


def make_chunks(
    groups: Sequence[Sequence[Video]], loss: Loss, make_sampler: MakeSampler | None, device: torch.device
) -> list[Chunk]:
    """Chunks of groups of training videos. The loss sees all videos at once, so that it may pool their statistics."""
    series = [[video.series for video in group if video.series is not None] for group in groups]
    target = [torch.cat([video.target_T for video in group]).to(device) for group in groups]
    labels = [video.target_T.double().numpy() for group in groups for video in group]
    build = give_labels(make_sampler, labels) if make_sampler else None
    samplers = [build(*pair, device) for pair in zip(series, target, strict=True)] if build else None
    needs = [need_b for sampler in samplers for need_b in sampler.needs] if samplers else None
    weights = iter(give_labels(loss.weights, labels)([video for group in series for video in group], needs))
    chunks = []
    for number, group in enumerate(groups):
        weights_of_group = [next(weights) for _ in group]
        lengths = [len(video.x_TD) for video in group]
        chunks.append(
            Chunk(
                parts=_parts(group, device),
                rows=Packed(lengths),
                key_R=frame_keys([video.number for video in group], lengths, device),
                new_key=seeds.derive(group[0].number, "new samples"),
                target_R=target[number],
                bin_R=torch.as_tensor(np.concatenate([video.bin for video in series[number]]), device=device),
                video_R=torch.repeat_interleave(torch.arange(len(group)), torch.tensor(lengths)).to(device),
                weight_R=torch.as_tensor(
                    np.concatenate([own.frame_T for own in weights_of_group]), dtype=torch.float32, device=device
                ),
                new_weight_Vb=torch.as_tensor(
                    np.stack([own.new_b for own in weights_of_group]), dtype=torch.float32, device=device
                ),
                sampler=samplers[number] if samplers else None,
            )
        )
    return chunks


def _parts(group: Sequence[Video], device: torch.device) -> list[Tensor]:
    """The features of some videos: on a GPU all at once, in main memory where they are."""
    parts = [video.x_TD for video in group]
    return parts if device.type == "cpu" else [torch.cat(parts).to(device)]


@dataclass(frozen=True)
class Labelled:
    """What the loss compares predictions with: frames, then new samples."""

    target_R: Tensor
    weight_R: Tensor
    """Divided by the number of rows of its video."""
    video_R: Tensor
    bin_R: Tensor


def labelled(chunk: Chunk, new: Samples | None) -> Labelled:
    """The labels of a chunk's frames and of the new samples that were drawn for it."""
    target_R, video_R, bin_R, weight_R = chunk.target_R, chunk.video_R, chunk.bin_R, chunk.weight_R
    size_V = torch.tensor(chunk.rows.lengths, dtype=weight_R.dtype, device=weight_R.device)
    if new is not None:
        if new.count_R is not None:
            weight_R = weight_R * new.count_R
            size_V = torch.stack([count_T.sum() for count_T in new.count_R.split(chunk.rows.lengths)])
        size_V = (size_V + torch.bincount(new.video_Q, minlength=len(size_V))).clamp(min=1)
        target_R, bin_R = torch.cat([target_R, new.target_Q]), torch.cat([bin_R, new.bin_Q])
        video_R = torch.cat([video_R, new.video_Q])
        weight_R = torch.cat([weight_R, chunk.new_weight_Vb[new.video_Q, new.bin_Q]])
    return Labelled(target_R, weight_R / size_V[video_R], video_R, bin_R)


def new_keys(chunk: Chunk, number: int, epoch_seed: int) -> Tensor:
    """Keys of the chunk's new samples in a pass."""
    return pass_keys(counted(chunk.new_key, torch.arange(number, device=chunk.key_R.device)), epoch_seed)


@torch.inference_mode()
def predict(
    network: nn.Module,
    videos: Sequence[Video],
    device: torch.device,
    rows: int = ROWS,
    lengths: Callable[[Video], list[int]] = lambda video: [len(video.x_TD)],
) -> Iterator[tuple[Video, np.ndarray]]:
    """Each video with the predictions of its rows (float32), in evaluation mode: no dropout, no new samples.

    Args:
        network: left in training mode when all are predicted.
        videos: what is predicted.
        device: where.
        rows: most rows at once.
        lengths: of the pieces that a video is predicted in.
    """
    network.eval()
    for group in ragged_groups(videos, rows):
        pieces = [length for video in group for length in lengths(video)]
        y_R = network(torch.cat([video.x_TD for video in group]).to(device), pieces).float().cpu()
        for video, y_T in zip(group, y_R.split([len(video.x_TD) for video in group]), strict=True):
            yield video, y_T.numpy()
    network.train()
