"""What a job reads, makes and is given stands in one place, and Snakemake is told the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from checkout import environment

from utopia.config.load import load
from utopia.outputs.plan import Plan

ASK_SNAKEMAKE = """
import json, sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, DeploymentSettings, OutputSettings, Quietness
from snakemake.settings.types import ResourceSettings

with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    settings = ConfigSettings(config=json.loads(sys.argv[1]))
    made = api.workflow(ResourceSettings(cores=1), config_settings=settings, snakefile=Path("Snakefile"))
    dag, workflow = made.dag(DAGSettings(forceall=True)), made._workflow
    workflow.dag_settings, workflow.deployment_settings = dag.dag_settings, DeploymentSettings()
    workflow._prepare_dag(forceall=True, ignore_incomplete=True, lock_warn_only=True)
    workflow._build_dag()
    named = lambda paths: {role: [of] if isinstance(of, str) else [*of] for role, of in paths.items()}
    print(json.dumps([
        {"rule": job.rule.name, "wildcards": dict(job.wildcards_dict), "inputs": named(job.input), "read": [*job.input],
         "made": [*job.output], "params": dict(job.params.items())}
        for job in workflow.dag.jobs if job.rule.name != "all"
    ]))
"""


def of_snakemake(folder: Path, config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every job that Snakemake would run for a study from nothing, by its first output."""
    done = subprocess.run(
        [sys.executable, "-c", ASK_SNAKEMAKE, json.dumps(config)],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return {job["made"][0]: job for job in json.loads(done.stdout.splitlines()[-1])}


def of_plan(plan: Plan) -> dict[str, dict[str, Any]]:
    """The same of the plan."""
    return {
        job.made()[0]: {
            "rule": job.name,
            "wildcards": job.wildcards,
            "inputs": {role: [of] if isinstance(of, str) else [*of] for role, of in job.inputs.items()},
            "read": job.read(),
            "made": job.made(),
            "params": json.loads(json.dumps(plan.params(job.rule, job.names))),
        }
        for job in plan.jobs
    }


STUDIES: dict[str, dict[str, Any]] = {
    "the miniature": {},
    "two tables on some data sets": {
        "generated": {"items": {"summe": 6, "eev": 7, "liris": 0, "pmemo": 0, "tvsum": 0}},
        "tables": ["ulda_table_1", "eev_table_4"],
        "figures": ["beyond_slices_summe", "ulda_figure_3"],
    },
}


@pytest.mark.parametrize("study", STUDIES)
def test_snakemake_runs_the_jobs_of_the_plan_with_its_files_and_parameters(
    study: str, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    theirs, ours = of_snakemake(repository, STUDIES[study]), of_plan(Plan(load(STUDIES[study])))
    assert theirs.keys() == ours.keys()
    for path, job in ours.items():
        assert job == theirs[path], path


def test_jobs_come_after_those_that_make_what_they_read(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    plan = Plan(load())
    makers = {path: number for number, job in enumerate(plan.jobs) for path in job.made()}
    for number, job in enumerate(plan.jobs):
        assert all(makers.get(path, -1) < number for path in job.read()), job.name
    assert {*plan.targets()} <= makers.keys()


def test_an_unknown_job_is_a_key_error_that_names_it(repository: Path) -> None:
    with pytest.raises(KeyError, match="no_such_table"):
        Plan(load()).params("render_table", {"table": "no_such_table"})
