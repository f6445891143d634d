"""Layers shared by the models. Each takes rows [R, d] of one replica, or [K, P, d] of K replicas with parameters that
have a leading axis K too (`training.stack` makes such a network of K ordinary ones).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from utopia.models._dropout import Dropout
from utopia.models._layout import Bias, Layout


class Linear(nn.Linear):
    """`nn.Linear`, for one replica or for K."""

    def forward(self, x: Tensor) -> Tensor:
        """See `linear`."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b.

    Args:
        x: any axes, then the width. For K replicas the first axis is K or a multiple of it, replica after replica.
        weight: [out, in], or [K, out, in].
        bias: [out], [K, out], or None.
    """
    if weight.dim() == 2:
        return functional.linear(x, weight, bias)
    x_KPd = x.reshape(len(weight), -1, x.shape[-1])
    if bias is None:
        y_KPd = torch.bmm(x_KPd, weight.transpose(1, 2))
    else:
        y_KPd = torch.baddbmm(bias[:, None], x_KPd, weight.transpose(1, 2))
    return y_KPd.view(*x.shape[:-1], -1)


class LayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` over the last axis, for one replica or for K."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise, scale, shift."""
        if self.weight.dim() == 1:
            return super().forward(x)
        normal = functional.layer_norm(x, self.normalized_shape, None, None, self.eps)
        return torch.addcmul(self.bias[:, None], normal, self.weight[:, None])


def sinusoid(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """The table of Vaswani et al. (2017) [length, width]: sin(t / 10000^(2i/d)) in even, the cosine in odd columns."""
    t = torch.arange(length, dtype=torch.float64)[:, None]
    angle = t * torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
    table = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]
    return table.to(device=device, dtype=torch.float32)


class NoBias:
    """Nothing is added to the attention energies."""

    def add_to(self, e_hTT: Tensor) -> None:
        """See `Bias.add_to`."""

    def padded(self, frames_KV: Tensor, longest: int, like: Tensor) -> Tensor | None:
        """See `Bias.padded`."""
        return None


class CausalMask:
    """A frame attends to itself and the past only."""

    def __init__(self) -> None:
        self._mask = torch.empty(0, 0)

    def add_to(self, e_hTT: Tensor) -> None:
        """See `Bias.add_to`."""
        frames = e_hTT.shape[1]
        e_hTT.add_(self._of(frames, e_hTT)[:frames, :frames])

    def padded(self, frames_KV: Tensor, longest: int, like: Tensor) -> Tensor | None:
        """See `Bias.padded`."""
        return self._of(longest, like)[:longest, :longest]

    def _of(self, frames: int, like: Tensor) -> Tensor:
        if len(self._mask) < frames or self._mask.dtype != like.dtype or self._mask.device != like.device:
            self._mask = like.new_full((frames, frames), -torch.inf).triu_(1)
        return self._mask


class SelfAttention(nn.Module):
    """Multi-head self-attention, parameters and initial values as `nn.MultiheadAttention`'s."""

    def __init__(self, width: int, heads: int, dropout: float, bias: Bias) -> None:
        super().__init__()
        self.heads, self.bias, self.scale = heads, bias, (width // heads) ** -0.5
        self.qkv = Linear(width, 3 * width)
        self.out = Linear(width, width)
        self.dropout = Dropout(dropout)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, rows: Layout, keys: Tensor | None = None) -> Tensor:
        """The maps run over all rows at once, attention within each video."""
        attended = rows.attend(
            self.qkv(x), self.heads, scale=self.scale, bias=self.bias, dropout=self.dropout, keys=keys
        )
        return self.out(attended)


class EncoderLayer(nn.Module):
    """A post-norm transformer encoder layer, as `nn.TransformerEncoderLayer` with its defaults."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float, bias: Bias) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, dropout, bias)
        self.widen = Linear(width, feedforward)
        self.narrow = Linear(feedforward, width)
        self.norm_attention, self.norm_feedforward = LayerNorm(width), LayerNorm(width)
        self.dropout_attention, self.dropout_hidden = Dropout(dropout), Dropout(dropout)
        self.dropout_feedforward = Dropout(dropout)

    def forward(self, x: Tensor, rows: Layout, keys: Tensor | None = None) -> Tensor:
        """One layer; rows of different videos do not mix."""
        x = self.norm_attention(x + self.dropout_attention(self.attention(x, rows, keys), keys))
        hidden = self.dropout_hidden(self.widen(x).relu(), keys)
        return self.norm_feedforward(x + self.dropout_feedforward(self.narrow(hidden), keys))
