"""Mean absolute error plus a Kullback-Leibler term, as a comment of EEV 2021's reference code has it.

The report (sec. 4.4) tries the term instead of the mean absolute error: that is the loss `kl`. The code's element-wise
y log(y / p) would alone be degenerate on sigmoid outputs: -y log p pushes every p to 1.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from utopia.config.base import Strict
from utopia.losses._common import Batch, Loss
from utopia.losses._reactions import absolute, divergence


class Config(Strict):
    """Mean absolute error plus a Kullback-Leibler term (EEV 2021's reference code; its sec. 4.4 has `kl`)."""

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
        term = divergence(batch, self.config.divergence)
        return self.config.factor * absolute(batch) + self.config.weight * term


def build(config: Config) -> Loss:
    """The loss."""
    return AbsoluteAndDivergence(config)
