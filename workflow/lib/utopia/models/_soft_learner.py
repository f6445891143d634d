"""Learning of the earlier reading of RMN: the prediction from labels, the write by DDPG.

Deep deterministic policy gradient (Lillicrap et al., 2016) on the transitions of one roll, without replay [U]:

    state s_t = (M_{t-1}, h_t), action g_t,
    reward R_{t+1} = -(mean squared error of clip t + 1, the first to read what was written after clip t)
    critic:  (Q(s_t, g_t) - R_{t+1} - discount Q'(s_{t+1}, mu'(s_{t+1})))^2, the last term 0 at the end of the video
    actor:   -Q(s_t, mu(s_t))
    targets: Q', mu' <- (1 - tau) Q', mu' + tau Q, mu

A write after the last clip is read by none, so it is no transition, and the one before it is the terminal one. With
writes only every k clips a transition spans k clips, and its reward is their mean. In shapes, besides those of
`_soft_memory`: W transitions of a roll.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from utopia.models._clips import ClipGrid
from utopia.models._learner import Lessons, MakeUpdate
from utopia.models._soft_memory import Memories, SoftMemoryNetwork

Objective = Callable[[Tensor, Tensor, slice], Tensor]
"""Loss of some consecutive frames of a video: predictions y_R, features f_Rd, which frames."""


@dataclass(frozen=True)
class Transitions:
    """What the writes of a roll led to."""

    before_WNd: Tensor
    h_Wd: Tensor
    gate_WG: Tensor
    after_WNd: Tensor
    reward_W: Tensor
    next_h_Wd: Tensor
    """Feature of the clip at which the next write is due."""
    goes_on_W: Tensor
    """Whether that write will be read (1), or the video ends first (0)."""


class SoftLearner:
    """Trains a `SoftMemoryNetwork` roll by roll; holds the target networks."""

    def __init__(self, model: SoftMemoryNetwork, make_update: MakeUpdate, generator: torch.Generator) -> None:
        self.model, self.generator, self.together = model, generator, 1
        labelled = [*model.clips.parameters(), *model.reader.parameters(), *model.predictor.parameters()]
        self._update_labelled = make_update(labelled)
        self._update_critic = make_update([*model.critic.parameters()])
        self._update_actor = make_update([*model.writer.parameters()])
        self.target_critic, self.target_writer = copy.deepcopy(model.critic), copy.deepcopy(model.writer)

    def fit(self, lessons: Lessons) -> Tensor:
        """See `Learner.fit`; of one replica."""
        values = []
        for first, frames in lessons.videos[0]:
            rows = slice(first, first + frames)

            def objective(y_R: Tensor, f_Rd: Tensor, part: slice, first: int = first) -> Tensor:
                grid = ClipGrid([[(first + part.start, len(y_R))]], len(y_R), y_R.device)
                return lessons.objective(y_R[None], f_Rd[None], grid)[0, 0]

            x_TD = lessons.scaled(lessons.x_RD[rows])
            target_T, weight_T = lessons.target_R[rows], lessons.weight_R[rows]
            values.append(self.fit_video(x_TD, target_T, weight_T, objective, lessons.progress[0]))
        return torch.stack(values).sum()[None]

    def fit_video(
        self, x_TD: Tensor, target_T: Tensor, weight_T: Tensor, objective: Objective, progress: float
    ) -> Tensor:
        """Learn from one video; see `Learner.fit`."""
        config, size = self.model.config, self.model.clip
        frames = len(x_TD)
        clips = -(-frames // size)
        m_Nd = self.model.start()
        total = torch.zeros((), dtype=torch.float64, device=x_TD.device)
        for first in range(0, clips, config.roll):
            end = min(first + config.roll, clips)
            ahead = (
                min(self._next_write(end), clips - 1) + 1
            )  # the clips until then tell what the roll's last write was worth
            start, middle, stop = first * size, min(end * size, frames), min(ahead * size, frames)
            lengths = [min(size, stop - at) for at in range(start, stop, size)]
            o_Rd, h_Cd = self.model.clips.packed(x_TD[start:stop], lengths)
            h_fixed_Cd = h_Cd.detach()
            memories = self.model.remember(
                h_fixed_Cd[: end - first], m_Nd, first, self._noise(end - first, progress, x_TD)
            )
            m_Nd = memories.all_TNd[-1]
            m_CNd = torch.cat([memories.before, m_Nd.expand(ahead - end, *m_Nd.shape)])
            f_Rd = self.model.features(o_Rd, h_Cd, m_CNd, lengths)
            y_R = self.model.head(f_Rd)
            reward_C = self._rewards(f_Rd, y_R, target_T[start:stop], weight_T[start:stop], lengths)
            value = objective(y_R[: middle - start], f_Rd[: middle - start], slice(start, middle))
            value.backward()
            self._update_labelled([True])
            total += value.detach() * (middle - start)
            transitions = self._transitions(memories, h_fixed_Cd, reward_C, first, clips)
            if transitions is not None:
                self._learn_to_write(transitions)
        return total / frames

    def state(self) -> dict[str, Tensor]:
        """See `Learner.state`: the target networks."""
        kept = {"critic": self.target_critic, "writer": self.target_writer}
        return {f"{name}.{key}": value for name, network in kept.items() for key, value in network.state_dict().items()}

    def _next_write(self, number: int) -> int:
        """The clip, at or after this one, after which the memory is written next."""
        every = self.model.config.soft.write_every
        return -(-(number + 1) // every) * every - 1

    def _noise(self, clips: int, progress: float, like: Tensor) -> Tensor:
        config = self.model.config
        deviation = config.soft.exploration + (config.soft.exploration_end - config.soft.exploration) * progress
        noise_CG = torch.randn(clips, config.rows + 1, generator=self.generator, device=like.device, dtype=like.dtype)
        return noise_CG * deviation

    @torch.no_grad()
    def _rewards(self, f_Rd: Tensor, y_R: Tensor, target_R: Tensor, weight_R: Tensor, lengths: list[int]) -> Tensor:
        """The reward of each clip's prediction, for what was in memory then."""
        error_R = (target_R - y_R).square()
        if self.model.config.soft.reward == "improvement":
            without_Rd = f_Rd.clone()
            without_Rd[:, -self.model.config.d_model :] = 0
            error_R = error_R - (target_R - self.model.head(without_Rd)).square()
        if self.model.config.reward_weighted:
            error_R = error_R * weight_R
        return torch.stack([-error_c.mean() for error_c in error_R.split(lengths)])

    def _transitions(
        self, memories: Memories, h_Cd: Tensor, reward_C: Tensor, first: int, clips: int
    ) -> Transitions | None:
        """Those of the roll that began at clip `first`; None where no write of it is ever read."""
        rolled = len(memories.gate_CG)
        writes = [
            number for number in range(rolled) if self.model.writes_after(first + number) and first + number < clips - 1
        ]
        if not writes:
            return None
        next_write = [min(number + self.model.config.soft.write_every, clips - 1 - first) for number in writes]
        reward = [
            reward_C[number + 1 : following + 1].mean() for number, following in zip(writes, next_write, strict=True)
        ]
        return Transitions(
            before_WNd=memories.all_TNd[writes],
            h_Wd=h_Cd[writes],
            gate_WG=memories.gate_CG[writes],
            after_WNd=memories.all_TNd[[number + 1 for number in writes]],
            reward_W=torch.stack(reward),
            next_h_Wd=h_Cd[next_write],
            goes_on_W=torch.tensor([first + number < clips - 1 for number in next_write], device=h_Cd.device).to(h_Cd),
        )

    def _learn_to_write(self, seen: Transitions) -> None:
        """One update of the critic, one of the actor, and the targets follow."""
        model = self.model
        value_W = model.critic(seen.after_WNd, seen.h_Wd, seen.gate_WG)
        functional.mse_loss(value_W, self.td_target(seen)).backward()
        self._update_critic([True])
        gate_WG = model.writer.gate(seen.before_WNd, seen.h_Wd)
        after_WNd = model.writer.write(seen.before_WNd, seen.h_Wd, gate_WG)
        (-model.critic(after_WNd, seen.h_Wd, gate_WG).mean()).backward()
        for (
            parameter
        ) in model.critic.parameters():  # the value's gradient passes through the critic, which keeps none of it
            parameter.grad = None
        self._update_actor([True])
        follow(self.target_critic, model.critic, model.config.soft.tau)
        follow(self.target_writer, model.writer, model.config.soft.tau)

    @torch.no_grad()
    def td_target(self, seen: Transitions) -> Tensor:
        """R + discount Q'(s', mu'(s')) of each transition."""
        gate_WG = self.target_writer.gate(seen.after_WNd, seen.next_h_Wd)
        after_WNd = self.target_writer.write(seen.after_WNd, seen.next_h_Wd, gate_WG)
        value_W = self.target_critic(after_WNd, seen.next_h_Wd, gate_WG)
        return seen.reward_W + self.model.config.soft.discount * seen.goes_on_W * value_W


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, tau: float) -> None:
    """Move the parameters of a target network towards those of the online one by a share tau."""
    for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
        slow.lerp_(fast, tau)
