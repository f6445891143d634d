"""What files of a study say of each other: manifests of raw files, indexes of stored features, these of themselves.

All of it is the word of files that anybody may have written: what cannot be read as what it should be is a finding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from utopia import arrays
from utopia.errors import InputError, UtopiaError
from utopia.files import digest, read_json
from utopia.provenance.findings import Finding, in_words, short
from utopia.provenance.job import SUFFIX
from utopia.provenance.lineage import Graph


def findings(graph: Graph, damaged: set[str]) -> Iterator[Finding]:
    """What files of the study say of others, against the records: manifests and feature indexes.

    Files in `damaged` are passed over: what they say means nothing any more.
    """
    start = f"{graph.root}/inputs/"
    for path in sorted(path for path in graph.makers if path.startswith(start)):
        if re.fullmatch(r"[^/]+\.json", path[len(start) :]) and path not in damaged:
            yield from _manifest(graph, path)
    for index in _indexes(graph):
        if index.path in damaged:
            continue
        if index.fault:
            what = f"cannot be read as a feature index: {index.fault}"
            yield Finding("inconsistent", index.path, what, (index.path,))
        for item, name, entry in index.entries:
            stored = f"{graph.root}/features/{entry.get('file')}"
            if "file" not in entry or stored in damaged:
                continue
            known = graph.sha256_of(stored)
            if known is None:
                what = f"names {stored} ({name} of {item}), which no record knows"
                yield Finding("inconsistent", index.path, what, (index.path,))
            elif known != entry["sha256"]:
                what = f"says {short(entry['sha256'])} of {stored} ({name} of {item}), its record {short(known)}"
                yield Finding("inconsistent", index.path, what, (index.path,))


def headers(graph: Graph, damaged: set[str]) -> Iterator[Finding]:
    """Stored features that say of themselves to be something else than their index says.

    An object's name is the digest of what it says of itself; that names the item and the SHA-256 of its source.
    """
    for index in _indexes(graph):
        if index.path in damaged:
            continue
        known = _sources(graph, index.path, damaged) if index.entries else None
        for item, name, entry in index.entries:
            stored = f"{graph.root}/features/{entry.get('file')}"
            if "file" not in entry or stored in damaged or graph.sha256_of(stored) is None:
                continue
            try:
                meta = dict(arrays.load(graph.ledger.portable.read(stored)).meta)
            except (InputError, TypeError, ValueError) as error:
                what = f"{name} of {item}: {in_words(error)}"
                yield Finding("inconsistent", stored, what, (index.path, stored))
                continue
            meta.pop("made_with", None)
            if digest(meta, 32) != Path(stored).stem:
                yield Finding("inconsistent", stored, "its name is not the digest of what it says of itself", (stored,))
            elif meta.get("item") != item or (known is not None and meta.get("source_sha256") not in known):
                what = f"{index.path} has it as {name} of {item}; it is of {meta.get('item')} or of another source"
                yield Finding("inconsistent", stored, what, (stored,))
            elif wrong := _other_making(index.facts, name, entry, meta):
                what = f"says another {wrong} of {name} than {stored} itself"
                yield Finding("inconsistent", index.path, what, (index.path,))


def _other_making(index: Mapping[str, Any], feature: str, entry: Mapping[str, Any], meta: Mapping[str, Any]) -> str:
    """In what an index and a stored feature differ of how that was made; empty where they agree.

    An item for which another decoder had to be taken says so in its entry.
    """
    names = ("weights",) if "fallback" in entry else ("weights", "decoder")
    for name in names:
        if name in meta and _said(index, name, feature) != meta[name]:
            return name
    compute, precision = meta.get("compute"), _said(index, "precision", feature)
    if isinstance(compute, Mapping) and isinstance(precision := (precision or {}), Mapping):
        return "" if precision.get("precision") == compute.get("precision") else "precision"
    return ""


def _said(index: Mapping[str, Any], name: str, feature: str) -> Any:
    of_features = index.get(name)
    return of_features.get(feature) if isinstance(of_features, Mapping) else None


def _sources(graph: Graph, index: str, damaged: set[str]) -> set[str] | None:
    """The SHA-256 of every file that the features of an index may come from: what its job read.

    None where a manifest is damaged or cannot be read, which is a finding of its own: then nobody knows.
    """
    maker = graph.makers.get(index)
    inputs = graph.entries(maker, "inputs") if maker else {}
    manifests = [path for path in inputs if Path(path).parent == Path(graph.root, "inputs")]
    if not damaged.isdisjoint(manifests):
        return None
    read = graph.ledger.portable.read
    try:
        listed = [item for path in manifests if path in graph.makers for item in read_json(read(path))["items"]]
        of_items = {file["sha256"] for item in listed for file in item["files"].values()}
    except (UtopiaError, KeyError, AttributeError, TypeError):
        return None
    return of_items | {entry["sha256"] for entry in inputs.values()}


def _manifest(graph: Graph, path: str) -> Iterator[Finding]:
    try:
        manifest = json.loads(graph.ledger.portable.read(path).read_bytes())
        # Its own `root` is a path of the machine that listed it; the record says the same for all machines.
        root = graph.makers[path].facts["params"]["folder"]
        listed = {entry["path"]: str(entry["sha256"]) for item in manifest["items"] for entry in item["files"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        yield Finding("inconsistent", path, f"cannot be read as a manifest: {in_words(error)}", (path,))
        return
    for name, sha256 in listed.items():
        file = f"{root}/{name}"
        known = graph.sha256_of(file)
        if known != sha256:
            what = f"says {short(sha256)} of {file}, the records say {short(known)}"
            yield Finding("inconsistent", path, what, (path,))


def stored(graph: Graph) -> set[str]:
    """The store objects that the feature indexes on disk name, relative to the study's folder."""
    return {
        f"features/{entry['file']}" for listed in _indexes(graph) for _, _, entry in listed.entries if "file" in entry
    }


class _Index(NamedTuple):
    """A feature index as it lies on disk."""

    path: str
    entries: list[tuple[str, str, dict[str, Any]]]
    """(item, feature, entry); none where it cannot be read."""
    facts: dict[str, Any]
    fault: str
    """Why it cannot be read as an index; empty where it can."""


def _indexes(graph: Graph) -> Iterator[_Index]:
    """Every feature index, readable or not."""
    folder = graph.ledger.portable.read(f"{graph.root}/features")
    for file in sorted(folder.glob("*/*.json")):
        if file.name.endswith(SUFFIX):
            continue
        path = graph.ledger.portable.write(file)
        try:
            facts = read_json(file)
            entries = [
                (item, name, entry) for item, features in facts["items"].items() for name, entry in features.items()
            ]
            wrong = [name for _, name, entry in entries if not _is_stored_or_absent(entry)]
            if facts["dataset"] != file.parent.name:
                wrong.append(f"the data set {file.parent.name}")
            yield _Index(path, [] if wrong else entries, facts, f"an entry of {wrong[0]} is none" if wrong else "")
        except (UtopiaError, KeyError, AttributeError, TypeError) as error:
            yield _Index(path, [], {}, in_words(error))


def _is_stored_or_absent(entry: Any) -> bool:
    return isinstance(entry, dict) and (
        isinstance(entry.get("absent"), str) or all(isinstance(entry.get(name), str) for name in ("file", "sha256"))
    )
