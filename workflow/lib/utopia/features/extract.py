"""Extracting the features of some videos: each video is decoded once for all networks that look at it at the same rate.

Every result is stored as soon as it is there, so a job that was killed goes on with the next video. What is not
available (a damaged video, a video without sound, weights that are not there) is recorded as absent, with the reason;
what the file itself cannot give is noted in the store as well, under the name that its features would have.

Videos are decoded in threads (`features.pipeline`), each by a process of its own (`media.worker`), beside the networks,
which run in the calling thread and see the same batches whatever the number of threads (`features.rows`). What is held
in memory does not grow with the length of a video but for its rows.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from utopia import arrays, tally
from utopia.errors import AT_WORK, ChecksumError, ComputeError, InputError
from utopia.features import store as objects
from utopia.features.maker import Maker
from utopia.features.pipeline import merged
from utopia.features.rows import Batches, FrameRows, SoundRows
from utopia.files import read_json, sha256, write_json
from utopia.media.worker import end_idle, stream_audio

_log = logging.getLogger(__name__)
_AHEAD_BYTES = 64 << 20
"""Most bytes of decoded frames and sound that wait for a network."""


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
    threads: int = 1,
) -> list[Path]:
    """Extract features of some items and write their index.

    Args:
        manifest: the data set's manifest.
        root: the data set's folder, to which the manifest's paths are relative.
        items: ids of the shard's items.
        features: for each feature `extractor` and `options`, and optionally `compute`, how its network is run, `code`,
            a fingerprint of the code that makes it (the extractor's own version number otherwise), and `sha256`,
            checksums of weights by card.
        weights_folder: where files of weights lie.
        store: the object store, `<features>/store`.
        output: the index to write.
        seed: the study's root seed.
        device: "auto", "cpu" or "cuda".
        threads: threads to use: one runs the networks and the others decode; 1: decoding and networks in turn.
            The numbers do not depend on it.

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
    makers = [Maker(name, settings, weights_folder, seed, device) for name, settings in features.items()]
    index: dict[str, dict[str, Any]] = {item: {} for item in items}
    work = [_Source(entries[item], makers, root, store, manifest, index[item]) for item in items]
    needed = [source for source in work if source.tasks]
    _log.info("%d videos; %d of them have nothing left to be made", len(work), len(work) - len(needed))
    try:
        _extract(needed, makers, store, threads - 1)
    finally:
        end_idle()  # their time and memory count among the job's only when they have ended
    write_json(
        output,
        {
            "dataset": listed["dataset"],
            "items": {item: dict(sorted(found.items())) for item, found in index.items()},
            "decoder": {maker.name: maker.decoded_by for maker in makers},
            "weights": {maker.name: maker.weights for maker in makers},
            "precision": {maker.name: _precision(maker, index, store) for maker in makers},
        },
    )
    return sorted(
        {store.parent / entry["file"] for found in index.values() for entry in found.values() if "file" in entry}
    )


@dataclass(frozen=True)
class _Task:
    """One object to be made."""

    maker: Maker
    path: Path
    identity: dict[str, Any]


@dataclass(eq=False)
class _Pass:
    """One way through a source, for all networks that look at it, or listen to it, at the same rate."""

    tasks: list[_Task]
    read: Callable[[], Iterator[tuple[Any, ...]]]
    """Gives what each of `rows` is fed with."""
    rows: list[FrameRows | SoundRows] = field(default_factory=list)
    over: bool = False
    fallback: str = ""
    """Why another decoder than the one chosen decoded it; empty if none did."""

    sound_rate: int = 0
    """Samples per second of a sound; 0: it is pictures that are read."""

    @property
    def complete(self) -> bool:
        return self.over and all(rows.complete for rows in self.rows)

    def amount(self, sample: tuple[Any, ...]) -> tuple[str, float]:
        """How much work a sample is, with its unit."""
        return ("sound_seconds", sample[0].shape[-1] / self.sound_rate) if self.sound_rate else ("frames", 1)


class _Source:
    """One item's work: what is to be made of it, and where the results are noted."""

    def __init__(
        self,
        entry: Mapping[str, Any],
        makers: Sequence[Maker],
        root: Path,
        store: Path,
        manifest: Path,
        index: dict[str, Any],
    ) -> None:
        self.item, self.index, self.begun = entry["id"], index, 0.0
        self.tasks: list[tuple[str, _Task]] = []
        self.left: list[_Pass] = []
        self._entry, self._root, self._manifest = entry, root, manifest
        for maker in makers:
            role = _role(entry, maker.medium)
            if maker.absent or role is None:
                reason = (
                    maker.absent or entry.get("video_reason") or entry.get("reason") or "there is nothing to decode"
                )
                index[maker.name] = {"absent": reason}
                continue
            identity = maker.identity(entry["id"], entry["files"][role]["sha256"])
            path = objects.place(store, identity)
            found = objects.entry(path, store) or objects.absence(path)
            if found is None:
                self.tasks.append((role, _Task(maker, path, identity)))
            else:
                index[maker.name] = found

    def plan(self) -> None:
        """Group the tasks so that each group needs its source decoded once."""
        groups: dict[tuple[Any, ...], list[_Task]] = defaultdict(list)
        for role, task in self.tasks:
            groups[role, *task.maker.rate()].append(task)
        for (role, medium, rate, other, decoder), tasks in groups.items():
            reading = _Pass(tasks, partial(_pieces, self._path(role), rate, other))
            if medium == "frames":
                told = partial(setattr, reading, "fallback")
                reading.read = partial(
                    decoder.sample, self._path(role), fps=None if other else rate, every=other, told=told
                )
            else:
                reading.sound_rate = rate
            self.left.append(reading)

    def read(self) -> Iterator[_Product]:
        """Decode all that is needed."""
        self.begun = time.monotonic()
        for role in {role for role, _ in self.tasks}:
            refuse_changed(self._path(role), self._entry["files"][role]["sha256"], self._manifest)
        for reading in list(self.left):
            reason, lasting = "", False
            try:
                for sample in reading.read():
                    yield _Product(self, reading, sample)
            except InputError as error:
                reason, lasting = error.what, not isinstance(error.__cause__, (OSError, MemoryError))
            yield _Product(self, reading, None, reason, lasting)

    def _path(self, role: str) -> Path:
        path: Path = self._root / self._entry["files"][role]["path"]
        return path


@dataclass(frozen=True)
class _Product:
    """A sample of a reading; or its end, and why it failed if it did."""

    source: _Source
    reading: _Pass
    sample: tuple[Any, ...] | None
    reason: str = ""
    lasting: bool = False
    """Whether it would fail again: by what is in the file, not by what happened in reading it."""

    @property
    def weight(self) -> int:
        """Bytes that wait."""
        return 0 if self.sample is None else int(self.sample[-1].nbytes)


def _pieces(path: Path, rate: int, channels: int) -> Iterator[tuple[np.ndarray]]:
    for piece in stream_audio(path, rate, channels):
        yield (piece,)


def _extract(work: Sequence[_Source], makers: Sequence[Maker], store: Path, threads: int) -> None:
    """Decode, run the networks, store each result as soon as its last row is there, and note it in the index."""
    shared = {maker.name: Batches(maker.rows, maker.network.batch) for maker in makers if _shares(maker, work)}
    for source in work:
        source.plan()
    waiting: list[tuple[_Source, _Pass]] = []
    done = 0

    def store_complete() -> None:
        nonlocal done
        for source, reading in [pair for pair in waiting if pair[1].complete]:
            waiting.remove((source, reading))
            for task, rows in zip(reading.tasks, reading.rows, strict=True):
                features, times = rows.result()
                source.index[task.maker.name] = _stored(task, features, times, store, reading.fallback)
            done += _finish(source, reading, f"{done + 1}/{len(work)}")

    with closing(
        merged([source.read for source in work], threads=threads, weigh=lambda one: one.weight, limit=_AHEAD_BYTES)
    ) as products:
        for product in products:
            source, reading = product.source, product.reading
            if not reading.rows and not reading.over:
                _log.info("%s%s", AT_WORK, source.item)
                reading.rows = [_rows(task.maker, shared) for task in reading.tasks]
            if product.sample is not None:
                tally.count(*reading.amount(product.sample))
                for task, rows in zip(reading.tasks, reading.rows, strict=True):
                    if isinstance(rows, SoundRows):
                        task.maker.judge_sound(product.sample[0])
                    feed: Callable[..., None] = rows.feed
                    feed(*product.sample)
                continue
            reading.over = True
            if product.reason:
                for task in reading.tasks:
                    source.index[task.maker.name] = _absent(task, product.reason, product.lasting)
                reading.rows = []
                done += _finish(source, reading, f"{done + 1}/{len(work)}")
            else:
                for rows in reading.rows:
                    rows.end()
                waiting.append((source, reading))
            store_complete()
    for batches in shared.values():
        batches.flush()
    store_complete()


def _shares(maker: Maker, work: Sequence[_Source]) -> bool:
    """Whether this network's batches hold frames of several videos."""
    needed = any(task.maker is maker for source in work for _, task in source.tasks)
    return needed and maker.compute.across_videos and maker.medium == "frames"


def _rows(maker: Maker, shared: Mapping[str, Batches]) -> FrameRows | SoundRows:
    if maker.medium == "audio":
        return SoundRows(maker.network, maker.call)
    own = Batches(maker.rows, maker.network.batch)
    return FrameRows(shared.get(maker.name, own), maker.name in shared)


def _finish(source: _Source, reading: _Pass, count: str) -> bool:
    """Strike a reading off; say so if it was its item's last, and whether it was."""
    source.left.remove(reading)
    if source.left:
        return False
    absent = ", ".join(name for name, found in source.index.items() if "absent" in found)
    took = time.monotonic() - source.begun
    _log.info("%s %s: %.1f s%s", count, source.item, took, f", absent: {absent}" if absent else "")
    if reading.fallback:
        _log.warning("%s: %s", source.item, reading.fallback)
    return True


def _role(entry: Mapping[str, Any], medium: str) -> str | None:
    roles = ("video",) if medium == "frames" else ("audio", "video")
    return next((role for role in roles if role in entry["files"]), None)


def refuse_changed(source: Path, expected: str, manifest: Path) -> None:
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
            remedy=f"list the inputs again: `snakemake --force {manifest}`, then run again",
        )


def _absent(task: _Task, reason: str, lasting: bool) -> dict[str, Any]:
    """The index entry of an absence; one that would come about again is kept in the store, as a result is."""
    return objects.put_absence(task.path, reason, task.identity) if lasting else {"absent": reason}


def _stored(task: _Task, features: np.ndarray, times: np.ndarray, store: Path, fallback: str) -> dict[str, Any]:
    """The index entry of a result that is now in the store, or why it is none."""
    if len(times) == 0:
        return _absent(task, f"too short for {task.maker.extractor}", lasting=True)
    maker = task.maker
    made_with = {"device": maker.device, "torch": version("torch"), "precision_error": maker.error}
    if fallback:
        made_with["fallback"] = fallback
    try:
        return objects.put(task.path, store, features, times, task.identity | {"made_with": made_with})
    except ComputeError as error:
        # not kept: numbers that are none may come from a faulty GPU, and another try on another one is due
        return _absent(task, f"{task.maker.extractor} gave no usable features: {error.what}", lasting=False)


def _precision(maker: Maker, index: Mapping[str, Mapping[str, Any]], store: Path) -> dict[str, Any]:
    """The precision of a feature, and the largest error against float32 that its objects were made with."""
    found: dict[str, Any] = {"precision": maker.compute.precision, "relative_error": 0.0}
    if maker.compute.precision != "float32":
        files = [own[maker.name]["file"] for own in index.values() if "file" in own[maker.name]]
        errors = [arrays.load(store.parent / file).meta["made_with"]["precision_error"] for file in files]
        found["relative_error"] = max((error for error in errors if error is not None), default=None)
    return found
