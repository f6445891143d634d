"""Paths as records write them: true on every machine, and silent about whose machine it was.

A path below the working directory is written relative to it; below a *named root* as `<data>/...`; below the home
folder as `~/...`; anything else stays absolute. Named roots are folders outside the working directory: `data` from the
configuration, what the parameter `roots` of a rule names, and environment variables `UTOPIA_ROOT_<NAME>`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_VARIABLE = "UTOPIA_ROOT_"


class UnknownRootError(KeyError):
    """A path lies below a named root that is not known here."""


class Portable:
    """Translates paths to what a record holds, and back.

    Args:
        base: the working directory.
        roots: named folders outside of it.
        home: the home folder; None where there is none.
    """

    def __init__(self, base: Path, roots: Mapping[str, str | Path] | None = None, home: Path | None = None) -> None:
        self.base = Path(os.path.normpath(Path.cwd() / base))
        self.home = _home() if home is None else home
        self.roots = {name: Path(os.path.normpath(self.base / folder)) for name, folder in (roots or {}).items()}
        outside = {name: folder for name, folder in self.roots.items() if not folder.is_relative_to(self.base)}
        # Nested roots: the innermost is tried first.
        named = sorted(outside.items(), key=lambda item: -len(item[1].parts))
        prefixes = [(self.base, ""), *((folder, f"<{name}>") for name, folder in named)]
        if self.home is not None and self.home != Path(self.home.anchor):
            prefixes.append((self.home, "~"))
        # A link on the way (results on a scratch disk, /tmp) gives the same folder a second name.
        self._prefixes = [
            (spelling, mark)
            for folder, mark in prefixes
            for spelling in dict.fromkeys((folder, Path(os.path.realpath(folder))))
        ]
        # An audit asks for every file of a study: texts here, because a `Path` costs ten times as much.
        self._starts = [(str(folder), f"{folder}/".replace("//", "/"), mark) for folder, mark in self._prefixes]
        self._start = self._starts[0][1]

    def write(self, path: str | Path) -> str:
        """The text that a record holds for a path."""
        text = str(path)
        absolute = os.path.normpath(text if text.startswith("/") else f"{self._start}{text}")
        for folder, start, mark in self._starts:
            if absolute == folder:
                return mark or "."
            if absolute.startswith(start):
                return f"{mark}/{absolute[len(start) :]}" if mark else absolute[len(start) :]
        return absolute

    def read(self, text: str) -> Path:
        """The path on this machine that a record's text names. Raises UnknownRootError (a KeyError)."""
        return Path(self.place(text))

    def place(self, text: str) -> str:
        """The same as text, quicker; of an audit's many files."""
        first = text[:1]
        if first == "<" and ">" in text:
            name, rest = text[1:].split(">", 1)
            if name not in self.roots:
                raise UnknownRootError(name)
            return str(self.roots[name] / rest.lstrip("/"))
        if first == "~" and text[:2] in ("~", "~/"):
            return str((self.home or Path("/")) / text[2:])
        return text if first == "/" else f"{self._start}{text}"

    def redact(self, value: Any) -> Any:
        """A JSON-able value in which every known folder inside a text is replaced by its portable name."""
        if isinstance(value, str):
            for folder, mark in self._prefixes:
                if str(folder) in value and folder != Path(folder.anchor):
                    value = self._replace(value, str(folder), mark)
            return value
        if isinstance(value, Mapping):
            return {self.redact(key): self.redact(item) for key, item in value.items()}
        return [self.redact(item) for item in value] if isinstance(value, list) else value

    @staticmethod
    def _replace(text: str, folder: str, mark: str) -> str:
        def instead(match: re.Match[str]) -> str:
            return (f"{mark}/" if mark else "") if match[1] else mark or "."

        # Not inside a longer name: /home/me is not in /mnt/home/me, nor in /home/me-too.
        return re.sub(rf"(?<![\w.~-]){re.escape(folder)}(/|(?![\w-]|\.\w))", instead, text)


def roots_of(params: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    """A job's named roots: the configuration's `data`, the parameter `roots`, the environment; the last one wins."""
    roots: dict[str, str] = {}
    if config.get("data"):
        roots["data"] = str(config["data"])
    roots.update({name: str(folder) for name, folder in dict(params.get("roots") or {}).items()})
    for name, folder in os.environ.items():
        if name.startswith(_VARIABLE) and folder:
            roots[name.removeprefix(_VARIABLE).lower()] = folder
    return roots


def _home() -> Path | None:
    try:
        home = Path.home()
    except RuntimeError:  # an account without a home folder, as some containers have
        return None
    return None if home == Path("/") else home  # every path lies below that one
