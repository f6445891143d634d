"""The times of a stream's packets, read without decoding anything: exact, and far cheaper than decoding."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from utopia.media.container import damaged

MISSING = np.iinfo(np.int64).min
_ENTRY_NAL = {"h264": lambda byte: byte & 31 == 5, "hevc": lambda byte: 16 <= byte >> 1 & 63 <= 21}
_SLACK_S, _SLACK_SHARE = 1.0, 0.02


@dataclass(frozen=True)
class Timeline:
    """The packets of a stream in decoding order; times are in ticks of `time_base` seconds."""

    pts: np.ndarray
    """[N] int64 presentation times; `MISSING` where the container gives none."""
    entry: np.ndarray
    """[N] bool: decoding can start afresh at this packet (H.264, HEVC: by the picture's type, not the flag)."""
    discard: np.ndarray
    """[N] bool: the container says that this packet is decoded but not shown (edit lists)."""
    time_base: Fraction
    duration: int
    """Duration of a packet that does not tell its own."""
    end: int | None
    """Where the last shown packet ends; None if presentation times are missing."""

    @property
    def shown(self) -> int:
        """The number of packets that are shown: of a video, its frames."""
        return int((~self.discard).sum())

    @property
    def timed(self) -> bool:
        """Whether any packet has a presentation time (those of a bare H.264 stream have none)."""
        return bool((self.pts != MISSING).any())

    @property
    def complete(self) -> bool:
        """Whether every packet has a presentation time."""
        return self.end is not None

    @property
    def seconds(self) -> float:
        """From the first presentation time to the end of the last packet; by the count where times are missing."""
        if self.end is None:
            return float(self.shown * self.duration * self.time_base)
        return float((self.end - int(self.pts[~self.discard].min())) * self.time_base)

    def samples(self, *, fps: float | None = None, every: int | None = None) -> int | None:
        """The contract of frame counts: how many samples a video of these times has.

        Sampled `fps` times per second: the sample times before the end, ceil(length x fps). Every so many frames:
        ceil(frames / every). None: a part of the presentation times is missing, so that they do not tell.
        """
        if self.end is None and self.timed:
            return None
        if every is not None:
            return -(-self.shown // every)
        length = self.shown * self.duration if self.end is None else self.end - int(self.pts[~self.discard].min())
        return math.ceil(length / period(fps or 0, self.time_base))


def period(fps: float, time_base: Fraction) -> Fraction:
    """The time between samples, in ticks. 0.1 written in a file means one tenth, not the nearest binary fraction."""
    return 1 / (Fraction(str(fps)) * time_base)


def scan(path: str | Path, container: Any, stream: Any) -> Timeline:
    """Demux the whole stream.

    Raises:
        InputError: the file breaks off (naming the time), or the stream is empty.
    """
    base = Fraction(stream.time_base)
    rate = stream.average_rate if stream.type == "video" else None
    usual = max(1, round(1 / (Fraction(rate) * base))) if rate else 1
    pts, entry, discard, ends = [], [], [], []
    is_entry = _entry_test(stream)
    latest = None
    reached: dict[int, int] = {}
    """Where each stream ends, in its own ticks: fractions of seconds for each packet cost more than reading it."""
    try:
        for packet in container.demux():
            if packet.size == 0:
                continue
            own = packet.stream_index
            if packet.pts is not None:
                reached[own] = max(reached.get(own, 0), packet.pts + (packet.duration or 0))
            # In an MP4 a packet of whatever stream is corrupt where the file ends within it.
            if packet.is_corrupt and (own == stream.index or "mp4" in container.format.name):
                raise damaged(path, "the file breaks off or is damaged", _seconds(latest, base))
            if own != stream.index:
                continue
            pts.append(MISSING if packet.pts is None else packet.pts)
            entry.append(packet.is_keyframe and is_entry(packet))
            discard.append(packet.is_discard)
            if packet.pts is not None:
                latest = packet.pts
                if not packet.is_discard:
                    ends.append(packet.pts + (packet.duration or usual))
    except av.error.FFmpegError as error:
        raise damaged(path, "the file breaks off or is damaged", _seconds(latest, base)) from error
    if not ends and not pts:
        raise damaged(path, f"the {stream.type} stream holds nothing")
    reached_s = max((float(end * (container.streams[own].time_base or 0)) for own, end in reached.items()), default=0.0)
    refuse_broken_off(path, _declared_s(container, stream), reached_s or len(pts) * usual * float(base))
    complete = MISSING not in pts and bool(ends)
    return Timeline(
        np.array(pts, np.int64),
        np.array(entry, bool),
        np.array(discard, bool),
        base,
        usual,
        max(ends) if complete else None,
    )


def refuse_broken_off(path: str | Path, declared_s: float | None, reached_s: float) -> None:
    """Raise an InputError where data end well before the length that the header declares (None: it does not)."""
    if declared_s is not None and declared_s - reached_s > max(_SLACK_S, _SLACK_SHARE * declared_s):
        raise damaged(path, f"the file breaks off: its header declares {declared_s:.2f} s, its data end", reached_s)


def own_length_s(container: Any, stream: Any) -> float | None:
    """The length that the header declares for this stream alone; None where it does not tell."""
    if "mp4" in container.format.name and stream.duration:
        return float(stream.duration * stream.time_base)
    if "matroska" in container.format.name and (text := stream.metadata.get("DURATION")):
        match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", text.strip())
        return None if match is None else 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])
    return None


def _declared_s(container: Any, stream: Any) -> float | None:
    """The length that the header declares, for the containers whose end, when cut off, looks like an ordinary end."""
    if "matroska" in container.format.name and container.duration:
        return float(container.duration / av.time_base)
    if container.format.name == "avi" and stream.type == "video" and stream.frames and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    if "mp4" in container.format.name:
        return own_length_s(container, stream)
    # Without that header FFmpeg guesses an mp3's length from its first frames: wrong where the bit rate varies.
    if container.format.name == "mp3" and container.duration and _tells_length(Path(container.name)):
        return float(container.duration / av.time_base)
    return None


def _tells_length(mp3: Path) -> bool:
    """Whether the first frame is the header "Xing" or "Info", which holds the number of frames."""
    with mp3.open("rb") as file:
        head = file.read(10)
        start = 0
        if head[:3] == b"ID3" and len(head) == 10:  # its length in four bytes; seven bits of each count
            start = 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        file.seek(start)
        frame = file.read(200)
    return b"Xing" in frame or b"Info" in frame


def _seconds(ticks: int | None, base: Fraction) -> float:
    return float((ticks or 0) * base)


def _entry_test(stream: Any) -> Any:
    """Whether decoding may start at a packet flagged as a key frame.

    For H.264 and HEVC the flag also marks recovery points, after which pictures may still refer to earlier ones
    (periodic intra refresh), so the picture's own type decides.
    """
    codec = stream.codec_context.name
    if codec not in _ENTRY_NAL:
        return lambda packet: True
    test = _ENTRY_NAL[codec]
    extradata = stream.codec_context.extradata or b""
    if extradata[:1] == b"\x01" and len(extradata) > (4 if codec == "h264" else 21):
        size = (extradata[4 if codec == "h264" else 21] & 3) + 1
        return lambda packet: any(test(byte) for byte in _prefixed_nals(bytes(packet), size))
    return lambda packet: any(test(byte) for byte in _start_code_nals(bytes(packet)))


def _prefixed_nals(data: bytes, size: int) -> list[int]:
    """The first byte of every NAL unit in a packet of length-prefixed units (MP4, Matroska)."""
    units, at = [], 0
    while at + size < len(data):
        units.append(data[at + size])
        at += size + int.from_bytes(data[at : at + size], "big")
    return units


def _start_code_nals(data: bytes) -> list[int]:
    """The first byte of every NAL unit in a packet with start codes (transport streams)."""
    units, at = [], data.find(b"\x00\x00\x01")
    while at >= 0 and at + 3 < len(data):
        units.append(data[at + 3])
        at = data.find(b"\x00\x00\x01", at + 3)
    return units
