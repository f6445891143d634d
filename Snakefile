"""Every table and figure of the study; see README.md. The rules are in workflow/rules, the package in workflow/lib/utopia."""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version

from utopia.cli import slurm
from utopia.config.load import load
from utopia.errors import UtopiaError
from utopia.outputs.plan import Plan

min_version("9.27")


try:
    STUDY = load(
        overrides=workflow.config_settings.config,
        files=workflow.config_settings.configfiles or (),
    )
    PLAN = Plan(STUDY)
except UtopiaError as error:
    raise WorkflowError(str(error)) from None


# After it was read above: Snakemake itself would hang on a file whose merge keys multiply.
configfile: Path(workflow.basedir) / "config.yaml"


ROOT = str(PLAN.root)


wildcard_constraints:
    dataset="[a-z0-9_]+",
    shard="[0-9]{4}",
    feature="[a-z0-9_]+",
    reference="random|human|oracle",
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
            slurm.watch_over(workflow.executor_plugin.name)
        except UtopiaError as error:
            raise WorkflowError(str(error)) from None
