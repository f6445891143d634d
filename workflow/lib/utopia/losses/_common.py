"""What a loss is: static weights per frame from the label distribution, and a differentiable value of a batch.

In shapes: R rows (frames, then new samples), d feature width, T frames of one video, b bins.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from utopia.distribution.item import ItemDistribution


@dataclass(frozen=True)
class Batch:
    """The rows of one or several videos, after the frame-wise regressor. The order of rows carries no meaning."""

    prediction_R: Tensor
    target_R: Tensor
    weight_R: Tensor
    """The loss's own weights, each divided by the number of rows of its video: they sum to about one per video."""
    video_R: Tensor
    """Which video a row belongs to, counted within the batch."""
    bin_R: Tensor
    """The label bin of a row."""
    feature_Rd: Tensor
    """What entered the regressor."""


@dataclass(frozen=True)
class Weights:
    """Weights of one video, with mean 1 over frames and new samples."""

    frame_T: NDArray[np.float64]
    new_b: NDArray[np.float64]
    """Of a new sample, by the bin that it was drawn for."""


class Loss(nn.Module):
    """Base of the losses.

    A loss with parameters of its own registers them as a module does; the engine trains them, without weight decay. One
    that draws random numbers has an attribute `generator`, which the engine sets.
    """

    learning_rate: float | None = None
    """Of its own parameters; None: the model's."""
    by_row: bool = False
    """Whether the loss is sum w_r e(y_r, y^_r) with the error of `error`, and no setting changes that error: replicas
    then share its kernels, those with other settings too."""

    def error(self, target: Tensor, prediction: Tensor) -> Tensor:
        """The error e of each row, of a loss that is `by_row`."""
        raise NotImplementedError

    def weights(self, videos: Sequence[ItemDistribution], needs: Sequence[NDArray[np.float64]] | None) -> list[Weights]:
        """Weights of every video; 1 unless a loss says otherwise.

        A loss that needs the labels themselves takes one more argument, `labels`: those of every video [T].

        Args:
            videos: all videos that a replica is fitted to (a loss may pool their statistics).
            needs: how many samples per bin [b] a sampler adds to each video (on average); None without a sampler.
        """
        return [Weights(np.ones(len(video.bin)), np.ones(len(video.count))) for video in videos]

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """The sum over the batch's videos of each video's loss (a scalar tensor)."""
