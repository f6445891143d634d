"""Every job of a study: what it reads, what it makes, and the parameters that it is given.

The one source of them: the rules in workflow/rules ask `Plan.params`, and the audit compares records with `Plan.jobs`.
A job of a batch of runs is of the family `train` or `evaluate`; Snakemake knows one rule per batch, `train_<batch>`,
because a rule with wildcards must have them in all its outputs, and a batch makes files of several runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from utopia import fingerprint
from utopia.config.load import REPOSITORY
from utopia.plan.rule import Names, Paths
from utopia.plan.rules import RULES

if TYPE_CHECKING:
    from utopia.plan.plan import Plan

BY_BATCH = ("train", "evaluate")
"""Families: rules that Snakemake knows once per batch of runs."""
_OF_BATCH = re.compile(rf"({'|'.join(BY_BATCH)})_(?!reference$).+")


def family(rule: str) -> str:
    """What rules share that differ in a batch of runs only: `train_liris_et` is a `train`; any other is its own."""
    match = _OF_BATCH.fullmatch(rule)
    return match[1] if match else rule


@dataclass(frozen=True)
class PlannedJob:
    """A job of today's study."""

    rule: str
    """As in `rules.RULES`."""
    names: Names
    inputs: Mapping[str, Paths]
    """By the role that the rule gives them; `""`: none."""
    outputs: Mapping[str, Paths]

    @property
    def name(self) -> str:
        """The rule as Snakemake and records name it."""
        return f"{self.rule}_{self.names['batch']}" if self.rule in BY_BATCH else self.rule

    @property
    def wildcards(self) -> dict[str, str]:
        """The wildcards as Snakemake and records have them."""
        return {} if self.rule in BY_BATCH else dict(self.names)

    def read(self) -> list[str]:
        """All inputs."""
        return flat(self.inputs)

    def made(self) -> list[str]:
        """All declared outputs."""
        return flat(self.outputs)


def flat(by_role: Mapping[str, Paths]) -> list[str]:
    """The paths of all roles, in order."""
    return [path for paths in by_role.values() for path in ([paths] if isinstance(paths, str) else paths)]


def settings(plan: Plan, rule: str, names: Names) -> dict[str, Any]:
    """A job's parameters without any fingerprint of code.

    Raises:
        KeyError: the study has no such job; it names what is missing.
    """
    return RULES[rule].settings(plan, names)


def params(plan: Plan, rule: str, names: Names) -> dict[str, Any]:
    """A job's parameters, the fingerprint of its code under `code`.

    Raises:
        KeyError: the study has no such job; it names what is missing.
    """
    chosen_rule = RULES[rule]
    modules, script = starts_of_code(plan, rule, names)
    code = fingerprint.code(*modules, files=(REPOSITORY / script,))
    return {**chosen_rule.within(plan, names, chosen_rule.settings(plan, names)), "code": code}


def starts_of_code(plan: Plan, rule: str, names: Names) -> tuple[list[str], str]:
    """What the fingerprint of a job's code starts from: modules, and the script relative to the checkout.

    Raises:
        KeyError: the study has no such job.
    """
    return RULES[rule].modules(plan, names), f"workflow/scripts/{RULES[rule].script}.py"


def job(plan: Plan, rule: str, names: Names) -> PlannedJob:
    """A job of the study.

    Raises:
        KeyError: the study has no such job.
    """
    chosen_rule = RULES[rule]
    return PlannedJob(rule, names, chosen_rule.inputs(plan, names), chosen_rule.outputs(plan, names))


def needed(plan: Plan) -> list[PlannedJob]:
    """The jobs that the study's targets need, upstream first."""
    candidates = [job(plan, rule, names) for rule, names in _candidates(plan)]
    wanted = {*plan.targets()}
    chosen = []
    for candidate in reversed(candidates):  # those that read come after those that make
        if not wanted.isdisjoint(candidate.made()):
            chosen.append(candidate)
            wanted.update(candidate.read())
    return chosen[::-1]


def _candidates(plan: Plan) -> Iterator[tuple[str, Names]]:
    """Every job that the study could have, upstream first."""
    present = {name: survey for name, survey in plan.datasets.items() if survey.available}
    for name, survey in present.items():
        if survey.generated:
            yield "generate_miniature", {"dataset": name}
        yield "list_inputs", {"dataset": name}
        yield "build_labels", {"dataset": name}
    for feature in dict.fromkeys(feature for name in present for feature in plan.fine_tuned(name)):
        yield "fine_tune", {"feature": feature}
    for name, survey in present.items():
        for number in range(len(survey.shards)):
            yield "extract_features", {"dataset": name, "shard": f"{number:04d}"}
        for feature in survey.precomputed:
            yield "import_features", {"dataset": name, "feature": feature}
    for dataset, choice in plan.labellings():
        yield "choose_annotators", {"dataset": dataset, "choice": choice}
    for path in plan.distributions():
        folder, name = path.split("/")[-2:]
        key = name.removeprefix("distribution.").removesuffix(".safetensors")
        yield "approximate_distribution", {"dataset": folder, "key": key}
    for rule in BY_BATCH:
        for batch in plan.batches:
            yield rule, {"batch": batch}
    for run in plan.runs.values():
        if run.reference is not None:
            name = run.id.removeprefix(f"{run.dataset}.reference.")
            yield "evaluate_reference", {"dataset": run.dataset, "reference": name}
    for run_id in plan.submissions():
        yield "write_submission", {"run": run_id}
    for table in plan.tables:
        yield "render_table", {"table": table}
    for figure in plan.figures:
        yield "render_figure", {"figure": figure}
    yield "report_coverage", {}
    yield "render_page", {}
