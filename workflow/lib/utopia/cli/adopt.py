"""`utopia adopt`: take a finished study as done where its records prove it, whatever the times of its files say.

For results that were copied from another machine or out of an archive (new times, and none of Snakemake's notes), and
for files whose times lie in the future. Every file that a record names is hashed, and settings and code are compared.
What is proven gets the present time and Snakemake's notes, upstream first, and nothing is computed. What is not proven
is set back, so that the next run regenerates it, and named with the reason.

Keys of `--json`: `study`, `adopted` (first outputs of the jobs), `refused` ({first output: why}), `following` (first
outputs of jobs that depend on a refused one), `future` (inputs outside of the study with a time in the future).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utopia.cli import audit, engine, options, runlock, show
from utopia.errors import UtopiaError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN, _MORE = 8, "  and {} more (--json names all)"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    audit.add(parser)
    parser.add_argument("--dry-run", action="store_true", help="only say what is proven and what is not")
    parser.add_argument(
        "--inputs", action="store_true", help="also give the present time to data files whose time lies in the future"
    )


def run(chosen: argparse.Namespace) -> int:
    """Adopt what is proven; 1 if something is not."""
    from utopia.provenance.adopt import ends, prove, set_back, times

    study = audit.locate(chosen)
    if runlock.is_held(study.root):
        raise UtopiaError(
            "a run of this study is going on",
            where=study.root,
            why="it changes the files that would be looked at",
            remedy=f"wait for it: utopia status --study {study.study}",
        )
    graph = audit.graph(study)
    current = audit.current(study, graph)
    if current is None:
        raise UtopiaError("the data folder of this study is not known", where=study.root, remedy="name it: --data")
    outside = [path for path in times(current.plan, Path.cwd()).future if not path.is_relative_to(study.root)]
    if outside and chosen.inputs and not chosen.dry_run:
        for path in outside:
            os.utime(path, (now := time.time(), now))
        outside = []
    proof = prove(graph, current)
    if not chosen.dry_run:
        back = set_back(current, proof)
        if proof.proven:
            touch(options.overrides(chosen), chosen.configfile, ends(proof.proven))
    answer: dict[str, Any] = {
        "study": study.study,
        "adopted": [job.made()[0] for job in proof.proven],
        "refused": proof.refused,
        "following": proof.following,
        "future": [str(path) for path in outside],
    }
    show.answer(chosen, answer, in_words(answer, 0 if chosen.dry_run else len(back)))
    return 1 if proof.refused or outside else 0


def touch(settings: dict[str, str], files: Sequence[str], targets: Sequence[str]) -> None:
    """Let Snakemake take files, and everything that they are made from, as made now.

    Raises:
        UtopiaError: Snakemake refuses, in its own words.
    """
    more = ["--touch", "--forceall", "--cores", "1", "--workflow-profile", "none", "--quiet", "all"]
    more += ["--configfile", *files] if files else []
    command = engine.command(settings, *more, "--", *targets)
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise UtopiaError("Snakemake cannot take the files as made:\n" + "\n".join(f"    {line}" for line in said[-8:]))


def in_words(answer: dict[str, Any], set_back: int) -> list[str]:
    """The answer for people."""
    adopted, refused, future = answer["adopted"], answer["refused"], answer["future"]
    lines = [
        f"{answer['study']}: {counted(len(adopted), 'job is', 'jobs are')}"
        f" proven: every byte, setting and module is as recorded"
    ]
    lines += show.first([f"  {path}" for path in adopted], _SHOWN, _MORE)
    if refused:
        stand = len(answer["following"])
        lines.append(
            f"{counted(len(refused), 'job is', 'jobs are')} not, and"
            f" {counted(stand, 'depends', 'depend')} on them; the next run does them again"
        )
        lines += show.first([f"  {path}: {why}" for path, why in refused.items()], _SHOWN, _MORE)
        lines += [
            f"  {counted(set_back, 'file was', 'files were')} set back to the oldest time, so that Snakemake sees it"
        ] * bool(set_back)
    if future:
        lines.append(
            f"{counted(len(future), 'input has', 'inputs have')} a time"
            f" in the future, such as {future[0]}: jobs that read them fail"
        )
        lines.append("  what to do: utopia adopt --inputs (gives them the present time); correct the machine's clock")
    return lines
