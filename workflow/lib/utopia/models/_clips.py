"""Features of clips: a bidirectional LSTM that runs within each clip, from a zero state.

In shapes: C clips of one or several videos, R their frames, L frames of a clip.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def clip_lengths(frames: int, clip: int) -> list[int]:
    """Frames of each clip of a video; the last one may be shorter."""
    return [min(clip, frames - start) for start in range(0, frames, clip)]


class ClipEncoder(nn.Module):
    """Bidirectional LSTM within clips.

    Args:
        d_in: width of the input.
        d: width of the output; where both directions together are not as wide, a linear map follows.
        units: per direction.
        layers: of the LSTM.
        pool: a clip's feature is the `mean` over its frames or the `last` state of each direction.
    """

    def __init__(self, d_in: int, d: int, units: int, layers: int, pool: str) -> None:
        super().__init__()
        self.units, self.pool = units, pool
        self.lstm = nn.LSTM(d_in, units, layers, bidirectional=True, batch_first=True)
        self.project = nn.Identity() if 2 * units == d else nn.Linear(2 * units, d)

    def forward(self, x_RD: Tensor, clips: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Frame outputs o_Rd and clip features h_Cd; clips of equal length run together."""
        length_C = torch.tensor(clips, device=x_RD.device)
        first_C = length_C.cumsum(0) - length_C
        rows, numbers, outputs, pooled = [], [], [], []
        for length in sorted(set(clips)):
            number_c = (length_C == length).nonzero()[:, 0]
            row_cL = first_C[number_c, None] + torch.arange(length, device=x_RD.device)
            o_cLu, _ = self.lstm(x_RD[row_cL])
            if self.pool == "mean":
                h_cu = o_cLu.mean(dim=1)
            else:
                h_cu = torch.cat([o_cLu[:, -1, : self.units], o_cLu[:, 0, self.units :]], dim=1)
            rows.append(row_cL.flatten())
            numbers.append(number_c)
            outputs.append(o_cLu.flatten(0, 1))
            pooled.append(h_cu)
        o_Ru = torch.cat(outputs)[torch.cat(rows).argsort()]
        h_Cu = torch.cat(pooled)[torch.cat(numbers).argsort()]
        return self.project(o_Ru), self.project(h_Cu)
