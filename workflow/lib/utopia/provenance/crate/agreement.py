"""Whether the parts of a crate agree: files with metadata, metadata with records, records with each other, code with
records. Nothing is computed again and nothing but the crate is read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from utopia import files, fingerprint
from utopia.errors import UtopiaError
from utopia.provenance import integrity
from utopia.provenance.crate import naming
from utopia.provenance.crate.content import ALWAYS, METADATA, WORKFLOW, is_plain
from utopia.provenance.hashing import Found, hash_all
from utopia.provenance.ledger import Ledger, Record
from utopia.provenance.lineage import Graph, members

KINDS = {
    "metadata": "the metadata cannot be used, or contradicts itself",
    "changed": "a file is not the one that the metadata or a record describes",
    "missing": "a file that must be in the crate is not there",
    "undescribed": "a file that the metadata does not describe",
    "record": "a record is damaged, was edited or lies elsewhere",
    "action": "an action does not say what the record of its job says",
    "lineage": "two records contradict each other",
    "code": "the code in the crate is not the code that a record names",
    "seal": "the records, or the metadata, are not those that the seal was taken of",
    "digest": "it is not the crate whose digest was published",
    "unsound": "the study was not sound when the crate was written",
    "not reproduced": "doing a job again from what is in the crate gives something else",
}
"""Every kind of fault, and what it means."""


@dataclass(frozen=True)
class Fault:
    """Something in a crate that is not as it should be."""

    kind: str
    """One of `KINDS`."""
    where: str
    what: str

    def as_dict(self) -> dict[str, str]:
        """JSON-able."""
        return {"kind": self.kind, "where": self.where, "what": self.what}


class Opened:
    """An opened crate: its metadata, files and records.

    Args:
        folder: the crate; it holds no links.

    Raises:
        UtopiaError: the metadata is no JSON-LD of a crate that this program writes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entities, self.repeated = _entities(folder / METADATA)
        self.root = self._results()
        self.found: dict[str, Found] = {
            path.relative_to(folder).as_posix(): facts
            for path, facts in hash_all(path for path in folder.rglob("*") if path.is_file()).items()
        }

    def _results(self) -> str:
        """The folder of the study's results, as records write it."""
        named = [
            each["@id"].rstrip("/")
            for each in self.entities.values()
            if "Dataset" in _list(each.get("@type")) and each["@id"] != "./" and not each["@id"].startswith("#")
        ]
        if len(named) != 1 or not is_plain(named[0]) or not (self.folder / named[0]).is_dir():
            raise _unusable(self.folder, "it does not name the one folder with the results")
        return str(named[0])

    @cached_property
    def graph(self) -> Graph:
        """The lineage that the records in the crate tell."""
        return Graph(Ledger.read(self.folder / self.root, base=self.folder, roots={}), self.root)

    def file(self, name: str) -> Mapping[str, Any] | None:
        """The entity of a file in the crate."""
        return self.entities.get(naming.file_id(name))

    def of(self, path: str) -> str:
        """The `@id` of a file, in the crate or not, by the path that records give it."""
        return naming.file_id(path) if path in self.found else naming.reference(path)

    def expanded(self, value: Any) -> set[str]:
        """The `@id`s that a property names; a set of references counts as what is in it."""
        named: set[str] = set()
        for identifier in ids(value):
            parts = self.entities.get(identifier, {}).get("hasPart") if identifier.startswith("#files/") else None
            named |= ids(parts) if parts is not None else {identifier}
        return named


def of_folder(folder: Path) -> list[Fault]:
    """All faults of a crate's folder that show without computing anything."""
    return list(faults(Opened(folder)))


def faults(crate: Opened) -> Iterator[Fault]:
    """All faults that show without computing anything."""
    for identifier in crate.repeated:
        yield Fault("metadata", METADATA, f"{identifier} is described twice")
    yield from _seals(crate)
    yield from _files(crate)
    yield from _records(crate)
    yield from _actions(crate)
    yield from _run(crate)
    yield from code_faults(crate.graph, crate.folder)


# -- files and metadata


def _files(crate: Opened) -> Iterator[Fault]:
    described = {
        name: entity
        for identifier, entity in crate.entities.items()
        if "File" in _list(entity.get("@type")) and (name := naming.file_of(identifier)) is not None
    }
    for name, entity in sorted(described.items()):
        found = crate.found.get(name)
        if not is_plain(name):
            yield Fault("metadata", METADATA, f"{name!r} leads out of the crate")
        elif found is None or found.sha256 is None:
            yield Fault("missing", name, found.problem if found else "the metadata describes it")
        elif entity.get("sha256") != found.sha256 or entity.get("contentSize") != str(found.bytes):
            yield Fault("changed", name, f"its sha256 was {_short(entity.get('sha256'))} and is {_short(found.sha256)}")
    for name in sorted(crate.found.keys() - described.keys() - {METADATA}):
        yield Fault("undescribed", name, "nothing in the metadata names it")
    parts = ids(crate.entities.get("./", {}).get("hasPart"))
    for name in sorted(described):
        if naming.file_id(name) not in parts:
            yield Fault("metadata", name, "it is no part of the root")


# -- records


def _seals(crate: Opened) -> Iterator[Fault]:
    sealed, now = (
        crate.entities.get(naming.METADATA_SEAL, {}).get("value"),
        naming.metadata_seal(crate.entities.values()),
    )
    if sealed != now:
        yield Fault("seal", METADATA, f"that of the metadata was {_short(sealed)} and is {_short(now)}")
    verdict = crate.entities.get(naming.VERDICT, {}).get("value")
    if verdict != "sound":
        yield Fault("unsound", METADATA, str(verdict))


def _records(crate: Opened) -> Iterator[Fault]:
    graph = crate.graph
    for finding in integrity.records(graph):
        yield Fault("record", finding.where, finding.what)
    if not graph.ledger.records:
        yield Fault("record", crate.root, "there is no record")
    sealed = crate.entities.get(naming.SEAL, {}).get("value")
    if sealed != integrity.seal(graph):
        yield Fault("seal", crate.root, f"it was {_short(sealed)} and is {_short(integrity.seal(graph))}")
    for path in sorted({*graph.makers, *graph.readers}):
        yield from _file_of_records(crate, path)
    for record in graph.ledger.records:
        for path, entry in graph.entries(record, "inputs").items():
            known = graph.sha256_of(path)
            # A reader of a folder may keep an index in it; of folders, the files in them are compared.
            if entry["sha256"] != known and "files" not in entry:
                what = f"{_name(record)} read {path} with the sha256 {_short(entry['sha256'])}, not {_short(known)}"
                yield Fault("lineage", path, what)
        if strange := sorted(set(roles(record)) - {each["path"] for each in _entries(record)}):
            yield Fault("record", _name(record), f"it was called with {strange[0]}, which it does not describe")


def roles(record: Record) -> Iterator[str]:
    """Every path that a job was called with."""
    for side in record.facts.get("roles", {}).values():
        for value in side.values():
            yield from [value] if isinstance(value, str) else value


def _entries(record: Record) -> Iterator[dict[str, Any]]:
    yield from members(record.inputs)
    yield from members(record.outputs)


def _file_of_records(crate: Opened, path: str) -> Iterator[Fault]:
    entry = crate.graph.entry(path) or {}
    if "files" in entry:
        return
    found = crate.found.get(path)
    below = path.removeprefix(f"{crate.root}/")
    if found is not None:
        if found.sha256 != entry.get("sha256"):
            yield Fault("changed", path, f"its record says {_short(entry.get('sha256'))}, not {_short(found.sha256)}")
        return
    if below != path and path in crate.graph.makers and ALWAYS.fullmatch(below):
        yield Fault("missing", path, "every crate holds such files")
        return
    entity = crate.entities.get(naming.reference(path))
    if entity is None:
        yield Fault("metadata", path, "a record names it, the metadata does not")
    elif entity.get("sha256") != entry.get("sha256"):
        what = f"its record says {_short(entry.get('sha256'))}, the metadata {_short(entity.get('sha256'))}"
        yield Fault("changed", path, what)


# -- actions


def _actions(crate: Opened) -> Iterator[Fault]:
    known = {naming.RUN}
    for record in crate.graph.ledger.records:
        if not record.outputs:
            continue
        identifier = naming.job(record.outputs[0]["path"])
        known.add(identifier)
        action = crate.entities.get(identifier)
        if action is None:
            yield Fault("action", _name(record), "the metadata has no action of this job")
            continue
        for what in _differences(crate, record, action):
            yield Fault("action", _name(record), what)
    for identifier, entity in crate.entities.items():
        if "CreateAction" in _list(entity.get("@type")) and identifier not in known:
            yield Fault("action", identifier, "no record tells of this job")


def _differences(crate: Opened, record: Record, action: Mapping[str, Any]) -> Iterator[str]:
    for key, name in (("startTime", "started"), ("endTime", "ended")):
        if action.get(key) != naming.moment(record.facts[name]):
            yield f"{key} is {action.get(key)}, the record says {record.facts[name]}"
    for key, side in (("object", "inputs"), ("result", "outputs")):
        entries = crate.graph.entries(record, side)
        wanted = {crate.of(path) for path, entry in entries.items() if "files" not in entry}
        stated = crate.expanded(action.get(key))
        for identifier in sorted(wanted ^ stated)[:3]:
            yield f"{identifier} is {'missing in' if identifier in wanted else 'no'} {key} of the action"
    name = crate.graph.ledger.portable.write(record.path)
    if ids((crate.file(name) or {}).get("about")) != {action["@id"]}:
        yield f"{name} is not said to be about its action"
    tool = tool_of(record, crate.folder)
    if ids(action.get("instrument")) != {tool}:
        yield "its instrument is not the script that the crate holds"
    control = crate.entities.get(naming.control(record.outputs[0]["path"]), {})
    step = crate.entities.get(naming.step(record.rule), {})
    if ids(control.get("object")) != {action["@id"]} or ids(control.get("instrument")) != {naming.step(record.rule)}:
        yield f"no ControlAction says that the step {record.rule} started it"
    if ids(step.get("workExample")) != {tool}:
        yield f"the step {record.rule} runs another tool"


def tool_of(record: Record, folder: Path) -> str:
    """The `@id` of the script of a job, from its text in the crate; empty where it is not there."""
    names = [name for name in record.facts["code"].get("files") or () if is_plain(str(name))]
    for name in (*names, WORKFLOW):
        if (folder / name).is_file():
            return naming.code((folder / name).read_bytes())
    return ""


def _run(crate: Opened) -> Iterator[Fault]:
    records = [record for record in crate.graph.ledger.records if record.outputs]
    run, conducted = crate.entities.get(naming.RUN), crate.entities.get(naming.ENGINE_RUN)
    if run is None or conducted is None:
        yield Fault("metadata", METADATA, "the run of the workflow or of its engine is not described")
        return
    controls = {naming.control(record.outputs[0]["path"]) for record in records}
    if ids(conducted.get("object")) != controls or ids(conducted.get("result")) != {naming.RUN}:
        yield Fault("action", naming.ENGINE_RUN, "it does not conduct exactly the jobs of the records")
    if records:
        first = naming.moment(min(record.facts["started"] for record in records))
        last = naming.moment(max(record.facts["ended"] for record in records))
        for entity in (run, conducted):
            if (entity.get("startTime"), entity.get("endTime")) != (first, last):
                yield Fault("action", entity["@id"], f"it did not last from {first} to {last}")
    root = crate.graph.root
    wanted = {
        naming.file_id(path)
        for kind, jobs, suffix in (("tables", crate.graph.tables, "csv"), ("figures", crate.graph.figures, "pdf"))
        for path in (f"{root}/{kind}/{name}.{suffix}" for name in jobs)
        if path in crate.found
    }
    if ids(run.get("result")) != wanted | {f"{root}/"}:
        yield Fault("action", naming.RUN, "its results are not the tables and figures of the records")


# -- code


def code_faults(graph: Graph, folder: Path) -> Iterator[Fault]:
    """Records that ran other code, or with another lock file, than `folder` (a crate) holds.

    Code is compared as the fingerprint sees it: comments and docstrings do not count.
    """
    package = folder / "workflow" / "lib" / "utopia"
    seen: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, str] | str] = {}
    locks: dict[str, str] = {}
    for record in graph.ledger.records:
        code = record.facts["code"]
        start = tuple(map(str, code["roots"])), tuple(map(str, code.get("files") or ()))
        if start not in seen:
            seen[start] = _closure(*start, folder, package)
        now = seen[start]
        if isinstance(now, str):
            yield Fault("code", _name(record), now)
        elif now != code["modules"]:
            then = code["modules"]
            changed = sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))
            yield Fault("code", _name(record), f"it ran another {', '.join(changed[:5])}")
        if fingerprint.digest_of(code["modules"]) != code["fingerprint"]:
            yield Fault("code", _name(record), "its fingerprint is not that of the modules that it names")
        lock = record.facts.get("lock")
        if lock and is_plain(lock["path"]):
            if lock["path"] not in locks:
                there = folder / lock["path"]
                locks[lock["path"]] = files.sha256(there) if there.is_file() else ""
            if locks[lock["path"]] != lock["sha256"]:
                yield Fault("code", _name(record), f"it ran with another {lock['path']}")


def _closure(roots: tuple[str, ...], scripts: tuple[str, ...], folder: Path, package: Path) -> dict[str, str] | str:
    """The modules as a record names them, read from the crate; or why that cannot be done."""
    if not all(map(is_plain, scripts)):
        return f"its script {scripts[0]} is none of the workflow's"
    try:
        found = fingerprint.closure(*roots, package=package) if roots else {}
        for name in scripts:
            found |= dict.fromkeys([name], next(iter(fingerprint.closure(files=[folder / name]).values())))
    except UtopiaError as error:
        return error.what
    return found


# -- JSON-LD


def ids(value: Any) -> set[str]:
    """The `@id`s in a property's value."""
    return {each["@id"] for each in _list(value) if isinstance(each, dict) and isinstance(each.get("@id"), str)}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _entities(path: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    try:
        graph = json.loads(path.read_bytes())["@graph"]
        named = [(each["@id"], dict(each)) for each in graph]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _unusable(path, f"{type(error).__name__}: {error}") from error
    if not all(isinstance(name, str) for name, _ in named):
        raise _unusable(path, "an @id is no text")
    count = Counter(name for name, _ in named)
    return dict(named), sorted(name for name, number in count.items() if number > 1)


def _unusable(where: Path, what: str) -> UtopiaError:
    return UtopiaError(
        f"not the metadata of a crate that this program writes: {what}",
        where=where.name,
        remedy="`rocrate-validator` judges crates of others",
    )


def _name(record: Record) -> str:
    return str(record.outputs[0]["path"]) if record.outputs else record.path.name


def _short(sha256: Any) -> str:
    return (str(sha256) if sha256 else "none")[:12]
