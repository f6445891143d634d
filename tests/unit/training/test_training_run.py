"""The engine on a small synthetic problem: real files in, real training, real files out."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frame_toy import SETTINGS, Toy, make_toy
from torch import Tensor

from utopia import arrays
from utopia.distribution.approximate import approximate_distribution
from utopia.errors import ComputeError, ConfigError, InputError
from utopia.evaluation.predictions import FORMAT
from utopia.evaluation.protocols import evaluate_run
from utopia.evaluation.summaries import untrained
from utopia.files import sha256
from utopia.losses._common import Batch
from utopia.training import loop
from utopia.training.data import load_data
from utopia.training.parts import Parts
from utopia.training.replica import Replica
from utopia.training.series import SeriesTrainer
from utopia.training.settings import parse_run
from utopia.training.trainer import ReplicaJob

TREATMENTS: dict[str, dict[str, Any]] = {
    "baseline": {"loss": "mse", "sampler": None},
    "cwl": {"loss": "cwl", "sampler": None},
    "tns_cwl": {"loss": "cwl", "sampler": "tns"},
    "tns": {"loss": "mse", "sampler": "tns"},
}


def errors(toy: Toy, predictions: arrays.Arrays, replica: dict[str, Any]) -> tuple[float, float]:
    """Mean squared error on the test videos, of the model and of the training mean."""
    mean = np.concatenate([toy.truth[item] for item in replica["fitted"]]).mean()
    place = f"{replica['target']}/{replica['fold']}/{replica['repeat']}"
    model = np.concatenate([predictions[f"{place}/{item}"] - toy.truth[item] for item in replica["test"]])
    constant = np.concatenate([mean - toy.truth[item] for item in replica["test"]])
    return float((model**2).mean()), float((constant**2).mean())


@pytest.mark.parametrize("treatment", TREATMENTS)
@pytest.mark.parametrize("batching", ["per_video", "accumulate_all"])
def test_et_beats_the_constant_predictor(toy: Toy, treatment: str, batching: str) -> None:
    training = {"epochs": 25, "batching": batching, "learning_rate": 3e-3 if batching == "per_video" else 1e-2}
    predictions, summary, _ = toy.train(repeats=1, training=training, **TREATMENTS[treatment])
    assert len(summary["replicas"]) == 2
    for replica in summary["replicas"]:
        model, constant = errors(toy, predictions, replica)
        assert model < 0.5 * constant
        assert replica["loss"][-1] < 0.6 * replica["loss"][0]


def test_outputs(toy: Toy) -> None:
    lines: list[tuple[int, int, str]] = []
    predictions, summary, made = toy.train(targets=["importance", "mood"], progress=lambda *line: lines.append(line))
    assert [line[:2] for line in lines] == [(i, 8) for i in range(1, 9)]
    assert "importance.0.0" in lines[0][2] and "validation loss" in lines[0][2]
    assert predictions.meta["targets"] == ["importance", "mood"]
    assert (predictions.meta["folds"], predictions.meta["repeats"]) == (["0", "1"], [0, 1])
    assert predictions.meta["format"] == summary["format"] == FORMAT
    expected = {
        f"{target}/{fold}/{repeat}/{item}"
        for target in ("importance", "mood")
        for fold, test in (("0", ["v0", "v1"]), ("1", ["v6", "v7"]))
        for repeat in (0, 1)
        for item in test
    }
    assert set(predictions) == expected
    for name in expected:
        assert predictions[name].dtype == np.float32 and len(predictions[name]) == len(toy.truth[name[-2:]])
    assert summary["left_out"] == {"v99": "no annotation"}
    assert len({replica["seed"] for replica in summary["replicas"]}) == 8
    for replica, path in zip(summary["replicas"], made, strict=True):
        assert toy.root / "run" / replica["checkpoint"] == path
        assert replica["sha256"] == sha256(path)
        assert len(replica["loss"]) == len(replica["validation_loss"]) == replica["epochs"]
        assert replica["selected_epoch"] == int(np.argmin(replica["validation_loss"]))
        assert predictions.meta["epochs"][path.stem.replace(".", "/")] == replica["selected_epoch"]
        everyone = replica["fitted"] + replica["held_out"] + replica["test"]
        assert len(everyone) == len(set(everyone)) == 8
        assert not set(replica["test"]) & set(replica["fitted"] + replica["held_out"])


@pytest.mark.parametrize("treatment", ["baseline", "tns_cwl"])
def test_a_replica_alone_is_the_same_to_the_bit(toy: Toy, treatment: str) -> None:
    together, _, _ = toy.train("together", targets=["importance", "mood"], repeats=3, **TREATMENTS[treatment])
    torch.manual_seed(99)  # the state that others leave behind must not matter
    torch.rand(7)
    alone, _, _ = toy.train("sequential", targets=["mood"], repeats=1, **TREATMENTS[treatment])
    for name in alone:
        assert np.array_equal(alone[name], together[name]), name
    first, second = (together[f"mood/0/{repeat}/v0"] for repeat in (0, 1))
    assert not np.array_equal(first, second)


def test_training_leaves_the_global_generator_alone(toy: Toy) -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    toy.train(repeats=1, training={"epochs": 1})
    assert torch.equal(torch.random.get_rng_state(), state)


def test_treatments_start_from_the_same_parameters(toy: Toy) -> None:
    """With a learning rate of next to nothing, what is left of two treatments is where they started."""
    tiny = {"epochs": 1, "learning_rate": 1e-30}
    base, _, _ = toy.train("a", repeats=1, training=tiny)
    treated, _, _ = toy.train("b", repeats=1, training=tiny, **TREATMENTS["tns_cwl"])
    for name in base:
        assert np.array_equal(base[name], treated[name])


def watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the replicas that are really trained from now on."""
    trained: list[str] = []
    original = loop.train_one
    monkeypatch.setattr(loop, "train_one", lambda job, *rest: trained.append(job.replica.name) or original(job, *rest))
    return trained


def test_a_stopped_job_goes_on_where_it_was(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _, _ = toy.train("whole")

    def stop(done: int, of: int, line: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        toy.train("stopped", progress=stop)
    folder = toy.root / "stopped"
    stored = sorted((folder / "replicas").iterdir())
    assert [path.name for path in stored] == ["importance.0.0.safetensors", "importance.0.1.safetensors"]
    assert not (folder / "predictions.safetensors").exists() and not (folder / "training.json").exists()
    stored[1].write_bytes(stored[1].read_bytes()[:500])  # as if the disk had lost the end of it

    trained = watch(monkeypatch)
    again, summary, made = toy.train("stopped")
    assert trained == ["importance.0.1", "importance.1.0", "importance.1.1"]
    assert (folder / "predictions.safetensors").read_bytes() == (
        toy.root / "whole" / "predictions.safetensors"
    ).read_bytes()
    for path in made:
        assert path.read_bytes() == (toy.root / "whole" / "replicas" / path.name).read_bytes()
    assert [replica["seconds"] is None for replica in summary["replicas"]] == [True, False, False, False]
    assert set(again) == set(whole)

    for change in ({"code": "other"}, {"seed": 8}, {"loss": "cwl"}):
        trained.clear()
        toy.train("stopped", **change)
        assert len(trained) == 4
    trained.clear()
    toy.train("stopped", **change, id="renamed", treatment="renamed", repeats=3)
    assert trained == ["importance.0.2", "importance.1.2"]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from frame_toy import make_toy

def die(done, of, line):
    assert "torch._dynamo" not in sys.modules  # importing torch's compiler would cost each job four seconds
    if done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

make_toy(Path(sys.argv[2])).train(progress=die)
"""


def test_a_killed_process_leaves_nothing_half_written(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("killed")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(root)], timeout=120, check=False
    )
    assert done.returncode == -signal.SIGKILL
    stored = {path.name: path.read_bytes() for path in (root / "run").rglob("*") if path.is_file()}
    assert sorted(stored) == ["importance.0.0.safetensors", "importance.0.1.safetensors"]
    _, summary, made = toy.train()
    for path in made[:2]:
        assert path.read_bytes() == stored[path.name]  # another process, the same bytes
    assert len(summary["replicas"]) == 4


def test_changed_labels_are_trained_anew(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.train(repeats=1, training={"epochs": 1})
    file = arrays.load(toy.labels)
    contents, meta = dict(file), file.meta
    contents["v3/importance"] = contents["v3/importance"] * 0.5
    arrays.save(toy.labels, contents, meta)
    approximate_distribution(labels=toy.labels, settings=SETTINGS, window=10, output=toy.distribution)
    trained = watch(monkeypatch)
    toy.train(repeats=1, training={"epochs": 1})
    assert len(trained) == 2


def test_a_missing_feature_is_declared(tmp_path: Path) -> None:
    toy = make_toy(tmp_path, lacking="v3")
    predictions, summary, _ = toy.train(repeats=1, training={"epochs": 1})
    assert "damaged" in summary["left_out"]["v3"]
    assert all("v3" not in replica["fitted"] + replica["held_out"] for replica in summary["replicas"])
    assert "v3" not in summary["items"]
    assert len(predictions) == 4


def test_a_fold_without_test_items_is_declared(tmp_path: Path) -> None:
    toy = make_toy(tmp_path)
    file = arrays.load(toy.labels)
    contents, meta = dict(file), file.meta
    meta["folds"].append({"name": "2", "train": ["v0", "v1"], "test": ["gone"]})
    meta["dropped_folds"] = [{"name": "3", "reason": "no annotations"}]
    arrays.save(toy.labels, contents, meta)
    _, summary, _ = toy.train(repeats=1, training={"epochs": 1})
    assert list(summary["folds"]) == ["0", "1"]
    assert "0 of 1 test items" in summary["dropped_folds"]["2"]
    assert summary["dropped_folds"]["3"] == "no annotations"
    meta["folds"] = meta["folds"][2:]
    arrays.save(toy.labels, contents, meta)
    predictions, summary, _ = toy.train("other", repeats=1)
    assert predictions == {} and summary["folds"] == {} and summary["replicas"] == [] and summary["parameters"] == {}
    assert summary["dropped_folds"]["3"] == "no annotations" and "2 of 2 training" in summary["dropped_folds"]["2"]
    folder, metrics = toy.root / "other", tmp_path / "metrics.csv"
    run = {"id": "r", "targets": ["importance"], "repeats": 1}
    evaluate_run(run=run, labels=toy.labels, predictions=folder / "predictions.safetensors", output=metrics)
    assert len(metrics.read_text().splitlines()) == 1, "nothing but the names of the columns"
    ((_, reason),) = untrained([folder / "training.json"]).items()
    assert reason.startswith("no fold can be trained (fold 2: 2 of 2 training") and "fold 3: no annotations" in reason


def test_divergence_names_replica_and_epoch(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers are normalised, so no setting within its bounds makes these networks diverge: the loss grows by itself."""
    from utopia.losses.mse import MeanSquaredError

    original, calls = MeanSquaredError.forward, iter(range(10**6))

    def growing(self: MeanSquaredError, batch: Batch) -> Tensor:
        return original(self, batch) * 1e10 ** next(calls)

    monkeypatch.setattr(MeanSquaredError, "forward", growing)
    with pytest.raises(ComputeError, match=r"replica importance\.0\.0: the training loss is (nan|inf) in epoch \d"):
        toy.train(training={"epochs": 10})
    assert not list((toy.root / "run").glob("replicas/*"))


def test_features_that_are_not_finite_name_the_item(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    from utopia.features.read import FeatureReader

    original = FeatureReader.aligned

    def broken(self: FeatureReader, item: str, names: list[str], times: np.ndarray) -> np.ndarray:
        rows = original(self, item, names, times)
        if item == "v5":
            rows[4, 2] = np.nan
        return rows

    monkeypatch.setattr(FeatureReader, "aligned", broken)
    with pytest.raises(InputError, match=r"v5: feature plain has 1 rows that are not finite, the first at 2 s"):
        toy.train()


def test_standardisation_knows_only_the_fitted_videos(toy: Toy) -> None:
    _, summary, made = toy.train(repeats=1, training={"epochs": 1})
    data = load_data(parse_run(toy.run()), toy.labels, toy.features, fewest=2)
    for replica, path in zip(summary["replicas"], made, strict=True):
        rows = np.concatenate([data.features[item].numpy() for item in replica["fitted"]]).astype(np.float64)
        stored = arrays.load(path).under("parameters")
        assert stored["mean_D"] == pytest.approx(rows.mean(axis=0), rel=1e-5)
        assert stored["scale_D"] == pytest.approx(1 / rows.std(axis=0), rel=1e-5)
    _, _, made = toy.train("plain", repeats=1, training={"epochs": 1}, normalise={})
    stored = arrays.load(made[0]).under("parameters")
    assert not stored["mean_D"].any() and (stored["scale_D"] == 1).all()


def test_unit_rows(toy: Toy) -> None:
    run = parse_run(toy.run(normalise={"plain": "l2"}))
    data = load_data(run, toy.labels, toy.features, fewest=2)
    assert torch.linalg.vector_norm(data.features["v0"], dim=1).numpy() == pytest.approx(np.ones(40), rel=1e-5)
    assert not data.standardised_D.any()


@pytest.mark.parametrize("selection", ["last", "pgl_rule", "best_test"])
def test_selections(toy: Toy, selection: str) -> None:
    predictions, summary, _ = toy.train(repeats=1, training={"epochs": 18, "selection": selection})
    assert summary["oracle"] == (selection == "best_test")
    for replica in summary["replicas"]:
        assert replica["epochs"] == 18 and replica["held_out"] == [] and len(replica["fitted"]) == 6
        if selection == "last":
            assert replica["selected_epoch"] == 17
        if selection == "best_test":
            assert replica["selected_epoch"] == int(np.argmin(replica["test_error"]))
            place = f"importance/{replica['fold']}/0"
            error = np.mean(
                [((predictions[f"{place}/{item}"] - toy.truth[item]) ** 2).mean() for item in replica["test"]]
            )
            assert error == pytest.approx(min(replica["test_error"]), rel=1e-4)


def test_early_stopping_stops(toy: Toy) -> None:
    _, summary, _ = toy.train(repeats=1, training={"epochs": 60, "learning_rate": 0.02, "patience": 3})
    for replica in summary["replicas"]:
        assert replica["epochs"] == min(60, replica["selected_epoch"] + 4)
    assert any(replica["epochs"] < 60 for replica in summary["replicas"])


def test_full_batch_is_one_step_on_summed_gradients(toy: Toy) -> None:
    """Against plain torch: the sum over videos of mean squared errors, clipped, one Adam step."""
    recipe = {"epochs": 1, "batching": "accumulate_all", "selection": "last", "clip_norm": 0.05, "weight_decay": 0.1}
    still = {"dropout": 0.0, "head_dropout": 0.0}
    fresh = {"epochs": 1, "selection": "last", "learning_rate": 1e-30}
    _, _, (start, *_) = toy.train("start", repeats=1, training=fresh, model=still)
    _, _, (end, *_) = toy.train("end", repeats=1, training=recipe, model=still)
    run = parse_run(toy.run(training=recipe, model=still))
    plan = arrays.load(toy.distribution)
    data = load_data(run, toy.labels, toy.features, fewest=1)
    job = ReplicaJob(Replica("importance", "0", 0), run, Parts.of(run, plan), data, data.folds[0], plan)
    network = SeriesTrainer(job, torch.device("cpu")).network
    network.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.load(start).under("parameters").items()})
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3, weight_decay=0.1)
    for item in data.folds[0].train:
        y = torch.as_tensor(toy.truth[item], dtype=torch.float32)
        torch.nn.functional.mse_loss(network(data.features[item], [len(y)]), y).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 0.05)
    optimiser.step()
    found = arrays.load(end).under("parameters")
    for name, expected in network.named_parameters():
        assert expected.grad is not None
        # Adam's first step is lr times the sign of the gradient: where that is rounding noise, so is the step
        clear = (expected.grad + 0.1 * expected.detach()).abs().numpy() > 1e-6
        assert found[name][clear] == pytest.approx(expected.detach().numpy()[clear], abs=3e-6), name


def test_a_plan_for_another_window_is_refused(toy: Toy) -> None:
    with pytest.raises(ComputeError, match=r"windows of 10 frames, the sampler is set to 5"):
        toy.train(sampler="tns", sampler_config={"window": 5})


def test_an_unknown_target_is_refused(toy: Toy) -> None:
    with pytest.raises(ConfigError, match=r"no target 'valence' \(known: importance, mood\)"):
        toy.train(targets=["valence"])


def test_a_gpu_that_is_not_there_is_refused(toy: Toy) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ComputeError, match="torch finds none"):
        toy.train(device="cuda")


def test_pooled_statistics_train(toy: Toy) -> None:
    pooled = SETTINGS | {"scope": "train_set"}
    approximate_distribution(labels=toy.labels, settings=pooled, window=10, output=toy.distribution)
    predictions, summary, _ = toy.train(repeats=1, training={"epochs": 20}, **TREATMENTS["tns_cwl"])
    for replica in summary["replicas"]:
        model, constant = errors(toy, predictions, replica)
        assert model < constant


@pytest.mark.parametrize("treatment", ["cwl", "tns_cwl"])
def test_odd_labels_train(tmp_path: Path, treatment: str) -> None:
    """Constant labels, labels at the ends of the range, a video of one frame."""
    toy = make_toy(tmp_path, items=5)
    file = arrays.load(toy.labels)
    contents, meta = dict(file), file.meta
    contents["v2/importance"] = np.full(len(contents["v2/importance"]), 1.0)
    contents["v3/importance"] = np.round(contents["v3/importance"])
    contents["v4/importance"] = np.full(1, 0.0)
    contents["v4/mood"], contents["v4/times"] = contents["v4/mood"][:1], contents["v4/times"][:1]
    arrays.save(toy.labels, contents, meta)
    approximate_distribution(labels=toy.labels, settings=SETTINGS, window=10, output=toy.distribution)
    _, summary, _ = toy.train(repeats=1, **TREATMENTS[treatment])
    assert all(np.isfinite(replica["loss"]).all() for replica in summary["replicas"])
