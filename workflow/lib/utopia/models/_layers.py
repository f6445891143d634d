"""Layers shared by the models: dropout from a replica's own random stream, attention per video, the sinusoidal table.

Shapes as in `_common`; e and w are attention energies and weights, one video at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Dropout(nn.Module):
    """`nn.Dropout` whose masks come from a generator of the replica's own, where `use_generator` has set one.

    The masks are made from 16 random bits per element, four elements to a 64-bit word, because `bernoulli_` takes a
    third of the time of a training step on a CPU. p is rounded to a multiple of 2^-16 and kept elements are scaled by
    exactly 1 / (1 - p).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """x, with each element zeroed with probability p in training."""
        if not self.training or self.p == 0:
            return x
        if self.generator is None:
            return functional.dropout(x, self.p)
        words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None, generator=self.generator)  # the whole range: every bit is random
        kept = round((1 - self.p) * 2**16)
        mask = words.view(torch.int16)[: x.numel()].view(x.shape) < kept - 2**15
        return x * mask.to(x.dtype).mul_(2**16 / kept)


def use_generator(module: nn.Module, generator: torch.Generator) -> None:
    """Let every layer inside `module` that has a `generator`, as `Dropout` has, draw from this one (on its device)."""
    for layer in module.modules():
        if hasattr(layer, "generator"):
            layer.generator = generator  # type: ignore[assignment]


def sinusoid(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """The table of Vaswani et al. (2017) [length, width]: sin(t / 10000^(2i/d)) in even, the cosine in odd columns."""
    t = torch.arange(length, dtype=torch.float64)[:, None]
    angle = t * torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
    table = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]
    return table.to(device=device, dtype=torch.float32)


class SelfAttention(nn.Module):
    """Multi-head self-attention over packed videos, parameters and initial values as `nn.MultiheadAttention`'s."""

    def __init__(self, width: int, heads: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        nn.init.xavier_uniform_(self.qkv.weight)
        nn.init.zeros_(self.qkv.bias)
        nn.init.zeros_(self.out.bias)

    def forward(self, x_Rd: Tensor, lengths: Sequence[int]) -> Tensor:
        """The maps run over all rows at once, attention over one video at a time: no padding, no mask of others."""
        videos = [self._attend(qkv_T3d) for qkv_T3d in self.qkv(x_Rd).split(list(lengths))]
        return self.out(videos[0] if len(videos) == 1 else torch.cat(videos))

    def _attend(self, qkv_T3d: Tensor) -> Tensor:
        frames, width = qkv_T3d.shape[0], qkv_T3d.shape[1] // 3
        q_hTc, k_hTc, v_hTc = qkv_T3d.view(frames, 3, self.heads, width // self.heads).permute(1, 2, 0, 3)
        e_hTT = torch.bmm(q_hTc * (width // self.heads) ** -0.5, k_hTc.transpose(1, 2))
        if self.causal:
            e_hTT += torch.full((frames, frames), -torch.inf, device=e_hTT.device).triu_(1)
        w_hTT = self.dropout(e_hTT.softmax(dim=-1))
        return torch.bmm(w_hTT, v_hTc).transpose(0, 1).reshape(frames, width)


class EncoderLayer(nn.Module):
    """A post-norm transformer encoder layer on packed videos, as `nn.TransformerEncoderLayer` with its defaults."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, dropout, causal)
        self.widen = nn.Linear(width, feedforward)
        self.narrow = nn.Linear(feedforward, width)
        self.norm_attention, self.norm_feedforward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, x_Rd: Tensor, lengths: Sequence[int]) -> Tensor:
        """One layer; rows of different videos do not mix."""
        x_Rd = self.norm_attention(x_Rd + self.dropout(self.attention(x_Rd, lengths)))
        return self.norm_feedforward(x_Rd + self.dropout(self.narrow(self.dropout(self.widen(x_Rd).relu()))))
