"""What losses of vector-valued labels share. Shapes besides those of `_common`: C numbers to predict per frame."""

from __future__ import annotations

import torch
from torch import Tensor

from utopia.losses._common import Batch


def columns(values: Tensor) -> Tensor:
    """[R] or [R, C] as [R, C]."""
    return values[:, None] if values.dim() == 1 else values


def absolute(batch: Batch) -> Tensor:
    """The weighted sum over rows of the mean absolute error (a scalar tensor)."""
    error_RC = (columns(batch.target_R) - columns(batch.prediction_R)).abs()
    return (batch.weight_R * error_RC.mean(dim=1)).sum()


def video_sums(batch: Batch, values_RC: Tensor, videos: int) -> Tensor:
    """Sums over the rows of each video, weighed [videos, C]; as a matrix product, which is the same in every run."""
    member_VR = batch.video_R == torch.arange(videos, device=values_RC.device)[:, None]
    return (member_VR * batch.weight_R).to(values_RC.dtype) @ values_RC
