"""Options that commands share, and the study that they mean."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from utopia.config.study import StudyBase
    from utopia.errors import UtopiaError


def add_study(parser: argparse.ArgumentParser) -> None:
    """`--study`, `--data` and `--configfile`."""
    parser.add_argument("--study", metavar="NAME", type=filled, help="the study (default: what config.yaml says)")
    parser.add_argument(
        "--data", metavar="FOLDER", type=filled, help="the folder with the data you have (default: as in config.yaml)"
    )
    parser.add_argument(
        "--configfile",
        metavar="FILE",
        type=filled,
        action="append",
        default=[],
        help="more settings, laid over config.yaml and the study",
    )


def add_selection(parser: argparse.ArgumentParser) -> None:
    """`--tables` and `--datasets`: a part of a study."""
    group = parser.add_argument_group("a part of the study (names separated by commas)")
    group.add_argument(
        "--tables",
        metavar="NAMES",
        type=names,
        action="extend",
        help="only these tables, and the figures drawn from them: ulda_table_1, or 'ULDA Table 1' as printed",
    )
    group.add_argument(
        "--datasets", metavar="NAMES", type=names, action="extend", help="only these data sets: summe,tvsum"
    )


def filled(text: str) -> str:
    """The type of an option that must say something: an empty one is mostly a shell variable that is not set."""
    if not text.strip() or any(ord(letter) < 32 for letter in text):
        raise argparse.ArgumentTypeError("must not be empty" if not text.strip() else f"must be one line, not {text!r}")
    return text


def names(text: str) -> list[str]:
    """The type of an option that names several things, separated by commas."""
    return [filled(name).strip() for name in filled(text).split(",")]


def say_notes(chosen: argparse.Namespace) -> None:
    """Say what of the environment is not used as it is."""
    for note in getattr(chosen, "notes", ()):
        print(f"{note.found}; used instead: {note.done} ({note.remedy})", file=sys.stderr)


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON; its keys are stable")


def overrides(chosen: argparse.Namespace) -> dict[str, Any]:
    """What the options change in the configuration, over what `load_study` has found that the last run was asked for.

    Raises:
        ConfigError: there is no table of a name that was given.
    """
    settings: dict[str, Any] = dict(getattr(chosen, "remembered", {}))
    settings |= {name: value for name in ("study", "data") if (value := getattr(chosen, name))}
    if getattr(chosen, "tables", None):
        from utopia.plan import naming

        settings["tables"] = naming.ids_of_tables(chosen.tables)
        settings["figures"] = naming.figures_of(settings["tables"])
    if getattr(chosen, "datasets", None):
        settings["only_datasets"] = list(chosen.datasets)
    return settings


def part_in_words(settings: Mapping[str, Any]) -> list[str]:
    """The options that choose the same part of a study again: what `overrides` made of them, as words of a command."""
    words = []
    for option, name in (("--tables", "tables"), ("--datasets", "only_datasets")):
        if settings.get(name):
            words += [option, ",".join(settings[name])]
    return words


def configfiles(chosen: argparse.Namespace) -> list[str]:
    """The configuration files that were named, as absolute paths."""
    return [str(Path(file).absolute()) for file in getattr(chosen, "configfile", ())]


def of_snakemake(files: Sequence[str]) -> list[str]:
    """Snakemake's options for configuration files."""
    return ["--configfile", *files] if files else []


def not_made(what: str, where: Path, study: str, more: str = "") -> UtopiaError:
    """The error of a command that finds nothing in the folder of a study's results, with that folder in full.

    Args:
        what: what is missing.
        where: the file or folder that was looked for.
        study: the study's name.
        more: what else can be done.
    """
    from utopia.errors import UtopiaError

    remedy = f"run: make results STUDY={study}; if a configuration file says where results lie, name it here too: "
    return UtopiaError(what, where=where.absolute(), remedy=f"{remedy}--configfile FILE{more}")


def load_study(chosen: argparse.Namespace, *, as_made: bool = False) -> StudyBase:
    """The study that the options mean.

    From here on the repository is the working directory, as it is for Snakemake, and paths in `chosen` are absolute.

    Args:
        chosen: the options; `overrides` of them gives what lies over the configuration from here on.
        as_made: whether the question is about what is there: then the study is asked for what its last run was asked
            for (a part of it, configuration files, single values, the data folder), unless the options say other.

    Raises:
        ConfigError: listing every fault of the configuration.
    """
    from utopia.config import places
    from utopia.config.load import REPOSITORY, load

    if chosen.data:
        chosen.data = str(places.absolute(chosen.data, Path.cwd()))
    chosen.configfile = configfiles(chosen)
    study = load(overrides(chosen), chosen.configfile)
    os.chdir(REPOSITORY)
    if as_made and _remember(chosen, study.root):
        study = load(overrides(chosen), chosen.configfile)
    return study


def _remember(chosen: argparse.Namespace, folder: Path) -> bool:
    """Take what the last run was asked for into the options, where these do not say it; whether there is any."""
    from utopia.cli import runlock

    asked = runlock.asked(folder)
    config, files = dict(asked.config), [] if chosen.configfile else list(asked.files)
    if chosen.configfile:  # other files are other settings, but the data are where they were
        config = {name: config[name] for name in ("data", *runlock.PART) if name in config}
    if getattr(chosen, "tables", None) or getattr(chosen, "datasets", None):
        config = {name: value for name, value in config.items() if name not in runlock.PART}
    exists = {"data": chosen.data or "data" not in config or Path(str(config["data"])).is_dir()}
    exists |= {file: Path(file).is_file() for file in files}
    for name in [name for name, is_there in exists.items() if not is_there]:
        what = f"its data folder {config.pop(name)}" if name == "data" else f"the configuration file {name}"
        print(f"{folder}: {what} is no longer there: looked at without it", file=sys.stderr)
    chosen.remembered = config
    chosen.configfile = chosen.configfile or [file for file in files if exists[file]]
    return bool(config or files)
