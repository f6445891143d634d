"""Clips of several replicas as one padded batch: the strategy for GPUs."""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from utopia.models._layout import Padded
from utopia.training.chunks import Chunk, Video
from utopia.training.stacked import StackedTraining

if TYPE_CHECKING:
    from utopia.training.clips import ClipTrainee

TOGETHER = 128
"""Most clips of a replica that are predicted at once."""


@dataclass(frozen=True)
class ClipBatch:
    """The clips of a step of each of K replicas; all clips are equally long, a replica may have fewer than others."""

    x_KPD: Tensor
    rows: Padded
    key_KP: Tensor
    own: list[int]
    """Rows of each replica."""

    @classmethod
    def of(cls, chunks: Sequence[Chunk]) -> ClipBatch:
        """Put a step of each replica together."""
        device, steps = chunks[0].x_RD.device, chunks[0].rows.longest()
        most = max(len(chunk.rows.lengths) for chunk in chunks)
        frames = [chunk.rows.lengths + [0] * (most - len(chunk.rows.lengths)) for chunk in chunks]
        x_KPD = pad_sequence([chunk.x_RD for chunk in chunks], batch_first=True)
        key_KP = pad_sequence([chunk.key_R for chunk in chunks], batch_first=True)
        rows = Padded(torch.tensor(frames).to(device), steps)
        return cls(x_KPD, rows, key_KP, [len(chunk.key_R) for chunk in chunks])

    def own_rows(self, place: int) -> Tensor:
        """The rows of a replica's steps, in packed order."""
        return torch.arange(self.own[place], device=self.x_KPD.device)


class StackedClips(StackedTraining):
    """Trains replicas on clips as one network."""

    def _gather(self) -> None:
        self._shared = False

    def _batch(self, numbers: list[int | None]) -> ClipBatch:  # type: ignore[override]
        chunks = [p.trainee.chunks[n] for p, n in zip(self._places, numbers, strict=True) if n is not None]
        return ClipBatch.of(chunks)

    def _group(self, videos: Sequence[Video]) -> list[list[Video]]:
        return [list(videos[start : start + TOGETHER]) for start in range(0, len(videos), TOGETHER)]

    def _predict(self, places: Sequence[int], videos: Sequence[Sequence[Video]]) -> dict[int, dict[str, np.ndarray]]:
        """Videos are predicted clip by clip, and their clips joined."""
        trainees = [cast("ClipTrainee", self._places[k].trainee) for k in places]
        clips = [
            [
                Video(f"{video.item}/{number}", x_LD, video.target_T[:0])
                for video in own
                for number, x_LD in enumerate(video.x_TD.split(trainee.cut(video)))
            ]
            for trainee, own in zip(trainees, videos, strict=True)
        ]
        found = super()._predict(places, clips)
        return {
            k: {
                video.item: trainee.joined(
                    video, np.concatenate([found[k][f"{video.item}/{n}"] for n in range(len(trainee.cut(video)))])
                )
                for video in own
            }
            for k, trainee, own in zip(places, trainees, videos, strict=True)
        }
