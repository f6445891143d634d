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

from utopia.models._layout import Layout, Packed

Activation = Literal["tanh", "sigmoid", "linear"]


class Regressor(nn.Module):
    """Base of the models: y = head(encode(x)). Rows of different videos never see one another.

    A module whose models may run as K replicas in one says `STACKABLE = True`: then every parameter belongs to a layer
    of `_layers`, dropout is `_dropout`'s, what looks along time is left to the layout, and axes are counted from the
    end. Such a model also takes x [K, P, D] with a padded layout, and gives f [K, P, d] and y [K, P]. Others are
    trained one replica after another, and may be made of any layers.
    """

    @abstractmethod
    def encode(self, x_RD: Tensor, rows: Layout, keys_R: Tensor | None = None) -> Tensor:
        """Features f_Rd that enter the frame-wise regressor; the only part that looks along time.

        Args:
            x_RD: input features of all frames.
            rows: how the rows are arranged; for a model that is not stackable always `Packed`, whose `lengths` are the
                frames of each video, one after another.
            keys_R: of the rows, for `Dropout`; None outside training.
        """

    @abstractmethod
    def head(self, f_Rd: Tensor, keys_R: Tensor | None = None) -> Tensor:
        """Predictions y_R, each from its own row alone (a new sample is one more row)."""

    def forward(self, x_RD: Tensor, rows: Layout | Sequence[int], keys_R: Tensor | None = None) -> Tensor:
        """Predictions y_R; `rows` may be the lengths of packed videos."""
        layout: Layout = Packed(rows) if isinstance(rows, Sequence) else rows
        return self.head(self.encode(x_RD, layout, keys_R), keys_R)


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
