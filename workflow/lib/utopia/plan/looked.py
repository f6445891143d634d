"""What the names of files tell of a data set's folder; of large data sets kept between starts of the workflow.

Matching a million videos to the items of a data set takes a minute and gigabytes. What came of it depends on the names
alone, on the tables beside the videos and on this code; so the next start, and each job on a cluster, lists the names,
and takes the rest from the user's cache.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from utopia import fingerprint
from utopia.datasets import _common
from utopia.datasets._common import Located
from utopia.errors import InputError, UtopiaError
from utopia.files import digest, read_json, write_json

KEPT_FROM = 20_000
"""Files of media from which a folder's matching is kept."""


@dataclass(frozen=True)
class FoldPlan:
    """A fold, and how many of its items have files of labels and of what features are made from."""

    name: str
    train: int
    test: int
    train_listed: int
    test_listed: int

    def obstacle(self, fewest: int) -> str:
        """Why it cannot be trained and tested; empty if nothing is known to prevent it.

        Args:
            fewest: training items that it needs.
        """
        if self.train >= fewest and self.test:
            return ""
        return (
            f"fold {self.name}: {self.train} of {self.train_listed} training items and {self.test} of "
            f"{self.test_listed} test items are there, it needs {fewest} and 1"
        )


@dataclass(frozen=True)
class Looked:
    """A data set's folder as its names tell."""

    files: tuple[str, ...]
    """All that is read of it, but for its media."""
    media: int
    """How many files of its medium there are."""
    shots: tuple[str, ...]
    """Names of the files whose shots the F-score goes by."""
    missing: dict[str, str]
    """Roles that cannot be filled, with the reason."""
    unlike_published: tuple[str, ...]
    item_ids: tuple[str, ...]
    labelled: int
    """Items with a file of labels."""
    with_media: tuple[str, ...]
    seconds: tuple[float, ...]
    """How long each of these is, in the same order, where lists or tables tell it of all of them; else empty."""
    mean_seconds: float
    """Of all items that these lists have, whether their media are there or not."""
    folds: dict[str, tuple[FoldPlan, ...]]
    """By what features are made from: media (`media`), or nothing that must be there (`files`)."""


class Listing:
    """All files below a data set's folder; of a large one the names are kept, packed, from `look` to `state`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._packed: bytes | None = None

    def keep(self, paths: Iterable[str]) -> None:
        """Keep the names until they are asked for."""
        self._packed = zlib.compress("\0".join(paths).encode("utf-8", "surrogateescape"), 1)

    def paths(self) -> Iterable[str]:
        """The names that are kept, the first time; else those in the folder now."""
        packed, self._packed = self._packed, None
        if packed is None:
            return names_below(self.folder)
        return zlib.decompress(packed).decode("utf-8", "surrogateescape").split("\0")


def look(name: str, module: Any, listing: Listing, options: Any) -> Looked:
    """Match the files below a folder to a data set's items, or take it from what is kept.

    Args:
        name: the data set.
        module: its file in `datasets/`.
        listing: its folder; of a large one it has the names afterwards.
        options: its own settings.
    """
    folder = listing.folder
    paths = list(listing.paths())
    if sum(map(_is_media, paths)) < KEPT_FROM:
        return look_through(name, module, folder, options)
    code = fingerprint.fingerprint(f"utopia.datasets.{name}", __name__)
    key = {"folder": str(folder), "options": options.model_dump(mode="json"), "names": _digest_of(paths), "code": code}
    listing.keep(paths)
    del paths  # a tenth of a gigabyte of a million videos, and matching takes most of one
    place = kept_at(name, folder)
    if (kept := _kept(place, key)) is not None:
        return kept
    looked = look_through(name, module, folder, options)
    with suppress(UtopiaError):  # where it cannot be kept, it is matched again at the next start
        write_json(place, {"key": key, "looked": asdict(looked)})
    return looked


def kept_at(name: str, folder: Path) -> Path:
    """Where the matching of a folder is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "utopia"
    return cache / f"looked-{name}-{digest(str(folder.resolve()))}.json"


def state(listing: Listing) -> tuple[Path | None, dict[str, Any]]:
    """The media below a folder as one file and one digest, in the place of a list of them all.

    A job that depends on each of them must be done again when one is newer than what it made, or comes, goes or has
    another size. The first the newest file tells, the rest the digest.

    Returns:
        The media file that was changed last, None where there is none; and `files`, `bytes` and `sha256`, the digest
        of their names below the folder and their sizes.
    """
    newest: tuple[int, str] = (-1, "")
    total, lines = 0, []
    for path in listing.paths():
        if not _is_media(path):
            continue
        try:
            facts = os.stat(path)  # noqa: PTH116 - a million objects of Path take a gigabyte
        except OSError:  # a link to nowhere: the job that lists the files says so
            lines.append(f"{path} -1")
            continue
        newest = max(newest, (facts.st_mtime_ns, path))
        total += facts.st_size
        lines.append(f"{path} {facts.st_size}")
    start = len(str(listing.folder)) + 1
    text = sha256()
    for line in sorted(lines):
        text.update(line[start:].encode("utf-8", "surrogateescape") + b"\n")
    summary = {"files": len(lines), "bytes": total, "sha256": text.hexdigest()}
    return (Path(newest[1]) if newest[1] else None), summary


def _digest_of(paths: Iterable[str]) -> str:
    """The digest of all names, with size and time of what is no media."""
    text = sha256()
    for path in sorted(paths):
        text.update(path.encode("utf-8", "surrogateescape"))
        if not _is_media(path):
            try:
                facts = os.stat(path)  # noqa: PTH116 - a million objects of Path take a gigabyte
                text.update(f" {facts.st_size} {facts.st_mtime_ns}".encode())
            except OSError:
                text.update(b" -1")
        text.update(b"\n")
    return text.hexdigest()


_SUFFIXES = (*_common.VIDEO_SUFFIXES, *_common.AUDIO_SUFFIXES)


def _is_media(path: str) -> bool:
    return path.lower().endswith(_SUFFIXES)


def names_below(folder: Path) -> Iterable[str]:
    """All files below a folder without hidden names, as deep as data sets look."""
    deepest = str(folder).count(os.sep) + _common.DEPTH
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [] if root.count(os.sep) >= deepest else [entry for entry in folders if not entry.startswith(".")]
        yield from (f"{root}{os.sep}{entry}" for entry in names if not entry.startswith("."))


def _kept(place: Path, key: dict[str, Any]) -> Looked | None:
    """What is kept of exactly these names; None if nothing is."""
    if not place.is_file():
        return None
    try:
        content = read_json(place)
        if content["key"] != key:
            return None
        stored = content["looked"]
        ids = {item: item for item in stored["item_ids"]}  # both lists then share their texts
        folds = {of: tuple(FoldPlan(**fold) for fold in folds) for of, folds in stored["folds"].items()}
        lists = {part: tuple(stored[part]) for part in ("files", "shots", "unlike_published")}
        with_media = tuple(ids[item] for item in stored["with_media"])
        own = {"item_ids": tuple(ids), "with_media": with_media, "seconds": _shared(stored["seconds"]), "folds": folds}
        return Looked(**stored | lists | own)
    except (UtopiaError, LookupError, TypeError, AttributeError):
        return None  # damaged: it is only a copy of what the names tell


def look_through(name: str, module: Any, folder: Path, options: Any) -> Looked:
    """What a data set's folder holds, from its files and tables themselves; `look` keeps it.

    Raises:
        InputError: a table cannot be read.
    """
    located = module.locate(folder, options)
    medium = _common.medium(module)
    files = {role: paths for role, paths in located.files.items() if role != medium.files}
    told: dict[str, Any] = {
        "files": tuple(sorted({str(path) for paths in files.values() for path in paths})),
        "media": len(located.files.get(medium.files, ())),
        "shots": tuple(path.name for path in located.files.get("shots", ())),
        "missing": dict(located.missing),
        "unlike_published": tuple(located.unlike_published),
    }
    if "annotations" in located.missing:
        return Looked(**told, item_ids=(), labelled=0, with_media=(), seconds=(), mean_seconds=0.0, folds={})
    items = module.items(located, options)
    ids = tuple(item.id for item in items)
    with_media = tuple(item.id for item in items if medium.role in item.files)
    labelled = [item.id for item in items if {"annotations", "shots"} & item.files.keys()]
    # where a table of labels is refused unless it is the published one, the job that lists the files says so
    others = _common.other_versions(name, located) if getattr(options, "checksums", "refuse") == "record" else ()
    told["unlike_published"] += others
    # of a million videos, items and paths take half a gigabyte, and folds need neither
    del items
    located = replace(located, files=files, scanned=())
    lengths = _lengths(module, located)
    mean_seconds = sum(lengths.values()) / max(1, len(lengths))
    known = mean_seconds > 0 and lengths.keys() >= set(with_media)
    seconds = _shared(lengths[item] for item in with_media) if known else ()
    del lengths
    both = set(with_media).intersection(labelled)
    return Looked(
        **told,
        item_ids=ids,
        labelled=len(labelled),
        with_media=with_media,
        seconds=seconds,
        mean_seconds=mean_seconds,
        folds={
            "media": _folds(module, located, ids, [item for item in labelled if item in both], options),
            "files": _folds(module, located, ids, labelled, options),
        },
    )


def _lengths(module: Any, located: Located) -> dict[str, float]:
    """Seconds of items by id, as far as the official list or the tables of labels tell before any video is opened."""
    if hasattr(module, "seconds"):
        own: dict[str, float] = module.seconds(located)
        return own
    return {entry.id: entry.frames / entry.fps for entry in located.items if entry.frames and entry.fps}


def _shared(values: Iterable[float]) -> tuple[float, ...]:
    """The values; equal ones are one object."""
    known: dict[float, float] = {}
    return tuple(known.setdefault(value, value) for value in values)


def _folds(
    module: Any, located: Located, ids: Sequence[str], usable: Sequence[str], options: Any
) -> tuple[FoldPlan, ...]:
    """The folds, as far as the names of files tell.

    Args:
        ids: of all items.
        usable: of those with labels and with what features are made from.
    """
    try:
        listed = module.folds(located, ids, options)
        restricted = module.folds(located, usable, options)
    except InputError:  # the job that builds the labels says so
        return ()
    return tuple(
        FoldPlan(fold["name"], len(fold["train"]), len(fold["test"]), len(whole["train"]), len(whole["test"]))
        for fold, whole in zip(restricted, listed, strict=True)
    )
