"""The price of a study of N videos: hand-computed sums, what grows with what, and what is not known."""

from __future__ import annotations

import pytest

from utopia.config.load import load
from utopia.errors import ConfigError
from utopia.plan import cost, rates, scale
from utopia.plan.plan import Plan


@pytest.fixture(scope="module")
def paper() -> Plan:
    return Plan(load({"study": "paper", "results": "/nowhere"}))


def stages(found: scale.ScaledPrice) -> dict[str, scale.ScaledStage]:
    return {one.stage: one for one in found.stages}


def test_extraction_is_what_its_networks_take(paper: Plan) -> None:
    found = stages(scale.price(paper, "summe", 1000, seconds=100.0))["extraction"]
    rows = 1000 * 100.0 * 2.0  # GoogLeNet at two frames per second: the first set that is extracted
    expected = 1000 * 100.0 * cost.DECODE_CPU_SECONDS_PER_SECOND + rows * cost.CPU_SECONDS_PER_ROW["googlenet"]
    assert found.core_seconds == pytest.approx(expected)
    assert found.disk_bytes == rows * (1024 * 4 + 8)
    assert found.jobs == 200  # shards of five


def test_training_counts_every_replica_and_epoch_at_the_rate_of_its_model(paper: Plan) -> None:
    found = scale.price(paper, "pmemo", 100, seconds=40.0)
    by_model = {"et": 3, "pgl_sum": 3, "rmn": 2}  # ULDA Table 7: baseline, CWL and, but for RMN, TNS + CWL
    frames = 100 * 40.0 * 2.0 * 0.8
    settings = {run.settings["model"]: run.settings for run in _runs(paper, "pmemo")}
    rates = {"et": 4.1e-4, "pgl_sum": 6.0e-5, "rmn": 7.0e-5}  # benchmarks/rates.py; PGL-SUM is 128 wide on PMEmo
    expected = sum(
        count * 2 * 3 * settings[model]["model_config"]["training"]["epochs"] * frames * rates[model]
        for model, count in by_model.items()
    )
    assert stages(found)["training"].core_seconds == pytest.approx(expected)
    assert stages(found)["training"].gpu_seconds is None and found.as_dict()["gpu_hours"] is None


def _runs(plan: Plan, dataset: str):  # type: ignore[no-untyped-def]
    return [run for cell in plan.cells for run in cell.runs if run.dataset == dataset and run.reference is None]


def test_ten_times_the_videos_is_ten_times_the_work_but_not_the_trainings(paper: Plan) -> None:
    small = scale.price(paper, "tvsum", 100)
    large = scale.price(paper, "tvsum", 1000)
    for name in ("list_inputs", "extraction", "training"):
        assert stages(large)[name].core_seconds == pytest.approx(10 * stages(small)[name].core_seconds), name
    assert stages(large)["extraction"].jobs == 10 * stages(small)["extraction"].jobs
    assert stages(large)["training"].jobs == stages(small)["training"].jobs
    many, one = scale.price(paper, "tvsum", 1000, nodes=8), scale.price(paper, "tvsum", 1000, nodes=1)
    assert many.wall_seconds() < one.wall_seconds()
    assert many.as_dict()["core_hours"] == one.as_dict()["core_hours"]


def test_what_was_never_measured_is_named_and_not_guessed(paper: Plan) -> None:
    assert "extractor vggish_music" in scale.price(paper, "liris", 10, seconds=600.0).unknown
    with pytest.raises(ConfigError, match="length of liris's videos is not known"):
        scale.price(paper, "liris", 10)
    with pytest.raises(ConfigError, match="no data set 'x'"):
        scale.price(paper, "x", 10)


def test_an_epoch_of_clips_takes_one_of_every_video_however_long_it_is(paper: Plan) -> None:
    short, long = (stages(scale.price(paper, "eev", 1000, seconds=each))["training"] for each in (100.0, 400.0))
    assert short.core_seconds == pytest.approx(long.core_seconds)


def test_the_study_s_own_trainings_give_the_rate() -> None:
    replica = {"seconds": 6.0, "epochs": 10, "fitted": ["a", "b"]}
    summary = {
        "settings": {"model": "et", "dataset": "liris"},
        "device": "cuda",
        "items": {"a": 100, "b": 200, "c": 900},
        "replicas": [replica, {**replica, "seconds": None}],
    }
    found = rates.of_trainings([summary])
    for key in (("liris", "et"), ("", "et")):
        assert found[key].per_frame == pytest.approx(6.0 / 3000) and found[key].on_gpu
        assert found[key].source.startswith("measured here: this study's own trainings")
