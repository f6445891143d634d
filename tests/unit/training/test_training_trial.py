"""The micro-benchmark of a machine: every kind of thing that it tries, what it cannot try, and when time is over."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from utopia.config.load import load
from utopia.plan import rates
from utopia.plan.plan import Plan
from utopia.training import trial
from utopia.training.trainer import ReplicaJob


def test_all_of_the_miniature_can_be_tried() -> None:
    """The kinds of training (but for clips) and of extractor that the study has; each is asked for once."""
    plan = Plan(load({"study": "miniature", "results": "/nowhere"}))
    asked = rates.to_measure(plan, 300)
    keys = [one["key"] for one in asked["trainings"]]
    assert len(keys) == len(set(keys)) and {key.split(".")[1] for key in keys} == {"et", "pgl_sum", "rmn"}
    assert {one["extractor"] for one in asked["extractors"]} == {"googlenet", "swin_l", "vggish"}
    small: dict[str, Any] = {
        **asked,
        "trainings": [one | {"frames": 40, "width": 16} for one in asked["trainings"][:3]],
    }
    done = subprocess.run(
        [sys.executable, "-m", "utopia.training.trial"],
        input=json.dumps(small),
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["left_out"] == {}
    assert set(found["training"]) == set(keys[:3])
    assert set(found["extraction"]) == {one["key"] for one in asked["extractors"]}
    assert all(each["per_frame"] > 0 for each in found["training"].values())
    assert all(each["per_row"] > 0 for each in found["extraction"].values())


def test_what_cannot_be_tried_is_left_out_with_the_reason() -> None:
    unknown = {"key": "x", "frames": 10, "width": 4, "run": {"model": "no_such", "model_config": {"training": {}}}}
    late = {"seconds": -1, "trainings": [unknown], "extractors": []}
    assert trial.measure(late)["left_out"] == {"x": "there was no time left for it"}
    found = trial.measure({**late, "seconds": 60})
    assert list(found["left_out"]) == ["x"] and "no_such" in found["left_out"]["x"] and not found["training"]


def test_a_longer_training_costs_no_more_per_frame_and_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rate is that of an epoch: what a training's start costs is not in it."""
    study = trial.RandomStudy(tmp_path, 3, 40, 16)
    plan = Plan(load({"study": "miniature", "results": "/nowhere"}))
    settings = next(run for run in plan.runs.values() if run.settings.get("model") == "et").settings["model_config"]
    counted: list[int] = []
    original = trial.train_one

    def counting(job: ReplicaJob, *rest: Any) -> Any:
        counted.append(job.run.settings["training"]["epochs"])
        return original(job, *rest)

    monkeypatch.setattr(trial, "train_one", counting)
    assert trial.training_seconds(study, "et", {**settings, "slices": {"enabled": False}}) > 0
    assert counted == [1, 1, 3]
