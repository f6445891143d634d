"""Balanced MSE by batch Monte Carlo (BMC): which label of the batch is this the prediction of?

Ren et al. (2022, "Balanced MSE for imbalanced visual regression"), cited by ULDA (sec. 2.2). With the noise scale s,
the logit of row i for the label of row j is -(y^_i - y_j)^2 / 2 s^2, the loss the cross-entropy with the right answer j
= i, times 2 s^2 (which passes no gradient). A batch is one video [U]: labels are compared within it. In shapes: V
videos, T rows of the longest one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from utopia.config.base import Strict
from utopia.distribution.item import ItemDistribution
from utopia.errors import ConfigError
from utopia.losses._common import Batch, Loss, Weights
from utopia.losses._reweight import Needs
from utopia.losses._rows import by_video


class Config(Strict):
    """Balanced MSE by batch Monte Carlo (Ren et al. 2022)."""

    noise: float | None = Field(None, gt=0)
    """First value of the noise scale s, in label units. null: the deviation of the training labels, which is the
    training error of the best constant [U] (the baseline's own training error, which would be nearer to the meaning of
    s, is not known beforehand)."""
    learn_noise: bool = True
    """Whether s is learnt; it stays as it is otherwise (the original's depth benchmark: 1)."""
    noise_learning_rate: float = Field(1e-2, gt=0, le=1000)
    """The optimiser's learning rate for s."""


class BalancedError(Loss):
    """For each video 2 s^2 / m sum_i CE(softmax_j(-(y^_i - y_j)^2 / 2 s^2), i)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.noise = nn.Parameter(torch.tensor(config.noise or 1.0), requires_grad=config.learn_noise)
        self.learning_rate = config.noise_learning_rate
        """Of the loss's own parameters, instead of the model's; without weight decay."""

    def weights(
        self, videos: Sequence[ItemDistribution], needs: Needs, labels: Sequence[NDArray[np.float64]] | None = None
    ) -> list[Weights]:
        """Ones, see `Loss.weights`; sets the first value of s where the settings leave it to the labels.

        Raises:
            ConfigError: it would have to be set, but no labels are given.
        """
        if self.config.noise is None:
            if labels is None:
                raise ConfigError(
                    "bmc does not know the training labels, from which the noise scale starts",
                    remedy="set `noise` under `losses: bmc`, to about the error of the baseline in training",
                )
            deviation = float(np.concatenate([np.asarray(label_T, dtype=np.float64) for label_T in labels]).std())
            nn.init.constant_(self.noise, deviation if deviation > 1e-6 else 1.0)
        return super().weights(videos, needs)

    def forward(self, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        index_VT, inside_VT = by_video(batch.video_R)
        prediction_VT, target_VT = batch.prediction_R[index_VT], batch.target_R[index_VT]
        # s = 0 exactly, which an optimiser may step on, must not be divided by
        twice = 2 * self.noise.square().clamp(min=1e-12)
        logit_VTT = -(prediction_VT[:, :, None] - target_VT[:, None, :]).square() / twice
        logit_VTT = logit_VTT.masked_fill(~inside_VT[:, None, :], -torch.inf)
        entropy_VT = logit_VTT.logsumexp(dim=2) - logit_VTT.diagonal(dim1=1, dim2=2)
        # padding has no logit of its own
        entropy_VT = torch.where(inside_VT, entropy_VT, 0.0)
        return twice.detach() * (batch.weight_R[index_VT] * entropy_VT).sum()


def build(config: Config) -> Loss:
    """The loss."""
    return BalancedError(config)
