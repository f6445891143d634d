"""What a rule is: how its jobs' files and parameters follow from the plan; and what several rules are given."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from utopia.config.load import REPOSITORY, RESOURCES

if TYPE_CHECKING:
    from jinja2 import Environment

    from utopia.plan.plan import Plan

_CAPTIONS = REPOSITORY / "workflow" / "report"

Paths = str | list[str]
Names = Mapping[str, str]
"""The wildcards of a job."""


@dataclass(frozen=True)
class Rule:
    """How a rule's jobs follow from the plan."""

    script: str
    """In workflow/scripts, without its suffix."""
    modules: Callable[[Plan, Names], list[str]]
    """Those that determine the result, as the code fingerprint starts from them."""
    settings: Callable[[Plan, Names], dict[str, Any]]
    """The parameters without fingerprints of code."""
    inputs: Callable[[Plan, Names], dict[str, Paths]]
    outputs: Callable[[Plan, Names], dict[str, Paths]]
    within: Callable[[Plan, Names, dict[str, Any]], dict[str, Any]] = lambda plan, names, settings: settings
    """Puts fingerprints inside the settings, where only a part of what a job has stored depends on some code."""


def component(kind: str, name: str) -> str:
    """The module of a component that only the configuration names."""
    return f"utopia.{kind}.{name}"


def relative(path: Any) -> str:
    """A file of the checkout, relative to the working directory, so that a checkout may move."""
    return os.path.relpath(path)


def card(dataset: str) -> str:
    """A data set's card: its official list, folds and checksums."""
    return relative(RESOURCES / "datasets" / f"{dataset}.yaml")


def caption(plan: Plan, name: str) -> str:
    """The words under a table or figure in Snakemake's own report; empty where none are written.

    They are templates: `shared` holds paragraphs that several of them have, `study` the configuration that is used.
    """
    captions = _captions()
    return captions.get_template(f"{name}.rst").render(study=plan.study) if f"{name}.rst" in _written() else ""


@cache
def _captions() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(loader=FileSystemLoader(_CAPTIONS), undefined=StrictUndefined)
    made.globals["shared"] = made.get_template("shared.jinja").module
    return made


@cache
def _written() -> frozenset[str]:
    return frozenset(path.name for path in _CAPTIONS.glob("*.rst"))


def folder(plan: Plan, dataset: str) -> str:
    return str(plan.datasets[dataset].folder)


def options(plan: Plan, dataset: str) -> dict[str, Any]:
    return plan.study.dataset(dataset).options.model_dump(mode="json")


def label_range(plan: Plan, dataset: str) -> dict[str, Any]:
    """The label range of the study; empty where the data set's card has it, because there is no distribution."""
    distribution = plan.study.dataset(dataset).distribution
    return distribution.model_dump(mode="json", include={"low", "high"}) if distribution else {}
