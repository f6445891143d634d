"""What the commands that read a study's records share: its folder, its lineage, and today's configuration."""

from __future__ import annotations

import argparse
import gc
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
        ConfigError: the configuration names no study.
    """
    import yaml

    from utopia.provenance.fingerprint import file_of

    repository = file_of(".")
    chosen.configfile = [str(Path(file).absolute()) for file in chosen.configfile]
    data = Path(chosen.data).expanduser().absolute() if chosen.data else None
    chosen.data = str(data) if data else None
    os.chdir(repository)
    facts: dict[str, Any] = {}
    first = yaml.load(Path("config.yaml").read_bytes(), Loader=yaml.CSafeLoader) or {}
    name = chosen.study or first.get("study", "miniature")
    overlay = repository / "workflow" / "resources" / "studies" / f"{name}.yaml"
    if not overlay.is_file():
        raise ConfigError(f"there is no study {name!r}", where=overlay.parent, remedy="see --study")
    for layer in (Path("config.yaml"), overlay, *map(Path, chosen.configfile)):
        facts |= yaml.load(layer.read_bytes(), Loader=yaml.CSafeLoader) or {}
    if data is None and facts.get("data"):
        data = Path(os.path.normpath(repository / Path(str(facts["data"])).expanduser()))
    return Study(name, Path(str(facts.get("results", "results"))) / name, data)


def graph(study: Study) -> Graph:
    """The lineage of a study.

    Raises:
        UtopiaError: it has no results.
    """
    from utopia.provenance.ledger import Ledger
    from utopia.provenance.lineage import Graph

    ledger = Ledger.read(study.folder, roots=study.roots)
    gc.freeze()  # records stay until the command ends: looking for garbage among them is lost time
    return Graph(ledger, study.folder.as_posix())


def current(chosen: argparse.Namespace, found: Graph) -> Current:
    """Today's parameters.

    Raises:
        ConfigError: listing every fault of the configuration.
    """
    from utopia.config.load import load
    from utopia.outputs.plan import Plan
    from utopia.provenance.current import Current

    return Current(Plan(load(options.overrides(chosen), chosen.configfile)), found.ledger.portable)
