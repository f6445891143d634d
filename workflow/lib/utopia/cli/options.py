"""Options that commands share, and the study that they mean."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from utopia.config.study import StudyBase


def add_study(parser: argparse.ArgumentParser) -> None:
    """`--study` and `--data`."""
    parser.add_argument("--study", metavar="NAME", help="the study (default: what config.yaml says)")
    parser.add_argument(
        "--data", metavar="FOLDER", help="the folder with the data you have (default: as in config.yaml)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON; its keys are stable")


def overrides(chosen: argparse.Namespace) -> dict[str, str]:
    """What the options change in the configuration."""
    return {name: value for name in ("study", "data") if (value := getattr(chosen, name))}


def load_study(chosen: argparse.Namespace) -> StudyBase:
    """The study that the options mean.

    From here on the repository is the working directory, as it is for Snakemake, and `--data` is an absolute path.

    Raises:
        ConfigError: listing every fault of the configuration.
    """
    from utopia.config.load import REPOSITORY, load

    if chosen.data:
        chosen.data = str(Path(chosen.data).expanduser().absolute())
    study = load(overrides(chosen))
    os.chdir(REPOSITORY)
    return study
