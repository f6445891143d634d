"""Identity, random streams and the validation split of replicas."""

from __future__ import annotations

from typing import Any

import pytest

from utopia.errors import ConfigError
from utopia.training.replica import Replica
from utopia.training.settings import Run, parse_run

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


def run(**changes: Any) -> Run:
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
