"""Chunks of several replicas, padded into one batch."""

# ruff: noqa: N802, N815 - fields carry their shape

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from utopia.models._layout import Padded
from utopia.training.chunks import Chunk, Labelled, labelled


@dataclass(frozen=True)
class Store:
    """The chunks of K replicas, one after another on the device, so that a batch of any of them is a few gathers."""

    x_RD: Tensor
    key_R: Tensor
    target_R: Tensor
    weight_R: Tensor
    start: list[list[list[int]]]
    """First row by replica, chunk and video."""
    frames: list[list[list[int]]]
    """Frames by replica, chunk and video."""

    @classmethod
    def of(cls, chunks: Sequence[Sequence[Chunk]]) -> Store:
        """Put the chunks of each replica together."""
        every = [chunk for own in chunks for chunk in own]
        known: list[Labelled] = [labelled(chunk, None) for chunk in every]
        start: list[list[list[int]]] = []
        frames: list[list[list[int]]] = []
        row = 0
        for own in chunks:
            start.append([])
            frames.append([chunk.rows.lengths for chunk in own])
            for chunk in own:
                start[-1].append([row + sum(chunk.rows.lengths[:video]) for video in range(len(chunk.rows.lengths))])
                row += sum(chunk.rows.lengths)
        return cls(
            torch.cat([chunk.x_RD for chunk in every]),
            torch.cat([chunk.key_R for chunk in every]),
            torch.cat([chunk.target_R for chunk in every]),
            torch.cat([one.weight_R for one in known]),
            start,
            frames,
        )

    def batch(self, numbers: Sequence[int | None]) -> PaddedBatch:
        """One chunk of each replica, by its number; None: this replica has none."""
        chosen = [(k, n) for k, n in enumerate(numbers) if n is not None]
        videos = max(len(self.frames[k][n]) for k, n in chosen)
        start = [[0] * videos for _ in numbers]
        frames = [[0] * videos for _ in numbers]
        for k, n in chosen:
            start[k][: len(self.start[k][n])] = self.start[k][n]
            frames[k][: len(self.frames[k][n])] = self.frames[k][n]
        place_2KV = torch.tensor([start, frames]).to(self.x_RD.device, non_blocking=True)
        longest = max(max(row) for row in frames)
        frame_T = torch.arange(longest, device=self.x_RD.device)
        rows = Padded(place_2KV[1], longest)
        # padding repeats the last frame: it is finite, and no result depends on it
        index_KVT = place_2KV[0][..., None] + frame_T.minimum((place_2KV[1] - 1).clamp(min=0)[..., None])
        return PaddedBatch(self, rows, index_KVT.flatten(1), frames)


@dataclass(frozen=True)
class PaddedBatch:
    """A chunk of each of K replicas, as one padded batch. Its tensors are gathered when they are first asked for."""

    store: Store
    rows: Padded
    index_KP: Tensor
    frames: list[list[int]]

    @property
    def x_KPD(self) -> Tensor:
        """Features."""
        return self._gathered(self.store.x_RD)

    @cached_property
    def key_KP(self) -> Tensor:
        """Keys of the frames."""
        return self._gathered(self.store.key_R)

    @cached_property
    def target_KP(self) -> Tensor:
        """Labels."""
        return self._gathered(self.store.target_R)

    @cached_property
    def weight_KP(self) -> Tensor:
        """Weights, those of a video divided by its number of frames; 0 where a row is padding."""
        return self._gathered(self.store.weight_R) * self.rows.real_KVT.flatten(1)

    def own_rows(self, place: int) -> Tensor:
        """The rows of a replica's frames, in packed order."""
        starts = [video * self.rows.longest() for video in range(len(self.frames[place]))]
        pieces = [torch.arange(s, s + n) for s, n in zip(starts, self.frames[place], strict=True) if n]
        return torch.cat([torch.zeros(0, dtype=torch.long), *pieces]).to(self.index_KP.device)

    def _gathered(self, values: Tensor) -> Tensor:
        taken = values.index_select(0, self.index_KP.flatten())
        return taken.view(*self.index_KP.shape, *values.shape[1:])
