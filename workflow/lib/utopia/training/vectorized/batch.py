"""Chunks of several replicas, padded into one batch."""

# ruff: noqa: N802, N815 - fields carry their shape

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from utopia.models._layout import Padded
from utopia.training.chunks import Chunk, Labelled, labelled


class PaddedBatch(ABC):
    """A chunk of each of K replicas, as one padded batch.

    Args:
        rows: the layout of its rows.
        frames: of each video of each replica.
    """

    def __init__(self, rows: Padded, frames: Sequence[Sequence[int]]) -> None:
        self.rows, self.frames = rows, frames

    @property
    @abstractmethod
    def x_KPD(self) -> Tensor:
        """Features."""

    @property
    @abstractmethod
    def key_KP(self) -> Tensor:
        """Keys of the frames."""

    def rows_of(self, k: int) -> Tensor:
        """The rows of a replica's frames, one video after another without padding."""
        frames_V1 = np.array(self.frames[k])[:, None]
        rows_R = np.flatnonzero(np.arange(self.rows.longest()) < frames_V1)
        return torch.from_numpy(rows_R).to(self.key_KP.device)


class StepBatch(PaddedBatch):
    """Of chunks that are seen once: put together for one step.

    Args:
        chunks: of each replica, of videos that are equally long; None: this replica has none.
    """

    def __init__(self, chunks: Sequence[Chunk | None]) -> None:
        some = next(chunk for chunk in chunks if chunk is not None)
        lengths = [[] if chunk is None else chunk.rows.lengths for chunk in chunks]
        videos = max(map(len, lengths))
        frames = [[*of_replica, *[0] * (videos - len(of_replica))] for of_replica in lengths]
        self._x_KPD = pad_sequence([some.x_RD[:0] if c is None else c.x_RD for c in chunks], batch_first=True)
        self._key_KP = pad_sequence([some.key_R[:0] if c is None else c.key_R for c in chunks], batch_first=True)
        super().__init__(Padded(torch.tensor(frames).to(some.x_RD.device), some.rows.longest()), frames)

    @property
    def x_KPD(self) -> Tensor:
        """See `PaddedBatch.x_KPD`."""
        return self._x_KPD

    @property
    def key_KP(self) -> Tensor:
        """See `PaddedBatch.key_KP`."""
        return self._key_KP


@dataclass(frozen=True)
class ChunkTable:
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
    def of(cls, chunks: Sequence[Sequence[Chunk]]) -> ChunkTable:
        """Put the chunks of each replica together."""
        all_chunks = [chunk for of_replica in chunks for chunk in of_replica]
        known: list[Labelled] = [labelled(chunk, None) for chunk in all_chunks]
        start: list[list[list[int]]] = []
        row = 0
        for of_replica in chunks:
            start.append([])
            for chunk in of_replica:
                *first, row = accumulate(chunk.rows.lengths, initial=row)
                start[-1].append(first)
        return cls(
            torch.cat([part_RD for chunk in all_chunks for part_RD in chunk.parts]),
            torch.cat([chunk.key_R for chunk in all_chunks]),
            torch.cat([chunk.target_R for chunk in all_chunks]),
            torch.cat([labels.weight_R for labels in known]),
            start,
            [[chunk.rows.lengths for chunk in of_replica] for of_replica in chunks],
        )

    def batch(self, numbers: Sequence[int | None]) -> TableBatch:
        """One chunk of each replica, by its number; None: this replica has none."""
        chosen = [(k, n) for k, n in enumerate(numbers) if n is not None]
        videos = max(len(self.frames[k][n]) for k, n in chosen)
        start = [[0] * videos for _ in numbers]
        frames = [[0] * videos for _ in numbers]
        for k, n in chosen:
            start[k][: len(self.start[k][n])] = self.start[k][n]
            frames[k][: len(self.frames[k][n])] = self.frames[k][n]
        place_2KV = torch.tensor([start, frames]).to(self.x_RD.device, non_blocking=True)
        longest = max(max(of_replica) for of_replica in frames)
        frame_T = torch.arange(longest, device=self.x_RD.device)
        # padding repeats the last frame: it is finite, and no result depends on it
        index_KVT = place_2KV[0][..., None] + frame_T.minimum((place_2KV[1] - 1).clamp(min=0)[..., None])
        return TableBatch(self, Padded(place_2KV[1], longest), index_KVT.flatten(1), frames)


class TableBatch(PaddedBatch):
    """Of a table's chunks. Its tensors are gathered when they are first asked for; features each time."""

    def __init__(self, table: ChunkTable, rows: Padded, index_KP: Tensor, frames: Sequence[Sequence[int]]) -> None:
        super().__init__(rows, frames)
        self._table, self._index_KP = table, index_KP

    @property
    def x_KPD(self) -> Tensor:
        """See `PaddedBatch.x_KPD`."""
        return self._gathered(self._table.x_RD)

    @cached_property
    def key_KP(self) -> Tensor:
        """See `PaddedBatch.key_KP`."""
        return self._gathered(self._table.key_R)

    @cached_property
    def target_KP(self) -> Tensor:
        """Labels."""
        return self._gathered(self._table.target_R)

    @cached_property
    def weight_KP(self) -> Tensor:
        """Weights, those of a video divided by its number of frames; 0 where a row is padding."""
        return self._gathered(self._table.weight_R) * self.rows.real_KVT.flatten(1)

    def _gathered(self, values: Tensor) -> Tensor:
        taken = values.index_select(0, self._index_KP.flatten())
        return taken.view(*self._index_KP.shape, *values.shape[1:])
