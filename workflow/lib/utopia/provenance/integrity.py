"""Whether the files of a study are those that its records describe, and the records those that its jobs wrote; and what
jobs really opened, against what their rules declare."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

from utopia.provenance import contents, environment
from utopia.provenance.findings import Finding, short
from utopia.provenance.hashing import FileState, hash_all
from utopia.provenance.job import SUFFIX
from utopia.provenance.ledger import Record, is_followed
from utopia.provenance.lineage import Graph
from utopia.tables.columns import rows_by_cell

_OF_THE_RUN = re.compile(
    r"logs/.+\.log(\.failed\.json)?|benchmarks/.+\.jsonl|\.run\.lock|audit/(run|rates|asked)\.json|(.*/)?\.snakemake_timestamp"
    r"|(.*/)?\.[^/]+\.tmp[^/]*|(.*/)?[^/]+\.half\.safetensors"
)
"""Files below a study's folder that are no results: what runs say of themselves, and work that is not done."""


def seals_of_pages(graph: Graph) -> set[str]:
    """The seals that pages of the study show: each is of the records that the page was made from, so not of its own."""
    records = {graph.ledger.portable.write(record.file): record for record in graph.ledger.records}
    pages = [record for record in graph.ledger.records if record.rule == "render_page"]
    return {graph.seal(records[path] for path in graph.entries(page, "inputs") if path in records) for page in pages}


def records(graph: Graph) -> Iterator[Finding]:
    """Records that are damaged, were edited, or do not lie where they belong."""
    portable = graph.ledger.portable
    for damaged in graph.ledger.damaged:
        where = portable.write(damaged.path)
        yield Finding("record damaged", where, damaged.reason, (where.removesuffix(SUFFIX),))
    for record in graph.ledger.records:
        where = portable.write(record.file)
        if not record.is_intact:
            what = "its content does not have the digest that it names" if record.facts.get("digest") else "no digest"
            yield Finding("record edited", where, what, tuple(graph.made(record)))
        expected = f"{record.first_output}{SUFFIX}" if record.outputs else where
        if where != expected:
            yield Finding("record misplaced", where, f"it belongs to {expected}", tuple(graph.made(record)))
        if what := _times(record):
            yield Finding("impossible time", where, what, tuple(graph.made(record)))


def _times(record: Record) -> str:
    """What cannot be of the times that a record names; empty where they can."""
    try:
        started, ended = (datetime.fromisoformat(str(record.facts[name])) for name in ("started", "ended"))
        if ended < started:
            return f"it ended {record.facts['ended']}, before it started {record.facts['started']}"
    except (ValueError, TypeError) as error:
        return f"it names no time: {error}"
    return ""


def not_made(graph: Graph, targets: Iterable[str]) -> Iterator[Finding]:
    """What the study is asked for today and no record says was made; forms of one table or figure are named once."""
    lacking = {str(Path(path).with_suffix("")): path for path in targets if path not in graph.makers}
    for path in lacking.values():
        yield Finding("not made", path, "the study is asked for it, and no record says that it was made", (path,))


def off_the_lock(graph: Graph) -> Iterator[Finding]:
    """Jobs that ran with other versions of packages than the lock file that they name pins."""
    lock, pinned = environment.lock(), environment.pinned()
    seen: dict[int, list[str]] = {}
    for record in graph.ledger.records:
        installed = record.packages
        if lock is None or (record.facts.get("lock") or {}).get("sha256") != lock["sha256"]:
            continue  # pins of another lock are not known here
        if id(installed) not in seen:
            seen[id(installed)] = environment.differing(installed, pinned)
        if wrong := seen[id(installed)]:
            more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
            made = tuple(graph.made(record))
            where = graph.ledger.portable.write(record.path)
            yield Finding("off the lock", where, f"it ran with {', '.join(wrong[:3])}{more}", made)


def superseded(graph: Graph) -> set[Path]:
    """Records all of whose outputs another job has made since; they describe nothing that is there."""
    return {record.path for record in graph.ledger.records if record.outputs and not graph.latest(record)}


def undeclared_reads(graph: Graph) -> Iterator[Finding]:
    """Files that jobs read although they are no ancestor of their results, and declared inputs that they never read."""
    for record in graph.ledger.records:
        yield from undeclared_reads_of(graph, record)


def undeclared_reads_of(graph: Graph, record: Record) -> Iterator[Finding]:
    """The same of one job."""
    opened = record.facts.get("opened")
    if not opened or not (opened["undeclared"] or opened["never_read"]):
        return
    made = tuple(graph.latest(record))
    for path in _undeclared(graph, record, made) if opened["undeclared"] else ():
        yield Finding("undeclared read", path, f"{record.rule} read it and does not declare it", made)
    for path in opened["never_read"]:
        yield Finding("never read", path, f"{record.rule} declares it and never opened it", made)


def _undeclared(graph: Graph, record: Record, made: tuple[str, ...]) -> list[str]:
    """What a job read that neither is an ancestor of its results, nor was made together with one of its inputs."""
    read = graph.entries(record, "inputs")
    makers = {id(maker): maker for path in read if (maker := graph.makers.get(path))}
    rest = [path for path in record.facts["opened"]["undeclared"] if path not in read]
    # Most are stored features that the job of a declared index made: no need to go further up for them.
    for maker in makers.values():
        beside = graph.entries(maker, "outputs")
        rest = [path for path in rest if path not in beside]
    if rest:
        known = {*graph.ancestors(made), *graph.ancestors(read)}
        rest = [path for path in rest if path not in known]
    return rest


class FileHashes:
    """What the files of a study are now, against its records.

    Attributes:
        states: path -> what is there now; all files that records name and that this machine can look at.
        damaged: paths that are missing or changed.
        unknown: paths below a named folder that was not given.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.unknown: list[str] = []
        self._places: dict[str, str] = {}
        sizes: dict[str, int] = {}
        self._entries = {path: entry for path in graph.makers | graph.readers if (entry := graph.entry(path))}
        for path, entry in self._entries.items():
            if "files" in entry:
                continue
            try:
                place = self._places[path] = graph.ledger.portable.place(path)
                sizes[place] = entry["bytes"] or 0
            except KeyError:
                self.unknown.append(path)
        states = hash_all(sizes, sizes=sizes)
        self.states: dict[str, FileState] = {path: states[place] for path, place in self._places.items()}
        self.damaged: set[str] = set()
        self._findings = list(self._compared())

    @property
    def bytes(self) -> int:
        """Bytes that were hashed."""
        return sum(state.bytes for state in self.states.values())

    @property
    def known(self) -> dict[str, str]:
        """Absolute path -> SHA-256 of all files that were hashed."""
        return {self._places[path]: state.sha256 for path, state in self.states.items() if state.sha256}

    def findings(self) -> list[Finding]:
        """Files that are missing or have changed, and inputs that were regenerated after they were read."""
        return self._findings

    def _compared(self) -> Iterator[Finding]:
        graph = self._graph
        for path, now in self.states.items():
            then = self._entries[path]
            expected = then["sha256"]
            if now.sha256 is None and expected is not None:
                self.damaged.add(path)
                yield Finding("missing", path, now.problem, (path,))
            elif now.sha256 != expected:
                self.damaged.add(path)
                yield Finding("changed", path, _how(then, now, is_input=path not in graph.makers), (path,))
            for record in graph.readers.get(path, ()):
                read = graph.entries(record, "inputs")[path]["sha256"]
                if read != expected and read != now.sha256:
                    what = f"{record.rule} read it with the sha256 {short(read)}; now it has {short(expected)}"
                    yield Finding("regenerated", path, what, tuple(graph.made(record)))


def _how(then: Mapping[str, Any], now: FileState, *, is_input: bool) -> str:
    size = "" if then.get("bytes") == now.bytes else f", {then.get('bytes')} -> {now.bytes} bytes"
    kind = "the input's" if is_input else "its"
    return f"{kind} sha256 was {short(then.get('sha256'))} and is {short(now.sha256)}{size}"


def unrecorded(graph: Graph, folder: Path) -> tuple[list[Finding], list[str]]:
    """Files below the study's folder that no record names, and links in place of files; and what is to be noted.

    Args:
        graph: the lineage.
        folder: the study's folder on this machine.
    """
    known = graph.makers.keys()
    findings, unused = [], []
    mine = {graph.ledger.portable.write(record.file) for record in graph.ledger.records}
    mine |= {graph.ledger.portable.write(damaged.path) for damaged in graph.ledger.damaged}
    named = contents.stored(graph)
    notes = [f"{_shown(graph, path)} is a link to a folder elsewhere" for path in _linked(folder)]
    for below, is_link in _files(folder, notes, graph):
        text = f"{graph.root}/{below}"
        if not is_link and text in known:
            continue
        path = folder / below
        if is_link:
            touched = None if text in known else _cells_in(path, below)
            findings.append(Finding("link", text, f"it is {path.readlink().name!r} elsewhere", (text,), touched))
            if text not in known:
                continue
        if text in known or text in mine or _OF_THE_RUN.fullmatch(below):
            continue
        if below.startswith("features/store/") and below not in named:
            unused.append(text)
            continue
        findings.append(Finding("unrecorded", text, "no record names it", (text,), _cells_in(path, below)))
    if unused:
        notes.append(f"{len(unused)} stored features that no index names any more, such as {unused[0]}")
    return findings, notes


def _linked(folder: Path) -> Iterator[Path]:
    """The study's folder and those above it in the working directory, where they are links."""
    above = [folder, *folder.parents] if not folder.is_absolute() else [folder]
    return (path for path in above if path.is_symlink())


def _shown(graph: Graph, path: Path) -> str:
    """A path for people, as records write it; links on the way are not followed."""
    return graph.ledger.portable.write(path)


def _files(folder: Path, notes: list[str], graph: Graph) -> Iterator[tuple[str, bool]]:
    """(path below the folder, whether it is a link) of every file but hidden ones, in order of folders.

    Hidden files are caches, such as the index of EEV's tables, which is checked against its table. Folders that are
    links are followed, once each, and noted.
    """
    seen: set[str] = set()
    waiting = [""]
    while waiting:
        start = waiting.pop()
        folders = []
        try:
            with os.scandir(f"{folder}/{start}") as inside:
                entries = sorted(inside, key=_name_of)
        except OSError:
            continue  # files in it that a record names are missing, which their hashes show
        for entry in entries:
            name = entry.name
            if not entry.is_dir():
                if not name.startswith("."):
                    yield f"{start}{name}", entry.is_symlink()
                continue
            if entry.is_symlink():
                notes.append(f"{_shown(graph, Path(entry.path))} is a link to a folder elsewhere")
                if not is_followed(entry.path, folder, seen):
                    continue
            folders.append(f"{start}{name}/")
        waiting += reversed(folders)


_name_of = attrgetter("name")


def _cells_in(path: Path, below: str) -> tuple[str, ...] | None:
    """The cells that an unrecorded table holds; None for other files, whose cells the lineage knows."""
    if not re.fullmatch(r"tables/[^/]+\.(csv|md|tex|html)", below):
        return None
    import csv

    try:
        return tuple(rows_by_cell(path.with_suffix(".csv")))
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()
