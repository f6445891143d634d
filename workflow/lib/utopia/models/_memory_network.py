"""The network of RMN: `models.rmn` says what it computes, `_bank` how rows are chosen and read, `_ddpg` how it learns.

In shapes, besides those of `_common`, `_clips` and `_bank`: d width of the model.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from utopia.config.memory import MemorySettings
from utopia.models._bank import Bank, Reader, Rollout, RowScore, roll_out, rows_of, shares
from utopia.models._clips import ClipEncoder, ClipGrid
from utopia.models._common import Activation, Regressor, activate
from utopia.models._layers import Linear, linear
from utopia.models._layout import Layout, Packed, Padded, rows_at


@dataclass(frozen=True)
class Passed:
    """Some consecutive clips of several videos, passed through the network."""

    grid: ClipGrid
    """How their frames lie in clips."""
    o_KPd: Tensor
    source_VSd: Tensor
    rollout: Rollout
    energy_VCN: Tensor
    value_VSd: Tensor
    f_KPd: Tensor
    """What enters the predictor."""


class MemoryNetwork(Regressor):
    """The network, of one replica or of K stacked ones; see the module."""

    def __init__(self, config: MemorySettings, d_in: int, activation: Activation, clip: int) -> None:
        super().__init__()
        d = config.d_model
        self.config, self.activation, self.clip = config, activation, clip
        self.clips = ClipEncoder(d_in, d, config.units, config.layers, config.pool)
        width = d if config.read == "none" else 2 * d
        self.reader = Reader(d, config.sharpness)
        self.predictor = nn.Sequential(Linear(width, config.head_hidden), nn.ReLU(), Linear(config.head_hidden, 1))
        self.policy = RowScore(d, config.writer_hidden, 1, config.bound)
        self.critic = RowScore(d, config.critic_hidden, 2, None)

    def encode(self, x_RD: Tensor, rows: Layout, keys_R: Tensor | None = None) -> Tensor:
        """[o_j; r_t] of every frame; see `Regressor.encode`."""
        if isinstance(rows, Packed):
            grid = ClipGrid.packed(rows.lengths, self.clip, x_RD.device)
            f_Pd = self.pass_clips(x_RD[grid.row_KP], grid).f_KPd[0]
            return f_Pd if grid.is_whole else f_Pd[grid.real_KP[0]]
        assert isinstance(rows, Padded)
        longest, frames_KV = rows.longest(), rows.frames_KV.tolist()
        first_KV = torch.arange(rows.frames_KV.numel()).mul(longest).view(rows.frames_KV.shape).tolist()
        pieces = [list(zip(*own, strict=True)) for own in zip(first_KV, frames_KV, strict=True)]
        grid = ClipGrid(pieces, self.clip, x_RD.device)
        x_KPD = x_RD.flatten(0, 1).index_select(0, grid.row_KP.flatten()).unflatten(0, grid.row_KP.shape)
        f_KPd = self.pass_clips(x_KPD, grid).f_KPd
        at_KV1 = torch.tensor(grid.at, device=x_RD.device)[..., None]
        index_KVT = (at_KV1 + torch.arange(longest, device=x_RD.device)) * rows.real_KVT
        return rows_at(f_KPd, index_KVT.flatten(1))

    def head(self, f_Rd: Tensor, keys_R: Tensor | None = None) -> Tensor:
        """See `Regressor.head`."""
        return activate(self.predictor(f_Rd).squeeze(-1), self.activation)

    def pass_clips(
        self, x_KPD: Tensor, grid: ClipGrid, bank: Bank | None = None, first: int = 0, noise_VCG: Tensor | None = None
    ) -> Passed:
        """Encode clips, let the policy choose which are kept, and read.

        Args:
            x_KPD: frames of several videos, from their clip `first` on, as they lie in the grid.
            grid: how they do.
            bank: what was carried over; None: the videos start here.
            first: number of the first clip.
            noise_VCG: exploration.
        """
        o_KPd, h_KQd = self.clips(x_KPD, grid)
        h_VCd = grid.by_video(h_KQd)
        carried = Bank.empty(len(h_VCd), self.config.rows, h_VCd) if bank is None else bank
        kept_VCd = h_VCd if self.config.row_gradient == "roll" else h_VCd.detach()
        source_VSd = torch.cat([carried.feature_VMd, kept_VCd], dim=1)
        rollout = roll_out(
            self.config.policy,
            self.policy,
            source_VSd.detach(),
            carried,
            grid.real_VC,
            first=first,
            rewrites_C=[self.rewrites_before(number) for number in range(first, first + grid.clips)],
            noise_VCG=noise_VCG,
        )
        energy_VCN, value_VSd = self.reader.energies(h_VCd, source_VSd, rollout), self.reader.value(source_VSd)
        read_KQd = grid.by_clip(self.reader.read(energy_VCN, value_VSd, rollout))
        own_KPd = o_KPd if self.config.rate == "per_frame" else grid.each_frame(h_KQd)
        f_KPd = self.joined(own_KPd, grid.each_frame(read_KQd))
        return Passed(grid, own_KPd, source_VSd, rollout, energy_VCN, value_VSd, f_KPd)

    def joined(self, own_KPd: Tensor, read_KPd: Tensor) -> Tensor:
        """What enters the predictor: the clip's own outputs and what it read."""
        if self.config.read == "none":
            return own_KPd
        return torch.cat([own_KPd, read_KPd if self.config.read == "content" else torch.zeros_like(read_KPd)], dim=-1)

    def rewrites_before(self, number: int) -> bool:
        """Whether what is read is rewritten before this clip of a video: a multiple of `rewrite_every` was passed."""
        every = self.config.rewrite_every
        return number * self.clip // every > (number - 1) * self.clip // every

    @torch.no_grad()
    def gains(self, passed: Passed, target_KP: Tensor, weight_KP: Tensor | None = None) -> Tensor:
        """What each row that was read was worth [V, C, N]: by how much the squared error of the clip's frames is
        larger where that row is taken out of the bank; 0 for empty rows.
        """
        grid, energy_VCN, d = passed.grid, passed.energy_VCN, self.config.d_model
        videos, clips, rows = energy_VCN.shape
        if self.config.read != "content":
            return torch.zeros_like(energy_VCN)
        itself_NN = torch.eye(rows, dtype=torch.bool, device=energy_VCN.device)
        without_VCNN = energy_VCN[:, :, None].expand(-1, -1, rows, -1).masked_fill(itself_NN, -torch.inf)
        other_VCNd = shares(without_VCNN) @ rows_of(passed.value_VSd, passed.rollout.read_VCN)
        # the predictor's first layer is a sum over the clip's own outputs and what it read: each part once
        first, *rest = self.predictor
        weight_hd, bias_h = first.get_parameter("weight"), first.get_parameter("bias")
        read_VCNh = linear(other_VCNd, weight_hd[..., d:], None)
        read_KQNh = grid.by_clip(read_VCNh.reshape(videos, clips, -1)).unflatten(2, (rows, -1))
        own_KPh = linear(passed.o_KPd, weight_hd[..., :d], bias_h)
        hidden_KQLNh = own_KPh.unflatten(1, (-1, grid.size))[:, :, :, None] + read_KQNh[:, :, None]
        y_KQLN = nn.Sequential(*rest)(hidden_KQLNh).squeeze(-1)
        y_KPN = activate(y_KQLN, self.activation).flatten(1, 2)
        now_KP = (self.head(passed.f_KPd) - target_KP).square()
        more_KPN = (y_KPN - target_KP[..., None]).square() - now_KP[..., None]
        if weight_KP is not None:
            more_KPN = more_KPN * weight_KP[..., None]
        return grid.by_video(grid.clip_mean(more_KPN)) * (energy_VCN > -torch.inf)
