"""Clips: how the frames of videos lie in them, and their features, by a bidirectional LSTM within each clip.

In shapes: K replicas, V videos of a replica, C clips of a video, Q clips of a replica (video after video), L frames of
a clip, P = Q L. What a replica, a video or a clip has not is padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from utopia.models._layers import Linear
from utopia.models._layout import take
from utopia.models._lstm import BiLstm


class ClipGrid:
    """How consecutive frames of K replicas' videos lie in clips.

    The clips of a replica follow one another, video after video, so that the frames of a video are neighbours in P.
    Tables of clips by video, [K V, C, ...], are the other arrangement; `by_video` and `by_clip` go from one to the
    other.

    Args:
        pieces: of each video of each replica: its first row, and its number of rows, which may be 0.
        clip: most frames of a clip.
        device: where its tensors are.
    """

    def __init__(self, pieces: Sequence[Sequence[tuple[int, int]]], clip: int, device: torch.device) -> None:
        self.pieces = pieces
        longest = max((frames for own in pieces for _, frames in own), default=0)
        size = max(1, min(clip, longest))
        self.replicas, self.videos = len(pieces), max(1, *map(len, pieces))
        self.clips = max(1, -(-longest // clip))
        counts = [[-(-frames // clip) for _, frames in own] for own in pieces]
        """Clips of each video."""
        width = max(1, *map(sum, counts))
        row_KQL = np.zeros((self.replicas, width, size), np.int64)
        length_KQ = np.zeros((self.replicas, width), np.int64)
        place_KQ = np.zeros((self.replicas, width), np.int64)
        back_KM = np.zeros((self.replicas, self.videos * self.clips), np.int64)
        count_KV = np.zeros((self.replicas, self.videos), np.int64)
        frames_KV = np.zeros((self.replicas, self.videos), np.int64)
        self.at: list[list[int]] = []
        """Where in P each video begins."""
        for k, (own, of_videos) in enumerate(zip(pieces, counts, strict=True)):
            at = np.concatenate([[0], np.cumsum(of_videos)]).tolist()
            self.at.append([clips * size for clips in at[:-1]])
            for v, ((first, frames), clips) in enumerate(zip(own, of_videos, strict=True)):
                if clips:
                    here, there = slice(at[v], at[v] + clips), slice(v * self.clips, v * self.clips + clips)
                    # padding repeats the last frame: it is finite, and no result depends on it
                    row_KQL[k, here] = first + np.arange(clips * size).clip(max=frames - 1).reshape(clips, size)
                    length_KQ[k, here] = (frames - size * np.arange(clips)).clip(max=size)
                    place_KQ[k, here], back_KM[k, there] = (
                        np.arange(there.start, there.stop),
                        np.arange(at[v], here.stop),
                    )
                    count_KV[k, v], frames_KV[k, v] = clips, frames
        self.size = size
        self.counts = counts
        self.is_whole = bool((length_KQ == size).all())
        """Whether nothing is padding along Q and L."""
        self.row_KP = torch.from_numpy(row_KQL.reshape(self.replicas, -1)).to(device)
        self.length_KQ = torch.from_numpy(length_KQ).to(device)
        self.place_KQ, self.back_KM = torch.from_numpy(place_KQ).to(device), torch.from_numpy(back_KM).to(device)
        self.frames_KV = torch.from_numpy(frames_KV).to(device)
        self.real_KQL = torch.arange(size, device=device) < self.length_KQ[..., None]
        self.real_KP = self.real_KQL.flatten(1)
        count_N1 = torch.from_numpy(count_KV.reshape(-1, 1)).to(device)
        self.real_VC = torch.arange(self.clips, device=device) < count_N1
        """Which clips a video has, of the videos of all replicas, replica after replica."""

    @classmethod
    def packed(cls, lengths: Sequence[int], clip: int, device: torch.device) -> ClipGrid:
        """Of the packed videos of one replica."""
        first = np.cumsum([0, *lengths]).tolist()
        return cls([list(zip(first, lengths, strict=False))], clip, device)

    def by_video(self, x_KQd: Tensor) -> Tensor:
        """A value of each clip, by video [K V, C, d]; 0 where a video has no such clip."""
        x_KMd = take(x_KQd, self.back_KM, self.place_KQ, self.length_KQ > 0)
        return x_KMd.view(*self.real_VC.shape, -1) * self.real_VC[..., None]

    def by_clip(self, x_VCd: Tensor) -> Tensor:
        """The way back [K, Q, d]."""
        x_KMd = x_VCd.reshape(self.replicas, self.videos * self.clips, -1)
        return take(x_KMd, self.place_KQ, self.back_KM, self.real_VC.view(self.replicas, -1))

    def each_frame(self, x_KQd: Tensor) -> Tensor:
        """A value of each clip, for its frames [K, P, d]."""
        return x_KQd[:, :, None].expand(-1, -1, self.size, -1).flatten(1, 2)

    def clip_mean(self, x_KPd: Tensor) -> Tensor:
        """The mean over each clip's frames [K, Q, d]; 0 where a replica has no such clip."""
        x_KQLd = x_KPd.unflatten(1, (-1, self.size))
        if self.is_whole:
            return x_KQLd.mean(dim=2)
        return (x_KQLd * self.real_KQL[..., None]).sum(dim=2) / self.length_KQ.clamp(min=1)[..., None]

    def video_mean(self, x_KP: Tensor) -> Tensor:
        """The mean over each video's frames [K, V]; 0 where a replica has no such video."""
        sum_KQ1 = (x_KP.unflatten(1, (-1, self.size)) * self.real_KQL).sum(dim=2)[..., None]
        sum_KV = self.by_video(sum_KQ1).sum(dim=(1, 2)).view(self.replicas, -1)
        return sum_KV / self.frames_KV.clamp(min=1)


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
        self.lstm = BiLstm(d_in, units, layers)
        self.project = nn.Identity() if 2 * units == d else Linear(2 * units, d)

    def forward(self, x_KPD: Tensor, grid: ClipGrid) -> tuple[Tensor, Tensor]:
        """Frame outputs o_KPd and clip features h_KQd."""
        x_KQLD = x_KPD.unflatten(1, (-1, grid.size))
        o_KQLu = self.lstm(x_KQLD, None if grid.is_whole else grid.real_KQL)
        if self.pool == "mean":
            h_KQu = grid.clip_mean(o_KQLu.flatten(1, 2))
        else:
            last_KQ11 = (grid.length_KQ.clamp(min=1) - 1)[..., None, None].expand(-1, -1, 1, self.units)
            h_KQu = torch.cat(
                [o_KQLu[..., : self.units].gather(2, last_KQ11)[:, :, 0], o_KQLu[:, :, 0, self.units :]], 2
            )
        return self.project(o_KQLu.flatten(1, 2)), self.project(h_KQu)
