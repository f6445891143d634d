"""The estimator of the utopia distribution as a setting of a row: its own file, or the reason why it has no votes."""

from __future__ import annotations

from typing import Any

import pytest

from utopia.config.load import load
from utopia.errors import ConfigError
from utopia.plan.catalog import RunChoice
from utopia.plan.plan import Plan


def planned(**changes: Any) -> Plan:
    return Plan(load({"study": "miniature", "tables": ["ulda_table_1"], "figures": [], **changes}))


def row(plan: Plan, dataset: str, estimator: str) -> str:
    """The id of a run whose row names an estimator."""
    choice = RunChoice(model="et", treatment="cwl", set={"distribution.estimator": estimator})
    return plan.add_run(dataset, choice, {}, "a table").id


@pytest.mark.parametrize("estimator", ["calibrated", "oracle"])
def test_an_estimator_has_a_run_and_a_distribution_file_of_its_own(estimator: str) -> None:
    plan = planned()
    run = row(plan, "tvsum", estimator)
    assert run == f"tvsum.et.cwl@estimator={estimator}"
    path = plan.distribution("tvsum", plan.runs[run].distribution_key)
    assert path.endswith(f"distribution.b10_d0.3_s0.1_T10_estimator={estimator}.safetensors")
    assert plan.distributions()[path]["settings"]["estimator"] == estimator


def test_the_convolution_is_the_default_and_leaves_no_trace_in_names() -> None:
    plan = planned()
    run = row(plan, "tvsum", "convolution")
    assert run == "tvsum.et.cwl"
    assert plan.runs[run].distribution_key == "b10_d0.3_s0.1_T10"


@pytest.mark.parametrize("estimator", ["calibrated", "oracle"])
def test_a_data_set_of_mean_votes_is_a_hole_with_its_reason(estimator: str) -> None:
    plan = planned()
    run = row(plan, "liris", estimator)
    assert run not in plan.runs
    assert "needs the votes of single annotators" in plan.absent_runs[run]


@pytest.mark.parametrize("study", ["few_observers", "open"])
def test_the_control_has_every_run_of_its_table_without_any_data(study: str) -> None:
    plan = Plan(load({"study": study, "tables": ["beyond_table_2"], "figures": []}))
    assert not plan.absent_runs
    trained = [run for run in plan.runs.values() if run.reference is None]
    for dataset in ("studyforrest", "planted_votes"):
        for annotators in (3, None):
            own = [run for run in trained if (run.dataset, run.labelling.annotators) == (dataset, annotators)]
            assert {run.settings["model"] for run in own} == {"et", "pgl_sum", "rmn"}
            weighed = {run.distribution["estimator"] for run in own if run.settings["loss"] == "cwl"}
            assert weighed == {"convolution", "calibrated", "oracle"}
    for batch, runs in plan.batches.items():
        (labels,) = {plan.labels(run.dataset, run.labels_key) for run in runs}
        assert plan.job("train", {"batch": batch}).inputs["labels"] == labels
        assert plan.job("evaluate", {"batch": batch}).inputs["labels"] == labels
        for run in runs:
            key = {"dataset": run.dataset, "key": run.distribution_key}
            assert plan.job("approximate_distribution", key).inputs["labels"] == labels


def test_who_labels_shows_in_the_ids_of_runs_and_references_and_not_where_nobody_is_chosen() -> None:
    plan = planned()
    few = RunChoice(model="et", treatment="cwl", set={"labels.annotators": 3, "labels.judges": 4})
    assert plan.add_run("tvsum", few, {}, "a table").id == "tvsum.et.cwl@annotators=3,judges=4"
    people = RunChoice(reference="human")
    assert plan.add_run("tvsum", people, {"labels.judges": 4, "model.heads": 2}, "a table").id == (
        "tvsum.reference.human@judges=4"
    )
    assert plan.add_run("tvsum", people, {"labels.judges": 0}, "a table").id == "tvsum.reference.human"
    with pytest.raises(ConfigError, match="annotators"):
        plan.add_run("tvsum", RunChoice(reference="human", set={"labels.annotators": 0}), {}, "a table")


def test_a_choice_of_annotators_on_mean_votes_is_a_hole() -> None:
    plan = planned()
    for choice in (RunChoice(reference="oracle"), RunChoice(model="et", treatment="baseline")):
        run = plan.add_run("liris", choice, {"labels.annotators": 3}, "a table").id
        assert "a choice of annotators needs the votes of single annotators" in plan.absent_runs[run]


def test_held_out_judges_are_enough_for_the_oracle() -> None:
    plan = planned(datasets={"tvsum": {"options": {"label_annotators": None}}})
    choice = RunChoice(model="et", treatment="cwl", set={"labels.judges": 4, "distribution.estimator": "oracle"})
    assert plan.add_run("tvsum", choice, {}, "a table").id in plan.runs


def test_the_oracle_of_labels_of_all_annotators_is_a_hole() -> None:
    plan = planned(datasets={"tvsum": {"options": {"label_annotators": None}}})
    assert "who are not behind the label" in plan.absent_runs[row(plan, "tvsum", "oracle")]
    assert row(plan, "tvsum", "calibrated") in plan.runs
