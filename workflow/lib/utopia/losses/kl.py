"""Kullback-Leibler divergence of the predicted from the labelled reactions (EEV 2021 sec. 4.4), instead of L1.

The report names the loss and no formula, and says that the fifteen labels of a frame do not sum to one. The term
without normalisation, y log(y / p), is not least at p = y: it falls as long as any p grows. The default is therefore
the divergence of unnormalised measures, which has p - y more and equals it where both sums are one [U].
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from utopia.config.base import Strict
from utopia.losses._common import Batch, Loss
from utopia.losses._reactions import divergence


class Config(Strict):
    """Kullback-Leibler divergence instead of the mean absolute error (EEV 2021 sec. 4.4)."""

    divergence: Literal["elementwise", "generalised", "normalised"] = "generalised"
    """`generalised`: y log(y / p) + p - y, least at p = y; `elementwise`: without p - y, as a comment of the reference
    code has it, which pushes every p to 1; `normalised`: between y and p each divided by its sum over the reactions of
    a row [U]."""


class KullbackLeibler(Loss):
    """KL(y || y^), weighed rows of each video."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config

    def forward(self, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        return divergence(batch, self.config.divergence)


def build(config: Config) -> Loss:
    """The loss."""
    return KullbackLeibler(config)
