"""Where a study may read and write: paths of the configuration, and what is wrong with one."""

from __future__ import annotations

import contextlib
import os
import reprlib
from pathlib import Path, PurePosixPath
from typing import Any

from utopia.config.suggest import nearest
from utopia.errors import ConfigError

LONGEST_NAME = 200
"""Bytes of a file's name; file systems take 255, and temporary files add to it."""
LONGEST_PATH = 3000
"""Bytes of a path; Linux takes 4096, and a study's own files lie below it."""
OWN = ("benchmarks", "config", "docs", "envs", "profiles", "tests", "workflow")
"""Folders of the project, which no results may join; so may none whose name begins with a dot."""
SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/sbin", "/sys", "/usr")
_MEMORY = Path("/dev/shm")


def fault_of_text(path: str) -> str:
    """What is wrong with a path as text; empty if nothing is."""
    if not path.strip():
        return "must name a file or a folder"
    if any(ord(letter) < 32 or ord(letter) == 127 or 0xD800 <= ord(letter) < 0xE000 for letter in path):
        return "must not hold control characters (a line break, a tab, NUL) or bytes that are not UTF-8"
    if len(path.encode()) > LONGEST_PATH:
        return f"must not be longer than {LONGEST_PATH} bytes"
    if any(len(part.encode()) > LONGEST_NAME for part in PurePosixPath(path).parts):
        return f"must not hold a name longer than {LONGEST_NAME} bytes"
    return ""


def fault_of_below(path: str) -> str:
    """What is wrong with a path that must stay below a folder; empty if nothing is."""
    parts = PurePosixPath(path).parts
    if path.startswith(("/", "~")) or ".." in parts or path.strip() == ".":
        return "must stay below its folder: no `..`, and no `/` or `~` at the start"
    return fault_of_text(path)


def absolute(path: str | Path, base: Path) -> Path:
    """A path of the configuration, taken from the folder `base`; `~` is the home folder.

    A home folder that is not known leaves `~` as it is, which `fault_of_results` refuses.
    """
    path = Path(path)
    with contextlib.suppress(RuntimeError):
        path = path.expanduser()
    return Path(os.path.normpath(base / path))


def results(path: str | Path, repository: Path) -> Path:
    """The folder of results: relative to the repository where it lies in it, else absolute."""
    whole = absolute(path, repository)
    return whole.relative_to(repository) if whole.is_relative_to(repository) else whole


def fault_of_results(path: str | Path, repository: Path) -> str:
    """What is wrong with a folder for results; empty if nothing is."""
    if fault := fault_of_text(str(path)):
        return fault
    if str(path).startswith("~") and str(absolute(path, repository)).startswith(f"{repository}/~"):
        return "the home folder behind `~` is not known here: name the folder in full"
    place = results(path, repository)
    if not place.is_absolute():
        first = place.parts[0] if place.parts else ""
        if not first or first.startswith(".") or first in OWN or (repository / first).is_file():
            return "results may not lie among the project's own files: use `results`, or a folder outside"
        return ""
    for each in (place, Path(os.path.realpath(place))):
        system = next((folder for folder in SYSTEM if each.is_relative_to(folder)), "")
        if each == Path("/") or (system and not each.is_relative_to(_MEMORY)):
            return f"results may not lie in a folder of the system ({system or '/'})"
        if repository.is_relative_to(each):
            return "results may not be a folder that holds the project itself"
    return ""


def overlay_of(name: Any, studies: Path, where: str | Path) -> Path:
    """The overlay of a study in the folder `studies`; `where` says in the message who named the study.

    Raises:
        ConfigError: there is no such study.
    """
    overlays = {path.stem: path for path in sorted(studies.glob("*.yaml"))}
    if not isinstance(name, str) or name not in overlays:
        hint = nearest(name[:LONGEST_NAME], overlays) if isinstance(name, str) else ""
        raise ConfigError(
            f"there is no study {reprlib.repr(name)}{hint}",
            where=where,
            remedy=f"use one of: {', '.join(overlays)}; or add {studies.name}/<name>.yaml",
        )
    return overlays[name]
