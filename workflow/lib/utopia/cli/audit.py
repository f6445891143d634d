"""What the commands that read a study's records share: its folder, its lineage, and today's configuration."""

from __future__ import annotations

import argparse
import gc
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from utopia.cli import options

if TYPE_CHECKING:
    from utopia.config.study import StudyBase
    from utopia.provenance.current import Current
    from utopia.provenance.lineage import Graph


@dataclass(frozen=True)
class Study:
    """A study as these commands need it; its folder is relative to the repository."""

    name: str
    folder: Path
    data: Path | None
    settings: StudyBase | None = None
    """Its configuration."""

    @property
    def roots(self) -> dict[str, Path]:
        """The named folders that records mean."""
        return {"data": self.data} if self.data else {}


def add(parser: argparse.ArgumentParser) -> None:
    """`--study`, `--data`, `--configfile` and `--json`."""
    options.add_study(parser)
    options.add_json(parser)


def locate(chosen: argparse.Namespace) -> Study:
    """The study that the options mean, as its last run was asked for it. The repository becomes the working directory.

    Raises:
        ConfigError: listing every fault of the configuration, before any record is read.
    """
    study = options.load_study(chosen, as_made=True)
    return Study(study.study, study.root, study.data, study)


def graph(study: Study, subject: str | None = None) -> Graph:
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

    root = study.folder.as_posix()
    if not study.folder.is_dir():
        raise options.not_made("the study has no results yet", study.folder, study.name)
    if subject is None:
        ledger = Ledger.read(study.folder, roots=study.roots)
    else:
        ledger = Ledger.read_behind(
            study.folder,
            lambda made: starts(subject, root, made),
            lambda path: beside(path, root),
            roots=study.roots,
        )
    # Records, and what is made of them, stay until the command ends: to look for garbage among them is lost time.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    return Graph(ledger, root)


def current(study: Study, found: Graph) -> Current | None:
    """Today's jobs; None where the study was made from a data folder that was not named: its plan would be another.

    Raises:
        ConfigError: the configuration names a table or figure that is not there.
    """
    from utopia.plan.plan import Plan
    from utopia.provenance.current import Current

    if study.settings is None or (study.data is None and found.ledger.reads("data")):
        return None
    return Current(Plan(study.settings), found)
