"""What the commands that read a study's records share: its folder, its lineage, and today's configuration."""

from __future__ import annotations

import argparse
import gc
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from utopia.cli import options
from utopia.errors import ConfigError

if TYPE_CHECKING:
    from utopia.provenance.current import Current
    from utopia.provenance.lineage import Graph


@dataclass(frozen=True)
class Study:
    """A study as these commands need it; its folder is relative to the repository."""

    name: str
    folder: Path
    data: Path | None

    @property
    def roots(self) -> dict[str, Path]:
        """The named folders that records mean."""
        return {"data": self.data} if self.data else {}


def add(parser: argparse.ArgumentParser) -> None:
    """`--study`, `--data` and `--configfile`."""
    options.add_study(parser)
    parser.add_argument(
        "--configfile", metavar="FILE", action="append", default=[], help="configuration files that the run was given"
    )


def locate(chosen: argparse.Namespace) -> Study:
    """The study that the options mean, without the validation of its configuration, which takes longer than all else.

    From here on the repository is the working directory.

    Raises:
        ConfigError: a file of the configuration cannot be read, it names no study, or folders that cannot be.
    """
    from utopia.config import places, yaml_file
    from utopia.provenance.fingerprint import file_of

    repository = file_of(".")
    chosen.configfile = [str(Path(file).absolute()) for file in chosen.configfile]
    chosen.data = str(places.absolute(chosen.data, Path.cwd())) if chosen.data else None
    os.chdir(repository)
    config, studies = repository / "config.yaml", repository / "workflow" / "resources" / "studies"
    first = yaml_file.read(config).data
    name = chosen.study or first.get("study", "miniature")
    overlay = places.overlay_of(name, studies, "command line (--study)" if chosen.study else config)
    facts: dict[str, Any] = dict(first)
    for file in (overlay, *map(Path, chosen.configfile)):
        facts |= yaml_file.read(file).data
    data, results = chosen.data or facts.get("data"), facts.get("results", "results")
    if (
        not isinstance(results, str)
        or places.fault_of_results(results, repository)
        or not isinstance(data, str | None)
        or (data and places.fault_of_text(data))
    ):
        _refuse(chosen)
    folder = places.results(str(results), repository) / name
    return Study(name, folder, places.absolute(str(data), repository) if data else None)


def _refuse(chosen: argparse.Namespace) -> NoReturn:
    """Say, with file and line, what is wrong with a configuration in which something was seen to be wrong."""
    from utopia.config.load import load

    load(options.overrides(chosen), chosen.configfile)
    raise ConfigError("`results` and `data` must name folders", where="config.yaml")


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


def current(chosen: argparse.Namespace, found: Graph) -> Current | None:
    """Today's jobs; None where the study was made from a data folder that was not named: its plan would be another.

    Raises:
        ConfigError: listing every fault of the configuration.
    """
    from utopia.config.load import load
    from utopia.outputs.plan import Plan
    from utopia.provenance.current import Current

    study = load(options.overrides(chosen), chosen.configfile)
    if study.data is None and found.ledger.reads("data"):
        return None
    return Current(Plan(study), found)
