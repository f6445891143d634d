"""Which runs share a training job, and what the jobs are called."""

from __future__ import annotations

from typing import Any

import pytest

from utopia.cli.run import by_batch
from utopia.config.engine import TREATMENT
from utopia.config.load import load
from utopia.plan.jobs import family
from utopia.plan.plan import Plan
from utopia.plan.runs import Run, batches


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan(load())


def trained(plan: Plan) -> list[Run]:
    return [run for run in plan.runs.values() if run.reference is None]


def without_treatment(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.settings.items() if name not in TREATMENT}


def test_a_batch_holds_all_runs_that_differ_in_treatment_only(plan: Plan) -> None:
    shared = {}
    for name, runs in batches(plan.runs.values(), 10_000).items():
        settings = [
            ({key: value for key, value in run.settings.items() if key not in TREATMENT}, run.labels_key)
            for run in runs
        ]
        assert all(each == settings[0] for each in settings), name
        assert settings[0] not in shared.values(), f"{name} could be trained with another batch"
        shared[name] = settings[0]
    assert sum(map(len, batches(plan.runs.values(), 10_000).values())) == len(trained(plan))


@pytest.mark.parametrize("left_out", range(0, 60, 7))
def test_a_row_more_or_less_renames_no_job(plan: Plan, left_out: int) -> None:
    runs = trained(plan)
    name_of = {run.id: name for name, batch in batches(runs, 10_000).items() for run in batch}
    fewer = batches(runs[:left_out] + runs[left_out + 1 :], 10_000)
    assert {run.id: name for name, batch in fewer.items() for run in batch}.items() <= name_of.items()


def test_names_say_what_is_in_a_batch(plan: Plan) -> None:
    names = batches(plan.runs.values(), 10_000)
    assert {"liris_et", "summe_pgl_sum", "eev_bi_gru"} <= names.keys()
    assert all(not run.variant for run in names["liris_et"])


def test_a_long_batch_comes_in_pieces_of_about_the_same_size(plan: Plan) -> None:
    (runs,) = [batch for name, batch in batches(plan.runs.values(), 10_000).items() if name == "liris_et"]
    assert len(runs) > 3
    pieces = batches(runs, 3)
    assert [*pieces][:2] == ["liris_et", "liris_et_2"]
    assert [run.id for piece in pieces.values() for run in piece] == [run.id for run in runs]
    assert max(map(len, pieces.values())) <= 3
    assert max(map(len, pieces.values())) - min(map(len, pieces.values())) <= 1


def test_a_family_of_rules_means_those_of_every_batch() -> None:
    words = [
        "--set-resources",
        "train:mem_mb=9",
        "evaluate_reference:mem_mb=1",
        "--set-threads",
        "train=4",
        "-R",
        "evaluate",
    ]
    assert by_batch(words, ["a_et", "b_et"]) == [
        "--set-resources", "train_a_et:mem_mb=9", "train_b_et:mem_mb=9", "evaluate_reference:mem_mb=1",
        "--set-threads", "train_a_et=4", "train_b_et=4", "-R", "evaluate_a_et", "evaluate_b_et",
    ]  # fmt: skip
    assert by_batch(["results/train/x.csv", "training", "train_a_et"], ["a_et"]) == [
        "results/train/x.csv", "training", "train_a_et",
    ]  # fmt: skip
    assert [family(rule) for rule in ("train_a_et", "evaluate_a_et_2", "evaluate_reference", "render_table")] == [
        "train", "evaluate", "evaluate_reference", "render_table",
    ]  # fmt: skip
