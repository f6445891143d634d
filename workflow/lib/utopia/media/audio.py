"""Sound as one channel of samples, decoded by PyAV and mixed down and resampled by ourselves.

FFmpeg's own down-mix multiplies by the square root of two in floating point (not in 16 bit), which shifts every log-mel
value by 0.35; and its default resampler differs from the one VGGish was trained with by up to 0.67 in log-mel. So
neither is used.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.audio.layout import AudioLayout

from utopia.errors import InputError
from utopia.media.container import audio_stream, damaged, opened, video_stream
from utopia.media.sinc import filters
from utopia.media.timeline import own_length_s, refuse_broken_off

_WIDTH, _ROLL_OFF, _BETA = 50, 0.917347, 12.9846
_PIECE_S = 10
_BLOCK = 1 << 16  # samples that are mixed at once
_GAP_S = 0.25  # times in containers are rounded, but not by so much
_REORDERED = 64  # packets among which the first picture that is shown comes
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}


class NoAudio(InputError):  # noqa: N818 - an absence, not a fault
    """The file has no sound."""


def read_audio(path: str | Path, rate: int = 16_000, channels: int = 1) -> np.ndarray:
    """The sound of a media file, as `stream_audio` gives it, in one piece: float32 [samples], or [2, samples].

    Memory grows with the length: at 16 kHz and one channel by 0.23 GB per hour.

    Raises:
        NoAudio: there is no audio stream, or it is empty.
        InputError: the sound is damaged (naming the time), or the file is no media.
    """
    return np.concatenate(list(stream_audio(path, rate, channels)), axis=-1)


def stream_audio(path: str | Path, rate: int = 16_000, channels: int = 1) -> Iterator[np.ndarray]:
    """The sound of a media file in [-1, 1] at `rate` samples per second, in pieces of at most ten seconds.

    `channels` 1 gives the mean of all channels, float32 [samples]. 2 gives left and right, float32 [2, samples]: the
    first two channels of the file, or its only one twice.

    Time 0 is the first frame of the video: sound that starts later is preceded by silence, what comes earlier is cut.
    A gap in the times of the sound is silence as well, so that what follows it stays in its place. Resampling is a
    windowed sinc with the parameters of resampy's `kaiser_best` (width 50, roll-off 0.917347, Kaiser beta 12.9846), the
    nearest to the published VGGish front end.

    Raises:
        NoAudio: there is no audio stream, or it is empty.
        InputError: the sound is damaged, or its form changes on the way (naming the time), or the file is no media.
    """
    yield from resampled(blocks(path, channels), rate)


def resampled(blocks: Iterable[tuple[int, np.ndarray]], rate: int) -> Iterator[np.ndarray]:
    """A sound, as `blocks` gives it, at `rate` samples per second, in pieces of at most ten seconds."""
    resampler: Resampler | None = None
    for source_rate, block in blocks:
        resampler = resampler or Resampler(source_rate, rate)
        yield from resampler.push(block)
    if resampler is not None:
        yield from resampler.end()


def blocks(path: str | Path, channels: int) -> Iterator[tuple[int, np.ndarray]]:
    """The sound of a media file at its own rate: that rate, and blocks as of `stream_audio`.

    Raises:
        NoAudio: there is no audio stream, or it is empty.
        InputError: the sound is damaged, or its form changes on the way (naming the time), or the file is no media.
    """
    path, empty = Path(path), True
    with opened(path) as container:
        stream = audio_stream(container)
        if stream is None:
            raise NoAudio("the file has no sound", where=path, remedy="nothing, if the video is silent")
        for block in _blocks(path, container, stream, channels):
            empty = False
            yield block
    if empty:
        raise NoAudio("the audio stream is empty", where=path, remedy="nothing, if the video is silent")


class _Form(NamedTuple):
    """What all frames of a sound must have in common: PyAV's queue takes it for granted, and crashes otherwise."""

    rate: int
    format: str
    layout: str
    time_base: Fraction

    @classmethod
    def of(cls, frame: Any) -> _Form:
        return cls(frame.sample_rate, frame.format.name, frame.layout.name, frame.time_base)

    def change(self, other: _Form) -> str:
        """How another one differs, in words."""
        parts = {
            "sample rate": (f"{self.rate} Hz", f"{other.rate} Hz"),
            "sample format": (self.format, other.format),
            "channels": (self.layout, other.layout),
            "time base": (f"{self.time_base} s", f"{other.time_base} s"),
        }
        return "; ".join(f"its {name} from {a} to {b}" for name, (a, b) in parts.items() if a != b)

    def command(self, path: Path, with_pictures: bool) -> str:
        """The command that brings all of a sound to this form, beside the file."""
        pictures, made = (["-c:v", "copy"], ".mkv") if with_pictures else ([], ".wav")
        channels = str(AudioLayout(self.layout).nb_channels)
        words = ["ffmpeg", "-i", path.name, *pictures, "-ar", str(self.rate), "-ac", channels]
        return f"{shlex.join([*words, path.stem + made])}, and remove {shlex.quote(path.name)}"


def _blocks(path: Path, container: Any, stream: Any, channels: int) -> Iterator[tuple[int, np.ndarray]]:
    """The source's rate, and its sound from time 0 on, without holes."""
    cut, rate, samples = 0, 0, 0
    begin: int | None = None
    held = av.AudioFifo()  # frames are short: made into arrays one by one they cost more than their decoding
    form: _Form | None = None

    def mixed() -> np.ndarray:
        nonlocal cut
        assert form is not None
        amount = held.samples
        block = _mixed(_planar(held.read()), form.format, channels)[..., cut:]
        cut = max(0, cut - amount)
        return block

    def silence(length: int) -> Iterator[np.ndarray]:
        nonlocal cut
        for start in range(0, length, _BLOCK):
            zeros = np.zeros((2,) * (channels > 1) + (min(_BLOCK, length - start),), np.float32)
            yield zeros[..., cut:]
            cut = max(0, cut - zeros.shape[-1])

    base = float(stream.time_base)
    try:
        for frame in container.decode(stream):
            if form is None:
                form, rate, begin = _Form.of(frame), frame.sample_rate, frame.pts
                base = float(form.time_base or stream.time_base)
                shift = round(_lead_s(path, container, frame, base) * rate)
                yield from ((rate, zeros) for zeros in silence(shift))
                cut = max(0, -shift)
            if (other := _Form.of(frame)) != form:
                what = f"the sound changes on the way ({form.change(other)})"
                raise damaged(path, what, samples / rate, form.command(path, video_stream(container) is not None))
            gap = 0 if frame.pts is None or begin is None else round((frame.pts - begin) * base * rate) - samples
            if gap < -_GAP_S * rate:
                raise damaged(path, f"the times of the sound run back by {-gap / rate:.2f} s", samples / rate)
            if gap > _GAP_S * rate:
                if held.samples:
                    yield rate, mixed()
                samples += gap
                yield from ((rate, zeros) for zeros in silence(gap))
            samples += frame.samples
            frame.pts = None  # the queue wants times without gaps, and these are dealt with here
            held.write(frame)
            if held.samples >= _BLOCK:
                yield rate, mixed()
        if held.samples:
            yield rate, mixed()
        if samples:
            reached = samples / rate + max(0.0, (begin or 0) * base)
            refuse_broken_off(path, own_length_s(container, stream), reached)
    except av.error.FFmpegError as error:
        raise damaged(path, "the sound cannot be decoded after", samples / rate if rate else 0.0) from error


def resample(samples: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
    """Resample float32 [..., n] from `source_rate` to `rate`: float32 [..., ceil(n * rate / source_rate)]."""
    if source_rate == rate:
        return samples
    resampler = Resampler(source_rate, rate)
    pieces = [*resampler.push(samples), *resampler.end()]
    return np.concatenate(pieces, axis=-1)


class Resampler:
    """Resamples blocks as they come, in pieces that overlap by the reach of the window: the same as the whole at once.

    With the rates in lowest terms, `old` samples become `new` by filters that are the same for every such group.
    """

    def __init__(self, source_rate: int, rate: int) -> None:
        common = math.gcd(source_rate, rate)
        self._old, self._new = source_rate // common, rate // common
        reach = math.ceil(_WIDTH * self._old / (min(self._old, self._new) * _ROLL_OFF))
        self._context = 0 if source_rate == rate else math.ceil(reach / self._old) + 1
        self._piece = max(self._context, math.ceil(_PIECE_S * common))
        self._blocks: list[np.ndarray] = []
        self._held = 0
        self._before = 0
        self._filters: Callable[[np.ndarray], np.ndarray] | None = None

    def push(self, block: np.ndarray) -> Iterator[np.ndarray]:
        """Take a block float32 [..., n]; give what is finished."""
        self._blocks.append(block)
        self._held += block.shape[-1]
        needed = (self._before + self._piece + self._context) * self._old
        if self._held < needed:
            return
        held = self._joined()
        while held.shape[-1] >= needed:
            yield self._resampled(held[..., :needed], self._before, self._piece * self._new)
            passed = self._before + self._piece - self._context  # groups that no later piece needs
            held = held[..., passed * self._old :]
            self._before = self._context
            needed = (self._before + self._piece + self._context) * self._old
        self._blocks, self._held = [held.copy()], held.shape[-1]

    def end(self) -> Iterator[np.ndarray]:
        """Give the rest."""
        held = self._joined()
        yield self._resampled(held, self._before, None)

    def _joined(self) -> np.ndarray:
        return self._blocks[0] if len(self._blocks) == 1 else np.concatenate(self._blocks, axis=-1)

    def _resampled(self, samples: np.ndarray, before: int, length: int | None) -> np.ndarray:
        """So many samples of the result, from the group `before` on."""
        start = before * self._new
        stop = None if length is None else start + length
        if self._old == self._new:
            return samples[..., start:stop]
        if self._filters is None:
            self._filters = filters(self._old, self._new, _WIDTH, _ROLL_OFF, _BETA)
        return self._filters(np.ascontiguousarray(samples))[..., start:stop]


def _planar(frame: Any) -> np.ndarray:
    """The samples of a decoded frame, [channels, samples]."""
    values: np.ndarray = frame.to_ndarray()
    return values if frame.format.is_planar else values.reshape(frame.samples, -1).T


def _mixed(values: np.ndarray, form: str, channels: int) -> np.ndarray:
    """Samples [channels, n] as float32: the mean of the channels [n], or the first two [2, n]."""
    name = form.removesuffix("p")
    offset = 2.0**7 if name == "u8" else 0.0
    if channels == 1:  # row by row, because NumPy is slow at a mean along the short axis
        kept = values[0].astype(np.float64)
        for row in values[1:]:
            kept += row
        kept /= len(values)
    else:
        kept = values[[0, min(1, len(values) - 1)]].astype(np.float64)
    return ((kept - offset) / _FULL_SCALE[name]).astype(np.float32)


def _lead_s(path: Path, container: Any, frame: Any, base: float) -> float:
    """Seconds by which the sound (`frame` is its first) starts after the video (negative: before)."""
    video = video_stream(container)
    start = None if video is None else _start_s(path, video, container.format.name)
    return 0.0 if start is None or frame.pts is None else float(frame.pts * base) - start


def _start_s(path: Path, video: Any, form: str) -> float | None:
    """When a video's first picture is shown; None where no time says so."""
    if "mp4" in form or video.start_time is None:
        return None if video.start_time is None else float(video.start_time * video.time_base)
    # Other formats have no table of times, and FFmpeg guesses that a stream starts at 0 that it has not seen yet.
    with opened(path) as container:
        stream: Any = video_stream(container)
        packets = (packet.pts for packet in container.demux(stream) if packet.pts is not None)
        first = min(islice(packets, _REORDERED), default=None)
        return None if first is None else float(first * stream.time_base)
