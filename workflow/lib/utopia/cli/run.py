"""`utopia run`: what `make results` calls. It checks, takes the study's lock, and becomes Snakemake."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utopia.cli import engine, options, runlock, slurm
from utopia.config import yaml_file
from utopia.errors import UtopiaError, counted
from utopia.files import remove_leftovers
from utopia.plan.jobs import BY_BATCH

if TYPE_CHECKING:
    from utopia.plan.plan import Plan

DEFAULT = "default"
"""The profile that Snakemake reads by itself: jobs run on this machine."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    options.add_study(parser)
    options.add_selection(parser)
    parser.add_argument("--cores", metavar="N", type=_cores, help="jobs at once (default: all cores)")
    parser.add_argument(
        "--profile", metavar="NAME", default=DEFAULT, help="a folder in profiles/: `slurm` runs the study on a cluster"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")
    parser.add_argument("--allow-empty", action="store_true", help="run even if every table of the papers stays empty")
    parser.epilog = (
        "What stands after `--` is passed on to Snakemake: utopia run -- --forcerun render_table. There, `train` and "
        "`evaluate` mean the rules of all batches of runs: utopia run -- --set-resources train:mem_mb=16000"
    )


def _cores(text: str) -> str:
    if text != "all" and not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a number of cores above 0, or `all`; found {text!r}")
    return text


def run(chosen: argparse.Namespace) -> int:
    """Check the configuration and run the study. Does not return: Snakemake takes this process over."""
    from utopia.config.load import REPOSITORY
    from utopia.plan.plan import Plan

    study = options.load_study(chosen)
    options.say_notes(chosen)
    plan = Plan(study)
    if not chosen.dry_run and not chosen.passed_on:
        refuse_empty(plan, insist=chosen.allow_empty)
    refuse_future(plan)
    settings = options.overrides(chosen)
    # an option must follow: `--configfile` takes every word up to the next one, targets too
    more = options.of_snakemake(chosen.configfile) + where(
        chosen.profile, chosen.cores, REPOSITORY, study.engine.cores(study.device)
    )
    more += ["--dry-run"] if chosen.dry_run else []
    execute(REPOSITORY, REPOSITORY / study.root, settings, more, by_batch(chosen.passed_on, plan.batches))
    raise AssertionError("unreachable: exec does not return")


def by_batch(words: Sequence[str], batches: Iterable[str]) -> list[str]:
    """Words for Snakemake; each that names a family of rules (`train:mem_mb=16000`) as one for every batch."""
    names, meant = list(batches), []
    for word in words:
        family = re.match(rf"({'|'.join(BY_BATCH)})(?![^:=])", word)
        meant += [f"{family[1]}_{name}{word[family.end() :]}" for name in names] if family else [word]
    return meant


def refuse_empty(plan: Plan, *, insist: bool) -> None:
    """Say which of the papers' tables stay empty, and refuse a run in which all of them do.

    Raises:
        UtopiaError: no table with published values gets one of ours, because the data are not there.
    """
    published = [name for name, table in plan.tables.items() if any(row.published for row in table.rows)]
    empty = [name for name in published if not plan.table_runs(name)]
    if not empty:
        return
    if len(empty) < len(published) or insist:
        used = {run.dataset for run in plan.runs.values()}
        enough = [name for name in plan.asked if name in used]
        advice = (
            f"; to make only what has data: --datasets {','.join(enough)}" if 0 < len(enough) < len(plan.asked) else ""
        )
        number = f"{len(empty)} of {counted(len(published), 'table')} of the papers"
        print(f"{number} will be empty (`utopia plan` says why){advice}", file=sys.stderr)
        return
    needed = {column.dataset for name in empty for column in plan.tables[name].columns}
    lacking = {name: plan.datasets[name] for name in plan.asked if name in needed}
    reasons = dict.fromkeys(data.feature_reason if data.available else data.reason for data in lacking.values())
    without = [name for name, data in lacking.items() if not data.available]
    what = f"there are no data for {', '.join(without)}" if without else "nothing can be trained on what is there"
    study, folder = plan.study.study, plan.study.data
    raise UtopiaError(
        f"{'the only table' if len(empty) == 1 else f'all {len(empty)} tables'} of the papers would be empty: {what}",
        why="; ".join(list(filter(None, reasons))[:3]),
        remedy=(
            f"put what is missing below {folder}"
            if folder
            else f"name your data folder: make results STUDY={study} DATA=<folder>"
        )
        + " (docs/data.md says what goes where, `utopia fetch` downloads what can be downloaded); without any data: "
        "make results, or make results STUDY=open; to make the empty tables all the same: "
        f"utopia run --study {study} --allow-empty",
    )


def refuse_future(plan: Plan) -> None:
    """Look at the times of the study's files before anything is done.

    Raises:
        UtopiaError: one lies in the future. Snakemake would do the jobs that read it, refuse what they have made
            because it is older than that, and remove it; every later run would end the same way.
    """
    from utopia.provenance.adopt import times

    future = times(plan, Path.cwd()).future
    if future:
        more = f", and so have {len(future) - 1} more files" if len(future) > 1 else ""
        raise UtopiaError(
            f"it has a time in the future{more}",
            where=future[0],
            why="whatever is made from it seems older than it, and Snakemake refuses and removes that",
            remedy=f"correct the machine's clock, then: utopia adopt --study {plan.study.study} --inputs",
        )


def where(profile: str, cores: str | None, repository: Path, training: int = 1) -> list[str]:
    """Snakemake's options for a profile and a number of cores; a profile other than the default has its own number.

    Args:
        profile: its name.
        cores: what the user asks for; None: what the profile says.
        repository: the checkout.
        training: cores of a training job. Snakemake gives no job more than its `--cores`, on a cluster neither, so a
            profile with fewer is overruled.

    Raises:
        UtopiaError: there is no such profile.
    """
    if profile == DEFAULT:
        return ["--cores", cores or "all"]
    folder = Path("profiles") / profile
    if not (repository / folder / "config.yaml").is_file():
        known = sorted(path.parent.name for path in repository.glob("profiles/*/config.yaml"))
        raise UtopiaError(
            f"there is no profile {profile!r}", where=repository / "profiles", remedy=f"use: {', '.join(known)}"
        )
    if cores is None:
        most = (yaml_file.read(repository / folder / "config.yaml").data or {}).get("cores")
        cores = str(training) if isinstance(most, int) and most < training else None
    return ["--workflow-profile", str(folder), *(["--cores", cores] if cores else [])]


def executor(words: Sequence[str], repository: Path) -> str:
    """The executor that options for Snakemake choose, or the profile that they name."""
    asked = [after for before, after in pairwise(words) if before in ("--executor", "-e")]
    asked += [word.partition("=")[2] for word in words if word.startswith("--executor=")]
    for before, after in pairwise(words):
        file = repository / after / "config.yaml"
        if before == "--workflow-profile" and not asked and file.is_file():
            asked = [str(yaml_file.read(file).data.get("executor", ""))]
    return asked[-1] if asked else ""


def execute(
    repository: Path, folder: Path, settings: Mapping[str, Any], more: Sequence[str], passed_on: Sequence[str] = ()
) -> None:
    """Become Snakemake in `repository`, holding the lock of the study whose folder is `folder`.

    The lock is this process's, so it lives as long as Snakemake does, and signals go straight to it.

    Raises:
        UtopiaError: a run of the study is going on, or its profile's cluster is not there.
    """
    os.chdir(repository)
    if not {"--dry-run", "--dryrun", "-n"} & {*more, *passed_on}:
        slurm.require(executor([*more, *passed_on], repository))
        former = runlock.take(folder, settings.get("data"), [*more, *passed_on], part(settings))
        clear_up(repository, folder, settings, former)
    become_snakemake(settings, more, passed_on)


def part(settings: Mapping[str, Any]) -> dict[str, list[str]]:
    """Of settings, those that choose a part of the study."""
    return {name: settings[name] for name in runlock.PART if name in settings}


def become_snakemake(settings: Mapping[str, Any], more: Sequence[str], passed_on: Sequence[str]) -> None:
    """Put Snakemake in the place of this process, in the working directory."""
    command = engine.command(settings, *more, extra=passed_on)
    os.environ["PATH"] = os.pathsep.join([os.environ.get("PATH", os.defpath), *stand_ins(command)])
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)


def stand_ins(command: Sequence[str]) -> list[str]:
    """The folders with programs that Snakemake, or a profile's executor, needs and that a machine may not have."""
    named = [Path(word).resolve() / "bin" for before, word in pairwise(command) if before == "--workflow-profile"]
    return [str(folder) for folder in (*named[-1:], Path("profiles", DEFAULT, "bin").resolve()) if folder.is_dir()]


def clear_up(repository: Path, folder: Path, settings: Mapping[str, Any], former: runlock.Owner | None) -> None:
    """Remove what a killed run has left: jobs at work, half-written files, Snakemake's lock. Needs the study's lock.

    Raises:
        UtopiaError: Snakemake cannot remove its lock, or SLURM cannot be asked what it still runs of that run.
    """
    jobs = slurm.left(folder)
    if jobs:
        slurm.cancel(folder, jobs)
        print(f"cancelled on SLURM, left of a killed run: {slurm.listed(jobs)}", file=sys.stderr)
    locks = repository / ".snakemake" / "locks"
    if not locks.is_dir() or not any(locks.iterdir()):
        return
    if former is not None:
        ended = runlock.end_orphans(former)
        if ended:
            print(f"ended the jobs of a killed run that were still at work: {_listed(ended)}", file=sys.stderr)
    for path in remove_leftovers(folder):
        print(f"removed what a killed job had half written: {path}", file=sys.stderr)
    if runlock.others_at_work(repository, folder):
        return  # the lock may be theirs; if it is in the way, Snakemake says so
    command = engine.command(settings, "--unlock", "--cores", "1")
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise UtopiaError(
            "Snakemake cannot remove the lock of a killed run:\n" + (done.stderr or done.stdout).strip(),
            where=locks,
            remedy=f"run in {repository}: {shlex.join(command)}",
        )
    print("removed the lock of a killed run", file=sys.stderr)


def _listed(pids: Sequence[int]) -> str:
    return ("process " if len(pids) == 1 else "processes ") + ", ".join(map(str, pids))
