"""What a sampler is: it makes new samples from the features that enter the frame-wise regressor, in every forward pass.

A sampler belongs to one *chunk*: the packed rows of the videos that go through the network together. A `build` that
takes one more argument, `labels`, is given those of all training videos, each [T], for statistics of the training set.
In shapes: R rows (frames) of the chunk, Q new samples, d feature width, b bins.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Samples:
    """New samples. The order carries no meaning: all that follows is frame-wise."""

    feature_Qd: Tensor
    target_Q: Tensor
    bin_Q: Tensor
    """The bin that a sample was drawn for."""
    video_Q: Tensor
    """The video it belongs to, counted within the chunk."""
    count_R: Tensor | None = None
    """How often each frame counts in this pass, for samplers that also leave frames out; None: once."""


class Sampler(Protocol):
    """A sampler, bound to the videos of a chunk."""

    @property
    def needs(self) -> list[NDArray[np.float64]]:
        """How many samples it adds to each video, per bin [b] (on average, where that is random)."""

    def draw(self, feature_Rd: Tensor, generator: torch.Generator) -> Samples:
        """New samples for these features; every random number comes from `generator` (on the features' device)."""


@runtime_checkable
class SeededOnce(Protocol):
    """A sampler that draws something once and keeps it: from seeds of its own, because streams start again in every
    epoch, so that a training that was stopped finds the same again.
    """

    def seed_once(self, common: int, own: int) -> None:
        """Take its seeds.

        Args:
            common: of the replica, the same for all its chunks.
            own: of this chunk.
        """
