"""Learning of the memory network: the prediction from labels, the choice of rows by DDPG.

Deep deterministic policy gradient (Lillicrap et al., 2016) for a choice among N + 1 candidates, one of them to be
dropped (`_bank`). The action is the policy's softmax over the candidates; what is carried out is one candidate, drawn
from it by Gumbel noise. The value of an action is the sum of the values q of the candidates that it keeps, so that the
critic sees every row, and it is linear in the action: its gradient with respect to the action is exact.

    reward   of a row at clip t: how much larger the error is where that row is not read (`MemoryNetwork.gains`)
    critic   (q(row, h_t) - reward_{t+1}(row) - discount (1 - mu'_{t+1}(row)) q'(row, h_{t+1}))^2 for each row kept at
             t; mu'(row) is the target policy's share for dropping it, and the last term is 0 at a video's last clip
    actor    mean over clips of sum_i mu_i q_i / deviation(q) - entropy H(mu): drop what is worth least
    targets  q', mu' <- (1 - tau) q', mu' + tau q, mu

Each update learns from one of the latest rolls of this epoch, drawn at random (replay): across epochs nothing is kept,
because features that an older encoder made mislead. A choice at the last clip of a roll is not learnt from.

All of it runs for K replicas at once, where their networks are stacked: each has its own rolls, choices, rewards,
targets and updates, and what is drawn is a function of replica, epoch, video and clip. A replica that has no video at a
roll takes no step.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from utopia import seeds
from utopia.models._bank import NONE, RowScore, gumbel
from utopia.models._clips import ClipGrid
from utopia.models._dropout import uniform
from utopia.models._learner import Lessons, MakeUpdate
from utopia.models._memory_network import MemoryNetwork, Passed


@dataclass(frozen=True)
class Choices:
    """What the policy chose in a roll, and what came of it."""

    source_VSd: Tensor
    place_VCG: Tensor
    """The sources that were candidates."""
    age_VCG: Tensor
    """Their ages, in clips."""
    dropped_VC: Tensor
    chosen_VC: Tensor
    follows_VC: Tensor
    """Whether the clip has a successor in this roll, so that its choice can be learnt from."""
    goes_on_VC: Tensor
    """Whether the video has a clip after this one, in this roll or a later one."""
    reward_VCN: Tensor
    """Of the rows in the bank at each clip, in units of their root mean square over the replica's roll."""


class Replay:
    """The latest rolls of K replicas; each draws one.

    Every part of `Choices` is a buffer [K, slots, V, C, ...], as large as the largest roll so far.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._parts: dict[str, Tensor] = {}
        self._count: list[int] = []
        self._seed: list[int] = []

    def begin(self, epoch_seed: Sequence[int]) -> None:
        """Forget the rolls of replicas that are in another epoch."""
        if len(self._seed) != len(epoch_seed):
            self._count, self._seed = [0] * len(epoch_seed), list(epoch_seed)
        for k, seed in enumerate(epoch_seed):
            if self._seed[k] != seed:
                self._count[k], self._seed[k] = 0, seed

    def add(self, seen: Choices, moves: Sequence[bool]) -> Choices:
        """Keep a roll of the replicas that move, and draw one of the latest of each."""
        replicas = len(moves)
        parts = {name: part.unflatten(0, (replicas, -1)) for name, part in vars(seen).items()}
        for name, part in parts.items():
            self._parts[name] = self._room(self._parts.get(name), part)
        moving = [k for k, moved in enumerate(moves) if moved]
        device = seen.source_VSd.device
        k_M = torch.tensor(moving, device=device)
        slot_M = torch.tensor([self._count[k] % self._slots for k in moving], device=device)
        for name, part in parts.items():
            buffer = self._parts[name]
            if part.dtype == torch.bool:
                buffer[k_M, slot_M] = False
            where: list[Tensor | slice] = [k_M, slot_M, *(slice(size) for size in part.shape[1:])]
            buffer[tuple(where)] = part[k_M]
        for k in moving:
            self._count[k] += 1
        slots = [
            seeds.derive(seed, "replay", count) % min(count, self._slots) if count else 0
            for seed, count in zip(self._seed, self._count, strict=True)
        ]
        drawn = torch.arange(replicas, device=device), torch.tensor(slots, device=device)
        return Choices(**{name: buffer[drawn].flatten(0, 1) for name, buffer in self._parts.items()})

    def keep(self, places: Sequence[int]) -> None:
        """Forget the rolls of all other replicas."""
        self._count, self._seed = ([own[k] for k in places] for own in (self._count, self._seed))
        self._parts = {name: buffer[list(places)] for name, buffer in self._parts.items()}

    def _room(self, buffer: Tensor | None, part: Tensor) -> Tensor:
        """The buffer, large enough for a part [K, V, C, ...]."""
        wanted = [len(part), self._slots, *part.shape[1:]]
        if buffer is None:
            return part.new_zeros(wanted)
        if all(have >= want for have, want in zip(buffer.shape, wanted, strict=True)):
            return buffer
        larger = part.new_zeros([max(pair) for pair in zip(buffer.shape, wanted, strict=True)])
        larger[tuple(slice(size) for size in buffer.shape)] = buffer
        return larger


class DdpgLearner:
    """Trains the `MemoryNetwork` of K replicas roll by roll, several videos together; holds the target networks."""

    def __init__(self, model: MemoryNetwork, make_update: MakeUpdate) -> None:
        self.model, self.together = model, model.config.together
        labelled = [*model.clips.parameters(), *model.reader.parameters(), *model.predictor.parameters()]
        self._update_labelled = make_update(labelled)
        self._update_critic = make_update([*model.critic.parameters()])
        self._update_actor = make_update([*model.policy.parameters()])
        self.target_critic, self.target_policy = copy.deepcopy(model.critic), copy.deepcopy(model.policy)
        self._replay = Replay(model.config.replay)

    def fit(self, lessons: Lessons) -> Tensor:
        """See `Learner.fit`."""
        self._replay.begin(lessons.epoch_seed)
        model, config = self.model, self.model.config
        span = config.roll * model.clip
        device = lessons.x_RD.device
        # the longest videos first, so that those that go on are always the first ones
        videos = [sorted(own, key=lambda video: -video[1]) for own in lessons.videos]
        total_K = torch.zeros(len(videos), dtype=torch.float64, device=device)
        bank = None
        for start in range(0, max(frames for own in videos for _, frames in own), span):
            going = [[video for video in own if video[1] > start] for own in videos]
            pieces = [[(row + start, min(span, frames - start)) for row, frames in own] for own in going]
            grid = ClipGrid(pieces, model.clip, device)
            x_KPD = lessons.scaled(lessons.rows(lessons.x_RD, grid))
            noise_VCG = self._noise(lessons, grid)
            before = None if bank is None else bank.first(grid.videos, grid.replicas)
            passed = model.pass_clips(x_KPD, grid, before, start // model.clip, noise_VCG)
            value_KV = lessons.objective(model.head(passed.f_KPd), passed.f_KPd, grid)
            number_K = torch.tensor([max(1, len(own)) for own in going], device=device)
            (value_KV.sum(dim=1) / number_K).sum().backward()
            bank = passed.rollout.bank(passed.source_VSd)
            if config.policy == "learnt" and config.read == "content":
                self._learn_to_write(passed, lessons, [[frames > start + span for _, frames in own] for own in going])
            self._update_labelled([bool(own) for own in going])
            whole = [[frames for _, frames in own] + [1] * (grid.videos - len(own)) for own in going]
            total_K += (value_KV.detach() * grid.frames_KV / torch.tensor(whole, device=device)).sum(dim=1)
        return total_K

    def state(self) -> dict[str, Tensor]:
        """See `Learner.state`: the target networks."""
        kept = {"critic": self.target_critic, "policy": self.target_policy}
        return {f"{name}.{key}": value for name, network in kept.items() for key, value in network.state_dict().items()}

    @torch.no_grad()
    def put(self, place: int) -> None:
        """See `StackedLearner.put`."""
        for slow, fast in self._pairs():
            slow[place] = fast[place]

    @torch.no_grad()
    def keep(self, places: Sequence[int]) -> None:
        """See `StackedLearner.keep`."""
        for network in (self.target_critic, self.target_policy):
            for parameter in network.parameters():
                parameter.data = parameter.data[list(places)]
        self._replay.keep(places)

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        """The parameters of the target networks, each with the one that it follows."""
        slow = [*self.target_critic.parameters(), *self.target_policy.parameters()]
        fast = [*self.model.critic.parameters(), *self.model.policy.parameters()]
        return list(zip(slow, fast, strict=True))

    def _noise(self, lessons: Lessons, grid: ClipGrid) -> Tensor | None:
        """A function of a clip's first frame, so that it is the same whatever is trained beside it."""
        if self.model.config.policy in ("frozen", "fifo"):
            return None
        key_KQ = lessons.rows(lessons.key_R, grid)[:, :: grid.size]
        uniform_KQG = uniform(key_KQ, self.model.config.rows + 1)
        return gumbel(grid.by_video(uniform_KQG)).to(lessons.x_RD.dtype)

    def _learn_to_write(self, passed: Passed, lessons: Lessons, more: Sequence[Sequence[bool]]) -> None:
        """Remember this roll; one update of the critic and one of the actor, and the targets follow."""
        model, config, grid = self.model, self.model.config, passed.grid
        # a choice can be learnt from where the bank is full and another clip of the roll follows
        most = [max(own, default=0) for own in grid.counts]
        moves = [clips > 1 and passed.rollout.first + clips - 2 >= config.rows for clips in most]
        if not any(moves):
            return
        target_KP = lessons.rows(lessons.target_R, grid)
        weight_KP = lessons.rows(lessons.weight_R, grid) if config.reward_weighted else None
        seen = self._replay.add(choices(model, passed, target_KP, weight_KP, more), moves)
        replicas = grid.replicas
        td_error(seen, model.critic, self.target_critic, self.target_policy, config.discount, replicas).sum().backward()
        self._update_critic(moves)
        actor_loss(seen, model.critic, model.policy, config.entropy, replicas).sum().backward()
        self._update_actor(moves)
        follow(self._pairs(), config.tau, moves)


def scores(network: RowScore, seen: Choices) -> Tensor:
    """Of every candidate at every clip [V, C, G]."""
    rows = seen.place_VCG.shape[2] - 1
    clip_VCd = seen.source_VSd[:, 2 * rows :]
    return network(network.row(seen.source_VSd), network.clip(clip_VCd), seen.place_VCG, seen.age_VCG)


def choices(
    model: MemoryNetwork,
    passed: Passed,
    target_KP: Tensor,
    weight_KP: Tensor | None,
    more: Sequence[Sequence[bool]] | None = None,
    square_K11: Tensor | None = None,
) -> Choices:
    """The choices of a roll with their rewards.

    Args:
        model: the network that passed the roll.
        passed: the roll.
        target_KP: labels of its frames.
        weight_KP: what the errors are weighted by in rewards; None: nothing.
        more: of each video of each replica, whether it goes on after the roll; None: no video does.
        square_K11: the mean square of rewards, their unit squared; None: that of this roll.
    """
    rollout, grid = passed.rollout, passed.grid
    gain_VCN = model.gains(passed, target_KP, weight_KP)
    if square_K11 is None:
        sum_K11, met_K11 = squares(gain_VCN, passed)
        square_K11 = sum_K11 / met_K11.clamp(min=1)
    gain_VCN = (gain_VCN.unflatten(0, (grid.replicas, -1)).flatten(1, 2) / (square_K11.sqrt() + 1e-8)).view(
        gain_VCN.shape
    )
    # what is read may be older than what is held, so rows are met by the clip that they hold
    read_VCN, held_VCN = rollout.read_numbers, rollout.held_numbers
    same_VCNN = (held_VCN[..., None] == read_VCN[:, :, None]) & (held_VCN != NONE)[..., None]
    reward_VCN = (same_VCNN * gain_VCN[:, :, None]).sum(dim=3)
    real_VC = grid.real_VC
    follows_VC = torch.cat([real_VC[:, 1:], torch.zeros_like(real_VC[:, :1])], dim=1)
    goes_on_VC = follows_VC
    if more is not None:
        padded = [[*own, *[False] * (grid.videos - len(own))] for own in more]
        more_V1 = torch.tensor(padded, device=real_VC.device).view(-1, 1)
        goes_on_VC = follows_VC | (real_VC & more_V1)
    return Choices(
        source_VSd=passed.source_VSd.detach(),
        place_VCG=rollout.candidates,
        age_VCG=rollout.ages,
        dropped_VC=rollout.dropped_VC,
        chosen_VC=rollout.chosen_VC,
        follows_VC=follows_VC,
        goes_on_VC=goes_on_VC,
        reward_VCN=reward_VCN,
    )


def squares(gain_VCN: Tensor, passed: Passed) -> tuple[Tensor, Tensor]:
    """Of each replica [K, 1, 1], the sum of the squares of what rows were worth, and how many rows these are."""
    grid = passed.grid
    met_VCN = (passed.energy_VCN > -torch.inf) & grid.real_VC[..., None]
    of_replica_2 = (gain_VCN.square(), met_VCN)
    sum_K11, met_K11 = (part.view(grid.replicas, -1).sum(dim=1)[:, None, None] for part in of_replica_2)
    return sum_K11, met_K11


def td_error(
    seen: Choices,
    critic: RowScore,
    target_critic: RowScore,
    target_policy: RowScore,
    discount: float,
    replicas: int = 1,
) -> Tensor:
    """Of each replica [K], the mean square of the temporal differences of all rows that were kept at a choice."""
    rows = seen.place_VCG.shape[2] - 1
    with torch.no_grad():
        drop_VCN = scores(target_policy, seen).softmax(dim=2)[..., :rows]
        later_VCN = (1 - drop_VCN) * scores(target_critic, seen)[..., :rows] * seen.goes_on_VC[..., None]
        next_VCN = (seen.reward_VCN + discount * later_VCN)[:, 1:]
        dropped_VC1 = seen.dropped_VC[:, :-1, None]
        # the clip just seen takes the place of the row that was dropped
        own_VC1 = next_VCN.gather(2, dropped_VC1.clamp(max=rows - 1))
        wanted_VCG = torch.cat([next_VCN, own_VC1], dim=2)
        kept_VCG = torch.ones_like(wanted_VCG, dtype=torch.bool).scatter(2, dropped_VC1, False)
        kept_VCG &= (seen.chosen_VC & seen.follows_VC)[:, :-1, None]
    value_VCG = scores(critic, seen)[:, :-1]
    return mean_where(kept_VCG, (value_VCG - wanted_VCG).square(), replicas)


def actor_loss(seen: Choices, critic: RowScore, policy: RowScore, entropy: float, replicas: int = 1) -> Tensor:
    """Of each replica [K]: the worth of what the policy drops, in deviations, less its entropy."""
    with torch.no_grad():
        worth_VCG = scores(critic, seen)
        worth_VCG = worth_VCG - worth_VCG.mean(dim=2, keepdim=True)
        deviation_K = mean_where(seen.chosen_VC[..., None].expand_as(worth_VCG), worth_VCG.square(), replicas).sqrt()
        each_V11 = (deviation_K + 1e-8)[:, None].expand(-1, len(worth_VCG) // replicas).reshape(-1, 1, 1)
    log_VCG = scores(policy, seen).log_softmax(dim=2)
    value_VC = (log_VCG.exp() * (worth_VCG / each_V11 + entropy * log_VCG)).sum(dim=2)
    return mean_where(seen.chosen_VC, value_VC, replicas)


def mean_where(where: Tensor, values: Tensor, replicas: int) -> Tensor:
    """Of each replica [K], the mean of its values where something holds; 0 where it holds nowhere."""
    sum_K = (values * where).view(replicas, -1).sum(dim=1)
    return sum_K / where.reshape(replicas, -1).sum(dim=1).clamp(min=1)


@torch.no_grad()
def follow(pairs: Sequence[tuple[Tensor, Tensor]], tau: float, moves: Sequence[bool]) -> None:
    """Move the parameters of target networks towards the online ones by a share tau, of the replicas that move."""
    moving = [k for k, moved in enumerate(moves) if moved]
    for slow, fast in pairs:
        if len(moving) == len(moves):
            slow.lerp_(fast, tau)
        else:
            slow[moving] = slow[moving].lerp(fast[moving], tau)
