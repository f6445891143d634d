"""The earlier reading of RMN: what its learner does with a video."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from rmn_parts import collected, descent, make_soft, mean_square, nothing, video
from torch import Tensor, nn

from utopia.config.study import Distribution
from utopia.distribution.item import describe_item
from utopia.losses import cwl
from utopia.losses._common import Batch
from utopia.models._clips import clip_lengths
from utopia.models._layout import Packed
from utopia.models._soft_learner import SoftLearner, Transitions, follow
from utopia.models._soft_memory import SoftMemoryNetwork


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Operations without a deterministic implementation fail."""
    torch.set_deterministic_debug_mode("error")
    yield
    torch.set_deterministic_debug_mode("default")


@pytest.mark.parametrize(("every", "roll"), [(1, 3), (1, 32), (2, 3), (2, 4), (3, 2), (5, 3)])
def test_transitions_of_a_video_are_all_there_once(every: int, roll: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the rolls, they are those of the whole video seen at once: states, rewards, successors, the end."""
    model = make_soft(write_every=every, roll=roll, exploration=0, exploration_end=0)
    x, y = video(4 * 6 + 3)  # seven clips
    learner = SoftLearner(model, nothing, torch.Generator())
    seen = collected(learner, monkeypatch)
    learner.fit_video(x, y, torch.ones(27), mean_square(y), 0.0)
    lengths = clip_lengths(27, 4)
    h = model.clips.packed(x, lengths)[1].detach()
    memories = model.remember(h, model.start()).all_TNd
    error = torch.stack([part.square().mean() for part in (model(x, [27]) - y).detach().split(lengths)])
    writes = [clip for clip in range(6) if (clip + 1) % every == 0]  # the last clip's write is never read
    following = [min(clip + every, 6) for clip in writes]
    assert sum(len(some.reward_W) for some in seen) == len(writes)
    torch.testing.assert_close(torch.cat([some.before_WNd for some in seen]), memories[writes])
    torch.testing.assert_close(torch.cat([some.after_WNd for some in seen]), memories[[clip + 1 for clip in writes]])
    torch.testing.assert_close(torch.cat([some.h_Wd for some in seen]), h[writes])
    torch.testing.assert_close(torch.cat([some.next_h_Wd for some in seen]), h[following])
    reward = torch.stack([-error[clip + 1 : to + 1].mean() for clip, to in zip(writes, following, strict=True)])
    torch.testing.assert_close(torch.cat([some.reward_W for some in seen]), reward)
    assert torch.cat([some.goes_on_W for some in seen]).tolist() == [float(to < 6) for to in following]


def test_temporal_difference_target() -> None:
    model = make_soft(discount=0.5)
    learner = SoftLearner(model, nothing, torch.Generator())
    generator = torch.Generator().manual_seed(1)
    after, following = (torch.randn(2, *shape, dtype=torch.float64, generator=generator) for shape in ((3, 8), (8,)))
    seen = Transitions(
        after, following, torch.zeros(2, 4), after, torch.tensor([-1.0, -2.0]), following, torch.tensor([1.0, 0.0])
    )
    with torch.no_grad():  # the targets decide, not the online networks
        model.critic.value[4].bias.fill_(100.0)
        gate = learner.target_writer.gate(after, following)
        value = learner.target_critic(learner.target_writer.write(after, following, gate), following, gate)
    expected = torch.tensor([-1 + 0.5 * value[0], -2.0], dtype=torch.float64)
    torch.testing.assert_close(learner.td_target(seen), expected)


def test_rewards_by_their_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = video(12)
    weight = torch.linspace(0.5, 1.5, 12, dtype=torch.float64)
    found = {}
    for reward in ("error", "improvement"):
        for weighted in (False, True):
            model = make_soft(reward=reward, reward_weighted=weighted, exploration=0)
            learner = SoftLearner(model, nothing, torch.Generator())
            seen = collected(learner, monkeypatch)
            learner.fit_video(x, y, weight, mean_square(y), 0.0)
            found[reward, weighted] = seen[0].reward_W
    error = (make_soft()(x, [12]) - y).detach().square()
    model = make_soft()
    f = model.encode(x, Packed([12]))
    f[:, 8:] = 0
    without = (model.head(f) - y).detach().square()
    clips = slice(4, 12)
    for weighted, factor in ((False, torch.ones(12)), (True, weight)):
        expected = (-error * factor)[clips].view(2, 4).mean(1)
        torch.testing.assert_close(found["error", weighted], expected)
        gain = ((without - error) * factor)[clips].view(2, 4).mean(1)
        torch.testing.assert_close(found["improvement", weighted], gain)


def test_each_update_has_the_gradients_of_its_own_part_only() -> None:
    """The supervised loss does not reach actor and critic, the actor's loss not the critic, nor either the encoder."""
    model = make_soft(roll=3)
    parts = {
        "labelled": {*model.clips.parameters(), *model.reader.parameters(), *model.predictor.parameters()},
        "critic": {*model.critic.parameters()},
        "actor": {*model.writer.parameters()},
    }
    met: list[tuple[str, set[str]]] = []

    def make_update(own: Sequence[nn.Parameter]) -> Callable[[Sequence[bool]], None]:
        name = next(name for name, those in parts.items() if those == set(own))

        def update(moves: Sequence[bool]) -> None:
            met.append((name, {part for part, those in parts.items() if any(p.grad is not None for p in those)}))
            for parameter in own:
                parameter.grad = None

        return update

    x, y = video(4 * 5)
    learner = model.learner(make_update, torch.Generator().manual_seed(0))
    learner.fit_video(x, y, torch.ones(20), mean_square(y), 0.0)
    assert met == [(name, {name}) for name in ("labelled", "critic", "actor")] * 2


def test_actor_climbs_the_critics_value() -> None:
    """With the critic held fixed, updates of the actor raise Q(s, mu(s)), also through the candidate that it writes."""
    model = make_soft()
    learner = SoftLearner(
        model, lambda own: descent(1e-2)(own) if model.writer.stay in set(own) else nothing(own), torch.Generator()
    )
    generator = torch.Generator().manual_seed(3)
    before, h = (torch.randn(6, *shape, dtype=torch.float64, generator=generator) for shape in ((3, 8), (8,)))

    def value() -> float:
        gate = model.writer.gate(before, h)
        return model.critic(model.writer.write(before, h, gate), h, gate).mean().item()

    first, candidate = value(), model.writer.candidate.weight.clone()
    gate = model.writer.gate(before, h).detach()
    seen = Transitions(before, h, gate, before, torch.zeros(6), h, torch.zeros(6))
    for _ in range(20):
        learner._learn_to_write(seen)
    assert value() > first
    assert not torch.equal(candidate, model.writer.candidate.weight)


def test_critic_learns_the_rewards() -> None:
    model = make_soft(discount=0)
    learner = SoftLearner(
        model, lambda own: nothing(own) if model.writer.stay in set(own) else descent(1e-2)(own), torch.Generator()
    )
    generator = torch.Generator().manual_seed(4)
    before, h = (torch.randn(8, *shape, dtype=torch.float64, generator=generator) for shape in ((3, 8), (8,)))
    reward = torch.linspace(-1, 0, 8, dtype=torch.float64)
    gate = model.writer.gate(before, h).detach()
    seen = Transitions(before, h, gate, before, reward, h, torch.ones(8))
    for _ in range(150):
        learner._learn_to_write(seen)
    assert (model.critic(before, h, gate) - reward).square().mean() < 0.02 * reward.var()


def test_targets_follow_by_tau() -> None:
    model = make_soft(tau=0.25)
    learner = SoftLearner(model, descent(1e-2), torch.Generator().manual_seed(0))
    start = [parameter.clone() for parameter in learner.target_critic.parameters()]
    start_writer = [parameter.clone() for parameter in learner.target_writer.parameters()]
    x, y = video(20)
    learner.fit_video(x, y, torch.ones(20), mean_square(y), 0.0)  # one roll, one update
    for target, online, old in (
        (learner.target_critic, model.critic, start),
        (learner.target_writer, model.writer, start_writer),
    ):
        for slow, fast, before in zip(target.parameters(), online.parameters(), old, strict=True):
            assert not torch.equal(fast, before)
            torch.testing.assert_close(slow, 0.75 * before + 0.25 * fast)
    follow(learner.target_critic, model.critic, 1.0)
    assert all(map(torch.equal, learner.target_critic.parameters(), model.critic.parameters()))


def test_exploration_decays_over_the_training_and_is_off_in_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_soft(rows=3, exploration=0.2, exploration_end=0.02)
    learner = SoftLearner(model, nothing, torch.Generator().manual_seed(0))
    for progress, deviation in ((0.0, 0.2), (0.5, 0.11), (1.0, 0.02)):
        noise = learner._noise(5000, progress, torch.zeros(1))
        assert abs(noise.std().item() / deviation - 1) < 0.03
    x, y = video(20)
    seen = collected(learner, monkeypatch)
    learner.fit_video(x, y, torch.ones(20), mean_square(y), 0.0)
    h = model.clips.packed(x, [4] * 5)[1].detach()
    assert not torch.allclose(seen[0].gate_WG, model.remember(h, model.start()).gate_CG[:4], atol=1e-3)
    assert torch.equal(model(x, [20]), model(x, [20]))


def test_updates_per_video_and_the_value_returned() -> None:
    """Every frame enters the loss once, in order, and the value is the mean over frames, whatever the rolls."""
    model = make_soft(roll=2, exploration=0)
    x, y = video(4 * 4 + 1)
    rows: list[tuple[int, int]] = []

    def objective(prediction_R: Tensor, feature_Rd: Tensor, frames: slice) -> Tensor:
        rows.append((frames.start, frames.stop))
        assert len(prediction_R) == len(feature_Rd) == frames.stop - frames.start
        return (prediction_R - y[frames]).square().mean()

    value = SoftLearner(model, nothing, torch.Generator()).fit_video(x, y, torch.ones(17), objective, 0.0)
    assert rows == [(0, 8), (8, 16), (16, 17)]
    torch.testing.assert_close(value, (model(x, [17]) - y).square().mean().detach())


@pytest.mark.parametrize("frames", [1, 3, 4])
def test_a_video_of_one_clip_teaches_no_writing(frames: int) -> None:
    model = make_soft()
    writer = [parameter.clone() for parameter in model.writer.parameters()]
    predictor = model.predictor[0].weight.clone()
    x, y = video(frames)
    model.learner(descent(1e-2), torch.Generator()).fit_video(x, y, torch.ones(frames), mean_square(y), 0.0)
    assert all(map(torch.equal, writer, model.writer.parameters()))
    assert not torch.equal(predictor, model.predictor[0].weight)


def test_cwl_weights_enter_the_supervised_loss_and_not_the_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the project's own CWL: the loss is (1/m) sum w (y - y^)^2, and rewards are the same as without weights."""
    x, y = video(40)
    label = (0.2 + 0.6 * y.numpy() ** 3).astype(np.float64)
    target = torch.from_numpy(label)
    series = describe_item(label, Distribution(bins=10, low=0, high=1, delta=0.3, sigma=0.1), 10)
    loss = cwl.build(cwl.Config())
    weight = torch.from_numpy(loss.weights([series], None)[0].frame_T)
    assert weight.std() > 0.05

    def objective(prediction_R: Tensor, feature_Rd: Tensor, rows: slice) -> Tensor:
        number = torch.zeros(len(prediction_R), dtype=torch.long)
        bins = torch.from_numpy(series.bin)[rows]
        return loss(Batch(prediction_R, target[rows], weight[rows] / len(prediction_R), number, bins, feature_Rd))

    def fit(weighted: bool) -> tuple[Tensor, Tensor, SoftMemoryNetwork]:
        model = make_soft(exploration=0)
        learner = SoftLearner(model, descent(1e-2), torch.Generator())
        seen = collected(learner, monkeypatch)
        value = learner.fit_video(x, target, weight, objective if weighted else mean_square(target), 0.0)
        return value, seen[0].reward_W, model

    error = (make_soft(exploration=0)(x, [40]) - target).square().detach()
    value, reward, model = fit(True)
    plain_value, plain_reward, plain_model = fit(False)
    torch.testing.assert_close(value, (weight * error).mean())
    torch.testing.assert_close(plain_value, error.mean())
    assert torch.equal(reward, plain_reward)
    assert not torch.equal(model.predictor[0].weight, plain_model.predictor[0].weight)


@pytest.mark.usefixtures("deterministic")
def test_a_replica_repeats_itself_and_its_generator_decides() -> None:
    results = []
    for seed in (3, 3, 4):
        model = make_soft(dtype=torch.float32, roll=3)
        learner = model.learner(descent(1e-3), torch.Generator().manual_seed(seed))
        for number in range(3):
            x, y = video(4 * 6 + number, number, torch.float32)
            learner.fit_video(x, y, torch.ones(len(x)), mean_square(y), 0.5)
        results.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def planted(number: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Clips with a visible impulse each; the label is their fading sum; a clip tells only the last part."""
    made = []
    for _ in range(number):
        impulse = torch.randn(30, generator=generator)
        level, levels = 0.0, []
        for value in impulse.tolist():
            level = 0.8 * level + 0.6 * value
            levels.append(level)
        x = 0.3 * torch.randn(120, 3, generator=generator)
        x[:, 0] += impulse.repeat_interleave(4)
        made.append((x, (0.5 * torch.tensor(levels)).tanh().repeat_interleave(4)))
    return made


def test_learns_a_planted_signal_where_memory_helps() -> None:
    """Well below the best constant, and below what the same network reaches without what it reads from memory."""
    generator = torch.Generator().manual_seed(100)
    train, test = planted(32, generator), planted(16, generator)
    errors = {}
    for memory in (True, False):
        model = make_soft(dtype=torch.float32, d_in=3, d_model=16, units=8, rows=4, writer_hidden=16, critic_hidden=32)
        if not memory:
            model.reader.forward = lambda memory_CNd, h_Cd: torch.zeros_like(h_Cd)  # type: ignore[method-assign]
        learner = model.learner(descent(5e-3), torch.Generator().manual_seed(0))
        for epoch in range(8):
            for number in torch.randperm(len(train), generator=torch.Generator().manual_seed(epoch)).tolist():
                x, y = train[number]
                learner.fit_video(x, y, torch.ones(len(x)), mean_square(y), epoch / 7)
        with torch.no_grad():
            errors[memory] = torch.stack([(model(x, [len(x)]) - y).square().mean() for x, y in test]).mean().item()
    mean = torch.cat([y for _, y in train]).mean()
    constant = torch.stack([(mean - y).square().mean() for _, y in test]).mean().item()
    assert errors[True] < 0.35 * constant
    assert errors[True] < 0.5 * errors[False] < 0.5 * constant
