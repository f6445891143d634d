"""What in a crate contradicts itself: files and records, records with each other, code and records, and the metadata.

The metadata are written again from the files and records in the crate, and must be the same. Nothing else is computed,
and nothing but the crate is read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from utopia import files, fingerprint
from utopia.errors import UtopiaError
from utopia.provenance import integrity
from utopia.provenance.crate import describe, naming
from utopia.provenance.crate.content import ALWAYS, METADATA, is_plain
from utopia.provenance.crate.statement import SOUND, statement_of
from utopia.provenance.findings import Finding, in_words, short
from utopia.provenance.hashing import FileState, hash_all
from utopia.provenance.ledger import Ledger, Record
from utopia.provenance.lineage import Graph
from utopia.provenance.staleness import changed_modules

KINDS = {
    "metadata": "the metadata cannot be used, or are not those that follow from the files and records",
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


class Crate:
    """A crate in a folder: its metadata, files and records.

    Args:
        folder: the crate; it holds no links.

    Raises:
        UtopiaError: the metadata is no JSON-LD of a crate that this program writes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entities, self.repeated = _entities(folder / METADATA)
        self.root = self._results()
        hashed = hash_all(path for path in folder.rglob("*") if path.is_file())
        named = {path.relative_to(folder).as_posix(): facts for path, facts in hashed.items()}
        self.files: dict[str, FileState] = dict(sorted(named.items()))

    def _results(self) -> str:
        """The folder of the study's results, as records write it."""
        named = [
            name.rstrip("/")
            for name, entity in self.entities.items()
            if "Dataset" in naming.listed(entity.get("@type")) and name != "./" and not name.startswith("#")
        ]
        if len(named) != 1 or not is_plain(named[0]) or not (self.folder / named[0]).is_dir():
            raise _unusable(self.folder, "it does not name the one folder with the results")
        return named[0]

    @cached_property
    def graph(self) -> Graph:
        """The lineage that the records in the crate tell."""
        return Graph(Ledger.read(self.folder / self.root, base=self.folder, roots={}), self.root)


def faults(crate: Crate) -> Iterator[Finding]:
    """All faults that show without computing a result again."""
    yield from _metadata(crate)
    yield from _records(crate)
    yield from code_faults(crate.graph, crate.folder)


# -- metadata

_FIXED = frozenset(
    (
        "@type", "about", "contentSize", "endTime", "hasPart", "instrument", "object", "result", "sha256", "startTime",
        "value", "workExample",
    )
)  # fmt: skip
"""Properties that the profile prescribes: what they say depends on no version of this program."""
_ACTIONS = ("#job/", "#control/", "#step/", "#files/", naming.RUN, naming.ENGINE_RUN)


def _metadata(crate: Crate) -> Iterator[Finding]:
    """How the metadata differ from those that are written again from what is in the crate."""
    stated = crate.entities
    for identifier in crate.repeated:
        yield Finding("metadata", METADATA, f"{identifier} is described twice")
    if (verdict := str(stated.get(naming.VERDICT, {}).get("value"))) != SOUND:
        yield Finding("unsound", METADATA, verdict)
    sealed, now = stated.get(naming.METADATA_SEAL, {}).get("value"), naming.metadata_seal(stated.values())
    if sealed != now:
        yield Finding("seal", METADATA, f"that of the metadata was {_short(sealed)} and is {_short(now)}")
    present = {name: facts for name, facts in crate.files.items() if name != METADATA}
    try:
        written = describe.metadata(crate.folder, crate.graph, present, statement_of(stated))
        expected = {entity["@id"]: entity for entity in written["@graph"]}
    except (UtopiaError, LookupError, TypeError, ValueError, AttributeError, OSError) as error:
        yield Finding("metadata", METADATA, f"cannot be written again from the records in the crate: {in_words(error)}")
        expected = {name: entity for name, entity in stated.items() if naming.file_of(name) in (None, METADATA)}
        expected |= {naming.file_id(name): stated.get(naming.file_id(name), {}) for name in present}
    alone = expected.keys() ^ stated.keys()
    for identifier in sorted(alone):
        yield from _alone(crate, identifier, is_stated=identifier in stated)
    compared = None if describe.is_written_by_this_program(crate.folder) else _FIXED
    for identifier in sorted((expected.keys() & stated.keys()) - {naming.METADATA_SEAL}):
        yield from _differing(identifier, expected[identifier], stated[identifier], alone, compared)


def _alone(crate: Crate, identifier: str, *, is_stated: bool) -> Iterator[Finding]:
    """An entity that only the metadata have, or that they lack."""
    name = naming.file_of(identifier)
    path = naming.referred_path(identifier)
    if name is not None:
        if is_stated and not is_plain(name):
            yield Finding("metadata", METADATA, f"{name!r} leads out of the crate")
        elif is_stated:
            yield Finding("missing", name, "the metadata describes it")
        else:
            yield Finding("undescribed", name, "nothing in the metadata names it")
    elif path is not None and not is_stated and naming.file_id(path) in crate.entities:
        return  # the file itself is missing, which is said
    elif is_stated:
        yield Finding(
            _kind(identifier), path or identifier, "the metadata names it, and no file and no record tells of it"
        )
    else:
        yield Finding(_kind(identifier), path or identifier, "the records tell of it, and the metadata does not")


def _differing(
    identifier: str,
    expected: Mapping[str, Any],
    stated: Mapping[str, Any],
    alone: Collection[str],
    compared: Collection[str] | None,
) -> Iterator[Finding]:
    """The properties in which an entity is not what follows from the files and records."""
    where = naming.file_of(identifier) or naming.referred_path(identifier) or identifier
    for name in sorted(expected.keys() | stated.keys()):
        if compared is not None and name not in compared:
            continue
        should, does = (_values(entity.get(name), alone) for entity in (expected, stated))
        if should == does:
            continue
        if name == "sha256":
            what = f"its sha256 was {_short(stated.get(name))} and is {_short(expected.get(name))}"
        else:
            what = f"its {name} is {_few(does - should)}, and {_few(should - does)} is what files and records say"
        yield Finding(_kind(identifier, name), where, what)


def _kind(identifier: str, name: str = "") -> str:
    if identifier == naming.SEAL:
        return "seal"
    if name in ("sha256", "contentSize"):
        return "changed"
    return "action" if name == "about" or identifier.startswith(_ACTIONS) else "metadata"


def _values(value: Any, alone: Collection[str]) -> set[str]:
    """A property's values as texts; what it refers to counts unless that is reported already."""
    kept = [item for item in naming.listed(value) if naming.ids(item).isdisjoint(alone)]
    return {item if isinstance(item, str) else json.dumps(item, sort_keys=True) for item in kept}


def _few(values: Collection[str]) -> str:
    return ", ".join(sorted(values)[:3]) + (" and more" if len(values) > 3 else "") or "nothing"


# -- records


def _records(crate: Crate) -> Iterator[Finding]:
    graph = crate.graph
    for finding in integrity.records(graph):
        yield Finding("record", finding.where, finding.what)
    if not graph.ledger.records:
        yield Finding("record", crate.root, "there is no record")
    for path in sorted({*graph.makers, *graph.readers}):
        yield from _file_of_records(crate, path)
    for record in graph.ledger.records:
        for path, entry in graph.entries(record, "inputs").items():
            known = graph.sha256_of(path)
            # A reader of a folder may keep an index in it; of folders, the files in them are compared.
            if entry["sha256"] != known and "files" not in entry:
                what = f"{_name(record)} read {path} with the sha256 {_short(entry['sha256'])}, not {_short(known)}"
                yield Finding("lineage", path, what)
        for path in undescribed(graph, record)[:1]:
            yield Finding("record", _name(record), f"it was called with {path}, which it does not describe")


def undescribed(graph: Graph, record: Record) -> list[str]:
    """The paths that a job was called with, and that its record does not describe."""
    called = {*record.declared("inputs"), *record.declared("outputs")}
    return sorted(called - graph.entries(record, "inputs").keys() - graph.entries(record, "outputs").keys())


def _file_of_records(crate: Crate, path: str) -> Iterator[Finding]:
    entry = crate.graph.entry(path) or {}
    if "files" in entry:
        return
    below = path.removeprefix(f"{crate.root}/")
    if (stored := crate.files.get(path)) is not None:
        if stored.sha256 != entry.get("sha256"):
            yield Finding(
                "changed", path, f"its record says {_short(entry.get('sha256'))}, not {_short(stored.sha256)}"
            )
    elif below != path and path in crate.graph.makers and ALWAYS.fullmatch(below):
        yield Finding("missing", path, "every crate holds such files")


# -- code


def code_faults(graph: Graph, folder: Path) -> Iterator[Finding]:
    """Records that ran other code, or with another lock file, than `folder` (a crate) holds.

    Code is compared as the fingerprint sees it: comments and docstrings do not count.
    """
    closure = cache(lambda roots, scripts: _closure(roots, scripts, folder))
    digest = cache(lambda path: files.sha256(folder / path) if (folder / path).is_file() else "")
    for record in graph.ledger.records:
        code, lock = record.facts["code"], record.facts.get("lock")
        now = closure(tuple(map(str, code["roots"])), tuple(map(str, code.get("files") or ())))
        if isinstance(now, str):
            yield Finding("code", _name(record), now)
        elif changed := changed_modules(code["modules"], now):
            yield Finding("code", _name(record), f"it ran another {', '.join(changed[:5])}")
        if fingerprint.digest_of(code["modules"]) != code["fingerprint"]:
            yield Finding("code", _name(record), "its fingerprint is not that of the modules that it names")
        if lock and is_plain(lock["path"]) and digest(lock["path"]) != lock["sha256"]:
            yield Finding("code", _name(record), f"it ran with another {lock['path']}")


def _closure(roots: tuple[str, ...], scripts: tuple[str, ...], folder: Path) -> dict[str, str] | str:
    """The modules as a record names them, read from the crate; or why that cannot be done."""
    if not all(map(is_plain, scripts)):
        return f"its script {scripts[0]} is none of the workflow's"
    try:
        package = folder / "workflow" / "lib" / "utopia"
        modules = fingerprint.closure(*roots, package=package) if roots else {}
        for name in scripts:
            modules |= dict.fromkeys([name], next(iter(fingerprint.closure(files=[folder / name]).values())))
    except UtopiaError as error:
        return error.what
    return modules


# -- pieces


def _entities(path: Path) -> tuple[dict[str, dict[str, Any]], list[str]]:
    try:
        graph = json.loads(path.read_bytes())["@graph"]
        named = [(entity["@id"], dict(entity)) for entity in graph]
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
    return record.first_output or record.path.name


def _short(sha256: Any) -> str:
    return short(str(sha256) if sha256 else None)
