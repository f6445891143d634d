"""Mean absolute error plus a Kullback-Leibler term (EEV 2021, Table 3).

The reference code has the term in a comment, element-wise y log(y / p), added to the mean absolute error. Alone it
would be degenerate on sigmoid outputs: -y log p pushes every p to 1.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from utopia.config.base import Strict
from utopia.losses._common import Batch, Loss
from utopia.losses._reactions import absolute, columns

SMALLEST = 1e-7
"""Probabilities below count as this."""


class Config(Strict):
    """Mean absolute error plus a Kullback-Leibler term (EEV 2021, Table 3)."""

    divergence: Literal["elementwise", "generalised", "normalised"] = "elementwise"
    """`elementwise`: y log(y / p), the mean over rows and reactions (the reference); `generalised`: + p - y, whose
    minimum is at p = y; `normalised`: between y and p each divided by its sum over the reactions of a row [U]."""
    weight: float = Field(1.0, gt=0)
    """Of the Kullback-Leibler term."""
    factor: float = Field(2.0, gt=0)
    """Of the mean absolute error; see the loss `l1`."""


class AbsoluteAndDivergence(Loss):
    """factor |y - y^| + weight KL(y || y^), weighed rows of each video."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def forward(self, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        y_RC = columns(batch.target_R).clamp(min=0)
        p_RC = columns(batch.prediction_R).clamp(min=SMALLEST)
        if self.config.divergence == "normalised":
            y_RC = y_RC / y_RC.sum(dim=1, keepdim=True).clamp(min=SMALLEST)
            p_RC = p_RC / p_RC.sum(dim=1, keepdim=True)
        kl_RC = torch.xlogy(y_RC, y_RC) - y_RC * p_RC.log()
        if self.config.divergence == "generalised":
            kl_RC = kl_RC + p_RC - y_RC
        kl = (batch.weight_R * kl_RC.mean(dim=1)).sum()
        return self.config.factor * absolute(batch) + self.config.weight * kl


def build(config: Config) -> Loss:
    """The loss."""
    return AbsoluteAndDivergence(config)
