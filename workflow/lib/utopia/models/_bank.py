"""A bank of clips: which clips of a video the memory holds, as a policy chooses them clip by clip.

A row of the bank is the feature of a clip, unchanged, so a bank is a set of clips, and all that goes on along time is
which clips these are. Empty rows are filled first. When the bank is full, the policy chooses one of N + 1 candidates,
the N rows and the clip that has just been seen, and drops it: the clip takes the place of the row, or is itself not
written. What is read changes every `rewrite_every` steps only (ULDA 7.3): the choices since then take effect together.

In shapes: V videos (of K replicas, replica after replica, where the networks are stacked), C clips of each (padded), N
rows, G = N + 1 candidates, S sources: the rows that were carried over from earlier clips, and the C clips. The number
of operations does not depend on V.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from utopia.models._layers import Linear

NONE = -1
"""The clip number of an empty row."""


class RowScore(nn.Module):
    """A number for each candidate, from its feature, the feature of the clip just seen, and its age.

    Args:
        d: width of the features.
        hidden: width of the hidden layers.
        layers: hidden layers.
        bound: the score is bound * tanh(.); None: not bounded.
    """

    def __init__(self, d: int, hidden: int, layers: int, bound: float | None) -> None:
        super().__init__()
        self.bound = bound
        self.row, self.clip = Linear(d, hidden), Linear(d, hidden, bias=False)
        self.age = Linear(1, hidden, bias=False)
        # else a policy that has learnt little drops the oldest row at every clip, or never writes, as it was drawn
        nn.init.zeros_(self.age.weight)
        more = [part for _ in range(layers - 1) for part in (Linear(hidden, hidden), nn.ReLU())]
        self.out = nn.Sequential(nn.ReLU(), *more, Linear(hidden, 1))

    def forward(self, row_VSh: Tensor, clip_VCh: Tensor, place_VCG: Tensor, age_VCG: Tensor) -> Tensor:
        """Scores of candidates [V, C, G].

        Args:
            row_VSh: `row` of every source.
            clip_VCh: `clip` of the clips at which is chosen.
            place_VCG: the sources that are candidates.
            age_VCG: their ages, in clips.
        """
        row_VCGh = rows_of(row_VSh, place_VCG)
        own_VCGh = self.age((age_VCG.to(row_VSh.dtype) + 1).log()[..., None] / 3)
        score_VCG: Tensor = self.out(row_VCGh + own_VCGh + clip_VCh[:, :, None]).squeeze(3)
        return score_VCG if self.bound is None else self.bound * torch.tanh(score_VCG)


@dataclass(frozen=True)
class Bank:
    """What is carried from clip to clip: the rows as chosen, and the rows as they are read (2 N sources)."""

    feature_VMd: Tensor
    number_VM: Tensor
    """The clip of each row, counted from the start of its video; `NONE` where it is empty."""

    @classmethod
    def empty(cls, videos: int, rows: int, like: Tensor) -> Bank:
        """The bank at the start of videos."""
        number_VM = torch.full((videos, 2 * rows), NONE, device=like.device)
        return cls(like.new_zeros(videos, 2 * rows, like.shape[-1]), number_VM)

    def first(self, videos: int, replicas: int) -> Bank:
        """The banks of the first videos of each replica."""
        parts = (
            part.unflatten(0, (replicas, -1))[:, :videos].flatten(0, 1) for part in (self.feature_VMd, self.number_VM)
        )
        return Bank(*parts)


@dataclass(frozen=True)
class Rollout:
    """What the bank held over some consecutive clips, and what the policy chose."""

    number_VS: Tensor
    """The clip of every source."""
    held_VCN: Tensor
    """The sources in the rows before each clip's choice."""
    read_VCN: Tensor
    """The sources that each clip reads."""
    dropped_VC: Tensor
    """The candidate that was dropped at each clip: a row, or N where nothing was written."""
    chosen_VC: Tensor
    """Whether the policy chose it: the bank was full, and the video has this clip."""
    first: int
    """Number of the first of these clips in its video."""
    last: tuple[Tensor, Tensor]
    """The rows after the last clip, as chosen and as read [V, N]."""

    @property
    def candidates(self) -> Tensor:
        """The sources to choose from at each clip."""
        videos, clips, rows = self.held_VCN.shape
        own_C = torch.arange(2 * rows, 2 * rows + clips, device=self.held_VCN.device)
        return torch.cat([self.held_VCN, own_C[None, :, None].expand(videos, -1, 1)], dim=2)

    @property
    def ages(self) -> Tensor:
        """Their ages, in clips."""
        return self._ages(self.candidates)

    @property
    def read_numbers(self) -> Tensor:
        """The clip in each row that is read."""
        return number_of(self.number_VS, self.read_VCN)

    @property
    def held_numbers(self) -> Tensor:
        """The clip in each row before the choice."""
        return number_of(self.number_VS, self.held_VCN)

    def _ages(self, place_VCG: Tensor) -> Tensor:
        clip_C1 = torch.arange(self.first, self.first + place_VCG.shape[1], device=place_VCG.device)[:, None]
        return (clip_C1 - number_of(self.number_VS, place_VCG)).clamp(min=0)

    def bank(self, source_VSd: Tensor) -> Bank:
        """What is carried on."""
        place_VM = torch.cat(self.last, dim=1)
        feature_VMd = source_VSd.detach().gather(1, place_VM[..., None].expand(-1, -1, source_VSd.shape[2]))
        return Bank(feature_VMd, self.number_VS.gather(1, place_VM))


def number_of(number_VS: Tensor, place_VCG: Tensor) -> Tensor:
    """The clip of each source in a table of sources."""
    return number_VS.gather(1, place_VCG.flatten(1)).view(place_VCG.shape)


def gumbel(uniform: Tensor) -> Tensor:
    """Noise, of uniform numbers, that makes the largest score a draw from the softmax of the scores."""
    return -torch.log(-torch.log(uniform.clamp(1e-6, 1 - 1e-6)))


@torch.no_grad()
def roll_out(
    kind: str,
    policy: RowScore,
    source_VSd: Tensor,
    carried: Bank,
    real_VC: Tensor,
    *,
    first: int,
    rewrites_C: list[bool],
    noise_VCG: Tensor | None,
) -> Rollout:
    """Let a policy choose at each of some consecutive clips.

    Args:
        kind: `learnt` or `frozen`: the highest score is dropped; `random`; `fifo`: the oldest row is.
        policy: gives scores.
        source_VSd: features of what was carried over, then of the clips.
        carried: what was carried over.
        real_VC: which clips a video has.
        first: number of the first clip in its video.
        rewrites_C: before which clips what is read is rewritten.
        noise_VCG: added to the scores: exploration. Without it `random` draws the same for every video.
    """
    videos, clips = real_VC.shape
    rows, device = carried.number_VM.shape[1] // 2, source_VSd.device
    row_N = torch.arange(rows, device=device)
    number_VS = torch.cat(
        [carried.number_VM, torch.arange(first, first + clips, device=device).expand(videos, -1)], dim=1
    )
    held_VN = row_N.expand(videos, -1)
    read_VN = held_VN + rows
    row_VSh, clip_VCh = policy.row(source_VSd), policy.clip(source_VSd[:, 2 * rows :])
    if kind == "random" and noise_VCG is None:
        drawn = torch.rand(1, clips, rows + 1, generator=torch.Generator().manual_seed(first), dtype=source_VSd.dtype)
        noise_VCG = gumbel(drawn).to(device).expand(videos, -1, -1)
    held, read, dropped = [], [], []
    for clip in range(clips):
        if rewrites_C[clip]:
            read_VN = held_VN
        held.append(held_VN)
        read.append(read_VN)
        own_V1 = row_N.new_full((videos, 1), 2 * rows + clip)
        if first + clip < rows:  # all clips so far were written, so this row is the next that is empty
            drop_V = row_N.new_full((videos,), first + clip)
        elif kind == "random" and noise_VCG is not None:
            drop_V = noise_VCG[:, clip].argmax(dim=1)
        else:
            place_V1G = torch.cat([held_VN, own_V1], dim=1)[:, None]
            age_V1G = first + clip - number_of(number_VS, place_V1G)
            if kind == "fifo":
                drop_V = age_V1G[:, 0].argmax(dim=1)
            else:
                score_VG = policy(row_VSh, clip_VCh[:, clip : clip + 1], place_V1G, age_V1G)[:, 0]
                drop_V = (score_VG if noise_VCG is None else score_VG + noise_VCG[:, clip]).argmax(dim=1)
        drop_V = torch.where(real_VC[:, clip], drop_V, rows)
        held_VN = torch.where(row_N == drop_V[:, None], own_V1, held_VN)
        dropped.append(drop_V)
    chosen_VC = real_VC & (torch.arange(first, first + clips, device=device) >= rows)
    held_VCN, read_VCN, dropped_VC = (torch.stack(table, dim=1) for table in (held, read, dropped))
    return Rollout(number_VS, held_VCN, read_VCN, dropped_VC, chosen_VC, first, (held_VN, read_VN))


class Reader(nn.Module):
    """Reading by content: attention over the rows, by the cosine of query and key times a learnt sharpness."""

    def __init__(self, d: int, sharpness: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (Linear(d, d, bias=False) for _ in range(3))
        self.log_sharpness = nn.Parameter(torch.tensor(sharpness).log())

    def read(self, energy_VCN: Tensor, value_VSd: Tensor, rollout: Rollout) -> Tensor:
        """What each clip reads [V, C, d]: the values of its rows by their shares; 0 where all are empty."""
        # a source is in one row at most
        share_VCS = energy_VCN.new_zeros(*energy_VCN.shape[:2], value_VSd.shape[1])
        return torch.bmm(share_VCS.scatter(2, rollout.read_VCN, shares(energy_VCN)), value_VSd)

    def energies(self, h_VCd: Tensor, source_VSd: Tensor, rollout: Rollout) -> Tensor:
        """Of each row that a clip reads [V, C, N]; -inf where it is empty."""
        query_VCd = functional.normalize(self.query(h_VCd), dim=2)
        key_VSd = functional.normalize(self.key(source_VSd), dim=2)
        sharp_K1 = self.log_sharpness.exp().view(-1, 1)
        sharp_V11 = sharp_K1.expand(-1, len(query_VCd) // len(sharp_K1)).reshape(-1, 1, 1)
        every_VCS = sharp_V11 * torch.bmm(query_VCd, key_VSd.transpose(1, 2))
        return every_VCS.gather(2, rollout.read_VCN).masked_fill(rollout.read_numbers == NONE, -torch.inf)


def shares(energy: Tensor) -> Tensor:
    """Softmax over the last axis; zeros where there is nothing to read."""
    nothing = (energy == -torch.inf).all(dim=-1, keepdim=True)
    return energy.masked_fill(nothing, 0.0).softmax(dim=-1) * ~nothing


def rows_of(source_VSd: Tensor, place_VCN: Tensor) -> Tensor:
    """The sources in a table of places [V, C, N, d]."""
    videos, sources, width = source_VSd.shape
    first_V11 = torch.arange(videos, device=place_VCN.device)[:, None, None] * sources
    row_W = (place_VCN + first_V11).flatten()
    return source_VSd.reshape(-1, width).index_select(0, row_W).view(*place_VCN.shape, width)
