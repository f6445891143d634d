"""The memory network: its equations by hand, its learner step by step, and a training in which only memory can win."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from utopia import registry
from utopia.config.study import Distribution
from utopia.distribution.series import describe_series
from utopia.losses import cwl
from utopia.losses._common import Batch
from utopia.models import pgl_sum
from utopia.models._ddpg import DdpgLearner, Transitions, follow
from utopia.models._learner import Learns, MakeUpdate
from utopia.models.rmn import Config, MemoryNetwork, Reader, Writer, build, clip_lengths

SMALL = {"d_model": 8, "units": 4, "rows": 3, "clip": 4, "writer_hidden": 6, "critic_hidden": 6, "head_hidden": 6}
D = 5


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def make(seed: int = 0, dtype: torch.dtype = torch.float64, d_in: int = D, **changes: object) -> MemoryNetwork:
    torch.manual_seed(seed)
    model = build(Config.model_validate({**SMALL, **changes}), d_in, "tanh")
    assert isinstance(model, MemoryNetwork)
    return model.to(dtype)


def video(frames: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(frames, D, dtype=dtype, generator=generator)
    return x, torch.rand(frames, dtype=dtype, generator=generator)


def nothing(parameters: Sequence[nn.Parameter]) -> Callable[[], None]:
    """An optimiser that only forgets the gradients."""

    def update() -> None:
        for parameter in parameters:
            parameter.grad = None

    return update


def descent(rate: float) -> MakeUpdate:
    def make_update(parameters: Sequence[nn.Parameter]) -> Callable[[], None]:
        optimiser = torch.optim.Adam(parameters, rate)

        def update() -> None:
            optimiser.step()
            optimiser.zero_grad()

        return update

    return make_update


def mean_square(y_T: Tensor) -> Callable[[Tensor, Tensor, slice], Tensor]:
    return lambda prediction_R, feature_Rd, rows: (prediction_R - y_T[rows]).square().mean()


def collected(learner: DdpgLearner, monkeypatch: pytest.MonkeyPatch) -> list[Transitions]:
    """Transitions that the learner would learn from, instead of learning from them."""
    seen: list[Transitions] = []
    monkeypatch.setattr(learner, "_learn_to_write", seen.append)
    return seen


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Operations without a deterministic implementation fail."""
    torch.set_deterministic_debug_mode("error")
    yield
    torch.set_deterministic_debug_mode("default")


def test_sizes_at_the_documented_settings() -> None:
    model = build(Config(), 3968, "tanh")
    assert isinstance(model, MemoryNetwork)
    lstm = 2 * 4 * 64 * ((3968 + 64 + 2) + (128 + 64 + 2))
    assert parameters(model.clips) == lstm
    assert parameters(model.reader) == 3 * 128 * 128
    assert parameters(model.predictor) == (256 * 64 + 64) + (64 + 1)
    assert parameters(model.writer) == (384 * 128 + 128) + (128 + 1) + 1 + 128 * 128
    assert parameters(model.critic) == (267 * 128 + 128) + (128 * 128 + 128) + (128 + 1)
    assert parameters(model) == 2_347_140


def test_settings_follow_the_documented_ones() -> None:
    config = Config()
    assert (config.rows, config.d_model, config.clip, config.layers, config.roll) == (10, 128, 10, 2, 32)
    assert (config.training.learning_rate, config.training.batching) == (1e-4, "per_video")
    assert registry.config_of("models", "rmn").model_json_schema() == Config.model_json_schema()
    with pytest.raises(ValidationError, match="must be per_video"):
        Config.model_validate({"training": {"batching": "accumulate_all"}})


def test_only_a_model_with_a_learner_says_that_it_learns_by_itself() -> None:
    assert isinstance(make(), Learns)
    assert not isinstance(pgl_sum.build(pgl_sum.Config(), 16, "tanh"), Learns)


def test_shapes_of_reading_and_writing() -> None:
    model = make()
    x, _ = video(4 * 5 + 2)
    f = model.encode(x, [13, 9])
    assert f.shape == (22, 16) and model.head(f).shape == (22,)
    memories = model.remember(torch.zeros(6, 8, dtype=torch.float64), model.start())
    assert memories.all_TNd.shape == (7, 3, 8) and memories.before.shape == (6, 3, 8)
    assert memories.gate_CG.shape == (6, 4)


def test_read_computed_by_hand() -> None:
    reader = Reader(2).double()
    with torch.no_grad():
        reader.query.weight.copy_(torch.eye(2))
        reader.key.weight.copy_(2 * torch.eye(2))
        reader.value.weight.copy_(torch.tensor([[0.0, 1], [1, 0]]))
    memory = torch.tensor([[[1.0, 0], [0, 3]]], dtype=torch.float64)
    h = torch.tensor([[1.0, 1]], dtype=torch.float64)
    energies = [2 / math.sqrt(2), 6 / math.sqrt(2)]
    share = 1 / (1 + math.exp(energies[1] - energies[0]))
    expected = torch.tensor([[(1 - share) * 3, share * 1]], dtype=torch.float64)
    torch.testing.assert_close(reader(memory, h), expected, rtol=0, atol=1e-14)


def test_write_computed_by_hand() -> None:
    writer = Writer(Config.model_validate({**SMALL, "d_model": 2, "rows": 2})).double()
    with torch.no_grad():
        writer.candidate.weight.copy_(torch.tensor([[1.0, 1], [0, -1]]))
    memory = torch.tensor([[[1.0, 2], [3, 4]]], dtype=torch.float64)
    gate = torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64)
    new = [math.tanh(0.3 + 0.1), math.tanh(-0.1)]
    expected = [[0.75 * 1 + 0.25 * new[0], 0.75 * 2 + 0.25 * new[1]], [0.5 * 3 + 0.5 * new[0], 0.5 * 4 + 0.5 * new[1]]]
    after = writer.write(memory, torch.tensor([[0.3, 0.1]], dtype=torch.float64), gate)
    torch.testing.assert_close(after[0], torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-14)


def test_policy_scores_each_row_by_the_same_network() -> None:
    """Rows exchanged, gates exchanged; and the scores are those of the concatenation in its documented order."""
    writer = make().writer
    generator = torch.Generator().manual_seed(2)
    memory = torch.randn(1, 3, 8, dtype=torch.float64, generator=generator)
    h = torch.randn(1, 8, dtype=torch.float64, generator=generator)
    gate = writer.gate(memory, h)
    exchanged = writer.gate(memory[:, [2, 0, 1]], h)
    torch.testing.assert_close(exchanged[0], gate[0, [2, 0, 1, 3]])
    rows = [writer.score(torch.cat([memory[0, i], h[0], memory[0, i] * h[0]])).item() for i in range(3)]
    expected = torch.tensor([*rows, writer.stay.item()], dtype=torch.float64).softmax(0)
    torch.testing.assert_close(gate[0], expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.booleans(), st.integers(0, 10**6), st.floats(0, 30))
def test_gates_add_up_to_one(rows: int, hard: bool, seed: int, scale: float) -> None:
    writer = make(rows=rows, hard_write=hard).writer
    generator = torch.Generator().manual_seed(seed)
    memory, h = (
        scale * torch.randn(4, rows, 8, dtype=torch.float64, generator=generator),
        torch.randn(4, 8, dtype=torch.float64, generator=generator),
    )
    noise = torch.randn(4, rows + 1, dtype=torch.float64, generator=generator)
    gate = writer.gate(memory, h, noise)
    torch.testing.assert_close(gate.sum(1), torch.ones(4, dtype=torch.float64))
    assert (gate >= 0).all()
    if hard:
        torch.testing.assert_close(gate.max(1).values, torch.ones(4, dtype=torch.float64))
    gate[:, 0].sum().backward()
    assert writer.stay.grad is not None and torch.isfinite(writer.stay.grad).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 19), min_size=1, max_size=4), st.sampled_from(["per_frame", "per_clip"]))
def test_memory_starts_anew_with_every_video(lengths: list[int], rate: str) -> None:
    model = make(rate=rate, start="distinct")
    x, _ = video(sum(lengths))
    alone = torch.cat([model(x_TD, [len(x_TD)]) for x_TD in x.split(lengths)])
    torch.testing.assert_close(model(x, lengths), alone, rtol=0, atol=1e-12)


def test_a_clip_reads_what_earlier_clips_wrote_and_nothing_else() -> None:
    model = make()
    x, _ = video(16)
    y = model(x, [16])
    changed = x.clone()
    changed[8:12] += 1
    difference = (model(changed, [16]) - y).abs()
    assert (difference[:8] == 0).all() and (difference[8:12] > 0).all() and (difference[12:] > 0).all()


def test_memory_passes_no_gradient_from_one_clip_to_another() -> None:
    model = make()
    x, _ = video(8)
    x.requires_grad_()
    model(x, [8])[4:].sum().backward()
    assert x.grad is not None and (x.grad[:4] == 0).all() and (x.grad[4:] != 0).any()
    assert all(parameter.grad is None for parameter in [*model.writer.parameters(), *model.critic.parameters()])
    assert model.reader.value.weight.grad is not None


def test_clip_features_and_rates() -> None:
    x, _ = video(10)
    lengths = clip_lengths(10, 4)
    assert lengths == [4, 4, 2]
    model = make()
    outputs, pooled = model.clips(x, lengths)
    for number, piece in enumerate(x.split(lengths)):  # each clip by itself, from a zero state
        alone, _ = model.clips.lstm(piece[None])
        torch.testing.assert_close(outputs.split(lengths)[number], alone[0])
        torch.testing.assert_close(pooled[number], alone[0].mean(0))
    model = make(pool="last")
    outputs, pooled = model.clips(x, lengths)
    torch.testing.assert_close(pooled[1], torch.cat([outputs[7, :4], outputs[4, 4:]]))
    by_clip = make(rate="per_clip")(x, [10])
    assert (by_clip[:4] == by_clip[0]).all() and (by_clip[4:8] == by_clip[4]).all()
    assert len(set(make()(x, [10])[:4].tolist())) == 4
    wide = make(units=8)
    assert isinstance(wide.clips.project, nn.Linear) and wide(x, [10]).shape == (10,)


def test_equal_rows_stay_equal_without_exploration_unless_a_switch_undoes_it() -> None:
    x, _ = video(24)
    for changes, equal in (({}, True), ({"start": "distinct"}, False), ({"hard_write": True}, False)):
        model = make(**changes)
        with torch.no_grad():
            model.writer.stay.fill_(-1.0)  # so that something is written
        last = model.remember(model.clips(x, [4] * 6)[1].detach(), model.start()).all_TNd[-1]
        assert torch.allclose(last, last[:1].expand_as(last)) == equal


@pytest.mark.parametrize(("every", "roll"), [(1, 3), (1, 32), (2, 3), (2, 4), (3, 2), (5, 3)])
def test_transitions_of_a_video_are_all_there_once(every: int, roll: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the rolls, they are those of the whole video seen at once: states, rewards, successors, the end."""
    model = make(write_every=every, roll=roll, exploration=0, exploration_end=0)
    x, y = video(4 * 6 + 3)  # seven clips
    learner = DdpgLearner(model, nothing, torch.Generator())
    seen = collected(learner, monkeypatch)
    learner.fit_video(x, y, torch.ones(27), mean_square(y), 0.0)
    lengths = clip_lengths(27, 4)
    h = model.clips(x, lengths)[1].detach()
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
    model = make(discount=0.5)
    learner = DdpgLearner(model, nothing, torch.Generator())
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
            model = make(reward=reward, reward_weighted=weighted, exploration=0)
            learner = DdpgLearner(model, nothing, torch.Generator())
            seen = collected(learner, monkeypatch)
            learner.fit_video(x, y, weight, mean_square(y), 0.0)
            found[reward, weighted] = seen[0].reward_W
    error = (make()(x, [12]) - y).detach().square()
    model = make()
    f = model.encode(x, [12])
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
    model = make(roll=3)
    parts = {
        "labelled": {*model.clips.parameters(), *model.reader.parameters(), *model.predictor.parameters()},
        "critic": {*model.critic.parameters()},
        "actor": {*model.writer.parameters()},
    }
    met: list[tuple[str, set[str]]] = []

    def make_update(own: Sequence[nn.Parameter]) -> Callable[[], None]:
        name = next(name for name, those in parts.items() if those == set(own))

        def update() -> None:
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
    model = make()
    learner = DdpgLearner(
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
    model = make(discount=0)
    learner = DdpgLearner(
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
    model = make(tau=0.25)
    learner = DdpgLearner(model, descent(1e-2), torch.Generator().manual_seed(0))
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
    model = make(rows=3, exploration=0.2, exploration_end=0.02)
    learner = DdpgLearner(model, nothing, torch.Generator().manual_seed(0))
    for progress, deviation in ((0.0, 0.2), (0.5, 0.11), (1.0, 0.02)):
        noise = learner._noise(5000, progress, torch.zeros(1))
        assert abs(noise.std().item() / deviation - 1) < 0.03
    x, y = video(20)
    seen = collected(learner, monkeypatch)
    learner.fit_video(x, y, torch.ones(20), mean_square(y), 0.0)
    h = model.clips(x, [4] * 5)[1].detach()
    assert not torch.allclose(seen[0].gate_WG, model.remember(h, model.start()).gate_CG[:4], atol=1e-3)
    assert torch.equal(model(x, [20]), model(x, [20]))


def test_updates_per_video_and_the_value_returned() -> None:
    """Every frame enters the loss once, in order, and the value is the mean over frames, whatever the rolls."""
    model = make(roll=2, exploration=0)
    x, y = video(4 * 4 + 1)
    rows: list[tuple[int, int]] = []

    def objective(prediction_R: Tensor, feature_Rd: Tensor, frames: slice) -> Tensor:
        rows.append((frames.start, frames.stop))
        assert len(prediction_R) == len(feature_Rd) == frames.stop - frames.start
        return (prediction_R - y[frames]).square().mean()

    value = DdpgLearner(model, nothing, torch.Generator()).fit_video(x, y, torch.ones(17), objective, 0.0)
    assert rows == [(0, 8), (8, 16), (16, 17)]
    torch.testing.assert_close(value, (model(x, [17]) - y).square().mean().detach())


@pytest.mark.parametrize("frames", [1, 3, 4])
def test_a_video_of_one_clip_teaches_no_writing(frames: int) -> None:
    model = make()
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
    series = describe_series(label, Distribution(bins=10, low=0, high=1, delta=0.3, sigma=0.1), 10)
    loss = cwl.build(cwl.Config())
    weight = torch.from_numpy(loss.weights([series], None)[0].frame_T)
    assert weight.std() > 0.05

    def objective(prediction_R: Tensor, feature_Rd: Tensor, rows: slice) -> Tensor:
        number = torch.zeros(len(prediction_R), dtype=torch.long)
        bins = torch.from_numpy(series.bin)[rows]
        return loss(Batch(prediction_R, target[rows], weight[rows] / len(prediction_R), number, bins, feature_Rd))

    def fit(weighted: bool) -> tuple[Tensor, Tensor, MemoryNetwork]:
        model = make(exploration=0)
        learner = DdpgLearner(model, descent(1e-2), torch.Generator())
        seen = collected(learner, monkeypatch)
        value = learner.fit_video(x, target, weight, objective if weighted else mean_square(target), 0.0)
        return value, seen[0].reward_W, model

    error = (make(exploration=0)(x, [40]) - target).square().detach()
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
        model = make(dtype=torch.float32, roll=3)
        learner = model.learner(descent(1e-3), torch.Generator().manual_seed(seed))
        for number in range(3):
            x, y = video(4 * 6 + number, number, torch.float32)
            learner.fit_video(x, y, torch.ones(len(x)), mean_square(y), 0.5)
        results.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def planted(number: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
    """Clips with a visible impulse each; the label is their fading sum, of which a clip tells only the last part."""
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
        model = make(dtype=torch.float32, d_in=3, d_model=16, units=8, rows=4, writer_hidden=16, critic_hidden=32)
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
