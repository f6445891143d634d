"""Web videos by id through yt-dlp's library, one after the other, with a log of what is still available.

The log `availability.jsonl` beside the videos has one line per try; the last one of an id holds. What is gone, private,
closed to this region or to who is not signed in as an adult is not asked for again unless told to; anything else is.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from utopia.errors import InputError, UtopiaError
from utopia.fetch.availability import LOG, PERMANENT, Log, Status, Try
from utopia.fetch.recipe import MP4
from utopia.fetch.record import FetchRecord, locked
from utopia.fetch.transfer import FULL, Policy, full, refuse_without_room

SUFFIXES = (".mp4", ".webm", ".mkv", ".mov", ".m4v", ".flv")
_SCRATCH = ".webvideo"
_WORDS: tuple[tuple[Status, str], ...] = (
    ("throttled", r"confirm you.?re not a bot|too many requests|rate.?limit|HTTP Error 429"),
    ("age", r"confirm your age|age.?restricted|inappropriate for some users|adult"),
    ("private", r"private video|video is private|members.only|join this channel|requires? (?:payment|purchase)"),
    ("region", r"in your country|geo.?restrict|from your location|in your region"),
    (
        "gone",
        r"video (?:is )?(?:un|no longer |not )available|has been removed|been terminated|does not exist"
        r"|account .*closed|removed by the uploader|copyright claim|HTTP Error (?:404|410)|violat",
    ),
)


@dataclass(frozen=True)
class RequestOptions:
    """How to ask."""

    format: str = MP4
    pause: float = 5.0
    """Least seconds from one request to the next; up to half as much again is added by chance."""
    attempts: int = 3
    """Tries of a video in one run, where the fault may pass."""
    timeout: float = 30.0
    """Seconds without a byte after which a connection is given up."""
    throttled: int = 3
    """Videos in a row that the site refuses because of too many requests, after which the run ends."""
    options: Mapping[str, Any] | None = None
    """Further options of yt-dlp's `YoutubeDL` (cookies, a proxy, a source address)."""
    sleep: Callable[[float], None] = time.sleep


def fetch_videos(
    ids: Iterable[str],
    address: str,
    folder: Path,
    request: RequestOptions | None = None,
    *,
    record: FetchRecord | None = None,
    again: bool = False,
    told: Callable[[Try], None] | None = None,
    waiting: Callable[[], None] | None = None,
) -> dict[str, Try]:
    """Fetch the videos that are not there, as `<id>.<suffix>` in `folder`, and give the last try of each id.

    A video that is there is not asked for. Partial downloads are continued.

    Args:
        address: of a video, with `{id}`.
        record: the data folder's record, for the digests.
        again: ask also for those that were gone, private or closed.
        told: called after each video.
        waiting: called once if another process is fetching into this folder.

    Raises:
        UtopiaError: yt-dlp is not installed, or the site refuses because of too many requests.
        DiskFullError: there is no room.
    """
    request = request or RequestOptions()
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOG, waiting):
        log = Log(folder)
        before = log.last()
        results: dict[str, Try] = {}
        refused, asked = 0, 0
        for id in dict.fromkeys(ids):
            _refuse_odd_id(id, folder)
            former = before.get(id)
            present = video_of(folder, id)
            if present is not None:
                results[id] = former if former and former.status == "ok" else _found(id, present, former)
                continue
            if former and former.status in PERMANENT and not again:
                results[id] = former
                continue
            if asked:
                request.sleep(request.pause * (1 + random.random() / 2))
            asked += 1
            refuse_without_room(folder, 0, Policy())
            results[id] = entry = _ask(id, address, folder, request, former)
            log.add(entry)
            path = video_of(folder, id)
            if record is not None and path is not None:
                record.add(path, url=address.format(id=id), sha256=entry.sha256, pinned="first use")
            if told is not None:
                told(entry)
            refused = refused + 1 if entry.status == "throttled" else 0
            if refused >= request.throttled:
                raise UtopiaError(
                    f"the site refuses: {entry.message}",
                    where=folder,
                    why="asking on would make it refuse for longer",
                    remedy="run the same command in some hours (it goes on where it was), with a longer --pause",
                )
        return results


def video_of(folder: Path, id: str) -> Path | None:
    """The file of a video, whatever its suffix."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{id}{suffix}").is_file()), None)


def _refuse_odd_id(id: str, folder: Path) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", id):
        raise InputError(
            f"{id!r} is not the id of a web video",
            where=folder,
            why="it would become part of an address and of a file's name",
            remedy="look at the list that it comes from: is it damaged?",
        )


def _found(id: str, path: Path, former: Try | None) -> Try:
    return Try(id, "ok", "was there already", _now(), former.attempts if former else 0, bytes=path.stat().st_size)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _ask(id: str, address: str, folder: Path, request: RequestOptions, former: Try | None) -> Try:
    count = former.attempts if former else 0
    for number in range(1, request.attempts + 1):
        count += 1
        entry = _once(id, address, folder, request, count)
        if entry.status in ("ok", "throttled", *PERMANENT) or number == request.attempts:
            return entry
        request.sleep(request.pause * 2**number)
    raise AssertionError("unreachable: a request has at least one attempt")


def _once(id: str, address: str, folder: Path, request: RequestOptions, count: int) -> Try:
    from utopia.files import sha256
    from utopia.media.worker import probe

    scratch = folder / _SCRATCH
    library = _library()
    options: dict[str, Any] = {
        "format": request.format,
        "outtmpl": {"default": f"{scratch}/{id}".replace("%", "%%") + ".%(ext)s"},
        "continuedl": True,
        "noplaylist": True,
        "playlist_items": "1",
        "retries": 3,
        "fragment_retries": 3,
        "retry_sleep_functions": {"http": lambda n: request.pause, "fragment": lambda n: request.pause},
        "socket_timeout": request.timeout,
        "cachedir": False,
        "quiet": True,
        "noprogress": True,
        "logger": _Silent(),
        **(request.options or {}),
    }

    def failed(status: Status, message: str) -> Try:
        return Try(id, status, message, _now(), count)

    try:
        with library.YoutubeDL(options) as downloader:
            info = downloader.extract_info(address.format(id=id), download=True)
    except library.utils.YoutubeDLError as error:
        if any(os.strerror(code) in str(error) for code in FULL):
            raise full(scratch, " ".join(str(error).split())) from error
        return failed(*classify(error))
    except OSError as error:
        return failed("error", " ".join(str(error).split()))
    paths = [Path(part["filepath"]) for part in (info or {}).get("requested_downloads", [])]
    if len(paths) != 1 or not paths[0].is_file():
        return failed("error", "the site gave no file for it")
    if paths[0].suffix.lower() not in SUFFIXES:
        return failed("error", f"the site gave a file of another kind ({paths[0].name})")
    try:
        facts = probe(paths[0]).as_dict()
        if not facts["frames"]:
            raise InputError("it holds sound only")
    except InputError as error:
        paths[0].unlink()
        return failed("error", f"what came is not a video: {error.what}")
    digest, size = sha256(paths[0]), paths[0].stat().st_size
    paths[0].replace(folder / f"{id}{paths[0].suffix.lower()}")
    return Try(id, "ok", "", _now(), count, digest, size, str((info or {}).get("format_id", "")))


def classify(error: BaseException) -> tuple[Status, str]:
    """What yt-dlp's error means for a video's availability, and its words without colours and advice."""
    library = _library()
    chain: list[BaseException] = [error]
    while len(chain) < 10:
        last = chain[-1]
        info = getattr(last, "exc_info", None)
        inner = (info[1] if info else None) or getattr(last, "cause", None) or last.__cause__ or last.__context__
        if not isinstance(inner, BaseException) or inner in chain:
            break
        chain.append(inner)
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    message = re.sub(r"^ERROR: |\[[\w:]+\] (?:[\w-]+: )?|; please report this issue.*|\. Use --cookies.*", "", text)
    message = " ".join(message.split())[:300]
    if any(isinstance(part, library.utils.GeoRestrictedError) for part in chain):
        return "region", message
    status = next((code for part in chain if isinstance(code := getattr(part, "status", None), int)), None)
    if status in (404, 410):
        return "gone", message
    if status == 429:
        return "throttled", message
    for kind, words in _WORDS:
        if re.search(words, text, re.IGNORECASE):
            return kind, message
    return "error", message


def _library() -> Any:
    try:
        import yt_dlp
    except ImportError as error:
        raise UtopiaError(
            "fetching web videos needs yt-dlp, which is not installed",
            why="the videos of this data set are given by id only",
            remedy="run: make setup",
        ) from error
    return yt_dlp


class _Silent:
    """yt-dlp's messages go into the log of availability, by way of its errors."""

    def debug(self, message: str) -> None: ...

    def info(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def error(self, message: str) -> None: ...
