"""What a job reads, makes and is given is in one place, and Snakemake is told the same."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkout import environment

from utopia.config.load import load
from utopia.figures.render import ordered
from utopia.plan import jobs
from utopia.plan.jobs import PlannedJob
from utopia.plan.plan import Plan
from utopia.training.settings import RunSettings

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


def test_a_study_of_one_table_reads_and_extracts_only_what_that_table_needs() -> None:
    plan = Plan(load({"tables": ["ulda_table_7"], "figures": []}))
    assert {job.names.get("dataset", "pmemo") for job in plan.jobs} == {"pmemo"}
    coverage = next(job for job in plan.jobs if job.rule == "report_coverage")
    assert coverage.inputs["manifests"] == [plan.manifest("pmemo")]
    # A table of references needs labels, and no features at all.
    quoted = Plan(load({"tables": ["ulda_table_6"], "figures": []}))
    extracted = {job.names["dataset"] for job in quoted.jobs if job.rule == "extract_features"}
    assert extracted == {run.dataset for run in quoted.runs.values() if run.reference is None}


def test_the_inputs_of_coverage_are_all_that_it_reads_of_a_study_without_data() -> None:
    """The cards of absent data sets tell how many items are missing."""
    plan = Plan(load({"study": "paper"}))
    coverage = next(job for job in plan.jobs if job.rule == "report_coverage")
    cards = {Path(path).stem for path in coverage.inputs["cards"]}
    assert cards == {"case", "eev", "liris", "pmemo", "summe", "tvsum"}
    assert coverage.inputs["manifests"] == ["results/paper/inputs/studyforrest.json"], "it comes with the project"


# -- no default hides a parameter


def given(plan: Plan, rule: str) -> list[dict[str, Any]]:
    return [plan.params(job.rule, job.names) for job in plan.jobs if job.rule == rule]


def test_a_training_is_given_every_parameter_that_it_has() -> None:
    """A default that nobody overrides would be a constant: it could change, and no record would say so."""
    known = {field.alias or name for name, field in RunSettings.model_fields.items()}
    for params in given(Plan(load()), "train"):
        for run in params["runs"]:
            assert run.keys() == known, run["id"]


def test_whatever_a_job_takes_a_default_for_is_always_given() -> None:
    plan = Plan(load())
    tables = [params["settings"]["table"] for params in given(plan, "render_table")]
    by_name = {
        "run": [run for params in given(plan, "evaluate") for run in params["runs"]],
        "table": tables,
        "column": [column for table in tables for column in table["columns"]],
        "settings": [each for params in given(plan, "extract_features") for each in params["features"].values()],
    }
    package = Path(jobs.__file__).parents[1]
    files = {"run": "evaluation/*", "table": "tables/*", "column": "tables/*", "settings": "features/maker"}
    looked_at = 0
    for name, pattern in files.items():
        for path in package.glob(f"{pattern}.py"):
            for key in defaults(path, name):
                looked_at += 1
                assert all(key in one for one in by_name[name]), f"{path.name}: {name}.get({key!r}, ...) hides it"
    assert looked_at > 5


@pytest.mark.parametrize("study", ["miniature", "open", "paper"])
def test_a_figure_drawn_again_from_its_record_has_its_runs_in_the_catalogue_s_order(study: str) -> None:
    plan = Plan(load({"study": study, "results": "/nowhere"}))
    for name, figure in plan.figures.items():
        settings = json.loads(json.dumps(plan.figure_settings(name), sort_keys=True))  # as a record has them
        shown = [role for role in figure.runs if role in settings["runs"]]
        assert [*ordered(settings["runs"], settings["figure"])] == shown, name


def defaults(path: Path, name: str) -> Iterator[str]:
    """The keys for which a module has a default where it asks a mapping of some name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(ast.Attribute(ast.Name(id=asked), "get"), [ast.Constant(str(key)), default]) if asked == name:
                if not isinstance(default, ast.Call):  # what another parameter gives hides nothing
                    yield key


def test_the_study_s_seed_reaches_everything_that_is_random() -> None:
    before, after = Plan(load({"seed": 1})), Plan(load({"seed": 2}))
    changed = {
        rule: [one != other for one, other in zip(settings(before, rule), settings(after, rule), strict=True)]
        for rule in {job.rule for job in before.jobs}
    }
    for rule in ("generate_miniature", "extract_features", "train", "evaluate_reference"):
        assert changed[rule] and all(changed[rule]), rule
    drawn = {job.names.get("table") or job.names.get("figure") for job in _given_a_seed(before)}
    assert drawn == {"beyond_table_3", "beyond_slices_summe", "ulda_figure_3"}, "swaps of runs, and samples, are drawn"
    assert (sum(changed["render_table"]), sum(changed["render_figure"])) == (1, 2)
    assert not any(sum(each) for rule, each in changed.items() if rule in ("list_inputs", "build_labels", "evaluate"))


def settings(plan: Plan, rule: str) -> list[dict[str, Any]]:
    return [plan.settings(job.rule, job.names) for job in plan.jobs if job.rule == rule]


def _given_a_seed(plan: Plan) -> list[PlannedJob]:
    rendered = [job for job in plan.jobs if job.rule in ("render_table", "render_figure")]
    shown = [plan.settings(job.rule, job.names)["settings"] for job in rendered]
    return [job for job, each in zip(rendered, shown, strict=True) if "seed" in (each.get("table") or each["figure"])]


def test_no_random_number_derives_from_a_constant() -> None:
    """The root of every seed is a value that somebody gave: neither a number nor nothing at all."""
    package, roots = Path(jobs.__file__).parents[1], 0
    times = {*package.glob("fetch/*"), package / "training" / "trial.py"}  # how long things take is no result
    for path in sorted(set(package.rglob("*.py")) - times):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called.endswith(("seeds.derive", "default_rng", "RandomState", "manual_seed")):
                roots += 1
                assert node.args and not isinstance(node.args[0], ast.Constant), f"{path}:{node.lineno}: {called}"
            assert called not in ("random.seed", "np.random.seed"), f"{path}:{node.lineno}"
            assert not re.fullmatch(r"(np\.)?random\.(random|choice|shuffle|rand|randn|normal|uniform)", called), path
            named = {each.arg: each.value for each in node.keywords}
            for name in ("random_state", "rng", "seed"):
                assert not isinstance(named.get(name), ast.Constant), f"{path}:{node.lineno}: {called}({name}=...)"
    assert roots > 10
