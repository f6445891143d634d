"""Extracting the features of some videos: each video is decoded once for all networks that look at it at the same rate.

Every result is stored as soon as it is there, so a job that was killed goes on with the next video. What cannot be had
(a damaged video, a video without sound, weights that are not there) is recorded as absent, with the reason.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from utopia import registry, seeds
from utopia.errors import ChecksumError, ComputeError, InputError
from utopia.features import store as objects
from utopia.features import weights
from utopia.files import read_json, sha256, write_json
from utopia.media.audio import read_audio
from utopia.media.container import decoder
from utopia.media.frames import sample_frames

_log = logging.getLogger(__name__)


def extract_shard(
    *,
    manifest: Path,
    root: Path,
    items: Sequence[str],
    features: Mapping[str, Mapping[str, Any]],
    weights_folder: Path | None,
    store: Path,
    output: Path,
    seed: int,
    device: str,
) -> list[Path]:
    """Extract features of some items and write their index.

    Args:
        manifest: the data set's manifest.
        root: the data set's folder, to which the manifest's paths are relative.
        items: ids of the shard's items.
        features: for each feature `extractor` and `options`, and optionally `code`, a fingerprint of the code that
            makes it (the
            extractor's own version number otherwise).
        weights_folder: where files of weights lie.
        store: the object store, `<features>/store`.
        output: the index to write.
        seed: the study's root seed.
        device: "auto", "cpu" or "cuda".

    Returns:
        The store objects of this shard, made or found.

    Raises:
        ChecksumError: a video is not the one that the manifest lists, or weights are not those of their card.
        InputError: the manifest does not know an item, or weights do not fit their network.
    """
    listed = read_json(manifest)
    entries = {entry["id"]: entry for entry in listed["items"]}
    if unknown := [item for item in items if item not in entries]:
        raise InputError(f"the manifest does not list {', '.join(unknown)}", where=manifest)
    makers = [_Maker(name, settings, weights_folder, seed, device) for name, settings in features.items()]
    index: dict[str, dict[str, Any]] = {}
    for count, item in enumerate(items, 1):
        started = time.monotonic()
        index[item] = _extract_item(entries[item], makers, root, store, manifest)
        absent = ", ".join(name for name, found in index[item].items() if "absent" in found)
        took = time.monotonic() - started
        _log.info("%d/%d %s: %.1f s%s", count, len(items), item, took, f", absent: {absent}" if absent else "")
    write_json(
        output,
        {
            "dataset": listed["dataset"],
            "items": index,
            "decoder": decoder(),
            "weights": {maker.name: maker.weights for maker in makers},
        },
    )
    return sorted(
        {store.parent / entry["file"] for found in index.values() for entry in found.values() if "file" in entry}
    )


class _Maker:
    """One feature to be made: its extractor's module, settings and weights; the network is built when first needed."""

    def __init__(
        self, name: str, settings: Mapping[str, Any], weights_folder: Path | None, seed: int, device: str
    ) -> None:
        self.name, self.extractor = name, str(settings["extractor"])
        self.module: ModuleType = registry.load("extractors", self.extractor)
        self.config = self.module.Config.model_validate(dict(settings.get("options", {})))
        self.code = settings.get("code", f"{self.extractor} {self.module.VERSION}")
        self.absent, self._path, self.device = "", None, device
        self.seed = seeds.derive(seed, "extractor", self.extractor)
        if self.config.weights == "random":
            self.weights: dict[str, Any] = {"kind": "random", "seed": self.seed}
            return
        found = weights.find(self.config.weights, weights_folder)
        self.absent, self._path = found.reason, found.path
        if found.path is None:
            self.weights = {"kind": "card", "card": found.name, "absent": found.reason}
        else:
            self.weights = {
                "kind": "card",
                "card": found.name,
                "file": found.path.name,
                "sha256": weights.identify(found),
            }

    @cached_property
    def network(self) -> Any:
        return self.module.build(self.config, self._path, self.seed, self.device)

    def identity(self, item: str, source_sha256: str) -> dict[str, Any]:
        """All that determines the features of an item; becomes the object's name and its metadata."""
        return {
            "item": item,
            "source_sha256": source_sha256,
            "extractor": self.extractor,
            "options": self.config.model_dump(mode="json"),
            "weights": self.weights,
            "decoder": decoder(),
            "code": self.code,
        }


@dataclass(frozen=True)
class _Task:
    """One object to be made."""

    maker: _Maker
    path: Path
    identity: dict[str, Any]


def _extract_item(
    entry: Mapping[str, Any], makers: Sequence[_Maker], root: Path, store: Path, manifest: Path
) -> dict[str, Any]:
    """The index entries of an item, by feature."""
    result: dict[str, Any] = {}
    by_source: dict[str, list[_Task]] = defaultdict(list)
    for maker in makers:
        role = _role(entry, maker.module.MEDIUM)
        if maker.absent or role is None:
            reason = maker.absent or entry.get("video_reason") or entry.get("reason") or "there is nothing to decode"
            result[maker.name] = {"absent": reason}
            continue
        identity = maker.identity(entry["id"], entry["files"][role]["sha256"])
        path = objects.place(store, identity)
        found = objects.entry(path, store)
        if found is None:
            by_source[role].append(_Task(maker, path, identity))
        else:
            result[maker.name] = found
    for role, tasks in by_source.items():
        source = root / entry["files"][role]["path"]
        _refuse_changed(source, entry["files"][role]["sha256"], manifest)
        for reader, group in _readers(tasks):
            for task, outcome in zip(group, reader(source, group, store), strict=True):
                result[task.maker.name] = outcome
    return result


def _role(entry: Mapping[str, Any], medium: str) -> str | None:
    roles = ("video",) if medium == "frames" else ("audio", "video")
    return next((role for role in roles if role in entry["files"]), None)


def _refuse_changed(source: Path, expected: str, manifest: Path) -> None:
    """A store object must not get a name that another file's content has determined."""
    try:
        digest = sha256(source)
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror})", where=source, remedy="check that the data folder is still there"
        ) from error
    if digest != expected:
        raise ChecksumError(
            f"its sha256 is {digest}, but the manifest lists {expected}",
            where=source,
            why="the file was changed after the manifest was made",
            remedy=f"list the inputs anew: `snakemake --force {manifest}`, then run again",
        )


Reader = Callable[[Path, Sequence[_Task], Path], list[dict[str, Any]]]
"""From a source, tasks and the store to index entries, one per task."""


def _readers(tasks: Sequence[_Task]) -> list[tuple[Reader, list[_Task]]]:
    """The tasks grouped so that each group needs its source decoded once."""
    frames: dict[tuple[float, int | None], list[_Task]] = defaultdict(list)
    sounds: dict[int, list[_Task]] = defaultdict(list)
    for task in tasks:
        if task.maker.module.MEDIUM == "frames":
            frames[_rate(task)].append(task)
        else:
            sounds[task.maker.network.rate].append(task)
    readers: list[tuple[Reader, list[_Task]]] = [(_from_frames, group) for group in frames.values()]
    return readers + [(_from_sound, group) for group in sounds.values()]


def _rate(task: _Task) -> tuple[float, int | None]:
    config = task.maker.config
    return config.fps, getattr(config, "every", None)


def _from_frames(source: Path, tasks: Sequence[_Task], store: Path) -> list[dict[str, Any]]:
    fps, every = _rate(tasks[0])
    networks = [task.maker.network for task in tasks]
    times: list[float] = []
    waiting: list[list[np.ndarray]] = [[] for _ in tasks]
    rows: list[list[np.ndarray]] = [[] for _ in tasks]
    try:
        for time_s, frame in sample_frames(source, fps=None if every else fps, every=every):
            times.append(time_s)
            for network, batch, done in zip(networks, waiting, rows, strict=True):
                batch.append(frame)
                if len(batch) == network.batch:
                    done.append(network(batch))
                    batch.clear()
    except InputError as error:
        return [{"absent": error.what} for _ in tasks]
    for network, batch, done in zip(networks, waiting, rows, strict=True):
        if batch:
            done.append(network(batch))
    return [_stored(task, np.concatenate(done), np.array(times), store) for task, done in zip(tasks, rows, strict=True)]


def _from_sound(source: Path, tasks: Sequence[_Task], store: Path) -> list[dict[str, Any]]:
    networks = [task.maker.network for task in tasks]
    try:
        samples = read_audio(source, networks[0].rate)
    except InputError as error:
        return [{"absent": error.what} for _ in tasks]
    rows = [network(samples) for network in networks]
    return [_stored(task, features, times, store) for task, (features, times) in zip(tasks, rows, strict=True)]


def _stored(task: _Task, features: np.ndarray, times: np.ndarray, store: Path) -> dict[str, Any]:
    """The index entry of a result that is now in the store, or why it is none."""
    if len(times) == 0:
        return {"absent": f"too short for {task.maker.extractor}"}
    made_with = {"device": task.maker.device, "torch": version("torch")}
    try:
        return objects.put(task.path, store, features, times, task.identity | {"made_with": made_with})
    except ComputeError as error:
        return {"absent": f"{task.maker.extractor} gave no usable features: {error.what}"}
