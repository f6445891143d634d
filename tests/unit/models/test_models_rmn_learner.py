"""RMN: what its learner does with videos, and that what it learns is a memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from rmn_parts import descent, lessons_of, make, nothing, passed_of, video
from torch import Tensor, nn

from utopia.inputs.miniature import latent, planted
from utopia.models._bank import NONE
from utopia.models._clips import ClipGrid
from utopia.models._ddpg import DdpgLearner, choices, scores, td_error


def test_every_frame_enters_the_loss_once_and_the_value_is_the_mean() -> None:
    model = make(roll=3, together=3, policy="fifo")
    videos = [video(frames, number) for number, frames in enumerate((30, 11, 24))]
    y_R = torch.cat([y for _, y in videos])
    seen: list[list[tuple[int, int]]] = []

    def objective(y_KP: Tensor, f_KPd: Tensor, grid: ClipGrid) -> Tensor:
        assert y_KP.shape == f_KPd.shape[:2] == grid.row_KP.shape
        seen.append(list(grid.pieces[0]))
        return grid.video_mean((y_KP - y_R[grid.row_KP]).square())

    value_K = DdpgLearner(model, nothing).fit(lessons_of([videos], objective))
    # the longest first: the third video begins at row 41, the second at row 30
    assert seen == [[(0, 12), (41, 12), (30, 11)], [(12, 12), (53, 12)], [(24, 6)]]
    expected = [(model(x, [len(x)]) - y).square().mean() for x, y in videos]
    torch.testing.assert_close(value_K, torch.stack(expected).sum().detach()[None])


def test_each_update_has_the_gradients_of_its_own_part_only() -> None:
    model = make(roll=8)
    parts = {
        "labelled": {*model.clips.parameters(), *model.reader.parameters(), *model.predictor.parameters()},
        "critic": {*model.critic.parameters()},
        "actor": {*model.policy.parameters()},
    }
    met: list[tuple[str, set[str]]] = []

    def make_update(own: Sequence[nn.Parameter]) -> Callable[[Sequence[bool]], None]:
        name = next(name for name, those in parts.items() if those == set(own))

        def update(moves: Sequence[bool]) -> None:
            met.append((name, {part for part, those in parts.items() if any(p.grad is not None for p in those)}))
            for parameter in own:
                parameter.grad = None

        return update

    DdpgLearner(model, make_update).fit(lessons_of([[video(40), video(36, 2)]]))
    # the loss's gradients are made first and taken last, so that rewards are those of the network that predicted
    assert [name for name, _ in met] == ["critic", "actor", "labelled"] * 2
    assert [parts for name, parts in met if name == "labelled"] == [{"labelled"}] * 2
    assert [parts - {"labelled"} for name, parts in met if name != "labelled"] == [{"critic"}, {"actor"}] * 2


def test_temporal_differences_computed_row_by_row() -> None:
    """Against a walk over clips and rows that knows nothing of tables."""
    model = make(roll=16, rewrite_every=8)
    lengths = [41, 30]
    x, y = video(sum(lengths))
    passed = passed_of(model, x, lengths)
    target = y[passed.grid.row_KP]
    seen = choices(model, passed, target, None, [[True, False]])
    rollout, rows, discount = passed.rollout, model.config.rows, 0.9
    gains = model.gains(passed, target)
    squares_of = [
        gains[n, :clips][passed.energy_VCN[n, :clips] > -torch.inf].square() for n, clips in ((0, 11), (1, 8))
    ]
    gains = gains / (torch.cat(squares_of).mean().sqrt() + 1e-8)
    value, drop = scores(model.critic, seen), scores(model.policy, seen).softmax(dim=2)
    squares = []
    for number, clips in enumerate((11, 8)):
        for clip in range(rows, clips - 1):
            held = rollout.held_numbers[number, clip].tolist()
            candidates = [*held, clip]
            dropped = int(rollout.dropped_VC[number, clip])
            following = rollout.held_numbers[number, clip + 1].tolist()
            read = rollout.read_numbers[number, clip + 1].tolist()
            ends = clip + 1 == clips - 1 and number == 1
            for candidate, kept in enumerate(candidates):
                if candidate == dropped:
                    continue
                row = following.index(kept)
                reward = sum(float(gains[number, clip + 1, r]) for r, n in enumerate(read) if n == kept != NONE)
                later = (1 - drop[number, clip + 1, row]) * value[number, clip + 1, row]
                wanted = reward + (0.0 if ends else discount * float(later.detach()))
                squares.append((float(value[number, clip, candidate]) - wanted) ** 2)
    measured = td_error(seen, model.critic, model.critic, model.policy, discount)
    assert abs(float(measured) - sum(squares) / len(squares)) < 1e-6


def test_the_actor_learns_to_drop_what_the_critic_values_least() -> None:
    model = make(entropy=0.0)

    def only_actor(own: Sequence[nn.Parameter]) -> Callable[[Sequence[bool]], None]:
        return descent(1e-2)(own) if set(own) == set(model.policy.parameters()) else nothing(own)

    learner = DdpgLearner(model, only_actor)
    videos = [video(60, seed) for seed in range(4)]
    x, y = (torch.cat(part) for part in zip(*videos, strict=True))

    def kept() -> float:
        passed = passed_of(model, x, [60] * 4)
        seen = choices(model, passed, y[passed.grid.row_KP], None)
        chosen = passed.rollout.chosen_VC
        share = scores(model.policy, seen).softmax(dim=2)[chosen]
        return float((share * scores(model.critic, seen)[chosen]).sum(dim=1).mean())

    before = kept()
    for epoch in range(20):
        learner.fit(lessons_of([videos], epoch_seed=[epoch]))
    assert kept() < before


def test_a_replica_repeats_itself_and_its_seed_decides() -> None:
    results = []
    for seed in (3, 3, 4):
        model = make(dtype=torch.float32, roll=6)
        learner = DdpgLearner(model, descent(1e-3))
        for number in range(3):
            learner.fit(lessons_of([[video(40 + number, number, torch.float32)]], epoch_seed=[seed]))
        results.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("frames", [1, 3, 12])
def test_a_video_that_never_fills_the_bank_teaches_no_writing(frames: int) -> None:
    model = make()
    policy = [parameter.clone() for parameter in model.policy.parameters()]
    DdpgLearner(model, descent(1e-2)).fit(lessons_of([[video(frames)]]))
    assert all(map(torch.equal, policy, model.policy.parameters()))


def plant(number: int, start: int, target: str) -> list[tuple[Tensor, Tensor, Tensor]]:
    made = []
    for item in range(start, start + number):
        x, of_target = planted.plant(latent.generator(7, "planted", f"video_{item}"), 180)
        label, judged = of_target[target]
        made.append((torch.tensor(x).float(), torch.tensor(label).float(), torch.tensor(judged) > 0))
    return made


def error_on(target: str, epochs: int, **changes: Any) -> tuple[float, dict[str, float | None]]:
    """Mean squared error of what is asked (0.36 by chance) after training on planted series, and the diagnostics."""
    train, test = plant(128, 1, target), plant(24, 1001, target)
    sizes = {"d_model": 32, "units": 16, "layers": 1, "head_hidden": 32, "writer_hidden": 32, "critic_hidden": 32}
    model = make(0, torch.float32, 8, **{**sizes, "rows": 10, "clip_s": 10, **changes})
    learner = DdpgLearner(model, descent(5e-3))
    for epoch in range(epochs):
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(epoch)).tolist()
        for start in range(0, len(order), 8):
            numbers = order[start : start + 8]
            some = [train[number][:2] for number in numbers]
            learner.fit(lessons_of([some], epoch_seed=[epoch], numbers=[numbers]))
    x, y, judged = (torch.cat(part) for part in zip(*test, strict=True))
    with torch.no_grad():
        measured = float((model(x, [180] * len(test)) - y)[judged].square().mean())
    return measured, model.diagnose([lambda: (x, [180] * len(test), y)])


@pytest.mark.long
@pytest.mark.parametrize(("target", "epochs", "enough"), [("one_cue", 4, 0.05), ("two_cues", 8, 0.1)])
def test_remembers_a_cue_of_the_first_seconds(target: str, epochs: int, enough: float) -> None:
    measured, used = error_on(target, epochs)
    assert measured < enough
    assert 0 < used["writes"] < 1 and used["entropy"] > 0.05  # type: ignore[operator]
    assert used["distinctness"] > 0.2 and used["query"] > 0.01 and used["age_steps"] > 60  # type: ignore[operator]


@pytest.mark.parametrize("read", ["masked", "none"])
def test_controls_without_a_memory_stay_at_chance(read: str) -> None:
    measured, _ = error_on("one_cue", 4, read=read)
    assert measured > 0.3
