"""`utopia keep`: a study's tables, figures and records, in a form small enough for the repository.

Keys of `--json`: `folder`, `files`, `records`, `bytes`, `readme`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from utopia.cli import audit, show
from utopia.errors import UtopiaError, counted
from utopia.files import write_text

if TYPE_CHECKING:
    from utopia.config.study import StudyBase
    from utopia.provenance.lineage import Graph


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    audit.add(parser)
    parser.add_argument("--partial", action="store_true", help="the study was made in part: look for nothing more")


def run(chosen: argparse.Namespace) -> int:
    """Copy what is kept to results/reference/<study>, and write the pages that are made of it."""
    from utopia.provenance.keep import FOLDER, keep, write_readme
    from utopia.report import does_it_work

    study = audit.locate(chosen)
    graph = audit.graph(study)
    if not chosen.partial:
        _refuse_unfinished(study, graph)
    reference = study.root.parent / FOLDER
    kept = keep(graph, study.root, reference / study.study)
    readme = write_readme(reference)
    if study.study == does_it_work.STUDY and reference.parent == Path("results"):
        write_text(does_it_work.PAGE, does_it_work.page(kept.folder))
    size = show.bytes_in_words(kept.bytes)
    line = (
        f"{kept.folder}: {counted(kept.files, 'table or figure', 'tables and figures')},"
        f" {counted(kept.records, 'record')} ({size}); see {readme}"
    )
    show.answer(chosen, {**kept._asdict(), "folder": str(kept.folder), "readme": str(readme)}, [line])
    return 0


def _refuse_unfinished(study: StudyBase, graph: Graph) -> None:
    """Refuse a study in which a table or figure of today's plan was not made.

    Raises:
        UtopiaError: naming those that are missing.
    """
    from utopia.plan.plan import Plan

    plan = Plan(study)
    missing = [name for name in (*plan.tables, *plan.figures) if name not in graph.tables | graph.figures]
    if missing:
        raise UtopiaError(
            f"{counted(len(missing), 'table or figure is', 'tables and figures are')}"
            f" not made: {', '.join(missing[:6])}",
            where=graph.root,
            why="a reference in which something is missing would pass for the whole",
            remedy="run the study to its end (`utopia status` says what is left), or add --partial",
        )
