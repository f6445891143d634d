"""ET: the encoder-only transformer of Park et al. (MuSe 2022), as ULDA uses it (secs. 4.2 and 7.3): an embedding, a
causal encoder, a frame-wise head.

embed: Linear(D, d/2) -> ReLU -> Linear(d/2, d), plus the sinusoidal table, dropout; before it, for several
    modalities, a bidirectional LSTM (`slices`);
encoder: post-norm layers with a causal mask; head: Linear(d, 64) -> ReLU -> dropout -> Linear(64, 1) -> output
    function.
2,642,753 parameters at D = 3968 and the defaults. TNS acts between encoder and head. Shapes as in `_common`.
"""

from __future__ import annotations

import copy
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from utopia.config.base import Strict
from utopia.config.fusion import SliceFusion
from utopia.config.training import Training
from utopia.models._common import Activation, Regressor, activate
from utopia.models._dropout import Dropout
from utopia.models._fusion import SliceLstm
from utopia.models._layers import CausalMask, EncoderLayer, Linear, NoBias, sinusoid
from utopia.models._layout import Layout

STACKABLE = True


class Config(Strict):
    """Encoder-only transformer (Park et al., MuSe 2022)."""

    slices: SliceFusion = Field(default_factory=SliceFusion)
    """A bidirectional LSTM within slices before the embedding, for several modalities (ULDA sec. 4.3)."""
    d_model: int = Field(128, ge=2, multiple_of=2, le=16_384)
    """Model width d (ULDA: 128)."""
    heads: int = Field(8, ge=1, le=1024)
    """Attention heads (ULDA: 8)."""
    layers: int = Field(4, ge=1, le=64)
    """Encoder layers; the reference code ties them to half the heads."""
    feedforward: int = Field(2048, ge=1, le=65_536)
    """Hidden width of the layers' feed-forward part."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout after the embedding and in the encoder layers, attention weights included."""
    head_hidden: int = Field(64, ge=1, le=16_384)
    """Hidden width of the frame-wise regressor."""
    head_dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout in the frame-wise regressor."""
    pe: Literal["by_time", "none", "reference_batch_axis"] = "by_time"
    """Sinusoidal table by frame; none; or, as the reference code does in effect, its first row added to every frame."""
    causal: bool = True
    """Whether a frame attends to itself and the past only."""
    out_act: Literal["by_range", "tanh", "sigmoid", "linear"] = "by_range"
    """Output function; `by_range`: tanh for labels in [-1, 1], sigmoid for [0, 1] [U]."""
    training: Training = Field(default_factory=Training)
    """The training recipe (ULDA: Adam, 1e-4, at most 200 epochs, early stopping)."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.d_model % self.heads:
            raise ValueError(f"d_model ({self.d_model}) must be a multiple of heads ({self.heads})")
        return self


class EncoderTransformer(Regressor):
    """The network; see the module."""

    def __init__(self, config: Config, d_in: int, activation: Activation) -> None:
        super().__init__()
        d = config.d_model
        self.pe, self.activation = config.pe, activation
        self.slices = SliceLstm(config.slices, d_in) if config.slices.enabled else None
        d_in = self.slices.width if self.slices else d_in
        self.embed = nn.Sequential(Linear(d_in, d // 2), nn.ReLU(), Linear(d // 2, d))
        self.embed_dropout = Dropout(config.dropout)
        # nn.TransformerEncoder makes its layers as copies of one, so all start from the same values
        mask = CausalMask() if config.causal else NoBias()
        layer = EncoderLayer(d, config.heads, config.feedforward, config.dropout, mask)
        copies = (copy.deepcopy(layer, {id(mask): mask}) for _ in range(config.layers - 1))
        self.layers = nn.ModuleList([layer, *copies])
        self.hidden, self.head_dropout = Linear(d, config.head_hidden), Dropout(config.head_dropout)
        self.out = Linear(config.head_hidden, 1)
        nn.init.zeros_(self.out.bias)
        self._table = torch.empty(0, d)

    def encode(self, x_RD: Tensor, rows: Layout, keys_R: Tensor | None = None) -> Tensor:
        """See `Regressor.encode`."""
        x_RD = self.slices(x_RD, rows) if self.slices else x_RD
        f_Rd = self.embed_dropout(self.embed(x_RD) + self._position(rows, x_RD), keys_R)
        for layer in self.layers:
            f_Rd = layer(f_Rd, rows, keys_R)
        return f_Rd

    def head(self, f_Rd: Tensor, keys_R: Tensor | None = None) -> Tensor:
        """See `Regressor.head`."""
        y_R1 = self.out(self.head_dropout(self.hidden(f_Rd).relu(), keys_R))
        return activate(y_R1.squeeze(-1), self.activation)

    def _position(self, rows: Layout, like: Tensor) -> Tensor | float:
        if self.pe == "none":
            return 0.0
        if len(self._table) < rows.longest() or self._table.device != like.device or self._table.dtype != like.dtype:
            self._table = sinusoid(rows.longest(), self._table.shape[1], like.device).to(like.dtype)
        return self._table[:1] if self.pe == "reference_batch_axis" else rows.by_frame(self._table)


def build(config: Config, d_in: int, activation: Activation) -> Regressor:
    """The model.

    Args:
        config: its settings.
        d_in: width D of the input features.
        activation: the output function that fits the label range, used with `out_act: by_range`.
    """
    return EncoderTransformer(config, d_in, activation if config.out_act == "by_range" else config.out_act)
