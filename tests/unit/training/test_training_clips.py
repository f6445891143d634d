"""Training on clips: against a plain loop of torch's own layers, and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clip_toy import COLUMNS, ClipToy, make_clip_toy
from torch import Tensor, nn

from utopia import arrays
from utopia.config.engine import Engine
from utopia.errors import ConfigError
from utopia.evaluation.protocols import evaluate_run
from utopia.evaluation.summaries import untrained
from utopia.files import read_json, write_json
from utopia.labels.filters import smoothed
from utopia.training import checkpoints
from utopia.training.clip_data import ClipData
from utopia.training.clips import ClipTrainer, OnClips
from utopia.training.parts import Parts
from utopia.training.replica import Replica
from utopia.training.selection import best_members
from utopia.training.settings import parse_run
from utopia.training.trainer import ReplicaJob

CPU = torch.device("cpu")
STILL = {"dropout": 0.0}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> ClipToy:
    return make_clip_toy(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def toy(made: ClipToy, tmp_path: Path) -> ClipToy:
    return ClipToy(tmp_path, made.labels, made.features, made.truth, made.picture, made.sound)


def trainer(toy: ClipToy, fit_on_all: bool = False, member: int = 0, **changes: Any) -> ClipTrainer:
    run = parse_run(toy.run(**changes))
    data = OnClips().load(run, toy.labels, toy.features, 1)
    replica = Replica("reactions", "official", 0, member, fit_on_all)
    return ClipTrainer(ReplicaJob(replica, run, Parts.of(run, None), data, data.folds[0], None), CPU)


# -- data


def test_features_and_labels_at_the_models_rate(toy: ClipToy) -> None:
    """One step per second takes every sixth picture and label; sound as if its rows came once per second."""
    data = trainer(toy).data
    assert data.widths == [7, 3] and data.columns == COLUMNS and data.every == data.per_second == 6
    x_nD = data.features["t3"].numpy()  # 93 labels: 16 steps
    assert x_nD.shape == (16, 10) and data.rows["t3"] == 93
    assert np.array_equal(x_nD[:, :7], toy.picture["t3"][::6])
    last = len(toy.sound["t3"]) - 1
    assert np.array_equal(x_nD[:, 7:], toy.sound["t3"][np.minimum(np.arange(16), last)])
    assert np.array_equal(data.targets["t3"].numpy(), toy.truth["t3"][::6])
    assert data.unlabelled == ("u0",) and "u0" not in data.targets


def test_sound_by_time_is_the_row_that_is_heard(toy: ClipToy) -> None:
    data = trainer(toy, clips={"sound": "by_time"}).data
    rows = [max(row for row in range(len(toy.sound["t6"])) if row * 0.96 <= second + 1e-9) for second in range(21)]
    assert rows[-1] == 20
    assert np.array_equal(data.features["t6"].numpy()[:, 7:], toy.sound["t6"][rows])


def test_six_steps_per_second_take_all_rows(toy: ClipToy) -> None:
    data = trainer(toy, clips={"rate": 6.0, "steps": 10}).data
    assert data.every == 1
    assert np.array_equal(data.features["t0"].numpy()[:, :7], toy.picture["t0"])
    assert np.array_equal(data.features["t0"].numpy()[:, 7:], toy.sound["t0"][np.arange(60) // 6])


def test_a_rate_that_does_not_divide_the_labels_is_refused(toy: ClipToy) -> None:
    with pytest.raises(ConfigError, match=r"6 times per second, which 4 steps per second do not divide"):
        trainer(toy, clips={"rate": 4.0})


@pytest.mark.parametrize(
    ("damaged", "why"),
    [
        (("v0", "v1"), "7 of 7 training items and 0 of 2 test items"),
        (tuple(f"t{i}" for i in range(7)), "0 of 7 training items and 2 of 2 test items"),
        ((*(f"t{i}" for i in range(7)), "v0", "v1", "u0"), "0 of 7 training items and 0 of 2 test items"),
    ],
)
def test_where_damage_leaves_no_fold_the_run_is_a_declared_hole(
    tmp_path: Path, damaged: tuple[str, ...], why: str
) -> None:
    """As for series (ULDA): no predictions, no metrics, and the table's cells have the reason."""
    toy = make_clip_toy(tmp_path)
    (index,) = toy.features
    content = read_json(index)
    for item in damaged:
        content["items"][item]["picture"] = {"absent": "the file is damaged at 1.00 s"}
    write_json(index, content)
    predictions, summary, made = toy.train("hole", members=2, fit_on_all=1)
    assert predictions == {} and predictions.meta["folds"] == [] and made == []
    assert summary["folds"] == {} and summary["replicas"] == [] and summary["parameters"] == {}
    assert summary["dropped_folds"] == {"official": f"{why} have features and labels; it needs 1 and 1"}
    assert all("damaged at 1.00 s" in summary["left_out"][item] for item in damaged)
    folder, metrics = toy.root / "hole", tmp_path / "metrics.csv"
    run = {"id": "r", "targets": ["reactions"], "repeats": 1}
    evaluate_run(run=run, labels=toy.labels, predictions=folder / "predictions.safetensors", output=metrics)
    assert len(metrics.read_text().splitlines()) == 1, "nothing but the names of the columns"
    ((_, reason),) = untrained([folder / "training.json"]).items()
    assert reason.startswith(f"no fold can be trained (fold official: {why}")


# -- clips


@pytest.mark.parametrize(("start", "last"), [("reference", (126 - 8) // 6), ("strict", (126 - 48) // 6)])
def test_clips_start_at_any_second_up_to_the_last(toy: ClipToy, start: str, last: int) -> None:
    """t6 has 126 labels, 21 steps; the reference counts 8 steps as 8 frames, so its last clips run beyond the end."""
    one = trainer(toy, clips={"start": start})
    firsts = set()
    for epoch in range(200):
        one.state.epoch = epoch
        rows = one.clip_rows("t6")
        assert np.array_equal(rows, np.minimum(np.arange(rows[0], rows[0] + 8), 20))
        firsts.add(int(rows[0]))
    assert firsts == set(range(last + 1))


def test_a_video_that_is_shorter_than_a_clip_repeats_its_last_step(toy: ClipToy) -> None:
    one = trainer(toy, clips={"steps": 30, "start": "strict"})
    assert one.clip_rows("t0").tolist() == [*range(10), *[9] * 20]


def test_every_epoch_takes_each_video_at_most_once_and_drops_what_is_left(toy: ClipToy) -> None:
    one = trainer(toy)
    seen = []
    for epoch in range(3):
        one.state.epoch = epoch
        assert one.begin_epoch() == [0, 1] and len(one.chunks) == 2
        items = [item for group in one.groups for item in group]
        assert len(items) == len(set(items)) == 6
        seen.append(items)
    assert seen[0] != seen[1] != seen[2]


def test_treatments_share_clips_and_other_seeds_do_not(toy: ClipToy) -> None:
    first, second = trainer(toy), trainer(toy, loss="ccc", label_filter="median", treatment="other")
    assert first.begin_epoch() == second.begin_epoch()
    assert torch.equal(first.chunks[0].x_RD, second.chunks[0].x_RD)
    assert not torch.equal(first.chunks[0].target_R, second.chunks[0].target_R)
    other = trainer(toy, seed=8)
    other.begin_epoch()
    assert not torch.equal(first.chunks[0].x_RD, other.chunks[0].x_RD)


def test_labels_are_filtered_clip_by_clip(toy: ClipToy) -> None:
    one = trainer(toy, label_filter="gaussian")
    one.begin_epoch()
    chunk, (item, *_) = one.chunks[1], one.groups[1]
    expected = smoothed(toy.truth[item][::6][one.clip_rows(item)], "gaussian")
    assert np.allclose(chunk.target_R[:8].numpy(), expected, atol=1e-7)


def test_rows_without_a_face_are_left_out_where_that_is_asked(toy: ClipToy) -> None:
    one = trainer(toy, clips={"zero_rows": "mask"})
    one.begin_epoch()
    item = one.groups[0][1]
    row = one.clip_rows(item)[2]
    one.data.targets[item][row] = 0.0
    weight_VL = one.step(0).weight_R.view(3, 8)
    repeated = one.clip_rows(item) == row
    assert weight_VL[1].tolist() == pytest.approx(np.where(repeated, 0, 1 / 3).tolist())
    assert (weight_VL[[0, 2]] == torch.tensor(1 / 3)).all()


# -- training


class Plain(nn.Module):
    """The network of the reference code from torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.picture = nn.GRU(7, 6, 2, batch_first=True, bidirectional=True)
        self.sound = nn.GRU(3, 4, 2, batch_first=True, bidirectional=True)
        self.gate, self.out, self.gate_out = nn.Linear(20, 20), nn.Linear(20, 3), nn.Linear(3, 3)

    def forward(self, x_VLD: Tensor) -> Tensor:
        f = torch.cat([self.picture(x_VLD[..., :7])[0], self.sound(x_VLD[..., 7:])[0]], dim=2)
        y = self.out(f * torch.sigmoid(self.gate(f)))
        return torch.sigmoid(y * torch.sigmoid(self.gate_out(y)))

    def take(self, state: dict[str, np.ndarray]) -> None:
        """Our parameters."""
        mine: dict[str, Tensor] = {}
        for number, name in enumerate(("picture", "sound")):
            for layer in range(2):
                for direction, suffix in enumerate(("", "_reverse")):
                    for kind, ours in (("ih", "inputs"), ("hh", "states")):
                        for what in ("weight", "bias"):
                            found = state[f"model.modalities.{number}.layers.{layer}.{ours}.{direction}.{what}"]
                            mine[f"{name}.{what}_{kind}_l{layer}{suffix}"] = torch.from_numpy(found)
        for ours, theirs in (("gate.linear", "gate"), ("out", "out"), ("gate_out.linear", "gate_out")):
            mine |= {f"{theirs}.{w}": torch.from_numpy(state[f"model.{ours}.{w}"]) for w in ("weight", "bias")}
        self.load_state_dict(mine)


@pytest.mark.parametrize("chosen", ["sequential", "vectorized"])
def test_against_a_plain_loop(toy: ClipToy, chosen: str) -> None:
    """Five epochs of two steps, with weight decay and a milestone, on the clips that the engine drew."""
    changes: dict[str, Any] = {
        "model": STILL,
        "training": {"selection": "last", "weight_decay": 1e-3, "milestones": [2, 4], "factor": 0.5},
    }
    fresh = trainer(toy, **changes)
    start = {name: value.numpy().copy() for name, value in fresh.network.state_dict().items()}
    predictions, summary, (path, _) = toy.train(chosen, engine={"strategy": chosen}, **changes)
    plain = Plain()
    plain.take(start)
    optimiser = torch.optim.Adam(plain.parameters(), lr=3e-3, weight_decay=1e-3)
    losses = []
    for epoch in range(5):
        fresh.state.epoch = epoch
        optimiser.param_groups[0]["lr"] = 3e-3 * 0.5 ** (epoch >= 2) * 0.5 ** (epoch >= 4)
        total = 0.0
        for number in fresh.begin_epoch():
            chunk = fresh.chunks[number]
            optimiser.zero_grad()
            loss = 2 * (plain(chunk.x_RD.view(3, 8, 10)) - chunk.target_R.view(3, 8, 3)).abs().mean()
            loss.backward()
            optimiser.step()
            total += loss.item() / 2
        losses.append(total)
    entry = summary["replicas"][0]
    assert entry["loss"] == pytest.approx(losses, rel=1e-4)
    found, other = arrays.load(path).under("parameters"), Plain()
    other.take(found)
    for ours, theirs in zip(other.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    # and what it predicts: clip by clip at one step per second, the last value repeated, linearly in between
    with torch.no_grad():
        x_nD = fresh.data.features["v1"]
        y_nC = torch.cat([plain(x_LD[None])[0] for x_LD in x_nD.split(8)])
        y_nC = torch.cat([y_nC, y_nC[-1:]])
        long = nn.functional.interpolate(y_nC.T[None], size=6 * (len(y_nC) - 1) + 1, mode="linear", align_corners=True)
    assert np.allclose(predictions["reactions/official/0/v1"], long[0].T[:110].numpy(), atol=1e-4)


@pytest.mark.long
def test_stacked_is_alone_up_to_rounding_with_dropout_and_every_loss(toy: ClipToy) -> None:
    for loss in ("l1", "kl", "l1_kl", "ccc"):
        both = {}
        for chosen in ("sequential", "vectorized"):
            predictions, summary, _ = toy.train(f"{loss}.{chosen}", loss=loss, engine={"strategy": chosen})
            both[chosen] = predictions, summary
        for name, y_TC in both["sequential"][0].items():
            assert np.allclose(y_TC, both["vectorized"][0][name], atol=2e-4), (loss, name)
        first, second = (both[c][1]["replicas"][0] for c in ("sequential", "vectorized"))
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-3)


def test_selection_takes_the_best_epoch_that_was_looked_at(toy: ClipToy) -> None:
    _, summary, _ = toy.train("looks", training={"epochs": 8, "validate_every": 3, "learning_rate": 0.02})
    for entry in summary["replicas"]:
        looked = [epoch for epoch, value in enumerate(entry["validation_loss"]) if value is not None]
        assert looked == [2, 5, 7]
        assert entry["selected_epoch"] == min(looked, key=lambda epoch: entry["validation_loss"][epoch])
    assert summary["selection"] == "best_validation" and not summary["oracle"]


def test_early_stopping_holds_out_training_videos(toy: ClipToy) -> None:
    recipe = {"selection": "early_stopping", "validation_share": 0.3, "validate_every": 1, "epochs": 3}
    _, summary, _ = toy.train("held", training=recipe)
    entry = summary["replicas"][0]
    assert len(entry["held_out"]) == 2 and not set(entry["held_out"]) & {*entry["fitted"], *entry["test"]}
    assert None not in entry["validation_loss"]


def test_it_learns(toy: ClipToy) -> None:
    recipe = {"epochs": 60, "learning_rate": 0.01, "milestones": []}
    _, summary, _ = toy.train("learns", training=recipe, repeats=1)
    entry = summary["replicas"][0]
    assert min(v for v in entry["validation_loss"] if v is not None) < 0.5 < entry["validation_loss"][2]


def test_an_ensemble_averages_and_its_whole_members_predict_what_has_no_labels(toy: ClipToy) -> None:
    predictions, summary, paths = toy.train("ensemble", members=3, fit_on_all=1, repeats=1)
    entries = summary["replicas"]
    assert [entry["fit_on_all"] for entry in entries] == [False, False, True]
    assert entries[2]["fitted"] == [*entries[0]["fitted"], "v0", "v1"] and entries[2]["epochs"] == 4
    assert entries[2]["selected_epoch"] == 3 and entries[2]["validation_loss"] == []
    own = [arrays.load(path).under("predictions") for path in paths]
    assert set(own[0]) == {"v0", "v1", "u0"} and set(own[2]) == {"u0"}
    for item, members in (("v0", own[:2]), ("u0", own)):
        mean = np.mean([one[item].astype(np.float64) for one in members], axis=0)
        assert np.allclose(predictions[f"reactions/official/0/{item}"], mean, atol=1e-7)
        assert predictions[f"reactions/official/0/{item}"].shape == toy.truth[item].shape


def test_of_an_ensemble_the_best_on_the_validation_videos_are_averaged(toy: ClipToy) -> None:
    """EEV 2021 sec. 4.5: "8 top models on the validation set", one of them trained on both sets."""
    predictions, summary, paths = toy.train("chosen", members=5, fit_on_all=1, best=3, repeats=1)
    entries = summary["replicas"]
    at_best = [entry["validation_loss"][entry["selected_epoch"]] for entry in entries[:4]]
    assert len(set(at_best)) == 4
    best = sorted(range(4), key=lambda number: at_best[number])[:2]
    assert [entry["averaged"] for entry in entries] == [number in {*best, 4} for number in range(5)]
    own = [arrays.load(path).under("predictions") for path in paths]
    for item, members in (("v0", best), ("u0", [*best, 4])):
        mean = np.mean([own[number][item].astype(np.float64) for number in members], axis=0)
        assert np.allclose(predictions[f"reactions/official/0/{item}"], mean, atol=1e-7)
    # the networks are the same whichever are averaged, so all of them are found stored
    everyone, summary, again = toy.train("chosen", members=5, fit_on_all=1, repeats=1)
    assert [entry["seconds"] for entry in summary["replicas"]] == [None] * 5 and again == paths
    assert all(entry["averaged"] for entry in summary["replicas"])
    assert not np.array_equal(everyone["reactions/official/0/v0"], predictions["reactions/official/0/v0"])


def test_the_best_are_not_asked_for_where_nothing_says_which_they_are(toy: ClipToy) -> None:
    with pytest.raises(ConfigError, match="nothing says which these are") as caught:
        toy.train("blind", members=3, best=2, training={"selection": "last"})
    assert "best_validation" in caught.value.remedy and not (toy.root / "blind" / "replicas").exists()


@pytest.mark.parametrize(
    ("best", "chosen"), [(None, [0, 1, 2, 3, 4]), (2, [1, 4]), (3, [0, 1, 4]), (5, [0, 1, 2, 3, 4])]
)
def test_members_by_their_validation_loss(best: int | None, chosen: list[int]) -> None:
    assert best_members([0.5, 0.2, 0.5, 0.9, None], [False] * 4 + [True], best) == chosen


@pytest.mark.parametrize("chosen", ["sequential", "vectorized"])
def test_a_stopped_training_goes_on_to_the_same_bytes(
    toy: ClipToy, monkeypatch: pytest.MonkeyPatch, chosen: str
) -> None:
    monkeypatch.setattr(checkpoints.HalfwayCheckpoint.__init__, "__defaults__", (0.0,))
    changes: dict[str, Any] = {"engine": {"strategy": chosen}, "members": 2, "fit_on_all": 1, "repeats": 1}
    toy.train("whole", **changes)
    original, seen = ClipTrainer.begin_epoch, []

    def stop(self: ClipTrainer) -> list[int]:
        seen.append(self.state.epoch)
        if self.state.epoch == 2 and len(seen) < 20:
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(ClipTrainer, "begin_epoch", stop)
    with pytest.raises(KeyboardInterrupt):
        toy.train("stopped", **changes)
    seen += [0] * 20
    toy.train("stopped", **changes)
    names = ["predictions.safetensors", "replicas/reactions.official.0.safetensors"]
    for name in names:
        assert (toy.root / "stopped" / name).read_bytes() == (toy.root / "whole" / name).read_bytes(), name


def test_neighbours_in_a_pack_change_nothing(toy: ClipToy) -> None:
    alone, _, _ = toy.train("one", repeats=1)
    among, _, _ = toy.train("three", repeats=3)
    assert all(np.array_equal(alone[name], among[name]) for name in alone)


def test_bank_stays_where_it_is_without_a_gpu(toy: ClipToy) -> None:
    data = trainer(toy).data
    assert isinstance(data, ClipData) and data.on(CPU) is data.bank_ND
    assert data.features["t0"].data_ptr() == data.bank_ND.data_ptr()


# -- what cannot be trained so


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {}, "sampler": "tns"}, "the sampler tns adds samples by a label distribution"),
        ({"training": {"selection": "pgl_rule"}}, "pgl_rule does not select an epoch"),
        ({"training": {"selection": "best_test"}}, "best_test does not select an epoch"),
    ],
)
def test_what_has_no_meaning_on_clips_is_refused(toy: ClipToy, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        toy.train("refused", **changes)


def test_other_models_have_no_recipe_for_clips(toy: ClipToy) -> None:
    run = toy.run() | {"model": "et", "model_config": {}}
    with pytest.raises(ConfigError, match="the model et has no recipe for clips"):
        OnClips().load(parse_run(run), toy.labels, toy.features, 1)


def test_stacked_places_share_one_engine(toy: ClipToy) -> None:
    """More replicas than places: the waiting ones take their turn."""
    few, _, _ = toy.train("few", repeats=3, engine=Engine(strategy="vectorized", places=2).model_dump(exclude={"runs"}))
    many, _, _ = toy.train(
        "many", repeats=3, engine=Engine(strategy="vectorized", places=3).model_dump(exclude={"runs"})
    )
    for name in few:
        assert np.allclose(few[name], many[name], atol=2e-4)
