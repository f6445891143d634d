"""A changed setting is seen by why, verify, status and explain exactly where Snakemake would run something again.

The study is one of records in memory, made of the plan; what would run again is told apart from the audit, by comparing
two plans. That Snakemake's jobs are the plan's, a test of `plan/jobs.py` holds; that `status` counts the jobs that
Snakemake would run, a test on a finished study.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from utopia.config.load import load
from utopia.config.study import StudyBase
from utopia.errors import UtopiaError
from utopia.plan.jobs import PlannedJob, flat, starts_of_code
from utopia.plan.plan import Plan
from utopia.provenance import staleness
from utopia.provenance.current import Current
from utopia.provenance.explain import warnings
from utopia.provenance.ledger import Ledger, Record
from utopia.provenance.lineage import Graph
from utopia.provenance.paths import Portable
from utopia.provenance.reasons import jobs_to_run, reasons
from utopia.provenance.values import jsonable

STUDY: dict[str, Any] = {
    "tables": ["ulda_table_4", "ulda_table_7", "eev_table_4"],
    "figures": ["beyond_slices_summe", "beyond_reaction_correlation"],
}
WITHOUT_EFFECT = {
    *(f"datasets.{name}.folder" for name in ("eev", "liris", "pmemo", "summe")),
    *(f"datasets.{name}.published_features" for name in ("eev", "liris", "summe")),
    *(f"datasets.{name}.shard" for name in ("eev", "pmemo")),
    "datasets.summe.features",
}
"""Settings that change nothing of this study although it uses what they belong to. Its data are generated: they lie in
no folder of the user, are few enough for one shard, bring no features, and are compared with no published value."""
WITHOUT_OTHER_VALUE = {
    "datasets.case.features",
    "features.se_resnext101.options.network",
    "features.swin_l.options.weights",
    "losses",
    "models",
    "samplers",
}
"""Empty lists and sections, and options that have one value only."""
NAMES = (".extractor", ".sampler", ".dataset")
"""Names of components: another one has other options, so that it cannot be changed alone."""
ELSEWHERE = {"study", "results"}
"""Settings that move the study's folder: there nothing is stored."""
EMPTY = hashlib.sha256(b"").hexdigest()


def stored(plan: Plan, folder: Path) -> Graph:
    """A study that has just been made by a plan: a record of each job, and every file, empty."""
    portable = Portable(folder)
    for path in {path for job in plan.jobs for path in (*job.read(), *job.made())}:
        place = portable.read(portable.write(path))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    records = []
    for number, job in enumerate(plan.jobs):
        write = portable.write
        roles = {
            side: {role: [write(path) for path in flat({role: paths})] for role, paths in by_role.items()}
            for side, by_role in (("inputs", job.inputs), ("outputs", job.outputs))
        }
        entries = {
            side: [{"path": path, "sha256": EMPTY, "bytes": 0} for path in flat(by_role)]
            for side, by_role in roles.items()
        }
        facts = {
            "rule": job.name,
            "wildcards": job.wildcards,
            "params": portable.redact(jsonable(plan.settings(job.rule, job.names))),
            "roles": roles,
            **entries,
            "code": code_of(plan, job),
            "ended": f"{number:06d}",
            "seconds": 1.0,
        }
        records.append(Record(folder / f"{job.made()[0]}.record.json", facts))
    return Graph(Ledger(records, [], portable), plan.root.as_posix())


def code_of(plan: Plan, job: PlannedJob) -> dict[str, Any]:
    """The code of a job as its record has it."""
    modules, script = starts_of_code(plan, job.rule, job.names)
    known = staleness.closure_now(tuple(sorted(modules)), (script,))
    assert isinstance(known, dict), known
    return {"fingerprint": "", "roots": sorted(modules), "files": [script], "modules": known}


def jobs_by_file(plan: Plan) -> dict[str, tuple[str, Any, list[str]]]:
    """What each file of a plan is made by: a rule, settings and inputs."""
    by_job = ((job, (job.name, jsonable(plan.settings(job.rule, job.names)), sorted(job.read()))) for job in plan.jobs)
    return {path: facts for job, facts in by_job for path in job.made()}


def outcome(before: Plan, after: Plan) -> tuple[set[str], set[str]]:
    """Files of today's plan whose job is another one, and those that would be made again because of it."""
    then, now = remembered(before), jobs_by_file(after)
    other = {path for path, job in now.items() if then.get(path) != job}
    following = set(other)
    for job in after.jobs:
        if not following.isdisjoint((*job.read(), *job.made())):
            following.update(job.made())
    return other, following


remembered = cache(jobs_by_file)
"""Of the plan that all others are held against."""


def others(kind: Any, value: Any) -> Iterator[Any]:
    """Values that may take the place of one."""
    if isinstance(kind, UnionType) or get_origin(kind) is Union:
        for each in get_args(kind):
            yield from others(each, value)
    if get_origin(kind) is Literal:
        yield from get_args(kind)
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, value * 2, value / 2, value * 0.9, value - 1, 1, 0.5)
    elif isinstance(value, str):
        yield from ("none", "standardise", "mse", "cwl", "cpu", f"{value}_2", value[::-1])
    elif isinstance(value, list):
        yield from (value[:-1], value[1:], value[::-1], [*value, *value[:1]])
    elif value is None:
        yield from (1, "none", "tns", "google_pool5_summe")
    elif isinstance(value, Path):
        yield value / "x"
    elif value == "all":
        yield []


def with_other(model: BaseModel, path: tuple[str, ...]) -> Iterator[Any]:
    """The settings with another value at one place, in every way that they allow."""
    name, *rest = path
    fields = {key: getattr(model, key) for key in type(model).model_fields}
    inner = fields[name]
    if rest and isinstance(inner, BaseModel):
        changed = with_other(inner, tuple(rest))
    elif rest:
        changed = ({**inner, rest[0]: one} for one in _in_mapping(inner, rest))
    else:
        changed = (one for one in others(type(model).model_fields[name].annotation, inner) if one != inner)
    for one in changed:
        try:
            yield type(model).model_validate({**fields, name: one})
        except (ValidationError, UtopiaError, ValueError, TypeError):
            continue


def _in_mapping(values: dict[str, Any], rest: list[str]) -> Iterator[Any]:
    inner = values[rest[0]]
    if isinstance(inner, BaseModel):
        yield from with_other(inner, tuple(rest[1:]))
    elif len(rest) > 1:
        yield from ({**inner, rest[1]: one} for one in _in_mapping(inner, rest[1:]))
    else:
        yield from (one for one in others(None, inner) if one != inner)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from leaves(each, (*path, str(name)))
    else:
        yield path


def plans(study: StudyBase, path: tuple[str, ...]) -> Iterator[Plan]:
    """Plans of studies with another value at one place."""
    for changed in with_other(study, path):
        try:
            yield Plan(changed)
        except UtopiaError:
            continue


def check(graph: Graph, before: Plan, after: Plan, setting: str) -> bool:
    """Compare what the four commands say with what would run; returns whether anything would."""
    other, following = outcome(before, after)
    current = Current(after, graph)
    makers = {path: job for job in after.jobs for path in job.made()}
    # why
    for path in {job.made()[0] for job in after.jobs} if following else ():
        assert bool(list(reasons(graph, path, current))) == (path in following), f"{setting}: why {path}"
    # status
    assert set(jobs_to_run(graph, current)) == {makers[path].made()[0] for path in following}, f"{setting}: status"
    # verify: the jobs that were done and would be other ones
    held = {id(graph.makers[path]): graph.makers[path] for path in other if path in graph.makers}
    said = {one.where for one in staleness.findings(graph, current, set()) if one.kind == "stale setting"}
    assert said == {record.outputs[0]["path"] for record in held.values()}, f"{setting}: verify"
    # explain
    for name, record in {**graph.tables, **graph.figures}.items():
        made = [path for path in graph.made(record) if path.endswith(".csv")]
        jobs = graph.jobs([*made, *graph.ancestors(made)])
        marked = any("other settings today" in text for text in warnings(graph, jobs, current))
        assert marked == any(id(job) in held for job in jobs), f"{setting}: explain {name}"
    return bool(following)


@pytest.fixture(scope="module")
def base() -> StudyBase:
    return load(STUDY)


@pytest.mark.long
def test_every_setting_is_seen_exactly_where_something_would_run_again(
    base: StudyBase, repository: Path, tmp_path: Path
) -> None:
    before = Plan(base)
    graph = stored(before, tmp_path)
    assert not check(graph, before, Plan(load(STUDY)), "nothing")
    seen: set[str] = set()
    unseen: set[str] = set()
    fixed: set[str] = set()
    for path in leaves(yaml.safe_load((repository / "config.yaml").read_text())):
        name = ".".join(path)
        if path[0] in ELSEWHERE:
            continue
        # The first other value may come to the same, as another order of one feature does. One plan after another: the
        # first is nearly always enough, and each takes as long to make as to compare.
        after = None
        for after in islice(plans(base, path), 4 if is_used(before, path) else 1):
            if check(graph, before, after, name):
                seen.add(name)
                break
        else:
            (fixed if after is None else unseen).add(name)
    # So a new setting is either seen where the study uses what it sets, or named below with the reason.
    assert {name for name in unseen if is_used(before, name.split("."))} == WITHOUT_EFFECT
    assert not {name for name in seen if not is_used(before, name.split("."))}
    assert {
        "datasets.summe.distribution.sigma",
        "datasets.liris.distribution.delta",
        "seed",
        "device",
        "tables",
    } <= seen
    assert len(seen) >= 40
    assert {name for name in fixed if not name.endswith(NAMES)} == WITHOUT_OTHER_VALUE


def is_used(plan: Plan, path: Sequence[str]) -> bool:
    """Whether a study uses the data set, the feature or the treatment that a setting belongs to."""
    kind, name = path[0], path[1] if len(path) > 1 else ""
    used = {
        "datasets": {job.names["dataset"] for job in plan.jobs if "dataset" in job.names},
        "features": {feature for run in plan.runs.values() for feature in run.features},
        "treatments": {run.settings["treatment"] for run in plan.runs.values() if run.reference is None},
    }
    return not name or kind not in used or name in used[kind]
