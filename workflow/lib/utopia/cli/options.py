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
    """What the options change in the configuration; the data folder as an absolute path."""
    found = {}
    if chosen.study:
        found["study"] = chosen.study
    if getattr(chosen, "data", None):
        found["data"] = str(Path(os.path.abspath(os.path.expanduser(chosen.data))))  # noqa: PTH100, PTH111 (keeps links)
    return found


def load_study(chosen: argparse.Namespace) -> StudyBase:
    """The study that the options mean; from here on the repository is the working directory, as it is for Snakemake.

    Raises:
        ConfigError: listing every fault of the configuration.
    """
    from utopia.config.load import REPOSITORY, load

    study = load(overrides(chosen))
    os.chdir(REPOSITORY)
    return study
