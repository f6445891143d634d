"""RankSim: frames whose labels are near should have features that are near, in the same order.

Gong et al. (2022, "RankSim: ranking similarity regularization for deep imbalanced regression"), cited by ULDA (sec.
2.2). Among rows with different labels, rank all of them by how near their label is to that of row i, and by how near
their feature is (cosine similarity); sum over i the mean squared difference of the two rankings, times gamma, and add
it to the mean squared error. Ranking has no useful gradient; that of the black-box rule of Vlastelica et al. (2020)
takes its place. The label is the bin, rows are compared within a video [U]. In shapes: N representatives (one per video
and bin), V videos, M representatives of a video.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from utopia.config.base import Strict
from utopia.losses._common import Batch, Loss
from utopia.losses._rows import by_video
from utopia.losses.mse import MeanSquaredError


class Config(Strict):
    """RankSim: mean squared error plus a term that ranks features as labels are ranked (Gong et al. 2022)."""

    gamma: float = Field(3e-4, ge=0)
    """Weight of the ranking term (the original with a squared error: 3e-4; 3e-3 is worth a try)."""
    interpolation: float = Field(2.0, gt=0)
    """lambda of the black-box gradient: larger is smoother and less true to the ranking."""


class RankSimilarity(MeanSquaredError):  # noqa: N818 - no exception
    """For each video 1/m sum_t w_t (y_t - y^_t)^2 + gamma sum_i 1/M |rank(S^y_i) - rank(S^f_i)|^2."""

    by_row = False

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.generator: torch.Generator | None = None
        """Where the random representatives of bins come from; None: torch's own stream."""

    def forward(self, batch: Batch) -> Tensor:
        """See `Loss.forward`."""
        return super().forward(batch) + self.config.gamma * self.ranking(batch)

    def ranking(self, batch: Batch) -> Tensor:
        """The ranking term, summed over the videos."""
        row_N = representatives(batch.video_R, batch.bin_R, self.generator)
        index_VM, inside_VM = by_video(batch.video_R[row_N])
        row_VM = row_N[index_VM]
        f_VMd = functional.normalize(batch.feature_Rd, dim=1)[row_VM]
        label_VM = batch.bin_R[row_VM].to(f_VMd.dtype)
        inside_VMM = inside_VM[:, None, :] & inside_VM[:, :, None]
        size_V11 = inside_VM.sum(dim=1)[:, None, None].clamp(min=1).to(f_VMd.dtype)
        near_label_VMM = -(label_VM[:, :, None] - label_VM[:, None, :]).abs()
        near_feature_VMM = torch.bmm(f_VMd, f_VMd.transpose(1, 2))
        # padding is nowhere near, so it ranks last and moves no other
        label_rank_VMM = rank(near_label_VMM.masked_fill(~inside_VMM, -torch.inf)) / size_V11
        near_feature_VMM = near_feature_VMM.masked_fill(~inside_VMM, -torch.inf)
        feature_rank_VMM: Tensor = _Ranking.apply(near_feature_VMM, size_V11, self.config.interpolation)
        difference_VMM = torch.where(inside_VMM, feature_rank_VMM - label_rank_VMM, 0.0)
        return (difference_VMM.square() / size_V11).sum()


def rank(score: Tensor) -> Tensor:
    """The place of each entry along the last axis, 1 for the largest; of equal ones the last comes first.

    The authors' code sorts upwards and reads the order backwards, which decides ties so. Bins are evenly spaced, so two
    labels as far below as above a third are the rule.
    """
    order = score.argsort(dim=-1, stable=True).flip(-1)
    return (order.argsort(dim=-1) + 1).to(score.dtype)


class _Ranking(Function):
    """rank(score) / n, with the gradient -(rank(score) - rank(score + lambda g)) / (n (lambda + 1e-8)) for the gradient
    g from above."""

    @staticmethod
    def forward(ctx: Any, score: Tensor, size: Tensor, interpolation: float) -> Tensor:
        ranked = rank(score) / size
        ctx.save_for_backward(score, size, ranked)
        ctx.interpolation = interpolation
        return ranked

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        score, size, ranked = ctx.saved_tensors
        moved = rank(score + ctx.interpolation * gradient) / size
        return -(ranked - moved) / (ctx.interpolation + 1e-8), None, None


def representatives(video_R: Tensor, bin_R: Tensor, generator: torch.Generator | None) -> Tensor:
    """One row of each bin that a video has, each of its rows with the same probability.

    Args:
        video_R: the video of each row.
        bin_R: its bin.
        generator: on the same device.

    Returns:
        Row numbers [N], by video, then by bin.
    """
    order_R = torch.rand(len(bin_R), generator=generator, device=bin_R.device).argsort()
    key_R = (video_R * (bin_R.max() + 1) + bin_R)[order_R]
    sorted_R, place_R = key_R.sort(stable=True)
    first_R = torch.ones_like(sorted_R, dtype=torch.bool)
    first_R[1:] = sorted_R[1:] != sorted_R[:-1]
    return order_R[place_R[first_R]]


def build(config: Config) -> Loss:
    """The loss."""
    return RankSimilarity(config)
