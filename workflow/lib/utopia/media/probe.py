"""What a media file is: length, frames, size, codecs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av

from utopia.errors import InputError
from utopia.media import timeline
from utopia.media.container import audio_stream, damaged, opened, video_stream


@dataclass(frozen=True)
class MediaFacts:
    """Facts of a media file; those of the video are None for a file with sound only, and the reverse."""

    duration_s: float
    """Seconds from the first frame to the end of the last one; of the sound where there is no video."""
    frames: int | None
    """Frames shown, counted packet by packet."""
    fps: float | None
    """Mean frames per second, as the container states it."""
    width: int | None
    """Pixels, as displayed (after rotation)."""
    height: int | None
    """Pixels, as displayed (after rotation)."""
    video_codec: str | None
    audio_codec: str | None
    sample_rate: int | None
    """Samples of sound per second."""
    rotation: int | None
    """Degrees (0, 90, 180 or 270, counter-clockwise) by which stored frames are turned for display."""

    def as_dict(self) -> dict[str, Any]:
        """The facts as JSON-able values."""
        return asdict(self)


def probe(path: str | Path) -> MediaFacts:
    """Read the facts of a media file: its packets are counted, its first frame is decoded, the rest is not.

    Raises:
        InputError: the file is missing, empty, no media (a web page, say), cut short, or its first frame is damaged.
    """
    with opened(path) as container:
        video, audio = video_stream(container), audio_stream(container)
        if video is None and audio is None:
            raise InputError(
                "the file holds neither video nor sound", where=path, remedy="check that it is the right file"
            )
        times = timeline.scan(path, container, audio if video is None else video)
        codec = audio.codec_context.name if audio else None
        rate = int(audio.codec_context.sample_rate) if audio else None
        if video is None:
            return MediaFacts(times.seconds, None, None, None, None, None, codec, rate, None)
        average = video.average_rate
        name = video.codec_context.name
    width, height, rotation = _first_frame(path)
    fps = float(average) if average else times.shown / times.seconds
    return MediaFacts(times.seconds, times.shown, fps, width, height, name, codec, rate, rotation)


def upright(frame: Any) -> int:
    """Quarter turns, counter-clockwise, that bring a decoded frame upright."""
    return round(frame.rotation / 90) % 4


def _first_frame(path: str | Path) -> tuple[int, int, int]:
    """Width, height and rotation of the first frame."""
    with opened(path) as container:
        try:
            for frame in container.decode(video_stream(container)):
                turns = upright(frame)
                size = (frame.height, frame.width) if turns % 2 else (frame.width, frame.height)
                return (*size, 90 * turns)
        except av.error.FFmpegError as error:
            raise damaged(path, "the first frame cannot be decoded") from error
    raise damaged(path, "no frame can be decoded")
