"""Features that somebody else extracted: in the field's HDF5 layout, or in a table (`utopia.features.table`).

In an HDF5 file, a group `video_<i>` per video holds an array of features, optionally `picks` (the frame number of each
row; every 15th frame otherwise) and `video_name`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from utopia.errors import ChecksumError, ComputeError, InputError
from utopia.features import store as objects
from utopia.features import table
from utopia.files import read_json, sha256, write_json

_STEP = 15


class _AbsentError(Exception):
    """Why an item has no usable features in the file."""


def import_features(
    *, manifest: Path, root: Path, feature: str, settings: Mapping[str, Any], source: Path, store: Path, output: Path
) -> list[Path]:
    """Bring the features of a file into the store and write their index.

    A group of an HDF5 file belongs to the item whose id or key it bears, or else whose name it holds; its rows stand at
    `picks` / frame rate seconds. A row of a table belongs to the item whose key or id it bears. An item that is not in
    the file, or not usably, is recorded as absent with the reason.

    Args:
        manifest: the data set's manifest.
        root: the data set's folder.
        feature: the feature's name.
        settings: of `config.study.Precomputed` (`extractor` hdf5) or `PrecomputedTable` (csv).
        source: the file.
        store: the object store, `<features>/store`.
        output: the index to write.

    Returns:
        The store objects, made or found.

    Raises:
        ChecksumError: the file is not the published one.
        InputError: the file cannot be read.
    """
    listed = read_json(manifest)
    read, kind = (table.read_items, "table") if settings["extractor"] == "csv" else (_read_hdf5, "HDF5 file")
    digest = _digest(source, kind)
    _refuse_other(source, digest, settings.get("sha256"))
    found = read(listed["items"], source, settings, digest, store)
    index = {item["id"]: {feature: found[item["id"]]} for item in listed["items"]}
    origin = {
        "kind": "precomputed",
        "file": os.path.relpath(source, root),
        "sha256": digest,
        "published": settings.get("sha256") is not None,
    }
    write_json(output, {"dataset": listed["dataset"], "items": index, "decoder": None, "weights": {feature: origin}})
    return sorted({store.parent / entry[feature]["file"] for entry in index.values() if "file" in entry[feature]})


def _digest(source: Path, kind: str) -> str:
    try:
        return sha256(source)
    except OSError as error:
        raise InputError(
            f"not a readable {kind} ({error.strerror})", where=source, remedy="check its name and permissions (`ls -l`)"
        ) from error


def _read_hdf5(
    items: Sequence[Mapping[str, Any]], source: Path, settings: Mapping[str, Any], digest: str, store: Path
) -> dict[str, dict[str, Any]]:
    """The index entry of each item, from an HDF5 file."""
    found: dict[str, dict[str, Any]] = {}
    widths: set[int] = set()
    try:
        with h5py.File(source, "r") as file:
            names = {group: _video_name(file[group]) for group in file if isinstance(file[group], h5py.Group)}
            for item in items:
                try:
                    found[item["id"]] = _import_item(item, file, names, settings["array"], digest, store, widths)
                except (_AbsentError, ComputeError) as error:
                    reason = error.what if isinstance(error, ComputeError) else str(error)
                    found[item["id"]] = {"absent": f"{source.name}: {reason}"}
    except (OSError, RuntimeError) as error:  # what h5py raises for damaged files
        raise InputError(
            f"not a readable HDF5 file ({error})",
            where=source,
            remedy="get the file again and compare its size and checksum with the published ones",
        ) from error
    return found


def _refuse_other(source: Path, digest: str, published: str | None) -> None:
    if published is not None and digest != published:
        raise ChecksumError(
            f"its sha256 is {digest}, but the published one is {published}",
            where=source,
            why="it is damaged, or another version, and results on it are not comparable",
            remedy="get the file anew; to use this one all the same, set the feature's `sha256: null` (it is recorded)",
        )


def _import_item(
    item: Mapping[str, Any],
    file: h5py.File,
    names: Mapping[str, str],
    array: str,
    digest: str,
    store: Path,
    widths: set[int],
) -> dict[str, Any]:
    """The index entry of an item; `widths` collects the width that all groups must share."""
    group = _group_of(item, names)
    if array not in file[group]:
        raise _AbsentError(f"{group} has no array {array!r}")
    features = np.asarray(file[group][array])
    if features.ndim != 2 or features.dtype.kind != "f" or not len(features):
        raise _AbsentError(f"{group}/{array} is {features.dtype} {features.shape}, not rows of numbers")
    widths.add(features.shape[1])
    if len(widths) > 1:
        widths.discard(features.shape[1])
        raise _AbsentError(f"{group}/{array} has {features.shape[1]} columns, others have {min(widths)}")
    facts = {**item.get("facts", {}), **item.get("annotations", {})}
    picks = _picks(file[group], len(features), facts.get("frames"))
    if not facts.get("fps"):
        raise _AbsentError(f"the frame rate is not known ({item.get('reason') or 'the manifest does not say'})")
    identity = {
        "item": item["id"],
        "source_sha256": digest,
        "extractor": "hdf5",
        "group": group,
        "array": array,
        "fps": float(facts["fps"]),
    }
    path = objects.place(store, identity)
    return objects.entry(path, store) or objects.put(path, store, features, picks / float(facts["fps"]), identity)


def _group_of(item: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The item's group: called by its id or key, else holding its name; the two must not contradict one another."""
    called = [str(item[part]) for part in ("id", "key", "name") if item.get(part)]
    plain = {_plain(name) for name in called}
    for group in called[:2]:
        if group in names:
            if names[group] and _plain(names[group]) not in plain:
                raise _AbsentError(f"{group} is of the video {names[group]!r}, not {item['name']!r}")
            return group
    found = [group for group, video in names.items() if video and _plain(video) in plain]
    if len(found) != 1:
        raise _AbsentError(f"has {'no group' if not found else 'several groups'} for {' alias '.join(called)}")
    return found[0]


def _picks(group: h5py.Group, rows: int, frames: int | None) -> np.ndarray:
    """The frame number of each row."""
    picks = np.asarray(group["picks"]) if "picks" in group else np.arange(rows) * _STEP
    if picks.shape != (rows,):
        raise _AbsentError(f"{group.name[1:]} has {rows} rows but {picks.size} picks")
    if picks[0] < 0 or (np.diff(picks) <= 0).any():
        raise _AbsentError(f"the picks of {group.name[1:]} do not rise")
    if frames is not None and picks[-1] >= frames:
        raise _AbsentError(f"{group.name[1:]} has a row for frame {picks[-1]}, but the video has {frames} frames")
    return picks


def _video_name(group: h5py.Group) -> str:
    if "video_name" not in group:
        return ""
    name = group["video_name"][()]
    return name.decode() if isinstance(name, bytes) else str(name)


def _plain(name: str) -> str:
    """A name without what spellings differ in: case, spaces and underscores."""
    return " ".join(name.replace("_", " ").casefold().split())
