"""Sampling frames from a video, in a stream: memory does not grow with the length of the video.

Which frame is taken matters more than it seems: FFmpeg's own `fps` filter rounds to the nearest and so takes a frame
half a period late. Here the sample at time t is the frame that is on screen at t: the last one whose presentation time,
counted from the first frame, is at or before t.

Decoding bounds the whole extraction. Two ways give the same bits:

* plain: decode everything, in order. It is the fallback, and the oracle of the tests.
* skipping: read the times of all packets first, then decode with pictures left out that no other picture refers to, and
  nothing after the last wanted picture of a group, until decoding can start afresh.

Either way the number of samples must be what the presentation times of the packets demand (`Timeline.samples`): fewer
mean that something was lost without the decoder's saying so, and every later row would stand at the wrong time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from utopia.errors import InputError
from utopia.media import timeline
from utopia.media.container import damaged, opened, video_stream
from utopia.media.probe import upright
from utopia.media.timeline import Timeline

_SKIPPABLE = ("h264", "hevc", "mpeg4")

Sample = tuple[float, np.ndarray]


def sample_frames(
    path: str | Path, *, fps: float | None = None, every: int | None = None, skip: bool = True
) -> Iterator[Sample]:
    """Sample a video's frames, either `fps` times per second or `every` so many frames.

    Args:
        path: the video.
        fps: samples per second; sample i is the frame on screen at i / fps seconds after the first frame.
        every: take frames 0, n, 2n, ... in display order (the field's HDF5 files: every 15th).
        skip: leave out what need not be decoded, where that is known to be exact.

    Yields:
        Time in seconds since the first frame (`fps`: the sample time; `every`: the frame's own), and the frame upright
        as uint8 RGB [height, width, 3] in its native size.

    Raises:
        InputError: no video, or the file breaks off or is damaged (naming the file and the time); or there were not as
            many samples as its presentation times demand.
        ValueError: not exactly one of `fps` and `every` is given, or it is not positive.
    """
    if (fps is None) == (every is None) or (fps is not None and fps <= 0) or (every is not None and every < 1):
        raise ValueError("give exactly one of fps (> 0) and every (>= 1)")
    return _sample(Path(path), fps, every, skip)


def _sample(path: Path, fps: float | None, every: int | None, skip: bool) -> Iterator[Sample]:
    times, codec = timeline_of(path)
    exact = skip and codec in _SKIPPABLE and times.complete and not times.discard.any()
    yield from counted(path, _decoding(path, times, fps, every, exact), times, fps, every)


def _decoding(path: Path, times: Timeline, fps: float | None, every: int | None, skip: bool) -> Iterator[Sample]:
    period = None if fps is None else timeline.period(fps, times.time_base)
    done = 0
    if skip:
        for sample in _skipping(path, times, period, every):
            if sample is None:
                break
            done += 1
            yield sample
        else:
            return
    yield from islice(plain_samples(path, times, period, every), done, None)


def timeline_of(path: Path) -> tuple[Timeline, str]:
    """The times of a video's packets, and the name of its codec.

    Raises:
        InputError: there is no video, or the file breaks off.
    """
    with opened(path) as container:
        stream = _video(path, container)
        return timeline.scan(path, container, stream), str(stream.codec_context.name)


def counted(
    path: Path, samples: Iterable[Sample], times: Timeline, fps: float | None, every: int | None
) -> Iterator[Sample]:
    """The samples; there must be as many as the video's times demand.

    Raises:
        InputError: there are fewer, or more.
    """
    demanded, count = times.samples(fps=fps, every=every), 0
    for sample in samples:
        count += 1
        yield sample
    if demanded is not None and count != demanded:
        rate = f"at {fps:g} per second" if every is None else f"of every {every} frames"
        raise damaged(path, f"decoding gave {count} samples {rate}, but the presentation times demand {demanded}")


def plain_samples(path: Path, times: Timeline, period: Fraction | None, every: int | None) -> Iterator[Sample]:
    """Decode everything. `period` is the time between samples, in ticks."""
    base = times.time_base
    start = latest = index = due = 0
    shown: _Picture | None = None
    listed = np.sort(times.pts[~times.discard]) if times.complete else np.empty(0, np.int64)

    def sample() -> Sample:
        assert period is not None and shown is not None
        # The packet before is let pass: some formats hold packets that are decoded into no picture of their own.
        on_screen = int(np.searchsorted(listed, start + due, side="right")) - 1
        if len(listed) and latest < listed[max(0, on_screen - 1)]:
            raise damaged(path, "frames are missing: their packets are there, but give no picture", float(due * base))
        return float(index * period * base), shown.pixels()

    for count, frame in enumerate(decoded_frames(path, base)):
        pts = frame.pts if times.timed else count * times.duration
        if pts is None:
            raise damaged(path, "a frame has no presentation time after", float((latest - start) * base))
        start = pts if count == 0 else start
        if count and pts < latest:
            raise damaged(path, "presentation times run backwards", float((latest - start) * base))
        if every is not None and count % every == 0:
            yield float((pts - start) * base), _pixels(frame)
        while period is not None and shown is not None and due < pts - start:
            yield sample()
            index += 1
            due = _floor(index * period)
        shown, latest = _Picture(frame), pts
    end = times.end if times.end is not None else latest + times.duration
    while period is not None and shown is not None and due < end - start:
        yield sample()
        index += 1
        due = _floor(index * period)


def _skipping(path: Path, times: Timeline, period: Fraction | None, every: int | None) -> Iterator[Sample | None]:
    """Decode what is needed; None, as the last item, where this video is not of the kind that is known to be exact."""
    base = times.time_base
    shown = np.sort(times.pts)
    if (np.diff(shown) <= 0).any():
        yield None
        return
    wanted, labels = schedule(shown, int(times.end or 0), period, every, base)
    at = 0
    for frame in needed_frames(path, times, np.isin(times.pts, np.array(wanted, np.int64))):
        if frame is None or frame.pts is None or frame.interlaced_frame or frame.is_corrupt:
            yield None
            return
        if at < len(wanted) and frame.pts > wanted[at]:
            yield None
            return
        if at < len(wanted) and frame.pts == wanted[at]:
            pixels = _pixels(frame)
            for time_s in labels[at]:
                yield time_s, pixels
            at += 1
    if at < len(wanted):
        yield None


def schedule(
    shown: np.ndarray, end: int, period: Fraction | None, every: int | None, base: Fraction
) -> tuple[list[int], list[list[float]]]:
    """The presentation times of the frames to take, of all that are `shown` [N], rising; and of each the sample times
    in seconds.
    """
    start = int(shown[0])
    if period is None:
        taken = shown[::every].tolist()
        return taken, [[float((pts - start) * base)] for pts in taken]
    wanted, labels = samples_on_screen(shown - start, end - start, period, base)
    return [pts + start for pts in wanted], labels


def samples_on_screen(
    shown: np.ndarray, end: int, period: Fraction, base: Fraction
) -> tuple[list[int], list[list[float]]]:
    """The frames on screen at multiples of `period` before `end`, and the times at which each is sampled."""
    wanted: list[int] = []
    labels: list[list[float]] = []
    index = due = 0
    while due < end:
        pts = int(shown[np.searchsorted(shown, due, side="right") - 1])
        if not wanted or wanted[-1] != pts:
            wanted.append(pts)
            labels.append([])
        labels[-1].append(float(index * period * base))
        index += 1
        due = _floor(index * period)
    return wanted, labels


def needed_frames(path: Path, times: Timeline, wanted: np.ndarray) -> Iterator[Any]:
    """Decode the wanted packets (a mask) and what they need; None where decoding fails."""
    with opened(path) as container:
        stream = _video(path, container)
        decoder = stream.codec_context
        group = np.cumsum(_boundaries(times, wanted if decoder.name == "hevc" else np.ones_like(wanted)))
        last = np.full(int(group[-1]) + 1, -1)
        np.maximum.at(last, group[wanted], np.flatnonzero(wanted))
        drained = False
        try:
            at = -1
            for packet in container.demux(stream):
                if packet.size == 0:
                    continue
                at += 1
                if at > last[group[at]]:
                    if not drained:
                        yield from decoder.decode(None)
                        drained = True
                    continue
                if drained:
                    decoder.flush_buffers()
                    drained = False
                decoder.skip_frame = "DEFAULT" if wanted[at] else "NONREF"
                yield from decoder.decode(packet)
            if not drained:
                yield from decoder.decode(None)
        except av.error.FFmpegError:
            yield None


def _boundaries(times: Timeline, needed: np.ndarray) -> np.ndarray:
    """[N] bool: packets where a group starts that shares nothing with what came before, in either order.

    An entry whose leading pictures are shown before it (an open group) is one where none of these is needed (a mask):
    they refer to the group before, and decoding that starts at the entry leaves them out. What follows them in display
    order may not refer to them.
    """
    before = np.maximum.accumulate(times.pts)
    clean = times.entry.copy()
    clean[0] = False
    clean[1:] &= before[:-1] < times.pts[1:]
    shown = np.where(needed, times.pts, np.iinfo(times.pts.dtype).max)
    return clean & (np.minimum.accumulate(shown[::-1])[::-1] >= times.pts)


def decoded_frames(path: Path, base: Fraction) -> Iterator[Any]:
    """Every frame, in display order.

    Raises:
        InputError: a frame cannot be decoded, or only by concealing damage.
    """
    latest = 0
    with opened(path) as container:
        try:
            for frame in container.decode(_video(path, container)):
                if frame.is_corrupt:
                    raise damaged(path, "the video is damaged", float((frame.pts or latest) * base))
                latest = frame.pts or latest
                yield frame
        except av.error.FFmpegError as error:
            raise damaged(path, "the video cannot be decoded after", float(latest * base)) from error


def _video(path: Path, container: Any) -> Any:
    stream = video_stream(container)
    if stream is None:
        raise InputError("the file holds no video", where=path, remedy="check that it is the right file")
    return stream


class _Picture:
    """A decoded frame whose pixels are converted once, and only if they are asked for."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._pixels: np.ndarray | None = None

    def pixels(self) -> np.ndarray:
        if self._pixels is None:
            self._pixels = _pixels(self._frame)
        return self._pixels


class _Converters(threading.local):
    """Of each thread one: `frame.to_ndarray(format=...)` makes another for every frame, which takes four times as
    long as the conversion.
    """

    def __init__(self) -> None:
        self.converter = VideoReformatter()


_converters = _Converters()


def _pixels(frame: Any) -> np.ndarray:
    rgb = _converters.converter.reformat(frame, format="rgb24").to_ndarray()
    return np.ascontiguousarray(np.rot90(rgb, upright(frame)))


def _floor(value: Fraction) -> int:
    return value.numerator // value.denominator
