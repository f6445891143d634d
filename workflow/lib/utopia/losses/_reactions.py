"""What losses of vector-valued labels share. Shapes besides those of `_common`: C numbers to predict per frame."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from utopia.losses._common import Batch

Divergence = Literal["elementwise", "generalised", "normalised"]

SMALLEST = 1e-7
"""Probabilities below count as this."""


def columns(values: Tensor) -> Tensor:
    """[R] or [R, C] as [R, C]."""
    return values[:, None] if values.dim() == 1 else values


def absolute(batch: Batch) -> Tensor:
    """The weighted sum over rows of the mean absolute error (a scalar tensor)."""
    error_RC = (columns(batch.target_R) - columns(batch.prediction_R)).abs()
    return (batch.weight_R * error_RC.mean(dim=1)).sum()


def divergence(batch: Batch, kind: Divergence) -> Tensor:
    """The weighted sum over rows of the mean over reactions of a Kullback-Leibler term (a scalar tensor).

    Args:
        batch: labels y and predictions p in [0, 1].
        kind: `elementwise` y log(y / p), whose gradient pushes every p to 1; `generalised` y log(y / p) + p - y, which
            is least at p = y; `normalised` y log(y / p) of y and p each divided by its sum over the reactions of a row.
    """
    y_RC = columns(batch.target_R).clamp(min=0)
    p_RC = columns(batch.prediction_R).clamp(min=SMALLEST)
    if kind == "normalised":
        y_RC = y_RC / y_RC.sum(dim=1, keepdim=True).clamp(min=SMALLEST)
        p_RC = p_RC / p_RC.sum(dim=1, keepdim=True)
    kl_RC = torch.xlogy(y_RC, y_RC) - y_RC * p_RC.log()
    if kind == "generalised":
        kl_RC = kl_RC + p_RC - y_RC
    return (batch.weight_R * kl_RC.mean(dim=1)).sum()


def video_sums(batch: Batch, values_RC: Tensor, videos: int) -> Tensor:
    """Sums over the rows of each video, weighed [videos, C]; as a matrix product, which is the same in every run."""
    member_VR = batch.video_R == torch.arange(videos, device=values_RC.device)[:, None]
    return (member_VR * batch.weight_R).to(values_RC.dtype) @ values_RC
