"""A model with a learner of its own (RMN), trained by the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from rmn_parts import lessons_of, make, video
from torch import Tensor

from utopia.config.training import Training
from utopia.errors import ConfigError
from utopia.models._ddpg import DdpgLearner
from utopia.models._learner import Lessons
from utopia.training.adam import RecipeStep
from utopia.training.network import Network
from utopia.training.vectorized.stack import Stack

SMALL = {
    "d_model": 8,
    "units": 4,
    "rows": 3,
    "clip_s": 2.5,
    "rewrite_every": 5,
    "roll": 4,
    "together": 2,
    "head_hidden": 8,
    "writer_hidden": 8,
}


def rmn(toy: Any, name: str, **changes: Any) -> Any:
    """Train a small RMN on the toy."""
    training = {"epochs": 3, "learning_rate": 3e-3} | changes.pop("training", {})
    settings = {**SMALL, "critic_hidden": 8, "training": training}
    return toy.train(name, id=f"toy.rmn.{name}", **{"model": "rmn", "model_config": settings, **changes})


@pytest.fixture
def named(toy: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The toy, whose runs take model and settings as they are given."""
    plain = toy.run()
    monkeypatch.setattr(toy, "run", lambda **changes: plain | changes)
    return toy


@pytest.mark.long
def test_trains_the_same_to_the_bit_alone_and_in_company(named: Any) -> None:
    both, summary, _ = rmn(named, "both")
    alone, _, _ = rmn(named, "sequential", repeats=1)
    assert summary["replicas"][0]["epochs"] == 3
    for place in alone:
        assert np.array_equal(alone[place], both[place]), place


@pytest.mark.long
@pytest.mark.parametrize("loss", ["mse", "cwl", "bmc"])
def test_stacked_replicas_are_the_same(named: Any, loss: str) -> None:
    """Of two targets, with fewer places than replicas, and videos that differ in length."""
    changes = {"loss": loss, "targets": ["importance", "mood"], "training": {"epochs": 3}, "repeats": 1}
    alone, one, _ = rmn(named, "sequential", engine={"strategy": "sequential"}, **changes)
    stacked, two, _ = rmn(named, "vectorized", engine={"strategy": "vectorized", "places": 3}, **changes)
    assert (one["strategy"], two["strategy"]) == ("sequential", "vectorized")
    assert set(alone) == set(stacked)
    for place in alone:
        assert alone[place] == pytest.approx(stacked[place], abs=2e-5), place
    for first, second in zip(one["replicas"], two["replicas"], strict=True):
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-4)
        assert first["diagnostics"]["choices"] == second["diagnostics"]["choices"] > 0
        assert first["diagnostics"]["td_error"] == pytest.approx(second["diagnostics"]["td_error"], rel=1e-2)


def test_a_stacked_replica_goes_on_as_others_leave_and_come() -> None:
    """In the middle of epochs, in double precision: moments, targets and rolls of those that stay are theirs.

    Four replicas in three places: after two rounds the second leaves its place to the fourth, after four the first is
    over. Videos differ in length, so that replicas take other numbers of updates, and each is in an epoch of its own.
    """
    recipe = Training(learning_rate=1e-2, clip_norm=0.5)
    rounds = {0: range(4), 1: range(2), 2: range(6), 3: range(2, 6)}
    networks = {k: Network(make(k, roll=4, together=2), torch.zeros(5), torch.ones(5)).double() for k in rounds}

    def videos(k: int, number: int) -> list[tuple[Tensor, Tensor]]:
        return [video(20 + 7 * k + 5 * n + number, 100 * k + 10 * number + n) for n in range(1 + k % 2)]

    def lessons(replicas: list[int], number: int) -> Lessons:
        seeds = [1000 * k + (number + k) // 3 for k in replicas]
        numbers = [[100 * k + 10 * number + n for n in range(2)] for k in replicas]
        return lessons_of([videos(k, number) for k in replicas], epoch_seed=seeds, numbers=numbers)

    stack = Stack([networks[k] for k in (0, 1, 2)], recipe)

    def make_update(parameters: Sequence[torch.nn.Parameter]) -> Callable[[Sequence[bool]], None]:
        group = stack.group(parameters)
        return lambda moves: stack.update(group=group, moves=moves)

    stacked = DdpgLearner(stack.network.model, make_update)  # type: ignore[arg-type]
    found, there = {}, [0, 1, 2]
    for number in range(6):
        if number == 2:
            found[1] = stack.value_KN[1].clone()
            stack.put(1, networks[3])
            stacked.put(1)
            there = [0, 3, 2]
        if number == 4:
            found[0] = stack.value_KN[0].clone()
            stack.keep([1, 2])
            stacked.keep([1, 2])
            there = [3, 2]
        stacked.fit(lessons(there, number))
    for place, k in enumerate(there):
        found[k] = stack.value_KN[place].clone()
    targets = stacked.state()["critic.row.weight"]
    for k, own in rounds.items():
        start = torch.cat([p.detach().flatten() for p in networks[k].parameters()])

        def alone_update(parameters: Sequence[torch.nn.Parameter]) -> Callable[[Sequence[bool]], None]:
            update = RecipeStep(parameters, recipe)
            return lambda moves: update() if moves[0] else None

        alone = DdpgLearner(networks[k].model, alone_update)  # type: ignore[arg-type]
        for number in own:
            alone.fit(lessons([k], number))
        parameters = torch.cat([p.detach().flatten() for p in networks[k].parameters()])
        assert (parameters - start).abs().max() > 1e-3
        torch.testing.assert_close(found[k], parameters, rtol=0, atol=1e-9)
        if k in there:
            torch.testing.assert_close(targets[there.index(k)], alone.state()["critic.row.weight"], rtol=0, atol=1e-9)


def test_the_weights_of_the_loss_reach_its_objective(named: Any) -> None:
    short = {"training": {"epochs": 1}, "repeats": 1}
    plain, _, _ = rmn(named, "plain", **short)
    weighed, _, _ = rmn(named, "weighed", loss="cwl", **short)
    assert any(not np.array_equal(plain[place], weighed[place]) for place in plain)


@pytest.mark.long
def test_the_training_loss_falls(named: Any) -> None:
    _, summary, _ = rmn(named, "falls", training={"epochs": 12}, repeats=1)
    for replica in summary["replicas"]:
        assert np.mean(replica["loss"][-3:]) < np.mean(replica["loss"][:3])


def test_a_sampler_is_refused(named: Any) -> None:
    with pytest.raises(ConfigError, match="learns along time"):
        rmn(named, "sampled", loss="cwl", sampler="tns", sampler_config={"window": 10})


def test_every_replica_says_how_its_memory_was_used(named: Any) -> None:
    """What `training.json` holds: rows that differ, reads that depend on queries, writes that come now and then."""
    _, summary, _ = rmn(named, "used", training={"epochs": 6}, repeats=1)
    for replica in summary["replicas"]:
        used = replica["diagnostics"]
        assert used["choices"] > 0 and 0 < used["entropy"] <= 1
        assert used["distinctness"] > 0.05 and used["query"] > 0 and used["age_steps"] > 5 and used["td_error"] > 0
    assert 0 < np.mean([replica["diagnostics"]["writes"] for replica in summary["replicas"]]) < 1
    _, again, _ = rmn(named, "used", training={"epochs": 6}, repeats=1)  # found stored
    assert [one["diagnostics"] for one in again["replicas"]] == [one["diagnostics"] for one in summary["replicas"]]


def test_other_models_say_nothing(toy: Any) -> None:
    _, summary, _ = toy.train("plain", repeats=1)
    assert all("diagnostics" not in replica for replica in summary["replicas"])
