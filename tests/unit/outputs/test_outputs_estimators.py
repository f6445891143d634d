"""The estimator of the utopia distribution as a setting of a row: its own file, or the reason why it has no votes."""

from __future__ import annotations

from typing import Any

import pytest

from utopia.config.load import load
from utopia.outputs.catalog import RunChoice
from utopia.outputs.plan import Plan


def planned(**changes: Any) -> Plan:
    return Plan(load({"study": "miniature", "tables": ["ulda_table_1"], "figures": [], **changes}))


def row(plan: Plan, dataset: str, estimator: str) -> str:
    """The id of a run whose row names an estimator."""
    choice = RunChoice(model="et", treatment="cwl", set={"distribution.estimator": estimator})
    return plan._run(dataset, choice, {}, "a table").id


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


def test_the_control_study_has_every_run_of_its_table_without_any_data() -> None:
    plan = Plan(load({"study": "few_observers"}))
    assert not plan.absent_runs
    estimators = {run.distribution["estimator"] for run in plan.runs.values()}
    assert estimators == {"convolution", "calibrated", "oracle"}
    assert len(plan.distributions()) == 3


def test_the_oracle_of_labels_of_all_annotators_is_a_hole() -> None:
    plan = planned(datasets={"tvsum": {"options": {"label_annotators": None}}})
    assert "who are not behind the label" in plan.absent_runs[row(plan, "tvsum", "oracle")]
    assert row(plan, "tvsum", "calibrated") in plan.runs
