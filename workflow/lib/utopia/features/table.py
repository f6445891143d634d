"""Features that somebody else extracted, in a table: a row per item and time, a column per feature, as PMEmo has them.

Such tables run to hundreds of megabytes, so they are read row by row and one item is held at a time.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from utopia.datasets._names import plain
from utopia.errors import ComputeError, InputError
from utopia.features import store as objects

_REMEDY = "get the file again and compare its size with the published one"


class _Block(NamedTuple):
    """Consecutive rows of one item: times [R] and features [R, columns]; `fault` says what is wrong with them."""

    key: str
    line: int
    times: np.ndarray
    features: np.ndarray
    fault: str


def read_items(
    items: Sequence[Mapping[str, Any]], source: Path, settings: Mapping[str, Any], digest: str, store: Path
) -> dict[str, dict[str, Any]]:
    """Bring the rows of each item into the store.

    An item is called by its key, id or name, in any case, with or without the ending of a file; in UTF-8, else Latin-1.

    Args:
        items: the manifest's entries.
        settings: `item` and `time`, the names of the columns that hold an item's key (or id) and a row's seconds.
        digest: sha256 of the file.

    Returns:
        The index entry of each item, by its id: its object, or why it is absent.

    Raises:
        InputError: the file is no table with these columns, or breaks off within its header.
    """
    try:
        return _read(items, source, settings, digest, store, "utf-8-sig")
    except UnicodeDecodeError:  # what a table of another encoding has given until then is stored, and found again
        return _read(items, source, settings, digest, store, "latin-1")


def _read(
    items: Sequence[Mapping[str, Any]],
    source: Path,
    settings: Mapping[str, Any],
    digest: str,
    store: Path,
    encoding: str,
) -> dict[str, dict[str, Any]]:
    by_key = {plain(str(item[part])): item["id"] for part in ("name", "key", "id") for item in items if part in item}
    found: dict[str, dict[str, Any]] = {}
    first: dict[str, int] = {}
    for block in blocks_of(source, str(settings["item"]), str(settings["time"]), encoding):
        item = by_key.get(plain(block.key))
        if item is None:
            continue
        if item in first:
            told = f"the rows of {block.key} are not together: lines {first[item]} and {block.line}"
            found[item] = {"absent": f"{source.name}: {told}"}
            continue
        first[item] = block.line
        found[item] = _stored(block, item, source, settings, digest, store)
    nothing = {"absent": f"{source.name}: has no row of it"}
    return {item["id"]: found.get(item["id"], nothing) for item in items}


def _stored(
    block: _Block, item: str, source: Path, settings: Mapping[str, Any], digest: str, store: Path
) -> dict[str, Any]:
    if block.fault:
        return {"absent": f"{source.name}: {block.fault}"}
    identity = {
        "item": item,
        "source_sha256": digest,
        "extractor": "csv",
        "columns": [settings["item"], settings["time"]],
    }
    path = objects.place(store, identity)
    try:
        return objects.entry(path, store) or objects.put(path, store, block.features, block.times, identity)
    except ComputeError as error:
        return {"absent": f"{source.name}: from line {block.line}: {error.what}"}


def blocks_of(source: Path, key: str, time: str, encoding: str = "utf-8-sig") -> Iterator[_Block]:
    """The rows of the table, block by block."""
    try:
        with source.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if any("\0" in name for name in header):
                raise InputError("not a readable table (it is no text)", where=source, remedy=_REMEDY)
            if key not in header or time not in header or len(header) < 3:
                raise InputError(
                    f"the header names {', '.join(header)[:120] or 'nothing'}; expected {key}, {time} and features",
                    where=f"{source}:1",
                    remedy=f"{_REMEDY}; or name its columns in the feature's `item` and `time`",
                )
            at, when = header.index(key), header.index(time)
            rows: list[list[str]] = []
            line = 2
            for fields in reader:
                if not fields:
                    continue
                own = fields[at] if at < len(fields) else ""
                if rows and own != rows[0][at]:
                    yield _block(rows, at, when, line, len(header))
                    rows = []
                if not rows:
                    line = reader.line_num
                if at < len(fields):
                    rows.append(fields)
            if rows:
                yield _block(rows, at, when, line, len(header))
    except (OSError, csv.Error) as error:
        raise InputError(f"not a readable table ({error})", where=source, remedy=_REMEDY) from error


def _block(rows: list[list[str]], at: int, when: int, line: int, width: int) -> _Block:
    """Rows of text as numbers; what cannot be one is a fault of the block, not of the file."""
    key, empty = rows[0][at], np.empty(0)
    for offset, fields in enumerate(rows):
        if len(fields) != width:
            fault = f"line {line + offset} has {len(fields)} columns, the header {width}"
            return _Block(key, line, empty, empty, fault)
    try:
        numbers = np.array([fields[:at] + fields[at + 1 :] for fields in rows], dtype=np.float64)
    except ValueError as error:
        return _Block(key, line, empty, empty, f"from line {line}: {error}")
    place = when - (when > at)
    return _Block(key, line, numbers[:, place], np.delete(numbers, place, axis=1), "")
