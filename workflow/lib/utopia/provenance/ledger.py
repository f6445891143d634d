"""The ledger: all job records of a study, read from disk, without Snakemake and without the data."""

from __future__ import annotations

import gc
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from utopia.errors import UtopiaError
from utopia.provenance import shape
from utopia.provenance.job import SUFFIX, SharedBlock, digest_of
from utopia.provenance.paths import Portable

_SHARED = ("code", "environment")
_MARK = 1 << 62 | secrets.randbits(62)
"""Stands for a block that was cut out; no record can know it."""
_PATH = re.compile(rb'"path"[ \t\r\n]*:[ \t\r\n]*"([^"]*)"')
_AT_ONCE = 1 << 20
_OF_OUTPUTS = ("render_table", "render_figure")
_NOT_SETTINGS = ("code", "runs", "caption", "folders", "videos")


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
    def first_output(self) -> str:
        """The first file that it made, by which a job is named; empty for a job that makes none."""
        return str(self.outputs[0]["path"]) if self.outputs else ""

    def roles(self, side: str) -> dict[str, list[str]]:
        """The paths that its rule declares as `inputs` or `outputs`, under the names that the rule gives them."""
        roles = self.facts.get("roles", {}).get(side, {})
        return {role: [paths] if isinstance(paths, str) else paths for role, paths in roles.items()}

    def declared(self, side: str) -> list[str]:
        """The same, of all roles."""
        return [path for paths in self.roles(side).values() for path in paths]

    @property
    def packages(self) -> Mapping[str, str]:
        """The versions of the packages that were installed."""
        return (self.facts.get("environment") or {}).get("packages") or {}

    @property
    def versions(self) -> dict[str, Any]:
        """The versions of Python and of all packages."""
        return {"python": (self.facts.get("environment") or {}).get("python"), **self.packages}

    @property
    def gpus(self) -> list[dict[str, Any]]:
        """The GPUs that it used; all of its machine where it could not tell which."""
        return [gpu for gpu in self.facts.get("gpu") or [] if gpu.get("used") is not False]

    @property
    def settings(self) -> dict[str, Any]:
        """What the configuration said to it, apart from what it said of runs; nothing of a table or figure."""
        given = {} if self.rule in _OF_OUTPUTS else self.facts["params"]
        return {name: value for name, value in given.items() if name not in _NOT_SETTINGS}

    @property
    def settings_of_runs(self) -> dict[str, dict[str, Any]]:
        """What it said of each of a job's runs, by their id."""
        runs = self.facts["params"].get("runs")
        given = [run for run in runs if isinstance(run, Mapping) and "id" in run] if isinstance(runs, list) else []
        return {run["id"]: {name: value for name, value in run.items() if name not in ("id", "code")} for run in given}

    @property
    def is_intact(self) -> bool:
        """Whether the record agrees with its own digest: it was not edited by one who did not know of the digest."""
        return self.facts.get("digest") == digest_of(self.facts)


@dataclass(frozen=True)
class DamagedRecord:
    """A record that cannot be used, and why."""

    path: Path
    reason: str


class Ledger:
    """All records below a study's folder.

    Args:
        records: in the order in which the jobs ended.
        damaged: files that look like records but cannot be used.
        portable: translates between paths of this machine and those in records.
        left_out: files of records that were not read although they may name a named root, such as `<data>`.
    """

    def __init__(
        self, records: list[Record], damaged: list[DamagedRecord], portable: Portable, left_out: Collection[str] = ()
    ) -> None:
        self.records = records
        self.damaged = damaged
        self.portable = portable
        self._left_out = left_out

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
        return cls._of(_record_files(Path(folder)), base, roots)

    @classmethod
    def read_one(cls, path: Path, *, roots: Mapping[str, str | Path] | None = None) -> Ledger:
        """Read one record, which may be damaged or missing; see `read`."""
        return cls._of([path], None, roots)

    @classmethod
    def read_behind(
        cls,
        folder: str | Path,
        starts: Callable[[Collection[str]], Iterable[str]],
        beside: Callable[[str], Iterable[str]] = lambda _: (),
        *,
        roots: Mapping[str, str | Path] | None = None,
    ) -> Ledger:
        """Read only the records of the jobs that made some files and what these were made from, in any number of steps.

        Every record is looked at, as text; it is parsed where it may tell of a file that is asked for. So the lineage
        of these files is the same as in the whole ledger, at a third of the work.

        Args:
            folder: the study's folder.
            starts: of all files that jobs may have made, those that are asked about, as records write paths.
            beside: other files that an answer tells of where it tells of one.
            roots: as for `read`.

        Returns:
            The ledger of these records; the whole one where no job has made any of the files.

        Raises:
            UtopiaError: there is no such folder.
        """
        files = _record_files(Path(folder))
        makers, rooted = _mentions(files)
        waiting = list(starts(makers.keys()))
        if not waiting:
            return cls._of(files, None, roots)
        known, taken = set(waiting), set[str]()
        records, damaged = list[Record](), list[DamagedRecord]()
        blocks: dict[bytes, Any] = {}
        while waiting:
            new = [file for file in makers.get(waiting.pop(), ()) if file not in taken]
            taken.update(new)
            part = cls._of(new, None, roots, blocks)
            for record in part.records:
                paths = {entry["path"] for entry in members([*record.inputs, *record.outputs])}
                new_paths = {entry for path in paths for entry in (path, *beside(path))} - known
                known |= new_paths
                waiting += new_paths
            records, damaged = records + part.records, damaged + part.damaged
        records.sort(key=lambda record: (record.facts["ended"], str(record.file)))  # as in the whole ledger
        left_out = [file for file in rooted if file not in taken]
        return cls(records, damaged, Portable(Path.cwd(), roots), left_out)

    @classmethod
    def _of(
        cls,
        paths: Iterable[str | Path],
        base: str | Path | None,
        roots: Mapping[str, str | Path] | None,
        blocks: dict[bytes, Any] | None = None,
    ) -> Ledger:
        records: list[Record] = []
        damaged: list[DamagedRecord] = []
        shared: dict[bytes, Any] = {} if blocks is None else blocks
        with without_collection():
            for path in paths:
                try:
                    records.append(Record(path, shape.checked(_parsed(_text(path), shared))))
                except (OSError, ValueError) as error:
                    damaged.append(DamagedRecord(Path(path), str(error)))
        records.sort(key=lambda record: record.facts["ended"])  # stable: those that ended together stay by path
        return cls(records, damaged, Portable(Path(base or Path.cwd()), roots))

    def reads(self, root: str) -> bool:
        """Whether any job of the study, also of those whose records were not read, has read a file of a named root."""
        others = (self._of([file], None, None).records for file in self._left_out)
        return any(
            entry["path"].startswith(f"<{root}>")
            for records in (self.records, *others)
            for record in records
            for entry in record.inputs
        )

    @cached_property
    def _hashes(self) -> dict[str, str | None]:
        """The hash of each path as the last job left it that made it."""
        return {entry["path"]: entry["sha256"] for record in self.records for entry in members(record.outputs)}

    def contradictions(self, record: Record) -> Iterator[str]:
        """What of a job's files is not as its record says, by signs that cost no hashing.

        The signs: an input was regenerated since, with other content; an output is missing or has another size.
        """
        for entry in record.inputs:
            if self._hashes.get(entry["path"], entry["sha256"]) != entry["sha256"]:
                yield f"input: {entry['path']} was regenerated"
        for entry in members(record.outputs):
            try:
                status = self.portable.read(entry["path"]).stat()
            except KeyError:
                continue  # below a named root that the caller did not give: nothing can be said
            except OSError:
                yield f"output: {entry['path']} is missing"
                continue
            if "files" not in entry and status.st_size != entry["bytes"]:
                yield f"output: {entry['path']} has another size"


def _text(path: str | Path) -> bytes:
    """A file's content; of twenty thousand, at half the price of a file object."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(file, _AT_ONCE)
        while more := os.read(file, _AT_ONCE):
            text += more
        return text
    finally:
        os.close(file)


def _mentions(files: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The records that may tell who made each file, and those that may name a named root; nothing is parsed.

    Whatever the layout of a record, each path among its outputs is a string after a key `path`, and that after a key
    `outputs`; unless one of them is written with an escape, and such a record counts as one that may tell of all that
    it names when it is parsed. So none is missed, and one too many is found out when it is read.
    """
    makers: dict[str, list[str]] = {}
    rooted = []
    with without_collection():
        for file in files:
            try:
                text = _text(file)
                if b"\\" in text:
                    paths = [entry["path"] for entry in members(shape.checked(from_json(text))["outputs"])]
                    names_root = True
                else:
                    mentioned = b"\n".join(_PATH.findall(text, max(text.find(b'"outputs"'), 0)))
                    paths, names_root = mentioned.decode().split("\n"), b"<" in text and b'"<' in text
            except (OSError, ValueError):
                continue  # no record: whoever reads all of them says so
            for path in paths:
                if makers.setdefault(path, (first := [file])) is not first:
                    makers[path].append(file)
            if names_root:
                rooted.append(file)
    return makers, rooted


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
                blocks[block] = SharedBlock(from_json(block))
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
def without_collection() -> Iterator[None]:
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
    """The records below a study's folder.

    Raises:
        UtopiaError: there is no such folder.
    """
    if not folder.is_dir():
        raise UtopiaError(
            "there is no such folder", where=folder, remedy="run the study first, or name the folder of its results"
        )
    records = []
    waiting = [str(folder)]
    seen: set[str] = set()
    while waiting:
        with os.scandir(waiting.pop()) as inside:
            for entry in inside:
                if entry.name.endswith(SUFFIX) and not entry.is_dir():
                    records.append(entry.path)
                # A part of the results may be a link to another disk.
                elif entry.is_dir() and (not entry.is_symlink() or is_followed(entry.path, folder, seen)):
                    waiting.append(entry.path)
    return sorted(records)


def members(entries: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Entries of files and folders, each folder followed by the files in it."""
    for entry in entries:
        yield entry
        yield from entry.get("files", ())
