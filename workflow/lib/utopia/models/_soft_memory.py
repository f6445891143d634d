"""The earlier reading of RMN (`models.rmn.reading: soft`), kept so that results made with it can be repeated.

For clip t, with LSTM outputs o_j at its frames j:

    read     h_t = mean_j o_j,  r_t = sum_i a_i W_v M_{t-1}[i],  a = softmax_i((W_k M_{t-1}[i]) . (W_q h_t) / sqrt(d))
    predict  y_j = act(MLP([o_j; r_t]))
    policy   g_t = softmax over rows i and "no write" of MLP([M_{t-1}[i]; h_t; M_{t-1}[i] h_t]) and a learned score
    write    M_t[i] = (1 - g_t[i]) M_{t-1}[i] + g_t[i] tanh(W_c h_t),  M_0 = 0 for every video

The memory is detached at every step; `_soft_learner` trains the writer. The policy treats equal rows alike: with
M_0 = 0 and soft writing they stay equal, so that the bank is in effect one moving average and what is read does not
depend on the query. docs/rmn.md says what it was measured to do. `start: distinct` and `hard_write` undo the equality.

In shapes, besides those of `_common`: C clips of one or several videos, G = N + 1 gates, N rows of the memory.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from utopia.config.memory import MemorySettings
from utopia.models._clips import ClipEncoder, clip_lengths
from utopia.models._common import Activation, Regressor, activate
from utopia.models._layout import Layout, Packed


class Reader(nn.Module):
    """Reading by content: attention of a clip feature over the rows of the memory."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(d, d, bias=False) for _ in range(3))

    def forward(self, m_CNd: Tensor, h_Cd: Tensor) -> Tensor:
        """r_Cd, of a memory for each clip."""
        e_CN1 = self.key(m_CNd) @ self.query(h_Cd)[:, :, None] / math.sqrt(h_Cd.shape[1])
        r_C1d = e_CN1.softmax(dim=1).transpose(1, 2) @ self.value(m_CNd)
        return r_C1d.squeeze(1)


class Writer(nn.Module):
    """The policy: how strongly each row is overwritten with a candidate; and the write itself."""

    def __init__(self, config: MemorySettings) -> None:
        super().__init__()
        d = config.d_model
        self.hard = config.soft.hard_write
        self.score = nn.Sequential(
            nn.Linear(3 * d, config.writer_hidden), nn.ReLU(), nn.Linear(config.writer_hidden, 1)
        )
        self.stay = nn.Parameter(torch.zeros(1))
        self.candidate = nn.Linear(d, d, bias=False)

    def gate(self, m_CNd: Tensor, h_Cd: Tensor, noise_CG: Tensor | None = None) -> Tensor:
        """The action g [C, N + 1]: a share for each row and, last, for no write; they add up to 1.

        Args:
            m_CNd: memory before the write, for each clip.
            h_Cd: clip features.
            noise_CG: added to the scores.
        """
        h_CNd = h_Cd[:, None].expand_as(m_CNd)
        row_CN = self.score(torch.cat([m_CNd, h_CNd, m_CNd * h_CNd], dim=2)).squeeze(2)
        score_CG = torch.cat([row_CN, self.stay.expand(len(row_CN), 1)], dim=1)
        soft_CG = (score_CG if noise_CG is None else score_CG + noise_CG).softmax(dim=1)
        if not self.hard:
            return soft_CG
        hard_CG = functional.one_hot(soft_CG.argmax(dim=1), soft_CG.shape[1]).to(soft_CG.dtype)
        return hard_CG + (soft_CG - soft_CG.detach())

    def write(self, m_CNd: Tensor, h_Cd: Tensor, gate_CG: Tensor) -> Tensor:
        """The memory after the write."""
        g_CN1 = gate_CG[:, :-1, None]
        return (1 - g_CN1) * m_CNd + g_CN1 * torch.tanh(self.candidate(h_Cd))[:, None]


class Critic(nn.Module):
    """The value Q of an action: from the mean row after the write, the clip feature and the gates."""

    def __init__(self, config: MemorySettings) -> None:
        super().__init__()
        width, hidden = 2 * config.d_model + config.rows + 1, config.critic_hidden
        self.value = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, after_CNd: Tensor, h_Cd: Tensor, gate_CG: Tensor) -> Tensor:
        """Q_C."""
        value_C1: Tensor = self.value(torch.cat([after_CNd.mean(dim=1), h_Cd, gate_CG], dim=1))
        return value_C1.squeeze(1)


@dataclass(frozen=True)
class Memories:
    """What the memory holds over some consecutive clips, and what was done to it."""

    all_TNd: Tensor
    """Before the first clip and after each of them [C + 1, N, d]."""
    gate_CG: Tensor
    """The gates of the write after each clip [C, N + 1]; "no write" has all of it where none was due."""

    @property
    def before(self) -> Tensor:
        """What each clip reads."""
        return self.all_TNd[:-1]


class SoftMemoryNetwork(Regressor):
    """The network; see the module."""

    def __init__(self, config: MemorySettings, d_in: int, activation: Activation, clip: int) -> None:
        super().__init__()
        d = config.d_model
        self.config, self.activation, self.clip = config, activation, clip
        self.clips, self.reader = ClipEncoder(d_in, d, config.units, config.layers, config.pool), Reader(d)
        self.predictor = nn.Sequential(
            nn.Linear(2 * d, config.head_hidden), nn.ReLU(), nn.Linear(config.head_hidden, 1)
        )
        self.writer, self.critic = Writer(config), Critic(config)
        distinct_Nd = functional.normalize(torch.randn(config.rows, d), dim=1)
        self.register_buffer(
            "start_Nd", distinct_Nd if config.soft.start == "distinct" else torch.zeros(config.rows, d)
        )

    def encode(self, x_RD: Tensor, rows: Layout, keys_R: Tensor | None = None) -> Tensor:
        """[o_j; r_t] of every frame; see `Regressor.encode`."""
        assert isinstance(rows, Packed)  # the model is not stackable
        cut = [clip_lengths(frames, self.clip) for frames in rows.lengths]
        clips = [frames for video in cut for frames in video]
        o_Rd, h_Cd = self.clips.packed(x_RD, clips)
        videos = h_Cd.split([len(video) for video in cut])
        m_CNd = torch.cat([self.remember(h_Vd, self.start()).before for h_Vd in videos])
        return self.features(o_Rd, h_Cd, m_CNd, clips)

    def head(self, f_Rd: Tensor, keys_R: Tensor | None = None) -> Tensor:
        """See `Regressor.head`."""
        return activate(self.predictor(f_Rd).squeeze(1), self.activation)

    def features(self, o_Rd: Tensor, h_Cd: Tensor, m_CNd: Tensor, clips: Sequence[int]) -> Tensor:
        """What enters the predictor, given the memory before each clip."""
        repeats_C = torch.tensor(clips, device=h_Cd.device)
        r_Rd = self.reader(m_CNd, h_Cd).repeat_interleave(repeats_C, dim=0)
        own_Rd = o_Rd if self.config.rate == "per_frame" else h_Cd.repeat_interleave(repeats_C, dim=0)
        return torch.cat([own_Rd, r_Rd], dim=1)

    def start(self) -> Tensor:
        """The memory before the first clip of a video, M_0 [N, d]."""
        return self.get_buffer("start_Nd")

    def writes_after(self, number: int) -> bool:
        """Whether the memory is written after this clip of a video (counted from 0)."""
        return (number + 1) % self.config.soft.write_every == 0

    @torch.no_grad()
    def remember(self, h_Cd: Tensor, m_Nd: Tensor, first: int = 0, noise_CG: Tensor | None = None) -> Memories:
        """Write after each of some consecutive clips of a video.

        Args:
            h_Cd: their features.
            m_Nd: memory before them.
            first: number of the first of them in its video.
            noise_CG: exploration, added to the policy's scores.
        """
        m_1Nd, memories, gates = m_Nd[None], [m_Nd], []
        stay_1G = functional.one_hot(torch.tensor([len(m_Nd)], device=h_Cd.device)).to(h_Cd.dtype)
        for number, h_1d in enumerate(h_Cd.split(1)):
            gate_1G = stay_1G
            if self.writes_after(first + number):
                gate_1G = self.writer.gate(m_1Nd, h_1d, None if noise_CG is None else noise_CG[number : number + 1])
                m_1Nd = self.writer.write(m_1Nd, h_1d, gate_1G)
            gates.append(gate_1G[0])
            memories.append(m_1Nd[0])
        return Memories(torch.stack(memories), torch.stack(gates))
