"""Two strategies, one result: replicas trained one after another, as one stack, and by a slow plain loop."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frame_toy import SETTINGS, Toy, make_toy
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from utopia import arrays
from utopia.config.engine import Engine
from utopia.distribution.approximate import approximate_distribution
from utopia.errors import ComputeError
from utopia.training import checkpoints, chunks
from utopia.training import run as engine
from utopia.training.data import load_data
from utopia.training.parts import Parts
from utopia.training.replica import Replica
from utopia.training.run import train_runs
from utopia.training.series import OnSeries, SeriesTrainer
from utopia.training.settings import parse_run
from utopia.training.trainer import ReplicaJob, ReplicaTrainer
from utopia.training.vectorized.engine import VectorizedTraining
from utopia.training.vectorized.passes import Passes
from utopia.training.vectorized.stack import Stack

SMALL_PGL = {"d_model": 16, "heads": 2, "segment_heads": 2}
SMALL_RMN = {"d_model": 8, "units": 4, "rows": 3, "roll": 4, "training": {"epochs": 4}}
SMALL_RMN |= {"clip_s": 2, "rewrite_every": 4, "together": 2}  # so that the policy chooses, and learns
STILL_ET = {"dropout": 0.0, "head_dropout": 0.0}


def pgl(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the toy's runs be PGL-SUM's."""
    plain = toy.run()

    def run(**changes: Any) -> dict[str, Any]:
        training = {"epochs": 3, "learning_rate": 3e-3} | changes.pop("training", {})
        model = SMALL_PGL | changes.pop("model", {}) | {"training": training}
        return plain | {"model": "pgl_sum", "model_config": model} | changes

    monkeypatch.setattr(toy, "run", run)


def close(first: arrays.Arrays, second: arrays.Arrays, tolerance: float) -> None:
    assert set(first) == set(second)
    for name in first:
        assert first[name] == pytest.approx(second[name], abs=tolerance), name


def both(toy: Toy, tolerance: float, **changes: Any) -> None:
    """Train in both ways; predictions and losses agree."""
    alone, one, _ = toy.train("sequential", engine={"strategy": "sequential"}, **changes)
    together, two, _ = toy.train("vectorized", engine={"strategy": "vectorized", "places": 3}, **changes)
    assert (one["strategy"], two["strategy"]) == ("sequential", "vectorized")
    close(alone, together, tolerance)
    for first, second in zip(one["replicas"], two["replicas"], strict=True):
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-4)
        assert first["selected_epoch"] == second["selected_epoch"]


@pytest.mark.parametrize("batching", ["per_video", "accumulate_all"])
@pytest.mark.parametrize("loss", ["mse", "cwl", "inv", "lds", "dense_loss", "bmc"])
def test_et_is_the_same_stacked(toy: Toy, loss: str, batching: str) -> None:
    """With dropout: its masks do not depend on the strategy."""
    both(toy, 2e-5, loss=loss, training={"batching": batching}, targets=["importance", "mood"], repeats=1)


@pytest.mark.parametrize("loss", ["mse", "cwl", "bmc"])
def test_pgl_sum_is_the_same_stacked(toy: Toy, monkeypatch: pytest.MonkeyPatch, loss: str) -> None:
    pgl(toy, monkeypatch)
    both(toy, 2e-5, loss=loss)


@pytest.mark.parametrize("loss", ["cwl", "rank_sim"])
@pytest.mark.parametrize("sampler", ["tns", "smogn", "c_mixup", "smoter"])
def test_samplers_are_the_same_stacked(toy: Toy, loss: str, sampler: str) -> None:
    """A sampler draws for the videos of a chunk, so the strategies agree where their chunks do: a video each."""
    both(toy, 5e-5, loss=loss, sampler=sampler, training={"epochs": 2}, repeats=1)


@pytest.mark.parametrize("chosen", ["sequential", "vectorized"])
@pytest.mark.parametrize("model", ["et", "pgl_sum"])
def test_both_are_the_plain_loop(toy: Toy, monkeypatch: pytest.MonkeyPatch, model: str, chosen: str) -> None:
    """One video at a time, torch's own loss, clipping and optimiser; no dropout, so that nothing is random."""
    if model == "pgl_sum":
        pgl(toy, monkeypatch)
    recipe = {"epochs": 3, "batching": "accumulate_all", "selection": "last", "clip_norm": 0.05, "weight_decay": 1e-3}
    settings = STILL_ET if model == "et" else {"dropout": 0.0}
    changes: dict[str, Any] = {"training": recipe, "model": settings, "repeats": 2}
    predictions, summary, _ = toy.train(chosen, engine={"strategy": chosen}, **changes)
    run, plan = parse_run(toy.run(**changes)), arrays.load(toy.distribution)
    data = load_data(run, toy.labels, toy.features, fewest=1)
    for entry in summary["replicas"]:
        fold = next(fold for fold in data.folds if fold.name == entry["fold"])
        replica = Replica(entry["target"], entry["fold"], entry["repeat"])
        job = ReplicaJob(replica, run, Parts.of(run, plan), data, fold, plan)
        network = SeriesTrainer(job, torch.device("cpu")).network
        optimiser = torch.optim.Adam(network.parameters(), lr=3e-3, weight_decay=1e-3)
        losses = []
        for _ in range(3):
            optimiser.zero_grad()
            each = [
                nn.functional.mse_loss(network(data.features[v], [len(toy.truth[v])]), truth(toy, v))
                for v in fold.train
            ]
            torch.stack(each).sum().backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 0.05)
            optimiser.step()
            losses.append(torch.stack(each).detach().mean().item())
        assert entry["loss"] == pytest.approx(losses, rel=1e-4)
        with torch.no_grad():
            for item in fold.test:
                y_T = network.eval()(data.features[item], [len(toy.truth[item])]).numpy()
                name = f"{entry['target']}/{entry['fold']}/{entry['repeat']}/{item}"
                assert predictions[name] == pytest.approx(y_T, abs=3e-5)


def truth(toy: Toy, item: str) -> Tensor:
    return torch.as_tensor(toy.truth[item], dtype=torch.float32)


def test_neighbours_and_places_do_not_matter(toy: Toy) -> None:
    """A replica beside others, alone in its stack, and beside replicas of other runs."""
    many, _, _ = toy.train(
        "many", engine={"strategy": "vectorized"}, targets=["importance", "mood"], repeats=3, loss="cwl"
    )
    one, _, _ = toy.train(
        "one", engine={"strategy": "vectorized", "places": 1}, targets=["mood"], repeats=1, loss="cwl"
    )
    for name in one:
        assert one[name] == pytest.approx(many[name], abs=1e-6), name
    tasks = [
        toy.task(
            name, id=name, engine={"strategy": "vectorized", "places": 5}, targets=["mood"], repeats=1, **treatment
        )
        for name, treatment in {
            "cwl": {"loss": "cwl"},
            "tns": {"loss": "mse", "sampler": "tns"},
            "rank": {"loss": "rank_sim"},
        }.items()
    ]
    train_runs(tasks, labels=toy.labels, features=toy.features, mode=OnSeries(), progress=lambda *line: None)
    mixed = arrays.load(toy.root / "cwl" / "predictions.safetensors")
    for name in one:
        assert mixed[name] == pytest.approx(one[name], abs=1e-6), name


def test_runs_of_a_job_are_as_trained_by_themselves(toy: Toy) -> None:
    """And each is stored in its own folder, whichever comes first."""
    treatments = {"a": {"loss": "mse"}, "b": {"loss": "cwl", "sampler": "tns"}}
    lines: list[tuple[int, int, str]] = []
    tasks = [toy.task(name, id=name, repeats=1, **treatment) for name, treatment in treatments.items()]
    made = train_runs(
        tasks, labels=toy.labels, features=toy.features, mode=OnSeries(), progress=lambda *line: lines.append(line)
    )
    assert [line[:2] for line in lines] == [(i, 4) for i in range(1, 5)] and len(made) == 4
    for name, treatment in treatments.items():
        toy.train(f"{name}.self", repeats=1, **treatment)
        together, itself = (toy.root / folder / "predictions.safetensors" for folder in (name, f"{name}.self"))
        first, second = arrays.load(together), arrays.load(itself)
        assert all(np.array_equal(first[key], second[key]) for key in second)


def test_runs_of_another_model_do_not_belong_together(toy: Toy) -> None:
    tasks = [toy.task("a", id="a"), toy.task("b", id="b", model={"layers": 2})]
    with pytest.raises(engine.ConfigError, match="b and a cannot be trained in one job"):
        train_runs(tasks, labels=toy.labels, features=toy.features, mode=OnSeries())


def test_early_stopping_frees_a_place(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two places for six replicas that stop at different times, as many are in work as there are left."""
    sizes = []
    original = VectorizedTraining.round

    def watch(self: VectorizedTraining) -> None:
        sizes.append(len(self.active))
        original(self)

    monkeypatch.setattr(VectorizedTraining, "round", watch)
    stops = {"epochs": 40, "learning_rate": 0.02, "patience": 2}
    _, summary, _ = toy.train(engine={"strategy": "vectorized", "places": 2}, training=stops, repeats=3)
    epochs = [replica["epochs"] for replica in summary["replicas"]]
    assert len(set(epochs)) > 1 and max(epochs) < 40
    steps = sum(count * (len(summary["replicas"][i]["fitted"])) for i, count in enumerate(epochs))
    assert sum(sizes) == steps  # no round was spent on a replica that was over
    assert sizes[0] == 2 and set(sizes) <= {1, 2} and sizes.count(2) >= sizes.count(1)


@pytest.mark.parametrize("chosen", ["sequential", "vectorized"])
@pytest.mark.parametrize("model", ["et", "pgl_sum", "rmn"])
def test_a_half_trained_replica_goes_on(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, chosen: str
) -> None:
    """Stopped in an epoch, continued from the last one kept: the same bytes as without a stop."""
    monkeypatch.setattr(checkpoints.HalfwayCheckpoint.__init__, "__defaults__", (0.0,))
    changes: dict[str, Any] = {"engine": {"strategy": chosen}, "repeats": 1, "loss": "bmc"}
    if model == "pgl_sum":
        pgl(toy, monkeypatch)
        changes["training"] = {"epochs": 6}
    if model == "rmn":
        changes = {"engine": {"strategy": chosen}, "repeats": 1, "model_config": SMALL_RMN}
        plain = toy.run()
        monkeypatch.setattr(toy, "run", lambda **more: plain | {"model": "rmn"} | more)
    toy.train("whole", **changes)
    seen = []
    original = ReplicaTrainer.begin_epoch

    def stop(self: ReplicaTrainer) -> list[int]:
        seen.append(self.state.epoch)
        if self.state.epoch == 2 and self.job.fold.name == "1" and len(seen) < 20:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(ReplicaTrainer, "begin_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        toy.train("stopped", **changes)
    kept = sorted(path.name for path in (toy.root / "stopped" / "replicas").iterdir())
    assert "importance.1.0.half.safetensors" in kept
    seen.clear()
    monkeypatch.setattr(ReplicaTrainer, "begin_epoch", lambda self: seen.append(self.state.epoch) or original(self))
    toy.train("stopped", **changes)
    assert min(seen) == 2
    whole, again = (toy.root / name / "replicas" for name in ("whole", "stopped"))
    assert sorted(path.name for path in again.iterdir()) == sorted(path.name for path in whole.iterdir())
    for path in whole.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_a_failing_replica_does_not_stop_the_others(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    original = ReplicaTrainer.end_epoch

    def fail(self: ReplicaTrainer, total: float, *rest: Any) -> bool:
        return original(self, float("nan") if self.job.replica.name == "importance.0.1" else total, *rest)

    monkeypatch.setattr(ReplicaTrainer, "end_epoch", fail)
    for chosen in ("sequential", "vectorized"):
        with pytest.raises(ComputeError, match=r"importance\.0\.1: the training loss is nan in epoch 1"):
            toy.train(chosen, engine={"strategy": chosen, "places": 2})
        stored = sorted(path.name for path in (toy.root / chosen / "replicas").iterdir())
        assert stored == [f"importance.{name}.safetensors" for name in ("0.0", "1.0", "1.1")]


def test_long_videos_go_in_several_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full batch in buckets of similar length, replicas with fewer buckets than others included."""
    toy = make_toy(tmp_path)
    file = arrays.load(toy.labels)
    meta = file.meta
    meta["folds"][1]["train"] = meta["folds"][1]["train"][:2]
    arrays.save(toy.labels, dict(file), meta)
    approximate_distribution(labels=toy.labels, settings=SETTINGS, window=10, output=toy.distribution)
    changes = {"training": {"batching": "accumulate_all", "epochs": 3}, "loss": "cwl", "repeats": 1}
    whole, _, _ = toy.train("whole", engine={"strategy": "vectorized"}, **changes)
    monkeypatch.setattr(chunks, "PAIRS", 2 * 50**2)
    pieces, _, _ = toy.train("pieces", engine={"strategy": "vectorized"}, **changes)
    close(whole, pieces, 1e-5)


class Counted(TorchDispatchMode):
    """Counts the operations that reach a device."""

    number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += 1
        return func(*args, **(kwargs or {}))


def operations(training: VectorizedTraining) -> int:
    """Operations of a round, backwards too: about as many kernels as it would launch."""
    for _ in range(2):  # the first round makes what is kept
        training.begin_epochs()
        with Counted() as counted:
            training.round()
    return counted.number


@pytest.mark.parametrize("model", ["et", "rmn"])
def test_a_round_takes_no_more_kernels_for_more_replicas(toy: Toy, model: str) -> None:
    """Which is what stacking is for. RMN's round is an update per roll, each with a choice for every clip."""
    changes: dict[str, Any] = {"model": model, "model_config": SMALL_RMN} if model == "rmn" else {}
    run, plan = parse_run(toy.run(repeats=8, loss="cwl") | changes), arrays.load(toy.distribution)
    data = load_data(run, toy.labels, toy.features, fewest=2)
    found, cpu = {}, torch.device("cpu")
    make = partial(SeriesTrainer, device=cpu, padded=True)
    for number in (1, 8):
        replicas = [Replica("importance", "0", repeat) for repeat in range(number)]
        jobs = [
            (ReplicaJob(replica, run, Parts.of(run, plan), data, data.folds[0], plan), None) for replica in replicas
        ]
        found[number] = operations(VectorizedTraining(iter(jobs), make, Engine(places=number), cpu))
    assert 100 < found[8] < 1.2 * found[1]


# What uses memory: a replica's own tensors, the stack's, a round, an epoch's end, the last predictions.
MEMORY = [
    "SeriesTrainer.__init__",
    "Stack.__init__",
    "Passes.add_gradients",
    "Passes.predict",
    "ReplicaTrainer.result",
    "Stack.put",
]


MANY: dict[str, Any] = {"repeats": 3, "loss": "cwl", "sampler": "tns", "training": {"epochs": 2}}
MANY |= {"engine": {"strategy": "vectorized", "places": 4}}


@pytest.fixture(scope="module")
def enough(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Toy, arrays.Arrays, dict[str, Any]]]:
    """A toy, and what its replicas predict where memory is enough. Objects of before are not collected meanwhile."""
    spacious = make_toy(tmp_path_factory.mktemp("enough"))
    predictions, summary, _ = spacious.train("whole", **MANY)
    gc.freeze()
    yield spacious, predictions, summary
    gc.unfreeze()


@pytest.mark.parametrize("spot", MEMORY)
def test_where_memory_is_used_up_half_as_many_go_on(
    enough: tuple[Toy, arrays.Arrays, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, spot: str
) -> None:
    """Wherever it is that more than two replicas at once are too many: all are trained, with the same numbers."""
    spacious, whole, one = enough
    kind, _, name = spot.rpartition(".")
    owner: Any = {owner.__name__: owner for owner in (SeriesTrainer, ReplicaTrainer, Stack, Passes)}[kind]
    original, places, calls = getattr(owner, name), [4], [0]
    watched = VectorizedTraining.fill

    def count(self: VectorizedTraining) -> None:
        places[0] = self.most
        watched(self)

    def capped(self: Any, *rest: Any, **more: Any) -> Any:
        calls[0] += 1
        if places[0] > 2 and (calls[0] > 1 or spot == "Stack.__init__"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines.")
        return original(self, *rest, **more)

    taken: list[str] = []
    outcomes = VectorizedTraining.outcomes

    def noted(self: VectorizedTraining) -> Iterator[Any]:
        for job, outcome in outcomes(self):
            taken.append(job.where)
            yield job, outcome

    monkeypatch.setattr(VectorizedTraining, "fill", count)
    monkeypatch.setattr(VectorizedTraining, "outcomes", noted)
    monkeypatch.setattr(owner, name, capped)
    halved, two, _ = spacious.train(f"halved.{spot}", **MANY)
    assert places[0] in (1, 2) and len(two["replicas"]) == len(one["replicas"]) == 6
    assert len(taken) == len(set(taken)) == 6, "what was trained is not trained again"
    close(whole, halved, 1e-6)


@pytest.mark.parametrize("chosen", ["sequential", "vectorized"])
def test_one_replica_that_does_not_fit_is_an_error(toy: Toy, monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(ReplicaTrainer, "begin_epoch", full)
    with pytest.raises(ComputeError, match=r"run toy\.et\.baseline, replica .*memory.*\(CUDA out of memory\.\)"):
        toy.train(engine={"strategy": chosen, "places": 4})
