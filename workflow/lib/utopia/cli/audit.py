"""What the commands that read a study's records share: its folder, its lineage, and today's configuration."""

from __future__ import annotations

import argparse
import gc
from typing import TYPE_CHECKING

from utopia.cli import options

if TYPE_CHECKING:
    from utopia.config.study import StudyBase
    from utopia.provenance.current import Current
    from utopia.provenance.lineage import Graph


def add(parser: argparse.ArgumentParser) -> None:
    """`--study`, `--data`, `--configfile` and `--json`."""
    options.add_study(parser)
    options.add_json(parser)


def locate(chosen: argparse.Namespace) -> StudyBase:
    """The study that the options mean, as its last run was asked for it. The repository becomes the working directory.

    Raises:
        ConfigError: listing every fault of the configuration, before any record is read.
    """
    return options.load_study(chosen, as_made=True)


def graph(study: StudyBase, subject: str | None = None) -> Graph:
    """The lineage of a study, or as much of it as one subject needs.

    Args:
        study: which study.
        subject: what alone is asked about: a cell, a figure or a run; of a file everything is read.

    Raises:
        UtopiaError: it has no results.
    """
    from utopia.provenance.ledger import Ledger
    from utopia.provenance.lineage import Graph
    from utopia.provenance.subject import beside, starts

    root, roots = study.root.as_posix(), {"data": study.data} if study.data else {}
    if not study.root.is_dir():
        raise options.not_made("the study has no results yet", study.root, study.study)
    if subject is None:
        ledger = Ledger.read(study.root, roots=roots)
    else:
        ledger = Ledger.read_behind(
            study.root,
            lambda made: starts(subject, root, made),
            lambda path: beside(path, root),
            roots=roots,
        )
    # Records, and what is made of them, stay until the command ends: to look for garbage among them is lost time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    return Graph(ledger, root)


def current(study: StudyBase, lineage: Graph) -> Current | None:
    """Today's jobs; None where the study was made from a data folder that was not named: its plan would be another.

    Raises:
        ConfigError: the configuration names a table or figure that is not there.
    """
    from utopia.plan.plan import Plan
    from utopia.provenance.current import Current

    if study.data is None and lineage.ledger.reads("data"):
        return None
    return Current(Plan(study), lineage)
