"""Opening a media file with PyAV: which stream is meant, and what to say when the file is no good."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal

import av

from utopia.errors import InputError
from utopia.media.tags import Without, inner_tags

_MEDIA: tuple[Literal["video"], Literal["audio"]] = ("video", "audio")
_WITHOUT_HEADER = frozenset({"mpegts", "mpeg", "flv", "live_flv"})
"""Formats in which a stream may begin anywhere: those where FFmpeg looks at the first seconds only."""
_LATE = {"probesize": str(256 << 20), "analyzeduration": str(1 << 40)}
"""How far a stream that such a file seems to lack is looked for: 256 MiB, which then wait in memory."""
_REPLACE = "get the file again from its source and compare its size and checksum with the published ones"


def decoder() -> dict[str, str]:
    """Name and versions of the decoder, for records and for the keys of what was decoded with it."""
    version = ".".join(str(part) for part in av.library_versions["libavcodec"])
    return {"name": "pyav", "version": av.__version__, "libavcodec": version}


@contextmanager
def opened(path: str | Path) -> Iterator[Any]:
    """Open a media file for reading (an `av.container.InputContainer`).

    Raises:
        InputError: the file is missing, empty, unreadable, cut short before its index, or no media file.
    """
    path = Path(path)
    container = _open(path, {})
    if container.format.name in _WITHOUT_HEADER and None in (container.streams.best(kind) for kind in _MEDIA):
        container.close()
        container = _open(path, _LATE)
    if container.format.name == "mp3" and (tags := _tags(path)):
        container.close()
        container = _open(path, {}, Without(path, tags))
    with container:
        if another_follows(path, container.format.name):
            first_s = (container.duration or 0) / av.time_base
            how = "join the parts by `ffmpeg -f concat -i list.txt -c copy one.mkv`"
            raise damaged(path, "another file was joined behind this one, and would not be seen, after", first_s, how)
        yield container


def another_follows(path: Path, form: str) -> bool:
    """Whether a second file begins where a WAV or an MP4 file ends by its own account: FFmpeg reads the first alone.

    Args:
        path: a file that FFmpeg opens.
        form: FFmpeg's name of its format.
    """
    try:
        with path.open("rb") as file:
            if form == "wav":
                size = int.from_bytes(file.read(8)[4:], "little")
                file.seek(8 + size)
                tail = file.read(13)  # an odd size may be followed by a byte that fills it up
                heads = {tail[:12], tail[size % 2 :][:12]}
                return any(head[:4] == b"RIFF" and head[8:] == b"WAVE" for head in heads)
            return "mp4" in form.split(",") and _types_of_boxes(file).count(b"ftyp") > 1
    except OSError:
        return False  # whoever reads the file says what is wrong


def _open(path: Path, options: dict[str, str], stream: Without | None = None) -> Any:
    try:
        if stream is not None:
            return av.open(stream, "r", format="mp3", options=options)
        return av.open(str(path), "r", options=options)
    except (av.error.FFmpegError, OSError) as error:
        raise _unreadable(path, error) from error


def _types_of_boxes(file: BinaryIO) -> list[bytes]:
    """The types of an MP4 file's outermost boxes, as far as their sizes lead."""
    types, at, end = [], 0, os.fstat(file.fileno()).st_size
    while at < end and len(head := file.read(16)) >= 8:
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:], "big") if size == 1 else size
        if size < 8:  # 0: to the end of the file; else damage
            break
        types.append(head[4:8])
        at += size
        file.seek(min(at, end))
    return types


def _tags(path: Path) -> list[tuple[int, int]]:
    try:
        return inner_tags(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def video_stream(container: Any) -> Any | None:
    """The main video stream as FFmpeg chooses it, single-threaded; None if there is none (a cover picture is none).

    Single-threaded decoding gives the same bits everywhere; the pipeline runs one process per core instead.
    """
    stream = container.streams.best("video")
    if stream is None or av.stream.Disposition.attached_pic in stream.disposition:
        return None
    stream.thread_type = "NONE"
    return stream


def audio_stream(container: Any) -> Any | None:
    """The main audio stream as FFmpeg chooses it, or None."""
    return container.streams.best("audio")


def damaged(path: str | Path, what: str, time_s: float | None = None, to_use_it: str = "") -> InputError:
    """The error for a file that is damaged at `time_s` seconds.

    Args:
        to_use_it: a command that makes a file of it that can be used; the reason of the absence names it.
    """
    at = "" if time_s is None else f" {time_s:.2f} s" if what.endswith(" after") else f" at {time_s:.2f} s"
    return InputError(
        f"{what}{at}" + (f" (to use it: {to_use_it})" if to_use_it else ""),
        where=path,
        why="what comes after the damage would be missing from the features, or wrong",
        remedy=_REPLACE,
    )


def _unreadable(path: Path, error: Exception) -> InputError:
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as cause:
        return InputError(
            f"cannot read the file ({cause.strerror or cause})",
            where=path,
            remedy="check the path and its permissions (`ls -l`)",
        )
    if not head:
        return InputError("the file is empty", where=path, remedy=_REPLACE)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:14].lower().startswith((b"<!doctype html", b"<html", b"<head", b"<?xml")):
        return InputError(
            "the file is a web page, not media",
            where=path,
            why="the server answered the download with a page (an error, a login or a consent form)",
            remedy="open the page to see what it says, then download the file itself",
        )
    if head[4:8] == b"ftyp":
        return InputError(
            "the MP4 file is cut short: its index (the 'moov' part) is missing or damaged", where=path, remedy=_REPLACE
        )
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"the file is not readable as media ({reason})", where=path, remedy=_REPLACE)
