"""What parsing the package's files gave, kept between processes: each job and each command needs it when it starts.

An entry counts only for a file of the same bytes, and only for the same version of the code that made it. It is kept
where Python keeps what it compiled (`__pycache__`): whoever can write there can have other code run unseen anyhow.
An audit uses none of it (`distrust`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utopia import files
from utopia.errors import UtopiaError


@dataclass(frozen=True)
class Import:
    """One import statement, with what it may name: `modules` must exist, `candidates` are submodules or attributes."""

    modules: tuple[str, ...]
    candidates: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Source:
    """A module's hash and imports."""

    sha256: str
    """Of what runs, not of the file's bytes."""
    imports: tuple[Import, ...]


class Parsed:
    """The store.

    Args:
        maker: the Python file of the code that parses; another version of it makes all that is stored void.
        base: the folder below which files are stored; others are parsed each time.
    """

    def __init__(self, maker: Path, base: Path) -> None:
        self.file = Path(importlib.util.cache_from_source(str(maker))).with_suffix(".json")
        self._maker, self._base = maker, base
        self._entries: dict[str, list[Any]] | None = None
        self._version, self._grown, self.distrusted = "", False, False

    def distrust(self) -> None:
        """Use nothing that is stored, for as long as this process lives."""
        self.distrusted, self._entries = True, {}

    def source(self, path: Path, content: bytes, parse: Callable[[], Source]) -> Source:
        """What `parse` gives for a file of that content: stored, or parsed now."""
        if not path.is_relative_to(self._base):
            return parse()
        name, digest = path.relative_to(self._base).as_posix(), hashlib.sha256(content).hexdigest()
        entries = self._read()
        try:
            content_then, sha256, imports = entries[name]
            if content_then == digest:
                return Source(sha256, tuple(Import(tuple(a), tuple(b), line) for a, b, line in imports))
        except (KeyError, TypeError, ValueError):  # none yet, or damaged
            pass
        source = parse()
        entries[name] = [digest, source.sha256, [[one.modules, one.candidates, one.line] for one in source.imports]]
        self._grown = True
        return source

    def save(self) -> None:
        """Store what was parsed since; nothing where Python may not store what it compiles either."""
        if not self._grown or self.distrusted or sys.dont_write_bytecode:
            return
        self._grown = False
        value = json.dumps({"made_by": self._version, "files": self._entries}, separators=(",", ":"))
        try:
            files.write_text(self.file, value)
        except UtopiaError:  # a checkout that only others may write
            return

    def _read(self) -> dict[str, list[Any]]:
        if self._entries is None:
            self._version = files.sha256(self._maker)
            try:
                stored = files.read_json(self.file)
            except UtopiaError:  # none yet, or cut
                stored = {}
            same = isinstance(stored, dict) and stored.get("made_by") == self._version
            self._entries = stored["files"] if same and isinstance(stored.get("files"), dict) else {}
        return self._entries
