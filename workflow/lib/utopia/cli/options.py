"""Options that commands share, and the study that they mean."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from utopia.config.study import StudyBase


def add_study(parser: argparse.ArgumentParser) -> None:
    """`--study` and `--data`."""
    parser.add_argument("--study", metavar="NAME", type=filled, help="the study (default: what config.yaml says)")
    parser.add_argument(
        "--data", metavar="FOLDER", type=filled, help="the folder with the data you have (default: as in config.yaml)"
    )


def filled(text: str) -> str:
    """The type of an option that must say something: an empty one is mostly a shell variable that is not set."""
    if not text.strip() or any(ord(letter) < 32 for letter in text):
        raise argparse.ArgumentTypeError("must not be empty" if not text.strip() else f"must be one line, not {text!r}")
    return text


def say_notes(chosen: argparse.Namespace) -> None:
    """Say what of the environment is not used as it is."""
    for note in getattr(chosen, "notes", ()):
        print(f"{note.found}; used instead: {note.done} ({note.remedy})", file=sys.stderr)


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
    from utopia.config import places
    from utopia.config.load import REPOSITORY, load

    if chosen.data:
        chosen.data = str(places.absolute(chosen.data, Path.cwd()))
    files = [str(Path(file).absolute()) for file in getattr(chosen, "configfile", ())]
    study = load(overrides(chosen), files)
    os.chdir(REPOSITORY)
    return study
