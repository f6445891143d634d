"""Identity, random streams and the validation split of replicas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from frame_toy import Toy

from utopia import arrays
from utopia.config.engine import Engine
from utopia.config.study import Treatment
from utopia.errors import ConfigError
from utopia.seeds import derive
from utopia.training import clips, series
from utopia.training.parts import Parts
from utopia.training.replica import Replica
from utopia.training.run import mode_named
from utopia.training.settings import RunSettings, parse_run
from utopia.training.trainer import ReplicaJob

BASE: dict[str, Any] = {
    "id": "summe.et.baseline",
    "dataset": "summe",
    "model": "et",
    "features": ["x"],
    "seed": 2307,
    "repeats": 3,
    "targets": ["importance"],
    "low": 0.0,
    "high": 1.0,
}


def run(**changes: Any) -> RunSettings:
    return parse_run(BASE | changes)


def test_treatments_share_random_numbers() -> None:
    replica = Replica("importance", "0", 1)
    baseline, treated = run(), run(id="summe.et.cwl", treatment="cwl", loss="cwl", sampler="tns", loss_config={"a": 1})
    assert replica.seed(baseline) == replica.seed(treated)
    for purpose in ("parameters", "order", "dropout", "samples"):
        assert replica.stream(baseline, purpose) == replica.stream(treated, purpose)


def test_every_other_part_of_the_identity_changes_the_seed() -> None:
    seeds = [Replica(t, f, r).seed(run()) for t in ("valence", "arousal") for f in "01" for r in range(3)]
    seeds += [
        Replica("valence", "0", 0).seed(run(**change))
        for change in ({"model": "rmn"}, {"dataset": "tvsum"}, {"seed": 1})
    ]
    seeds += [
        Replica("valence", "0", 0).stream(run(), purpose) for purpose in ("parameters", "order", "dropout", "samples")
    ]
    assert len(set(seeds)) == len(seeds)


def test_hold_out_is_a_partition_shared_by_models_targets_and_treatments() -> None:
    train = [f"video_{i}" for i in range(20)]
    fitted, held = Replica("importance", "0", 0).hold_out(run(), train, 0.1)
    assert sorted(fitted + held) == sorted(train) and len(held) == 2
    assert fitted == [item for item in train if item in fitted]
    same = Replica("other", "0", 0).hold_out(run(model="rmn", loss="cwl"), train[::-1], 0.1)
    assert set(same[1]) == set(held)
    others = {tuple(sorted(Replica("importance", "0", r).hold_out(run(), train, 0.1)[1])) for r in range(10)}
    assert len(others) > 5
    missing = next(item for item in train if item not in held)
    assert set(Replica("importance", "0", 0).hold_out(run(), [i for i in train if i != missing], 0.1)[1]) == set(held)


def test_hold_out_takes_at_least_one_video_or_none() -> None:
    replica = Replica("importance", "0", 0)
    assert len(replica.hold_out(run(), ["a", "b"], 0.01)[1]) == 1
    assert replica.hold_out(run(), ["a", "b"], 0.0) == (["a", "b"], [])


def test_a_run_with_faults_names_all_of_them() -> None:
    faulty = BASE | {"bins": 3, "repeats": 0}
    del faulty["low"]
    with pytest.raises(ConfigError, match=r"summe\.et\.baseline") as error:
        parse_run(faulty)
    assert all(word in str(error.value) for word in ("bins", "repeats", "low"))


def test_names_and_repeats_are_not_determinants() -> None:
    assert run().determinants() == run(id="x", treatment="y", repeats=9, targets=["a", "b"]).determinants()
    assert run().determinants() != run(code="other").determinants()
    assert run().determinants() != run(model_config={"layers": 2}).determinants()


# -- old names, in configurations, records of jobs and digests


@pytest.mark.parametrize(("old", "new"), [("alone", "sequential"), ("stacked", "vectorized")])
def test_the_old_name_of_a_strategy_is_read_and_its_digest_kept(old: str, new: str) -> None:
    """A checkpoint's key was made of the old name: with another text, stored replicas would be trained again."""
    assert Engine.model_validate({"strategy": old}) == Engine.model_validate({"strategy": new})
    assert run(engine={"strategy": old}).strategy("cpu") == new
    assert run(engine={"strategy": new}).numerics_key("cpu") == [old]


def test_a_record_with_the_old_name_of_fit_on_all_is_read() -> None:
    assert run(members=3, whole=1) == run(members=3, fit_on_all=1)
    assert "whole" not in run(whole=1).model_dump(by_alias=True)


def test_a_configuration_with_the_old_name_of_fit_on_all_is_told_the_new_one() -> None:
    with pytest.raises(ValueError, match="`whole` is called `fit_on_all` now"):
        Treatment.model_validate({"members": 3, "whole": 1})


def test_a_training_mode_is_found_by_its_old_name_too() -> None:
    assert mode_named("frames") is mode_named("series") is series.MODE
    assert mode_named("clips") is clips.MODE


def test_the_streams_of_frames_keep_the_name_that_their_seeds_were_made_with(toy: Toy) -> None:
    settings, plan = parse_run(toy.run()), arrays.load(toy.distribution)
    data = series.MODE.load(settings, toy.labels, toy.features, 2)
    replica = Replica("importance", data.folds[0].name, 0)
    job = ReplicaJob(replica, settings, Parts.of(settings, plan), data, data.folds[0], plan)
    trainer = series.MODE.trainer(job, torch.device("cpu"), padded=False)
    number = derive(derive(replica.seed(settings), "frames"), trainer.fitted[0])
    assert trainer.chunks[0].new_key == derive(number, "new samples")
