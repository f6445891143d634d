"""Bi-GRU: the reaction network of EEV 2021 (sec. 3.1), a bidirectional GRU per modality, late fusion, context gating.

encode: per modality two bidirectional GRU layers with dropout in between; their states side by side;
head: gate -> Linear -> gate -> output function, with the gate x * sigmoid(W x + b) (Miech et al. 2017, without batch
    norm). The report names gate and sigmoid only; this order is the reference code's.
13,176,063 parameters with pictures of 1536 and sound of 128 and 15 reactions; 14,748,927 with 2048. Initial values are
torch's defaults. Shapes as in `_common`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from utopia.config.base import Strict
from utopia.config.clips import ClipTraining
from utopia.models._common import Activation, Regressor, activate
from utopia.models._dropout import Dropout
from utopia.models._gru import BiGru
from utopia.models._layers import Linear
from utopia.models._layout import Layout

STACKABLE = True


class Config(Strict):
    """Bidirectional GRUs with context gating ("Less is More", EEV 2021)."""

    class Recipe(ClipTraining):
        """The reference code's: Adam, 2e-4, weight decay 1e-5, the rate times 0.3 after epochs 40 and 80."""

        epochs: int = Field(200, ge=1, le=100_000)
        """Most epochs; the reference's README says 200, its script 1000."""
        learning_rate: float = Field(2e-4, gt=0, le=1000)
        """Adam's learning rate."""
        weight_decay: float = Field(1e-5, ge=0)
        """L2 term added to the gradient; a network that is trained on the validation videos too has none."""
        milestones: list[int] = Field(default_factory=lambda: [40, 80])
        """Epochs after which the learning rate is multiplied by `factor`."""
        selection: Literal["early_stopping", "last", "pgl_rule", "best_test", "best_validation"] = "best_validation"
        """As in the paper the highest correlation on the validation videos, on which its tables report too."""

    units: list[Annotated[int, Field(ge=1, le=16_384)]] = Field(
        default_factory=lambda: [512, 128], min_length=1, max_length=64
    )
    """Units per direction of each modality's GRU, in the order of the features. One modality takes the first."""
    layers: int = Field(2, ge=1, le=64)
    """GRU layers."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout between GRU layers."""
    training: Recipe = Field(default_factory=Recipe)
    """The training recipe."""


class Gate(nn.Module):
    """Context gating: x * sigmoid(W x + b)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Each row weighs its own elements."""
        return x * self.linear(x).sigmoid()


class Modality(nn.Module):
    """The GRU layers of one modality."""

    def __init__(self, config: Config, d_in: int, units: int) -> None:
        super().__init__()
        widths = [d_in] + [2 * units] * (config.layers - 1)
        self.layers = nn.ModuleList(BiGru(width, units) for width in widths)
        self.dropouts = nn.ModuleList(Dropout(config.dropout) for _ in widths[1:])

    def forward(self, x_RD: Tensor, rows: Layout, keys_R: Tensor | None) -> Tensor:
        """States of both directions of the last layer."""
        x_RD = self.layers[0](x_RD, rows)
        for dropout, layer in zip(self.dropouts, self.layers[1:], strict=True):
            x_RD = layer(dropout(x_RD, keys_R), rows)
        return x_RD


class BiGruGating(Regressor):
    """The network; see the module."""

    def __init__(self, config: Config, widths: Sequence[int], outputs: int | None, activation: Activation) -> None:
        super().__init__()
        if len(widths) > len(config.units):
            raise ValueError(f"{len(widths)} modalities, but `units` has {len(config.units)} numbers")
        self.widths, self.outputs, self.activation = list(widths), outputs, activation
        units = config.units[: len(widths)]
        self.modalities = nn.ModuleList(Modality(config, *pair) for pair in zip(widths, units, strict=True))
        fused = 2 * sum(units)
        self.gate, self.out, self.gate_out = Gate(fused), Linear(fused, outputs or 1), Gate(outputs or 1)

    def encode(self, x_RD: Tensor, rows: Layout, keys_R: Tensor | None = None) -> Tensor:
        """See `Regressor.encode`."""
        parts = x_RD.split(self.widths, dim=-1)
        return torch.cat([gru(x, rows, keys_R) for gru, x in zip(self.modalities, parts, strict=True)], dim=-1)

    def head(self, f_Rd: Tensor, keys_R: Tensor | None = None) -> Tensor:
        """See `Regressor.head`; y [R, outputs] where there are several."""
        y_RC = activate(self.gate_out(self.out(self.gate(f_Rd))), self.activation)
        return y_RC if self.outputs else y_RC.squeeze(-1)


def build(
    config: Config,
    d_in: int,
    activation: Activation,
    *,
    widths: Sequence[int] | None = None,
    outputs: int | None = None,
) -> Regressor:
    """The model.

    Args:
        config: its settings.
        d_in: width D of the input features.
        activation: the output function that fits the label range.
        widths: widths of the modalities within D, in the order of the features; default: one modality.
        outputs: C, numbers to predict for each frame, y [R, C]; default: one, y [R].

    Raises:
        ValueError: there are more modalities than `units`.
    """
    return BiGruGating(config, widths or [d_in], outputs, activation)
