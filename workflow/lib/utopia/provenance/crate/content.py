"""What goes into a crate: results, records, configuration and code as files; everything else by its hash."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from utopia.errors import UtopiaError
from utopia.provenance.job import SUFFIX
from utopia.provenance.lineage import Graph

METADATA = "ro-crate-metadata.json"
README = "README.md"
CITATION = "CITATION.cff"
WORKFLOW = "Snakefile"
"""The main workflow; it includes the rules in `workflow/rules`."""
LOCK = "envs/requirements.txt"
CONFIGURATION = "configuration/"
"""Where configuration files go that the run was given beside `config.yaml`."""
ALWAYS = re.compile(
    r"(tables|figures)/.+|runs/[^/]+/(metrics\.csv|training\.json)|audit/coverage\.csv|inputs/[^/]+\.json"
)
"""Results that every crate holds, below the study's folder."""
OPTIONAL = {
    "predictions": re.compile(r"runs/[^/]+/predictions\.safetensors|submissions?/.+"),
    "checkpoints": re.compile(r"runs/[^/]+/replicas/[^/]+\.safetensors"),
    "labels": re.compile(r"labels/.+"),
    "features": re.compile(r"features/.+"),
}
"""Results that are put in when asked for: they are large, or derive from data under terms of their own."""

_CODE_FILES = (WORKFLOW, "config.yaml", "pyproject.toml", CITATION, "LICENSE", LOCK, "envs/requirements.in")
_CODE_FOLDERS = ("workflow", "profiles")


@dataclass(frozen=True)
class Content:
    """The files of a crate, by name inside it, and what is only referred to."""

    files: dict[str, Path]
    referred: tuple[str, ...]
    """Paths as records write them."""


def gather(
    graph: Graph, folder: Path, checkout: Path, include: Iterable[str] = (), configfiles: Iterable[Path] = ()
) -> Content:
    """What a crate of a study holds.

    Args:
        graph: the study's lineage; its root must be relative, so that records name its files the same way anywhere.
        folder: the study's folder on this machine.
        checkout: the checkout with the workflow's code.
        include: names in `OPTIONAL`.
        configfiles: configuration files that the run was given beside `config.yaml`.

    Raises:
        UtopiaError: there is nothing to publish, or a file lies outside of what is published.
    """
    if not is_plain(graph.root):
        raise UtopiaError(
            "the study's folder lies outside the checkout",
            where=graph.root,
            why="its records name files by the paths of this machine, and a crate must hold none",
            remedy="set `results` to a folder inside the checkout (a link to another disk will do)",
        )
    if not graph.tables and not graph.figures:
        raise UtopiaError(
            "the study has no table and no figure yet", where=folder, remedy="finish it first: `utopia run`"
        )
    wanted = [ALWAYS, *(OPTIONAL[name] for name in include)]
    chosen: dict[str, Path] = {}
    referred: list[str] = []
    for path in dict.fromkeys([*graph.makers, *graph.readers]):
        if "files" in (graph.entry(path) or {}):
            continue  # the files in a folder are named one by one
        below = path.removeprefix(f"{graph.root}/")
        if path in graph.makers and below != path and any(pattern.fullmatch(below) for pattern in wanted):
            chosen[path] = _inside(folder / below, folder)
        else:
            referred.append(path)
    for record in graph.ledger.records:
        chosen[graph.ledger.portable.write(record.path)] = _inside(record.path, folder)
    chosen.update(_code(checkout))
    for number, file in enumerate(configfiles, 1):
        chosen[f"{CONFIGURATION}{number}-{file.name}"] = file
    # A result that is also code or configuration (a registry's card that a job read) is a file of the crate.
    return Content(dict(sorted(chosen.items())), tuple(sorted(path for path in referred if path not in chosen)))


def is_plain(path: str) -> bool:
    """Whether a path is relative, stays below where it starts, and is written in one way only."""
    parts = path.split("/")
    return (
        bool(path)
        and not path.startswith(("<", "~"))
        and not re.search(r"[\\\0\n\r]", path)
        and not re.match(r"[A-Za-z]:", path)
        and all(part not in ("", ".", "..") for part in parts)
    )


def is_record(path: str) -> bool:
    """Whether a file is the record of a job."""
    return path.endswith(SUFFIX)


def _inside(path: Path, folder: Path) -> Path:
    if path.exists() and not path.resolve().is_relative_to(folder.resolve()):
        raise UtopiaError(
            "a link leads out of the study's folder",
            where=path,
            why="a crate holds nothing from outside the study",
            remedy="put the file itself there, or remove the link",
        )
    return path


def _code(checkout: Path) -> Iterator[tuple[str, Path]]:
    for name in _CODE_FILES:
        if (checkout / name).is_file():
            yield name, checkout / name
    for top in _CODE_FOLDERS:
        for at, folders, names in os.walk(checkout / top, followlinks=False):
            folders[:] = sorted(folder for folder in folders if folder != "__pycache__" and not folder.startswith("."))
            for name in sorted(names):
                path = Path(at, name)
                if name.startswith(".") or path.is_symlink():
                    continue
                yield PurePosixPath(path.relative_to(checkout)).as_posix(), path
