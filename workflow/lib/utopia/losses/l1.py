"""Mean absolute error (EEV 2021 sec. 3.1)."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from utopia.config.base import Strict
from utopia.losses._common import Batch, Loss
from utopia.losses._reactions import absolute


class Config(Strict):
    """Mean absolute error (EEV 2021 sec. 3.1)."""

    factor: float = Field(2.0, gt=0)
    """The reference code adds the same mean twice, 2; the report has 1. Only weight decay makes it matter with Adam."""


class AbsoluteError(Loss):
    """factor/m sum_t w_t mean_c |y_tc - y^_tc| for each video."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        return self.factor * absolute(batch)


def build(config: Config) -> Loss:
    """The loss."""
    return AbsoluteError(config.factor)
