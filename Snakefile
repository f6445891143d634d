"""Every table and figure of the study; see README.md. The rules are in workflow/rules, the package in workflow/lib/utopia."""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from utopia.cli import runlock, slurm
from utopia.config.load import load
from utopia.errors import UtopiaError
from utopia.plan.plan import Plan

min_version("9.27")


# Of the command line by its files, so that a fault has its line; imported as a module, what `config:` gives it.
given_here = workflow.config_settings
by_file = config == given_here.overwrite_config
try:
    STUDY = load(
        overrides=given_here.config if by_file else config,
        files=(given_here.configfiles or ()) if by_file else (),
    )
    PLAN = Plan(STUDY)
except UtopiaError as error:
    raise WorkflowError(str(error)) from None


ROOT = str(PLAN.root)


wildcard_constraints:
    dataset="[a-z0-9_]+",
    shard="[0-9]{4}",
    feature="[a-z0-9_]+",
    choice="[^/]+",
    reference="(random|human|oracle|ridge|label_study)(@[^/]+)?",
    run=r"(?:(?!\.reference\.)[^/])+",
    table="[a-z0-9_]+",
    figure="[a-z0-9_]+",


include: "workflow/rules/common.smk"
include: "workflow/rules/inputs.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/labels.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/submission.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/audit.smk"
include: "workflow/rules/page.smk"


rule all:
    default_target: True
    input:
        PLAN.targets(),


onstart:
    if workflow.is_main_process:
        try:
            asked_for = runlock.Asked.of(given_here.config, given_here.configfiles)
            runlock.remember(PLAN.root, asked_for)
            slurm.watch_over(workflow.executor_plugin.name)
            expect()
        except UtopiaError as error:
            raise WorkflowError(str(error)) from None
        start_without_limit()
