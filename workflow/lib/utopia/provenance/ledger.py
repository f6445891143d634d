"""The ledger: all job records of a study, read from disk, without Snakemake and without the data."""

from __future__ import annotations

import gc
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from utopia.errors import UtopiaError
from utopia.provenance.job import SCHEMA, SUFFIX, Block, digest_of
from utopia.provenance.paths import Portable

_SHARED = ("code", "environment")
_MARK = 1 << 62 | secrets.randbits(62)
"""Stands for a block that was cut out; no record can know it."""
_NEEDED = ("rule", "wildcards", "params", "inputs", "outputs", "code", "started", "ended", "seconds")


@dataclass(frozen=True)
class Record:
    """One job that has succeeded. `facts` holds everything; the properties are what is asked most."""

    file: str | Path
    """The record's own file."""
    facts: Mapping[str, Any] = field(repr=False)

    @cached_property
    def path(self) -> Path:
        """The same as a path."""
        return Path(self.file)

    @property
    def rule(self) -> str:
        """The rule that ran."""
        return self.facts["rule"]

    @property
    def wildcards(self) -> Mapping[str, str]:
        """Its wildcards."""
        return self.facts["wildcards"]

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """Entries of what it read; a folder is one entry with `files`."""
        return self.facts["inputs"]

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """Entries of what it made."""
        return self.facts["outputs"]

    @property
    def is_intact(self) -> bool:
        """Whether the record agrees with its own digest: it was not edited by one who did not know of the digest."""
        return self.facts.get("digest") == digest_of(self.facts)


@dataclass(frozen=True)
class Damaged:
    """A record that cannot be used, and why."""

    path: Path
    reason: str


class Ledger:
    """All records below a study's folder.

    Args:
        records: in the order in which the jobs ended.
        damaged: files that look like records but cannot be used.
        portable: translates between paths of this machine and those in records.
    """

    def __init__(self, records: list[Record], damaged: list[Damaged], portable: Portable) -> None:
        self.records = records
        self.damaged = damaged
        self.portable = portable

    @classmethod
    def read(
        cls, folder: str | Path, *, base: str | Path | None = None, roots: Mapping[str, str | Path] | None = None
    ) -> Ledger:
        """Read every `*.record.json` below `folder`. A damaged one is kept in `damaged`, never fatal and never silent.

        Args:
            folder: the study's folder, `results/<study>`.
            base: the working directory that relative paths in the records mean; the present one by default.
            roots: the named folders, such as `data`, that paths in the records mean.

        Raises:
            UtopiaError: there is no such folder.
        """
        if not Path(folder).is_dir():
            raise UtopiaError(
                "there is no such folder", where=folder, remedy="run the study first, or name the folder of its results"
            )
        return cls._read(_record_files(Path(folder)), base, roots)

    @classmethod
    def read_one(cls, path: Path, *, roots: Mapping[str, str | Path] | None = None) -> Ledger:
        """Read one record, which may be damaged or missing; see `read`."""
        return cls._read([path], None, roots)

    @classmethod
    def _read(
        cls, paths: Sequence[str | Path], base: str | Path | None, roots: Mapping[str, str | Path] | None
    ) -> Ledger:
        records: list[Record] = []
        damaged: list[Damaged] = []
        blocks: dict[bytes, Any] = {}
        with _without_collection():
            for path in paths:
                try:
                    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (a text or a path)
                        text = file.read()
                    records.append(Record(path, _checked(_parsed(text, blocks))))
                except (OSError, ValueError) as error:
                    damaged.append(Damaged(Path(path), str(error)))
        records.sort(key=lambda record: record.facts["ended"])  # stable: those that ended together stay by path
        return cls(records, damaged, Portable(Path(base or Path.cwd()), roots))

    def by_output(self, path: str | Path) -> Record | None:
        """The record of the job that made a file (or a file inside a folder that a job made); None where there is none.

        `path` is a path on this machine, or the text that a record holds.
        """
        found = self._makers.get(str(path)) or self._makers.get(self.portable.write(path))
        return found[0] if found else None

    @cached_property
    def _makers(self) -> dict[str, tuple[Record, str | None]]:
        """The last job that made each path, and the hash that it had then."""
        return {
            entry["path"]: (record, entry["sha256"])
            for record in self.records
            for entry in _with_members(record.outputs)
        }

    def contradictions(self, record: Record) -> Iterator[str]:
        """What of a job's files is not as its record says, by signs that cost no hashing.

        The signs: an input was made anew since, with other content; an output is missing or has another size.
        """
        for entry in record.inputs:
            made = self._makers.get(entry["path"])
            if made is not None and made[1] != entry["sha256"]:
                yield f"input: {entry['path']} was made anew"
        for entry in _with_members(record.outputs):
            try:
                status = self.portable.read(entry["path"]).stat()
            except KeyError:
                continue  # below a named root that the caller did not give: nothing can be said
            except OSError:
                yield f"output: {entry['path']} is missing"
                continue
            if "files" not in entry and status.st_size != entry["bytes"]:
                yield f"output: {entry['path']} has another size"


def _parsed(text: bytes, blocks: dict[bytes, Any]) -> Any:
    """The JSON value of a record; blocks that many records share are parsed once and kept in `blocks`.

    Code and environment are two thirds of a record and the same in most. They are cut out where the file has the
    layout that jobs write (one blank of indent, so that a block ends at the first `}` after one blank). The value is
    that of the whole text, whatever its layout: a block is JSON of its own, and a mark in its place must be read as
    the value of that name. Where it is not (the name stands twice, or deeper), the text is parsed in one piece.
    """
    rest, shared = text, {}
    for name in _SHARED:
        start = rest.find(b'\n "%s": {\n' % name.encode())
        stop = rest.find(b"\n }", start)
        if start < 0 or stop < 0:
            continue
        start += len(name) + 6
        block = rest[start : stop + 3]
        if block not in blocks:
            try:
                blocks[block] = Block(from_json(block))
            except ValueError:
                return from_json(text)
        shared[name] = blocks[block]
        rest = b"%b%d%b" % (rest[:start], _MARK, rest[stop + 3 :])
    facts = from_json(rest)
    if not isinstance(facts, dict) or any(facts.get(name) != _MARK for name in shared):
        return from_json(text)
    facts.update(shared)
    return facts


@contextmanager
def _without_collection() -> Iterator[None]:
    """Parsing makes no cycles, and a search for them after every few thousand objects takes a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def is_followed(link: str | Path, folder: Path, seen: set[str]) -> bool:
    """Whether a link to a folder is followed: once, and not where it leads to what is reached without it.

    Args:
        link: the link.
        folder: the folder below which it lies.
        seen: where links have led to that were followed; is added to.
    """
    real, top = os.path.realpath(link), os.path.realpath(folder)
    if real in seen or Path(real).is_relative_to(top) or Path(top).is_relative_to(real):
        return False
    seen.add(real)
    return True


def _record_files(folder: Path) -> list[str]:
    found = []
    waiting = [str(folder)]
    seen: set[str] = set()
    while waiting:
        with os.scandir(waiting.pop()) as inside:
            for entry in inside:
                if entry.name.endswith(SUFFIX) and not entry.is_dir():
                    found.append(entry.path)
                # A part of the results may be a link to another disk.
                elif entry.is_dir() and (not entry.is_symlink() or is_followed(entry.path, folder, seen)):
                    waiting.append(entry.path)
    return sorted(found)


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and "path" in value and "sha256" in value and "bytes" in value


def _checked(facts: Any) -> dict[str, Any]:
    """The facts of a record. Raises ValueError where they are not one."""
    if not isinstance(facts, dict):
        raise ValueError("not a record: no JSON object")
    if facts.get("schema") != SCHEMA:
        raise ValueError(f"its format is version {facts.get('schema')!r}; this program reads {SCHEMA}")
    missing = [name for name in _NEEDED if name not in facts]
    if missing:
        raise ValueError(f"without {', '.join(missing)}")
    for name in ("inputs", "outputs"):
        entries = facts[name]
        if not isinstance(entries, list) or not all(map(_is_entry, entries)):
            raise ValueError(f"{name} are not a list of files with path, sha256 and bytes")
    if not isinstance(facts["code"], dict) or not {"fingerprint", "roots", "modules"} <= facts["code"].keys():
        raise ValueError("code without fingerprint, roots or modules")
    return facts


def _with_members(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        yield entry
        yield from entry.get("files", ())
