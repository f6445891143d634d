"""Mean squared error: ULDA Eq. 8 with all weights 1."""

from __future__ import annotations

from torch import Tensor

from utopia.config.base import Strict
from utopia.losses._common import Batch, Loss


class Config(Strict):
    """Mean squared error: ULDA Eq. 8 with all weights 1."""


class MeanSquaredError(Loss):
    """1/m sum_t w_t (y_t - y^_t)^2 for each video, with w = 1 (ULDA Eq. 8)."""

    by_row = True

    def error(self, target: Tensor, prediction: Tensor) -> Tensor:
        """See `Loss.error`."""
        return (target - prediction).square()

    def forward(self, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        return (batch.weight_R * self.error(batch.target_R, batch.prediction_R)).sum()


def build(config: Config) -> Loss:
    """The loss."""
    return MeanSquaredError()
