"""RMN: the memory network of Zhang, Zhao and Qian (ACM MM 2022), written to by reinforcement learning. **Our** RMN.

No public implementation is known, and of the paper only the abstract, two summaries by its authors' company and ULDA's
description could be read. Any number of this model is one of this reading, not of the published network.

Documented: features of 10-second clips from an LSTM; a memory bank of N = 10 rows of d = 128 that is read and written,
so that a clip's prediction can rely on related clips before it; its contents are updated every 32 steps; writing is
learnt by DDPG (a policy and a value network) with one-step temporal differences, so that nothing is propagated back
through long sequences; Adam with 1e-4 for everything (ULDA 7.3). All else is our reading [U]; docs/rmn.md says what it
is and what it was measured to do. For clip t, with LSTM outputs o_j at its frames j:

    clip     h_t = mean_j o_j
    write    the bank is full: the policy drops one of its N rows, in whose place h_t is written, or drops h_t
             (`_bank`); empty rows are filled first; what is read is rewritten every 32 steps
    read     r_t = sum_i a_i W_v M[i],  a = softmax_i(s cos(W_q h_t, W_k M[i])) over the rows that are filled
    predict  y_j = act(MLP([o_j; r_t]))

`_ddpg` trains the policy. `reading: soft` is the earlier reading of this project (`_soft_memory`), kept so that its
results can be repeated; it is not stackable. In shapes, besides those of `_common`, `_clips` and `_bank`: d width of
the model.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from utopia.config.base import Strict
from utopia.config.training import Training
from utopia.models._bank import Bank, Reader, Rollout, RowScore, roll_out, rows_of, shares
from utopia.models._clips import ClipEncoder, ClipGrid
from utopia.models._common import Activation, Regressor, activate
from utopia.models._ddpg import DdpgLearner, diagnose
from utopia.models._layers import Linear, linear
from utopia.models._layout import Layout, Packed, Padded, rows_at
from utopia.models._learner import MakeUpdate

STACKABLE = True


class Config(Strict):
    """Memory network with a writer learnt by reinforcement (our reading of Zhang et al., ACM MM 2022)."""

    class Soft(Strict):
        """What the earlier reading of this project has besides; see `reading`."""

        start: Literal["zeros", "distinct"] = "zeros"
        """The memory at the start of a video: zeros, or fixed random rows of unit norm, so that no two are alike."""
        hard_write: bool = False
        """Overwrite the row with the highest gate, gradients passing as if it were soft."""
        write_every: int = Field(1, ge=1, le=10_000)
        """Clips from one write to the next."""
        discount: float = Field(0.9, ge=0, lt=1)
        """Discount of the temporal difference, per write."""
        tau: float = Field(0.005, gt=0, le=1)
        """Share of the online networks that the target networks take over in each update."""
        reward: Literal["error", "improvement"] = "error"
        """Minus the squared error of the clip that reads what was written; or how much the memory lowers it."""
        exploration: float = Field(0.2, ge=0, le=100)
        """Deviation of the noise on the policy's scores at the start of the training."""
        exploration_end: float = Field(0.02, ge=0, le=100)
        """The same in the last epoch; linear in between."""

    reading: Literal["bank", "soft"] = "bank"
    """`bank`: rows hold clips, and the policy drops one. `soft`: the earlier reading of this project, a bank of
    moving averages, so that its results can be repeated [U]."""
    d_model: int = Field(128, ge=1, le=4096)
    """Width d of clip features and of the memory's rows."""
    rows: int = Field(10, ge=1, le=1000)
    """Rows N of the memory."""
    clip_s: float = Field(10.0, gt=0, le=3600)
    """Seconds of a clip, whatever the rate of the labels."""
    layers: int = Field(2, ge=1, le=16)
    """Layers of the bidirectional LSTM."""
    units: int = Field(64, ge=1, le=4096)
    """Its units per direction [U]; where both directions together are not d wide, a linear map to d follows."""
    pool: Literal["mean", "last"] = "mean"
    """Clip feature: the mean over the clip's frames, or the last state of each direction [U]."""
    rate: Literal["per_frame", "per_clip"] = "per_frame"
    """One prediction per frame (second), or one that holds for all frames of a clip [U]."""
    head_hidden: int = Field(64, ge=1, le=4096)
    """Hidden width of the predictor [U]."""
    rewrite_every: int = Field(32, ge=1, le=1_000_000)
    """Steps of the series from one rewriting of what is read to the next (ULDA 7.3); 1: after each clip. That a step is
    a label is our reading [U]."""
    read: Literal["content", "masked", "none"] = "content"
    """Controls: `masked` reads zeros, `none` leaves the LSTM within clips alone."""
    row_gradient: Literal["roll", "none"] = "roll"
    """Whether the loss reaches the clips of the same roll whose rows were read: one step back, not along time [U]."""
    sharpness: float = Field(5.0, gt=0, le=100)
    """What the cosine of query and key is multiplied by at the start of the training; it is learnt [U]."""
    policy: Literal["learnt", "frozen", "random", "fifo"] = "learnt"
    """Controls: a policy that stays as it was drawn, choices at random, or first in, first out."""
    writer_hidden: int = Field(128, ge=1, le=4096)
    """Hidden width of the policy network [U]."""
    critic_hidden: int = Field(128, ge=1, le=4096)
    """Width of the two hidden layers of the value network [U]."""
    roll: int = Field(32, ge=1, le=10_000)
    """Clips from one update of the parameters to the next [U]."""
    together: int = Field(8, ge=1, le=1000)
    """Videos that are rolled through together, with one update for all [U]."""
    replay: int = Field(4, ge=1, le=1000)
    """Rolls of this epoch among which the one to learn writing from is drawn [U]."""
    discount: float = Field(0.97, ge=0, lt=1)
    """Discount of the temporal difference, per clip [U]."""
    tau: float = Field(0.02, gt=0, le=1)
    """Share of the online networks that the target networks take over in each update [U]."""
    entropy: float = Field(0.03, ge=0, le=100)
    """Weight of the policy's entropy beside its value in deviations [U]."""
    bound: float = Field(3.0, gt=0, le=100)
    """The policy's scores lie within plus and minus this, so that no choice is ever ruled out [U]."""
    reward_weighted: bool = False
    """Whether the loss's weights (CWL) count in the reward too [U]."""
    out_act: Literal["by_range", "tanh", "sigmoid", "linear"] = "by_range"
    """Output function; `by_range`: tanh for labels in [-1, 1], sigmoid for [0, 1] [U]."""
    soft: Soft = Field(default_factory=Soft)
    """Settings of `reading: soft`."""
    training: Training = Field(default_factory=Training)
    """The training recipe (Adam, 1e-4)."""

    @property
    def is_stackable(self) -> bool:
        """See `utopia.models._common.Regressor`."""
        return self.reading == "bank"

    @model_validator(mode="after")
    def _per_video(self) -> Self:
        if self.training.batching != "per_video":
            raise ValueError("training.batching must be per_video: this model learns within each video, roll by roll")
        return self


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

    def __init__(self, config: Config, d_in: int, activation: Activation, clip: int) -> None:
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

    def learner(self, make_update: MakeUpdate, generator: torch.Generator) -> DdpgLearner:
        """See `utopia.models._learner.Learns`."""
        return DdpgLearner(self, make_update)

    def diagnose(self, x_RD: Tensor, frames: Sequence[int], target_R: Tensor) -> dict[str, float | None]:
        """See `utopia.models._learner.Diagnoses`."""
        return diagnose(self, x_RD, frames, target_R)


def build(config: Config, d_in: int, activation: Activation, step_s: float = 1.0) -> Regressor:
    """The model.

    Args:
        config: its settings.
        d_in: width D of the input features.
        activation: the output function that fits the label range, used with `out_act: by_range`.
        step_s: seconds from one label to the next; what makes 10 seconds of a clip.
    """
    from utopia.models._soft_memory import SoftMemoryNetwork

    chosen = activation if config.out_act == "by_range" else config.out_act
    clip = max(1, round(config.clip_s / step_s))
    if config.reading == "soft":
        return SoftMemoryNetwork(config, d_in, chosen, clip)
    return MemoryNetwork(config, d_in, chosen, clip)
