"""Where samples made in a time slice start, as the paper restricts SMOGN and C-Mixup (ULDA sec. 4.6.2).

They make exactly the samples that TNS would make: as many for each short bin, each within a slice that is picked with a
probability proportional to its length (Eq. 3). A frame drawn uniformly from the bin lies in such a slice, at a uniform
place. In shapes: R rows of the chunk, Q new samples, F frames of short bins, b bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from utopia.distribution.item import ItemDistribution

Candidates = Literal["slice", "window"]


class SliceBases:
    """The plan of a chunk: which bins of each video get samples, and the frames that these start from."""

    def __init__(self, videos: Sequence[ItemDistribution], candidates: Candidates, device: torch.device) -> None:
        self.needs: list[NDArray[np.float64]] = [video.samples_needed.astype(np.float64) for video in videos]
        """See `Sampler.needs`: the distribution plan's own numbers."""
        frames: list[NDArray[np.int64]] = []
        first: list[int] = []
        size: list[int] = []
        bins: list[int] = []
        numbers: list[int] = []
        ranges: list[NDArray[np.int64]] = []
        offset = listed = longest = 0
        for number, video in enumerate(videos):
            within = video.slice if candidates == "slice" else video.window
            length_S = video.slice[:, 1] - video.slice[:, 0]
            ranges.append(np.repeat(within, length_S, axis=0) + offset)
            is_needed_S = video.samples_needed[video.slice_bin] > 0
            longest = max(longest, int((within[:, 1] - within[:, 0])[is_needed_S].max(initial=0)))
            for k in np.flatnonzero(video.samples_needed):
                of_bin, needed = np.flatnonzero(video.bin == k), int(video.samples_needed[k])
                frames.append(of_bin + offset)
                first += [listed] * needed
                size += [len(of_bin)] * needed
                bins += [int(k)] * needed
                numbers += [number] * needed
                listed += len(of_bin)
            offset += len(video.bin)

        def tensor(value: Sequence[int] | NDArray[np.int64]) -> Tensor:
            return torch.as_tensor(np.asarray(value, dtype=np.int64), device=device)

        self.bin_Q, self.video_Q = tensor(bins), tensor(numbers)
        """Bin and video of every sample: the same in each pass."""
        self.longest = longest
        """Frames of the longest range that a sample may be made in."""
        self.range_R2 = tensor(np.concatenate(ranges))
        """The half-open range of rows that each row's samples are made in: its slice, or the slice's window."""
        self._frame_F = tensor(np.concatenate(frames) if frames else [])
        self._first_Q, self._size_Q = tensor(first), tensor(size)

    def draw(self, generator: torch.Generator) -> Tensor:
        """The row that each sample starts from [Q], drawn again in each pass."""
        chance_Q = torch.rand(len(self._size_Q), generator=generator, device=self._size_Q.device, dtype=torch.float64)
        return self._frame_F[self._first_Q + pick(chance_Q, self._size_Q)]


def pick(chance: Tensor, size: Tensor) -> Tensor:
    """The integer below `size` that a uniform number in [0, 1) stands for."""
    return torch.minimum((chance * size).long(), size - 1)
