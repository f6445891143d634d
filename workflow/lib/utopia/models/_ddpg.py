"""Learning of the memory network: the prediction from labels, the choice of rows by DDPG.

Deep deterministic policy gradient (Lillicrap et al., 2016) for a choice among N + 1 candidates, of which one is dropped
(`_bank`). The action is the policy's softmax over the candidates; what is carried out is one candidate, drawn from it
by Gumbel noise. The value of an action is the sum of the values q of the candidates that it keeps, so that the critic
sees every row, and it is linear in the action: its gradient with respect to the action is exact.

    reward   of a row at clip t: how much larger the error is where that row is not read (`MemoryNetwork.gains`)
    critic   (q(row, h_t) - reward_{t+1}(row) - discount (1 - mu'_{t+1}(row)) q'(row, h_{t+1}))^2 for each row kept at
             t; mu'(row) is the target policy's share for dropping it, and the last term is 0 at a video's last clip
    actor    mean over clips of sum_i mu_i q_i / deviation(q) - entropy H(mu): drop what is worth least
    targets  q', mu' <- (1 - tau) q', mu' + tau q, mu

Each update learns from one of the latest rolls of this epoch, drawn at random (replay): across epochs nothing is kept,
because features that an older encoder made mislead. A choice at the last clip of a roll is not learnt from.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from utopia.models._bank import NONE, Rollout, RowScore, gumbel, rows_of, shares
from utopia.models._learner import Lesson, MakeUpdate

if TYPE_CHECKING:
    from utopia.models.rmn import MemoryNetwork, Passed


@dataclass(frozen=True)
class Choices:
    """What the policy chose in a roll, and what came of it."""

    source_VSd: Tensor
    rollout: Rollout
    reward_VCN: Tensor
    """Of the rows in the bank at each clip, in units of their root mean square."""
    follows_VC: Tensor
    """Whether the clip has a successor in this roll, so that its choice can be learnt from."""
    goes_on_VC: Tensor
    """Whether the video has a clip after this one, in this roll or a later one."""


class DdpgLearner:
    """Trains a `MemoryNetwork` roll by roll, several videos together; holds the target networks."""

    def __init__(self, model: MemoryNetwork, make_update: MakeUpdate, generator: torch.Generator) -> None:
        self.model, self.generator = model, generator
        self.together = model.config.together
        labelled = [*model.clips.parameters(), *model.reader.parameters(), *model.predictor.parameters()]
        self._update_labelled = make_update(labelled)
        self._update_critic = make_update([*model.critic.parameters()])
        self._update_actor = make_update([*model.policy.parameters()])
        self.target_critic, self.target_policy = copy.deepcopy(model.critic), copy.deepcopy(model.policy)
        self._replay: list[Choices] = []
        self._progress = -1.0

    def fit(self, lessons: Sequence[Lesson], progress: float) -> Tensor:
        """See `Learner.fit`."""
        if progress != self._progress:
            self._replay.clear()
            self._progress = progress
        model, config = self.model, self.model.config
        span = config.roll * model.clip
        device = lessons[0].x_TD.device
        total = torch.zeros((), dtype=torch.float64, device=device)
        bank, going = None, list(range(len(lessons)))
        for start in range(0, max(len(lesson.x_TD) for lesson in lessons), span):
            stay = [place for place, number in enumerate(going) if len(lessons[number].x_TD) > start]
            if bank is not None and len(stay) < len(going):
                bank = bank.some(torch.tensor(stay, device=device))
            going = [going[place] for place in stay]
            parts = [slice(start, min(start + span, len(lessons[number].x_TD))) for number in going]
            frames = [part.stop - part.start for part in parts]
            pieces = list(zip((lessons[number] for number in going), parts, strict=True))
            x_RD = torch.cat([lesson.x_TD[part] for lesson, part in pieces])
            passed = model.pass_clips(x_RD, frames, bank, start // model.clip, self._noise(frames, x_RD))
            y_R = model.head(passed.f_Rd)
            losses = [
                lesson.objective(y_r, f_rd, part)
                for (lesson, part), y_r, f_rd in zip(pieces, y_R.split(frames), passed.f_Rd.split(frames), strict=True)
            ]
            torch.stack(losses).mean().backward()
            bank = passed.rollout.bank(passed.source_VSd)
            if config.policy == "learnt" and config.read == "content":
                self._learn_to_write(passed, pieces)
            self._update_labelled()
            for (lesson, _), loss, count in zip(pieces, losses, frames, strict=True):
                total += loss.detach() * (count / len(lesson.x_TD))
        return total

    def state(self) -> dict[str, Tensor]:
        """See `Learner.state`: the target networks."""
        kept = {"critic": self.target_critic, "policy": self.target_policy}
        return {f"{name}.{key}": value for name, network in kept.items() for key, value in network.state_dict().items()}

    def _noise(self, frames: Sequence[int], like: Tensor) -> Tensor | None:
        if self.model.config.policy in ("frozen", "fifo"):
            return None
        clips = -(-max(frames) // self.model.clip)
        return gumbel((len(frames), clips, self.model.config.rows + 1), self.generator, like)

    def _learn_to_write(self, passed: Passed, pieces: Sequence[tuple[Lesson, slice]]) -> None:
        """Remember this roll; one update of the critic and one of the actor, and the targets follow."""
        target_R = torch.cat([lesson.target_T[part] for lesson, part in pieces])
        weighted = self.model.config.reward_weighted
        weight_R = torch.cat([lesson.weight_T[part] for lesson, part in pieces]) if weighted else None
        more_V = torch.tensor([len(lesson.x_TD) > part.stop for lesson, part in pieces], device=target_R.device)
        seen = choices(self.model, passed, target_R, weight_R, more_V)
        if not (seen.rollout.chosen_VC & seen.follows_VC).any():
            return
        self._replay = [*self._replay, seen][-self.model.config.replay :]
        drawn = torch.randint(len(self._replay), (1,), generator=self.generator, device=self.generator.device)
        seen = self._replay[int(drawn)]
        model = self.model
        td_error(seen, model.critic, self.target_critic, self.target_policy, model.config.discount).backward()
        self._update_critic()
        with torch.no_grad():
            value_VCG = scores(model.critic, seen)
        worth_WG = value_VCG[seen.rollout.chosen_VC]
        worth_WG = worth_WG - worth_WG.mean(dim=1, keepdim=True)
        log_WG = scores(model.policy, seen)[seen.rollout.chosen_VC].log_softmax(dim=1)
        share_WG = log_WG.exp()
        worth = (share_WG * worth_WG / (worth_WG.std(correction=0) + 1e-8)).sum(dim=1).mean()
        (worth + model.config.entropy * (share_WG * log_WG).sum(dim=1).mean()).backward()
        self._update_actor()
        follow(self.target_critic, model.critic, model.config.tau)
        follow(self.target_policy, model.policy, model.config.tau)


def scores(network: RowScore, seen: Choices) -> Tensor:
    """Of every candidate at every clip [V, C, G]."""
    rollout, source_VSd = seen.rollout, seen.source_VSd
    clip_VCd = source_VSd[:, 2 * rollout.held_VCN.shape[2] :]
    return network(network.row(source_VSd), network.clip(clip_VCd), rollout.candidates, rollout.ages)


def choices(model: MemoryNetwork, passed: Passed, target_R: Tensor, weight_R: Tensor | None, more_V: Tensor) -> Choices:
    """The choices of a roll with their rewards.

    Args:
        model: the network that passed the roll.
        passed: the roll.
        target_R: labels of its frames.
        weight_R: what the errors are weighted by in rewards; None: nothing.
        more_V: whether a video goes on after the roll.
    """
    rollout = passed.rollout
    gain_VCN = model.gains(passed, target_R, weight_R)
    met = gain_VCN[passed.energy_VCN > -torch.inf]
    gain_VCN = gain_VCN / (met.square().mean().sqrt() + 1e-8) if len(met) else gain_VCN
    # what is read may be older than what is held, so rows are met by the clip that they hold
    read_VCN, held_VCN = rollout.read_numbers, rollout.held_numbers
    same_VCNN = (held_VCN[..., None] == read_VCN[:, :, None]) & (held_VCN != NONE)[..., None]
    reward_VCN = (same_VCNN * gain_VCN[:, :, None]).sum(dim=3)
    videos, clips, _ = held_VCN.shape
    real_VC = torch.zeros(videos * clips, dtype=torch.bool, device=held_VCN.device)
    real_VC[passed.place_C] = True
    real_VC = real_VC.view(videos, clips)
    follows_VC = torch.cat([real_VC[:, 1:], torch.zeros_like(real_VC[:, :1])], dim=1)
    last_VC = real_VC & ~follows_VC
    goes_on_VC = follows_VC | (last_VC & more_V[:, None])
    return Choices(passed.source_VSd.detach(), rollout, reward_VCN, follows_VC, goes_on_VC)


def td_error(
    seen: Choices, critic: RowScore, target_critic: RowScore, target_policy: RowScore, discount: float
) -> Tensor:
    """Mean square of the temporal differences of all rows that were kept at a choice (a scalar)."""
    rollout = seen.rollout
    rows = rollout.held_VCN.shape[2]
    with torch.no_grad():
        drop_VCN = scores(target_policy, seen).softmax(dim=2)[..., :rows]
        later_VCN = (1 - drop_VCN) * scores(target_critic, seen)[..., :rows] * seen.goes_on_VC[..., None]
        next_VCN = (seen.reward_VCN + discount * later_VCN)[:, 1:]
        dropped_VC1 = rollout.dropped_VC[:, :-1, None]
        # the clip just seen takes the place of the row that was dropped
        own_VC1 = next_VCN.gather(2, dropped_VC1.clamp(max=rows - 1))
        wanted_VCG = torch.cat([next_VCN, own_VC1], dim=2)
        kept_VCG = torch.ones_like(wanted_VCG, dtype=torch.bool).scatter(2, dropped_VC1, False)
        kept_VCG &= (rollout.chosen_VC & seen.follows_VC)[:, :-1, None]
    value_VCG = scores(critic, seen)[:, :-1]
    return (value_VCG - wanted_VCG)[kept_VCG].square().mean()


@torch.no_grad()
def follow(target: nn.Module, online: nn.Module, tau: float) -> None:
    """Move the parameters of a target network towards those of the online one by a share tau."""
    for slow, fast in zip(target.parameters(), online.parameters(), strict=True):
        slow.lerp_(fast, tau)


@torch.no_grad()
def diagnose(model: MemoryNetwork, x_RD: Tensor, frames: Sequence[int], target_R: Tensor) -> dict[str, float | None]:
    """How the memory of a trained network is used on some videos; None where there is nothing to measure.

    Returns:
        `choices`: how often the policy chose (the bank was full); `writes`: in which share of these a row was
        replaced; `entropy` of its shares, 1 where all candidates are alike; `distinctness`: distance of two rows that
        are read together, root mean square, by that of a row's norm; `age_steps`: mean age of what is read, in steps
        of the series;
        `query`: how far a clip's attention differs from that of the clip before it in the same rows (total variation,
        0: reads do not depend on queries); `td_error`: root mean square of the temporal differences, in units of the
        rewards.
    """
    passed = model.pass_clips(x_RD, frames)
    rollout, rows = passed.rollout, model.config.rows
    chosen_VC, dropped_VC = rollout.chosen_VC, rollout.dropped_VC
    found: dict[str, float | None] = {"choices": float(chosen_VC.sum())}
    found |= dict.fromkeys(("writes", "entropy", "distinctness", "age_steps", "query", "td_error"))
    seen = choices(model, passed, target_R, None, torch.zeros(len(frames), dtype=torch.bool, device=x_RD.device))
    if chosen_VC.any():
        found["writes"] = float((dropped_VC[chosen_VC] < rows).double().mean())
        log_WG = scores(model.policy, seen)[chosen_VC].log_softmax(dim=1)
        found["entropy"] = float(-(log_WG.exp() * log_WG).sum(dim=1).mean() / torch.tensor(rows + 1.0).log())
        if (chosen_VC & seen.follows_VC).any():
            found["td_error"] = float(
                td_error(seen, model.critic, model.critic, model.policy, model.config.discount).sqrt()
            )
    real_VC = torch.zeros(chosen_VC.numel(), dtype=torch.bool, device=x_RD.device)
    real_VC[passed.place_C] = True
    filled_VCN = (passed.energy_VCN > -torch.inf) & real_VC.view(chosen_VC.shape)[..., None]
    share_VCN = shares(passed.energy_VCN)
    if filled_VCN.any():
        number_C1 = torch.arange(chosen_VC.shape[1], device=x_RD.device)[:, None]
        age_VCN = (number_C1 - rollout.read_numbers) * filled_VCN
        reads_VC = filled_VCN.any(dim=2)
        found["age_steps"] = float((share_VCN * age_VCN).sum(dim=2)[reads_VC].mean() * model.clip)
    both_VC = filled_VCN.sum(dim=2) > 1
    if both_VC.any():
        row_WNd = rows_of(passed.source_VSd, rollout.read_VCN)[both_VC]
        filled_WN1 = filled_VCN[both_VC][..., None].to(row_WNd.dtype)
        count_W1 = filled_WN1.sum(dim=1)
        mean_W1d = (row_WNd * filled_WN1).sum(dim=1, keepdim=True) / count_W1[..., None]
        spread_W = ((row_WNd - mean_W1d).square() * filled_WN1).sum(dim=(1, 2)) / (count_W1[:, 0] - 1)
        norm_W = (row_WNd.square() * filled_WN1).sum(dim=(1, 2)) / count_W1[:, 0]
        found["distinctness"] = float((2 * spread_W.mean() / norm_W.mean().clamp(min=1e-12)).sqrt())
        query_VCN = shares(other_queries(model, passed))
        differs_VC = (share_VCN - query_VCN).abs().sum(dim=2)[:, 1:] / 2
        found["query"] = float(differs_VC[both_VC[:, 1:]].mean()) if both_VC[:, 1:].any() else None
    return found


def other_queries(model: MemoryNetwork, passed: Passed) -> Tensor:
    """Energies of the rows that each clip reads, asked by the clip before it [V, C, N]."""
    clip_VCd = passed.source_VSd[:, 2 * model.config.rows :]
    return model.reader.energies(clip_VCd.roll(1, dims=1), passed.source_VSd, passed.rollout)
