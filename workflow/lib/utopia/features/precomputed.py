"""Features that somebody else extracted: in the field's HDF5 layout, or in a table (`utopia.features.table`).

In an HDF5 file, a group `video_<i>` per video holds an array of features, optionally `picks` (the frame number of each
row) and `video_name`. Without `picks`, rows stand at every 15th frame, or whatever the feature's `every` says. There
must be as many of them as the video has such frames, since rows at another rate would stand beside the wrong labels.
A feature whose `array` is null has a file of arrays in the place of groups, `video_name` among their attributes.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from utopia.datasets._names import plain, stored_name
from utopia.errors import AT_WORK, ChecksumError, ComputeError, InputError
from utopia.features import store as objects
from utopia.features import table
from utopia.features.read import shots_digest
from utopia.files import read_json, sha256, write_json

_STEP = 15
_SLACK_SHARE = 0.02
"""Share of a video at either end that picks may leave out."""


_log = logging.getLogger(__name__)
_FAULTS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError)


class _AbsentError(Exception):
    """Why an item has no usable features in the file."""


def import_features(
    *, manifest: Path, root: Path, feature: str, settings: Mapping[str, Any], source: Path, store: Path, output: Path
) -> list[Path]:
    """Bring the features of a file into the store and write their index.

    A group of an HDF5 file belongs to the item whose id or key it has, or else whose name it holds; its rows stand at
    `picks` / frame rate seconds. A row of a table belongs to the item whose key or id it has. An item that is not in
    the file, or not usably, is recorded as absent with the reason.

    Args:
        manifest: the data set's manifest.
        root: the data set's folder.
        feature: the feature's name.
        settings: of `config.study.Precomputed` (`extractor` hdf5) or `PrecomputedTable` (csv).
        source: the file, or the generated folder that holds it.
        store: the object store, `<features>/store`.
        output: the index to write.

    Returns:
        The store objects, made or found.

    Raises:
        ChecksumError: the file is not the published one.
        InputError: the file cannot be read.
    """
    listed = read_json(manifest)
    source = source / settings["files"][0] if source.is_dir() else source
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
    try:
        with h5py.File(source, "r") as file:
            names = _groups(file, h5py.Dataset if settings["array"] is None else h5py.Group)
            width = _usual_width(file, names, settings["array"])
            for item in items:
                _log.info("%s%s", AT_WORK, item["id"])
                try:
                    found[item["id"]] = _import_item(item, file, names, settings, digest, store, width)
                except (_AbsentError, ComputeError) as error:
                    reason = error.what if isinstance(error, ComputeError) else str(error)
                    found[item["id"]] = {"absent": f"{source.name}: {reason}"}
                except _FAULTS as error:  # what h5py raises for damaged arrays and for links to nothing
                    found[item["id"]] = {"absent": f"{source.name}: {item['key']} cannot be read ({_in_short(error)})"}
    except _FAULTS as error:
        raise InputError(
            f"not a readable HDF5 file ({error})",
            where=source,
            remedy="get the file again and compare its size and checksum with the published ones",
        ) from error
    return found


def _groups(file: h5py.File, kind: type) -> dict[str, str]:
    """Group -> the name that it holds, of every group (array) that can be read; empty where it holds none."""
    found = {}
    for name in file:
        try:
            if isinstance(file[name], kind):
                found[name] = _video_name(file[name])
        except _FAULTS as error:  # a link to nothing
            _log.warning("%s: the group %s cannot be read (%s)", file.filename, name, _in_short(error))
    return found


def _shape(file: h5py.File, group: str, array: str | None) -> tuple[int, ...]:
    """Rows and columns of a video's array; one without columns is a column."""
    shape: tuple[int, ...] = (file[group] if array is None else file[group][array]).shape
    return (*shape, 1) if array is None and len(shape) == 1 else shape


def _usual_width(file: h5py.File, groups: Mapping[str, str], array: str | None) -> int | None:
    """The number of columns that most groups have; None if none has any."""
    widths: Counter[int] = Counter()
    for group in groups:
        try:
            shape = _shape(file, group, array)
        except _FAULTS:
            continue
        widths.update(shape[1:] if len(shape) == 2 else ())
    return max(widths, key=lambda width: widths[width], default=None)


def _refuse_other(source: Path, digest: str, published: str | None) -> None:
    if published is not None and digest != published:
        raise ChecksumError(
            f"its sha256 is {digest}, but the published one is {published}",
            where=source,
            why="it is damaged, or another version, and results on it are not comparable",
            remedy="get the file again; to use this one, set the feature's `sha256: null` (it is recorded)",
        )


def _import_item(
    item: Mapping[str, Any],
    file: h5py.File,
    names: Mapping[str, str],
    settings: Mapping[str, Any],
    digest: str,
    store: Path,
    width: int | None,
) -> dict[str, Any]:
    """The index entry of an item; `width` is the number of columns that all groups must have."""
    group, array = _group_of(item, names), settings["array"]
    if array is not None and array not in file[group]:
        raise _AbsentError(f"{group} has no array {array!r}")
    stored = file[group] if array is None else file[group][array]
    name, features = stored.name[1:], np.asarray(stored)
    if len(_shape(file, group, array)) != 2 or features.dtype.kind not in "fiu" or not len(features):
        raise _AbsentError(f"{name} is {features.dtype} {features.shape}, not rows of numbers")
    features = features.reshape(_shape(file, group, array))
    if features.shape[1] != width:
        raise _AbsentError(f"{name} has {features.shape[1]} columns, others have {width}")
    facts = {**item.get("facts", {}), **item.get("annotations", {})}
    _refuse_another_video(file[group], facts.get("frames"))
    picks = _picks(file[group], len(features), facts.get("frames"), settings.get("every", _STEP))
    if not facts.get("fps"):
        raise _AbsentError(f"the frame rate is not known ({item.get('reason') or 'the manifest does not say'})")
    identity = {
        "item": item["id"],
        "source_sha256": digest,
        "extractor": "hdf5",
        "group": group,
        "array": array,
        "fps": float(facts["fps"]),
    } | ({} if _has(file[group], "picks") else {"every": settings.get("every", _STEP)})
    path = objects.place(store, identity)
    entry = objects.entry(path, store) or objects.put(path, store, features, picks / float(facts["fps"]), identity)
    return entry | ({"shots": _shots(file[group])} if _has(file[group], "change_points") else {})


def _shots(group: h5py.Group) -> str:
    """The digest of the shots that come with the features: the F-score goes by those of the data set's own file."""
    try:
        return shots_digest(np.asarray(group["change_points"]))
    except (TypeError, ValueError, OverflowError):
        return "no frame numbers"


def _group_of(item: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The item's group: called by its id or key, else holding its name; the two must not contradict one another."""
    called = [str(item[part]) for part in ("id", "key", "name") if item.get(part)]
    wanted = {plain(name) for name in called}
    for group in (group for name in called[:2] for group in names if group == name):
        if names[group] and plain(names[group]) not in wanted:
            raise _AbsentError(f"{group} is of the video {names[group]!r}, not {item['name']!r}")
        return group
    found = [group for group, video in names.items() if plain(video or group) in wanted]
    if len(found) != 1:
        raise _AbsentError(f"has {'no group' if not found else 'several groups'} for {' alias '.join(called)}")
    return found[0]


def _refuse_another_video(group: h5py.Group | h5py.Dataset, frames: int | None) -> None:
    """Rows of a video with another number of frames stand beside the wrong labels; so do those of another video."""
    if not _has(group, "n_frames") or frames is None:
        return
    told = np.asarray(group["n_frames"]).reshape(-1).tolist()
    if told != [frames]:
        its = ", ".join(map(str, told[:3])) or "no"
        raise _AbsentError(f"{group.name[1:]} is of a video of {its} frames (n_frames), the labels are of {frames}")


def _has(node: h5py.Group | h5py.Dataset, name: str) -> bool:
    """Whether a video's group holds something; an array holds nothing but itself."""
    return isinstance(node, h5py.Group) and name in node


def _picks(group: h5py.Group | h5py.Dataset, rows: int, frames: int | None, every: int) -> np.ndarray:
    """The frame number of each row."""
    name = group.name[1:]
    if not _has(group, "picks"):
        if frames is None:
            raise _AbsentError(f"{name} has no picks, and how many frames the video has is not known")
        if rows not in (frames // every, -(-frames // every)):
            raise _AbsentError(
                f"{name} has {rows} rows and no picks, but of {frames} frames every {every}th are "
                f"{-(-frames // every)} (set the feature's `every` to the frames between its rows)"
            )
        return np.arange(rows) * every
    picks = np.asarray(group["picks"]).reshape(-1)
    if picks.dtype.kind not in "iuf" or not np.isfinite(picks).all() or (picks != np.round(picks)).any():
        raise _AbsentError(
            f"the picks of {name} are no frame numbers ({picks.dtype}: {', '.join(map(str, picks[:3]))}, ...)"
        )
    if len(picks) != rows:
        raise _AbsentError(f"{name} has {rows} rows but {picks.size} picks")
    picks = picks.astype(np.int64)
    if picks[0] < 0 or (np.diff(picks) <= 0).any():
        raise _AbsentError(f"the picks of {name} do not rise")
    if frames is not None and picks[-1] >= frames:
        raise _AbsentError(f"{name} has a row for frame {picks[-1]}, but the video has {frames} frames")
    beyond = max(int(picks[0]), (frames or 0) - int(picks[-1]))
    if frames is not None and rows > 1 and beyond > max(2 * np.diff(picks).max(), _SLACK_SHARE * frames):
        raise _AbsentError(f"{name} has rows for the frames {picks[0]} to {picks[-1]} only, of {frames}")
    return picks


def _video_name(node: h5py.Group | h5py.Dataset) -> str:
    """The name that a group (array) holds; empty where it holds none."""
    held = node if isinstance(node, h5py.Group) else node.attrs
    if "video_name" not in held:
        return ""
    name = held["video_name"]
    return stored_name(name[()] if isinstance(name, h5py.Dataset) else name)


def _in_short(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
