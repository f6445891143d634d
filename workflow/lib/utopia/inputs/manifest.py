"""The manifest of a data set: every expected item with its files' hashes and facts, or the reason of its absence."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utopia.config import registry
from utopia.datasets import _card, _common
from utopia.datasets._common import Item, Located
from utopia.errors import AT_WORK, ChecksumError, InputError
from utopia.fetch.availability import Log, Status
from utopia.files import sha256, write_json
from utopia.media.worker import end_idle, probe

_log = logging.getLogger(__name__)
_TRIED: dict[Status, str] = {
    "ok": "was fetched, and is no longer there",
    "gone": "is gone from its site",
    "private": "is private",
    "region": "is closed to the region that asked for it",
    "age": "is shown only to adults who are signed in",
    "throttled": "was refused because of too many requests: fetch again",
    "error": "could not be fetched: the log availability.jsonl says why",
}
_FRAMES_APART = 0.01
"""Share by which the frame counts of a video and of its annotations may differ: beyond it the video is not used."""


def list_inputs(*, dataset: str, folder: Path, options: Mapping[str, Any], output: Path) -> list[Path]:
    """Write the manifest of a data set; what cannot be read is a declared absence.

    An item is present when its annotations can be read. A video (a song, of a data set of sound) that is not there or
    is damaged leaves the item present, without `files.video` (`files.audio`), and `video_reason` says why.

    Args:
        dataset: a file of `datasets/`.
        folder: the data set's folder.
        options: its `Config`, as a mapping.
        output: the JSON file to write.

    Returns:
        The files that were hashed: what the job has read.

    Raises:
        ChecksumError: a file is not the one that the data set's card names, and the options say to refuse it.
        InputError: the folder's list of generated items is damaged.
    """
    module = registry.load("datasets", dataset)
    config = module.Config.model_validate(dict(options))
    located: Located = module.locate(Path(folder), config)
    card = _card.card(dataset)
    files = _FileHashes(located, card, getattr(config, "checksums", "refuse"))
    medium = _common.medium(module)
    listed: list[Item] = module.items(located, config)
    unavailable = _unavailable(located, medium)
    items = [_entry(module, located, item, config, files, unavailable) for item in listed]
    end_idle()
    write_json(
        output,
        {
            "dataset": dataset,
            "card": {"title": card.title, "licence": card.licence, "citation": card.citation},
            "medium": medium.role,
            "root": str(folder),
            "generated": located.generated,
            "missing": dict(located.missing),
            "unlisted": _unlisted(located, listed, medium),
            "parts": {} if located.generated else {part: entry.listed for part, entry in card.parts.items()},
            "duplicates": [path.relative_to(located.folder).as_posix() for path in located.duplicates],
            "items": [item for item, _, _ in items],
            "coverage": _coverage([cause for _, cause, _ in items])
            | {medium.files: _coverage([cause for _, _, cause in items])},
        },
    )
    return [*files.hashed, *located.files.get("availability", ())]


def _unlisted(located: Located, listed: list[Item], medium: _common.Medium) -> list[str]:
    """Videos (songs) that no item has, below the folder."""
    used = {item.files.get(medium.role) for item in listed}
    others = [path for path in located.files.get(medium.files, ()) if path not in used]
    return [path.relative_to(located.folder).as_posix() for path in others]


def _unavailable(located: Located, medium: _common.Medium) -> dict[str, str]:
    """Key -> why the last try of fetching the item's video did not get it."""
    logs = located.files.get("availability", ())
    tries = {key: entry for log in logs for key, entry in Log(log.parent).last().items()}
    return {key: f"the {medium.word} {_TRIED[entry.status]}" for key, entry in tries.items()}


def _coverage(causes: list[str]) -> dict[str, Any]:
    """Expected, present and missing by cause; an empty cause means present."""
    missing = Counter(cause for cause in causes if cause)
    return {"expected": len(causes), "present": len(causes) - missing.total(), "missing": dict(missing)}


def _entry(
    module: Any, located: Located, item: Item, config: Any, files: _FileHashes, unavailable: Mapping[str, str]
) -> tuple[dict[str, Any], str, str]:
    """An item's entry, and the causes of its own and its video's absence (empty where there is none)."""
    entry: dict[str, Any] = {
        "id": item.id,
        "name": item.name,
        "key": item.key,
        "files": {},
        "facts": {},
        "annotations": {},
    } | ({"part": item.part} if item.part else {})
    _log.info("%s%s", AT_WORK, item.id)
    reason, cause, medium = "", "", _common.medium(module)
    try:
        entry["files"] = {role: files.entry(path) for role, path in item.files.items() if role != medium.role}
        entry["annotations"] = entry["facts"] = module.describe(located, item, config)
    except ChecksumError:
        raise
    except InputError as error:
        reason, cause = _told(error, located.missing.get("annotations", ""))
    except Exception as error:  # one bad item must not end the study, whatever it leads its reader to
        _log.exception("%s: its annotations cannot be read", item.id)
        cause = f"its annotations cannot be read ({type(error).__name__})"
        reason = f"{cause}: {error}; the log of list_inputs has more"
    video_reason, video_cause = _media(entry, item, located, files, medium, unavailable.get(item.key, ""))
    return (
        entry | {"present": not cause, "reason": reason, "video_reason": video_reason},
        cause,
        video_cause,
    )


def _media(
    entry: dict[str, Any], item: Item, located: Located, files: _FileHashes, medium: _common.Medium, unavailable: str
) -> tuple[str, str]:
    """Add the item's video or song to its entry; why it is not used, and the cause in general terms."""
    path = item.files.get(medium.role)
    if path is None and item.hint:
        reason = f"no {medium.word} {item.key} below {located.folder}: {item.hint}"
        return reason, f"the {medium.word} is there under another name, or unfinished"
    if path is None and unavailable:
        return unavailable, unavailable
    if path is None:
        reason = located.missing.get(medium.files, f"no {medium.word} {item.key} below {located.folder}")
        return reason, f"the {medium.word} is not there"
    try:
        file = files.entry(path)
    except InputError as error:
        return _told(error)
    try:
        facts = probe(path).as_dict()
        if not facts["frames" if medium.role == "video" else "audio_codec"]:
            only = "sound" if medium.role == "video" else "pictures"
            raise InputError(f"the file holds {only} only", where=path, remedy="check that it is the right file")
    except InputError as error:
        entry["damaged"] = {medium.role: file}
        return _told(error)
    annotated = entry["annotations"].get("frames")
    if medium.role == "video" and annotated and abs(facts["frames"] - annotated) > _FRAMES_APART * annotated:
        entry["damaged"] = {medium.role: file}
        cause = "the video has another number of frames than its annotations"
        reason = (
            f"{path}: {facts['frames']} frames, its annotations {annotated}: another cut or frame rate, whose features "
            "would lie beside the wrong labels (get the version that was annotated)"
        )
        return reason, cause
    entry["files"][medium.role] = file
    entry["facts"] = facts
    return "", ""


def _told(error: InputError, instead: str = "") -> tuple[str, str]:
    """The reason in one line and the cause in general terms, without the file's name, to count by."""
    where = f"{error.where}: " if error.where else ""
    remedy = f" ({error.remedy})" if error.remedy else ""
    return instead or f"{where}{error.what}{remedy}", error.what if error.where else "the annotations are not there"


class _FileHashes:
    """Hashes of the files below a folder, each taken once."""

    def __init__(self, located: Located, card: _card.Card, checksums: str) -> None:
        self._folder = located.folder
        self._published = {} if located.generated else {file.name: file for file in card.files if file.sha256}
        self._refuse = checksums == "refuse"
        self._entries: dict[Path, dict[str, Any]] = {}

    @property
    def hashed(self) -> list[Path]:
        """The files that were read."""
        return list(self._entries)

    def entry(self, path: Path) -> dict[str, Any]:
        """Path relative to the folder, sha256 and bytes; `published`: whether it is the file that the card names."""
        if path not in self._entries:
            try:
                entry = {
                    "path": path.relative_to(self._folder).as_posix(),
                    "sha256": sha256(path),
                    "bytes": path.stat().st_size,
                }
            except OSError as error:
                raise InputError(
                    f"cannot be read ({error.strerror})", where=path, remedy="make it readable (`ls -l`, `chmod`)"
                ) from error
            self._entries[path] = entry | self._checked(path, str(entry["sha256"]))
        return self._entries[path]

    def _checked(self, path: Path, digest: str) -> dict[str, Any]:
        published = self._published.get(path.name)
        if published is None:
            return {}
        if digest != published.sha256 and self._refuse:
            raise ChecksumError(
                f"its sha256 is {digest}, but the card names {published.sha256}",
                where=path,
                why="it is damaged, or another version than the published one, and results on it are not comparable",
                remedy="get the file again (the card names where); to use this one, set "
                "`checksums: record` in the data set's options",
            )
        return {"published": digest == published.sha256}
