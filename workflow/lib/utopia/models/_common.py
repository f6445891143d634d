"""What a model is: a temporal encoder and a frame-wise regressor, with the place for new samples in between.

Names of tensors carry their shape: R rows (frames of one or several videos, one video after another), T frames of one
video, D input width, d model width, h heads.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["tanh", "sigmoid", "linear"]


class Regressor(nn.Module):
    """Base of the models: y = head(encode(x)). Rows of different videos never see one another."""

    @abstractmethod
    def encode(self, x_RD: Tensor, lengths: Sequence[int]) -> Tensor:
        """Features f_Rd that enter the frame-wise regressor; the only part that looks along time.

        Args:
            x_RD: input features of all frames, video after video.
            lengths: frames of each video; they add up to R.
        """

    @abstractmethod
    def head(self, f_Rd: Tensor) -> Tensor:
        """Predictions y_R, each from its own row alone (a new sample is one more row)."""

    def forward(self, x_RD: Tensor, lengths: Sequence[int]) -> Tensor:
        """Predictions y_R."""
        return self.head(self.encode(x_RD, lengths))


def activation_for(low: float, high: float) -> Activation:
    """The output function whose range covers the labels: sigmoid for [0, 1], tanh for [-1, 1], none for anything wider
    [U].
    """
    if low < -1 or high > 1:
        return "linear"
    return "tanh" if low < 0 else "sigmoid"


def activate(value: Tensor, activation: Activation) -> Tensor:
    """Apply an output function."""
    if activation == "linear":
        return value
    return torch.tanh(value) if activation == "tanh" else torch.sigmoid(value)
