"""Rows of a batch gathered by video: what the losses that compare rows with one another share."""

from __future__ import annotations

import torch
from torch import Tensor


def by_video(video_R: Tensor) -> tuple[Tensor, Tensor]:
    """Where each video's rows are, padded to the longest.

    Args:
        video_R: the video of each row, in any order.

    Returns: Row numbers [V, longest], in the order of the rows, padded with 0, and which of them are real [V, longest].
        A video of the batch without any row has none.
    """
    size_V = torch.bincount(video_R)
    sorted_R, order_R = video_R.sort(stable=True)
    column_R = torch.arange(len(video_R), device=video_R.device) - (size_V.cumsum(0) - size_V)[sorted_R]
    longest = int(size_V.max()) if len(size_V) else 0
    index_VT = torch.zeros(len(size_V), longest, dtype=torch.long, device=video_R.device)
    index_VT[sorted_R, column_R] = order_R
    return index_VT, torch.arange(longest, device=video_R.device) < size_V[:, None]
