"""`utopia resume`: go on with a run that was killed, as it was started; no job runs twice.

Jobs on SLURM outlive a run that is killed. Those that have not begun are cancelled; those at work are waited for, and
what they make counts as made (`--cancel`: they are cancelled too; a training goes on from its last checkpoint). Jobs of
the killed run on this machine are ended. Then the locks are removed, and Snakemake goes on with the options of the
killed run.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from utopia.cli import options, runlock, slurm
from utopia.cli import run as running
from utopia.errors import UtopiaError


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    options.add_study(parser)
    parser.add_argument("--cancel", action="store_true", help="cancel what is at work on SLURM instead of waiting")
    parser.epilog = "What stands after `--` takes the place of the killed run's own options for Snakemake."


def run(chosen: argparse.Namespace) -> int:
    """Deal with what is left of the study's last run, and go on. Does not return: Snakemake takes this process over.

    Raises:
        UtopiaError: a run of the study is going on, there was none, or SLURM is not there or does not answer.
    """
    from utopia.config.load import REPOSITORY
    from utopia.plan.plan import Plan

    study = options.load_study(chosen)
    folder = REPOSITORY / study.root
    former = runlock.owner(folder)
    if former is None:
        raise UtopiaError(
            "there is no run to go on with", where=folder, remedy=f"start one: make results STUDY={study.study}"
        )
    settings: dict[str, Any] = {"study": study.study, **({"data": former.data} if former.data else {}), **former.part}
    settings |= options.overrides(chosen)
    passed_on = running.by_batch(chosen.passed_on, Plan(study).batches) if chosen.passed_on else former.arguments
    arguments = list(passed_on)
    slurm.require(running.executor(arguments, REPOSITORY))
    options.say_notes(chosen)
    runlock.take(folder, settings.get("data"), arguments, former.part)
    jobs = slurm.left(folder)
    slurm.cancel(folder, ended := [job for job in jobs if chosen.cancel or not job.at_work])
    if ended:
        print(f"cancelled on SLURM: {slurm.listed(ended)}", file=sys.stderr)
    slurm.wait(folder, lambda text: print(text, file=sys.stderr, flush=True))
    running.clear_up(REPOSITORY, folder, settings, former)
    running.become_snakemake(settings, [], arguments)
    raise AssertionError("unreachable: exec does not return")
