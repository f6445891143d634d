"""What the study at hand costs: against a real run's records, by hand, and what is not known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from utopia import files
from utopia.config.load import REPOSITORY, load
from utopia.datasets.eev import EXPRESSIONS
from utopia.plan import cost, price, rates
from utopia.plan.plan import Plan


@pytest.fixture(scope="module")
def miniature() -> Plan:
    return Plan(load({"study": "miniature", "results": "/nowhere"}))


def test_every_job_of_the_plan_has_a_price(miniature: Plan) -> None:
    found = price.price(miniature)
    assert [each.job for each in found.jobs] == miniature.jobs
    assert all(each.seconds > 0 for each in found.jobs)
    assert sum(stage.jobs for stage in found.stages) == len(miniature.jobs)
    assert sum(each.seconds for each in found.jobs) == pytest.approx(found.core_seconds)
    assert not found.unknown and found.gpu_seconds is None
    told = found.as_dict(1, 2)
    json.dumps(told, allow_nan=False)
    assert told["core_hours"] == pytest.approx(found.core_seconds / 3600, abs=1e-3)


def test_a_study_of_real_data_prices_what_every_study_generates() -> None:
    """75 series of 120 s without pictures, and labels chosen of them: seconds, not hours, and no length is unknown."""
    plan = Plan(load({"study": "open", "tables": ["beyond_table_2"], "figures": [], "results": "/nowhere"}))
    found = price.price(plan)
    assert [each.job for each in found.jobs] == plan.jobs
    for rule in ("generate_miniature", "choose_annotators"):
        own = [each for each in found.jobs if each.job.rule == rule]
        assert own and all(each.seconds < 5 for each in own)
    assert not any("planted_votes" in what for what in found.unknown)
    assert cost.lengths_of(plan.study, plan.datasets["planted_votes"], Path("/nowhere")) == [120.0] * 75


def test_a_real_first_run_costs_what_the_price_says() -> None:
    """The oracle is the CPU time of every job of a run of the miniature (tests/data/miniature_jobs.json)."""
    facts = json.loads((REPOSITORY / "tests" / "data" / "miniature_jobs.json").read_text())
    taken = {"train": 0.0, "extract": 0.0, "": 0.0}
    told = dict(taken)
    for rule, _, _, cpu in facts["jobs"]:
        for kind in {rule.partition("_")[0], ""} & set(taken):
            taken[kind] += cpu
            told[kind] += facts["expected"][rule]
    for kind, seconds in taken.items():
        assert 0.5 < told[kind] / seconds < 2, kind


def test_a_training_by_hand(tmp_path: Path) -> None:
    """ULDA's PGL-SUM on SumMe from the published features: frames, folds, epochs, replicas."""
    settings = tmp_path / "settings.yaml"
    settings.write_text("tables: [ulda_table_2]\nfigures: []\nengine: {strategy: sequential}\n")
    (tmp_path / "summe").mkdir()
    plan = Plan(load({"study": "miniature", "results": "/nowhere"}, [settings]))
    found = price.price(plan)
    (unit,) = [unit for unit in found.units if unit.unit == "a training of pgl_sum on summe"]
    videos, frames = 10, 10 * 60 * 10 / 15
    run = next(run for run in plan.runs.values() if run.id == "summe.pgl_sum.baseline")
    epochs = run.settings["model_config"]["training"]["epochs"]
    narrow = rates.TRAINING["pgl_sum"][0]
    by_hand = epochs * 0.8 * (frames * narrow.per_frame + videos * narrow.per_video)
    assert narrow.width == 32 and unit.seconds == pytest.approx(by_hand)
    trained = [run for run in plan.runs.values() if run.dataset == "summe" and run.settings.get("model") == "pgl_sum"]
    assert unit.count == len(trained) * 5 * 3  # folds, repeats


def test_folds_that_a_run_tests_together_are_counted_once() -> None:
    """The control takes studyforrest's eight segments as two halves; a run of the table beside it takes all eight."""
    found = price.price(Plan(load({"study": "open", "results": "/nowhere", "tables": ["beyond_table_2"]})))
    (unit,) = [unit for unit in found.units if unit.unit == "a training of rmn on studyforrest"]
    runs = 4 * 2  # without a treatment and CWL with three estimators, on labels of three and of all who do not judge
    assert unit.count == runs * 2 * 2 * 3  # targets, halves, repeats


def test_one_table_is_cheaper_than_all_and_shares_its_training_jobs(miniature: Plan) -> None:
    found = price.price(miniature)
    assert set(found.tables) == set(miniature.tables)
    assert all(0 < seconds < found.core_seconds for seconds in found.tables.values())
    alone = price.price(Plan(miniature.study.model_copy(update={"tables": ["ulda_table_7"], "figures": []})))
    page = [each.seconds for each in alone.jobs if each.job.rule in ("report_coverage", "render_page")]
    assert found.tables["ulda_table_7"] == pytest.approx(alone.core_seconds - sum(page), rel=0.1)


def test_more_nodes_are_faster_down_to_the_longest_jobs(miniature: Plan) -> None:
    found = price.price(miniature)
    one, two, many = (found.wall_seconds(nodes, 2) for nodes in (1, 2, 1000))
    assert one > two > many >= max(each.seconds for each in found.jobs) / 2
    assert one >= found.core_seconds / 2


def test_pictures_of_half_the_side_cost_a_quarter() -> None:
    options = load({"study": "paper"}).features["googlenet"].options  # type: ignore[attr-defined]
    small = options.model_copy(update={"size": options.size // 2})
    full = cost.seconds_per_row("googlenet", options)
    assert full == cost.CPU_SECONDS_PER_ROW["googlenet"]
    assert cost.seconds_per_row("googlenet", small) == pytest.approx(full / 4)
    assert cost.seconds_per_row("vggish_music", options) is None


def test_rates_of_this_machine_come_before_those_of_another(miniature: Plan, tmp_path: Path) -> None:
    import socket

    run = next(run for run in miniature.runs.values() if run.id == "liris.et.baseline")
    assert rates.Rates(tmp_path).training(run).source.startswith("measured on another machine")  # type: ignore[union-attr]
    measured = {
        "host": socket.gethostname(), "seconds": 30.0,
        "training": {rates.key_of(run): {"per_frame": 2.5e-3, "device": "cuda"}}, "extraction": {},
    }  # fmt: skip
    files.write_json(tmp_path / rates.NAME, measured)
    found = rates.Rates(tmp_path).training(run)
    assert found is not None and found.per_frame == 2.5e-3 and found.on_gpu
    assert found.source.startswith("measured here: micro-benchmark of 30 s")
    files.write_json(tmp_path / rates.NAME, {**measured, "host": "another"})
    assert rates.Rates(tmp_path).training(run).per_frame != 2.5e-3  # type: ignore[union-attr]
    (tmp_path / rates.NAME).write_text("{")
    assert rates.Rates(tmp_path).training(run) is not None, "what cannot be read is no rate"


def test_what_nobody_measured_is_named_and_in_no_sum(tmp_path: Path) -> None:
    plan = Plan(load({"study": "miniature", "results": "/nowhere"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rates, "TRAINING", {name: each for name, each in rates.TRAINING.items() if name != "rmn"})
        found = price.price(plan)
    assert found.unknown == ["training of rmn"]
    assert not [unit for unit in found.units if "rmn" in unit.unit]
    assert "unknown, and in no sum: training of rmn" in "\n".join(price.in_words(found.as_dict(1, 2)))


def test_an_extraction_job_costs_by_the_seconds_of_its_videos(tmp_path: Path) -> None:
    """EEV's rows tell lengths: one job has the long video, one the three short ones."""
    data = tmp_path / "data" / "eev"
    (data / "videos").mkdir(parents=True)
    lengths = {"train.csv": [306, 102], "val.csv": [102], "test.csv": [102]}
    number = 0
    for name, frames in lengths.items():
        labels = "" if name == "test.csv" else "," + ",".join(EXPRESSIONS)
        rows = [f"YouTube ID,Timestamp (microseconds){labels}"]
        for count in frames:
            values = "" if name == "test.csv" else ",0.1" * len(EXPRESSIONS)
            rows += [f"{number:011d},{frame * 1_000_000 // 6}{values}" for frame in range(count)]
            (data / "videos" / f"{number:011d}.mp4").touch()
            number += 1
        (data / name).write_text("\n".join(rows) + "\n")
    chosen = {"study": "paper", "data": str(tmp_path / "data"), "results": "/nowhere", "only_datasets": ["eev"]}
    random = {"googlenet": {"options": {"weights": "random"}}}
    plan = Plan(load({**chosen, "features": random, "datasets": {"eev": {"shard": 2, "features": [["googlenet"]]}}}))
    assert [len(job) for job in plan.datasets["eev"].shards] == [1, 3]
    extraction = [job_cost for job_cost in price.price(plan).jobs if job_cost.job.rule == "extract_features"]
    start = price.WORKFLOW + price.START["extract_features"]
    seconds = [job_cost.seconds - start for job_cost in extraction]
    assert seconds[0] == pytest.approx(seconds[1]) and seconds[0] > 0
    assert extraction[0].disk_bytes == pytest.approx(extraction[1].disk_bytes)
