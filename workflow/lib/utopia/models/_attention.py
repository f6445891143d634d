"""Multi-head attention of packed videos as one step of the computation graph, with its gradient written out.

Left to the graph, the energies and weights of a video [h, T, T] are read and written about twenty times, and those of
queries, keys and values are copied together once more; here it is about half of that. In shapes: R rows of all videos,
T frames of one, h heads, c width of a head; e energies, w weights, d weights after dropout; a name that begins with g
is the gradient by what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def attend(
    qkv_RH: Tensor,
    lengths: Sequence[int],
    heads: int,
    scale: float,
    add_bias: Callable[[Tensor], None],
    dropout: tuple[Callable[[Tensor, int], Tensor], float] | None,
) -> Tensor:
    """y = dropout(softmax(scale q k^T + bias)) v for every head of every video, [R, h c].

    Args:
        qkv_RH: queries, keys and values [R, 3 h c], in this order, each head after head.
        lengths: frames of each video (or segment); they add up to R.
        heads: h.
        scale: of the energies.
        add_bias: adds a constant to energies [h, T, T] in place.
        dropout: which weights are kept (1, the others 0; a new tensor), as a function of the weights of a video and its
            number, and the factor of what is kept; None: nothing is dropped.
    """
    attended: Tensor = _Attend.apply(qkv_RH, list(lengths), heads, scale, add_bias, dropout)
    return attended


def _by_head(x_TH: Tensor, kinds: int, heads: int) -> Tensor:
    """[T, n h c] as [n, h, T, c], a view; n kinds: queries, keys and values, or results alone."""
    return x_TH.unflatten(1, (kinds, heads, -1)).permute(1, 2, 0, 3)


SMALLEST_NORM = 1e-12


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        qkv_RH: Tensor,
        lengths: list[int],
        heads: int,
        scale: float,
        add_bias: Callable[[Tensor], None],
        dropout: tuple[Callable[[Tensor, int], Tensor], float] | None,
    ) -> Tensor:
        kept, factor = dropout or (None, 1.0)
        y_RH = qkv_RH.new_empty(len(qkv_RH), qkv_RH.shape[1] // 3)
        weights: list[Tensor] = []
        for number, (qkv_TH, y_TH) in enumerate(zip(qkv_RH.split(lengths), y_RH.split(lengths), strict=True)):
            q_hTc, k_hTc, v_hTc = _by_head(qkv_TH, 3, heads)
            e_hTT = torch.bmm(q_hTc if scale == 1 else q_hTc * scale, k_hTc.transpose(1, 2))
            add_bias(e_hTT)
            w_hTT = torch.softmax(e_hTT, dim=-1, out=e_hTT)
            d_hTT = w_hTT if kept is None else kept(w_hTT, number).mul_(w_hTT)
            torch.bmm(d_hTT, v_hTc, out=_by_head(y_TH, 1, heads)[0])
            if ctx.needs_input_grad[0]:
                weights += w_hTT, d_hTT
        if factor != 1:  # of what is kept: cheaper on the result than on the weights
            y_RH.mul_(factor)
        ctx.lengths, ctx.heads, ctx.scale, ctx.factor = lengths, heads, scale, factor
        ctx.save_for_backward(qkv_RH, y_RH, *weights)
        return y_RH

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy_RH: Tensor) -> tuple[Tensor | None, ...]:
        qkv_RH, y_RH, *weights = ctx.saved_tensors
        heads, lengths = ctx.heads, ctx.lengths
        gqkv_RH = torch.empty_like(qkv_RH)
        # softmax has ge = w (gw - sum_k w gw); that sum over keys is also the sum of y gy over the head's width
        sum_Rh = (y_RH * gy_RH).unflatten(1, (heads, -1)).sum(dim=2)
        if ctx.factor != 1:
            gy_RH = gy_RH * ctx.factor
        split = zip(
            *(x.split(lengths) for x in (qkv_RH, gqkv_RH, gy_RH, sum_Rh)), weights[::2], weights[1::2], strict=True
        )
        for qkv_TH, gqkv_TH, gy_TH, sum_Th, w_hTT, d_hTT in split:
            q_hTc, k_hTc, v_hTc = _by_head(qkv_TH, 3, heads)
            gq_hTc, gk_hTc, gv_hTc = _by_head(gqkv_TH, 3, heads)
            gy_hTc = _by_head(gy_TH, 1, heads)[0]
            torch.bmm(d_hTT.transpose(1, 2), gy_hTc, out=gv_hTc)
            ge_hTT = torch.bmm(gy_hTc, v_hTc.transpose(1, 2)).mul_(d_hTT)
            ge_hTT.addcmul_(w_hTT, sum_Th.T[:, :, None], value=-1)
            if ctx.scale != 1:
                ge_hTT.mul_(ctx.scale)
            torch.bmm(ge_hTT, k_hTc, out=gq_hTc)
            torch.bmm(ge_hTT.transpose(1, 2), q_hTc, out=gk_hTc)
        return gqkv_RH, None, None, None, None, None


def unit_norm(x: Tensor) -> Tensor:
    """x / max(|x|, 1e-12) for every row: `torch.nn.functional.normalize` with a third of its passes over memory."""
    scaled: Tensor = _UnitNorm.apply(x)
    return scaled


class _UnitNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        factor = norm.clamp(min=SMALLEST_NORM).reciprocal_()
        y = x * factor
        # a row below the smallest norm is divided by a constant, so its gradient has no second term
        ctx.save_for_backward(y, factor, norm >= SMALLEST_NORM)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> Tensor:
        y, factor, moves = ctx.saved_tensors
        along = torch.linalg.vecdot(y, gy)[..., None] * moves
        return torch.addcmul(gy, y, along, value=-1).mul_(factor)
