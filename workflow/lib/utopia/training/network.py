"""What a checkpoint holds: a model with the scaling of its input, so that it can be fed with features as they are
stored.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from utopia.models._common import Regressor
from utopia.models._dropout import number_sites
from utopia.models._layout import Layout


class Network(nn.Module):
    """A model on standardised features: x -> (x - mean) / deviation, with constants from the fitted training videos."""

    def __init__(self, model: Regressor, mean_D: Tensor, deviation_D: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean_D", mean_D)
        self.register_buffer("scale_D", 1 / deviation_D)
        number_sites(model)

    def encode(self, x_RD: Tensor, rows: Layout, keys_R: Tensor | None = None) -> Tensor:
        """See `Regressor.encode`; x as stored."""
        return self.model.encode(self.scaled(x_RD), rows, keys_R)

    def scaled(self, x_RD: Tensor) -> Tensor:
        """x as the model takes it."""
        return (x_RD - self.get_buffer("mean_D")) * self.get_buffer("scale_D")

    def head(self, f_Rd: Tensor, keys_R: Tensor | None = None) -> Tensor:
        """See `Regressor.head`."""
        return self.model.head(f_Rd, keys_R)

    def forward(self, x_RD: Tensor, rows: Layout | Sequence[int]) -> Tensor:
        """Predictions y_R, without keys."""
        y_R: Tensor = self.model(self.scaled(x_RD), rows)
        return y_R
