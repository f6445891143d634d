"""Sampling frames with torchcodec, an optional package, which can use a GPU's own decoder.

Which frames are taken is decided here, from the times of the packets, exactly as for PyAV; torchcodec decodes them by
their number in order of display. On a CPU with the same FFmpeg it gives PyAV's bits, but for interlaced video and for
more than 8 bits per sample. It does not tell when a decoder concealed damage, as PyAV does.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from utopia.errors import ConfigError
from utopia.media import timeline
from utopia.media.frames import Sample, schedule
from utopia.media.timeline import Timeline

_BATCH_BYTES = 32 << 20
_FAILURES = (RuntimeError, ValueError, IndexError, OSError)
_INSTALL = "install it (`.venv/bin/pip install '.[hardware]'`, and FFmpeg with its shared libraries)"


class Unsuited(Exception):  # noqa: N818 - not a fault of the video
    """torchcodec cannot sample this video exactly; the message says why."""


def facts(device: str) -> dict[str, str]:
    """Name, versions and device of the decoder, for keys and records.

    Args:
        device: "cpu" or "cuda".

    Raises:
        ConfigError: torchcodec is not installed or finds no FFmpeg; or there is no GPU decoder for "cuda".
    """
    codec = _imported()
    if device == "cuda":
        _need_gpu_decoder()
    return {
        "name": "torchcodec",
        "version": str(codec.__version__),
        "ffmpeg": str(codec.ffmpeg_major_version),
        "device": device,
    }


def sample(
    path: Path,
    times: Timeline,
    *,
    fps: float | None,
    every: int | None,
    device: str,
    told: Callable[[str], None],
) -> Iterator[Sample]:
    """Sample a video as `frames.sample_frames` does.

    Args:
        told: is called with the reason where torchcodec decodes on the CPU although the GPU was meant.

    Raises:
        Unsuited: torchcodec cannot decode it, or sees other frames or times than the packets tell.
    """
    shown = np.sort(times.pts[~times.discard])
    if not times.complete or (np.diff(shown) <= 0).any():
        raise Unsuited("its presentation times are incomplete")
    period = None if fps is None else timeline.period(fps, times.time_base)
    wanted, labels = schedule(shown, int(times.end or 0), period, every, times.time_base)
    try:
        decoder = _imported().decoders.VideoDecoder(str(path), dimension_order="NHWC", device=device)
    except _FAILURES as error:
        raise Unsuited(_in_short(error)) from error
    if decoder.metadata.num_frames != len(shown):
        raise Unsuited(f"it finds {decoder.metadata.num_frames} frames, the container has {len(shown)}")
    if device == "cuda" and decoder.cpu_fallback:
        told(f"decoded by torchcodec on the CPU: {decoder.cpu_fallback}")
    step = max(1, min(16, _BATCH_BYTES // max(1, 3 * decoder.metadata.width * decoder.metadata.height)))
    numbers = np.searchsorted(shown, wanted).tolist()
    for first in range(0, len(numbers), step):
        pictures = _decoded(decoder, numbers[first : first + step], wanted[first : first + step], times.time_base)
        for pixels, seconds in zip(pictures, labels[first : first + step], strict=True):
            for time_s in seconds:
                yield time_s, pixels


def _decoded(decoder: Any, numbers: list[int], wanted: list[int], base: Fraction) -> list[np.ndarray]:
    """Frames by their numbers, each uint8 [height, width, 3] and an array of its own."""
    try:
        batch = decoder.get_frames_at(numbers)
        pixels, seconds = batch.data.cpu().numpy(), batch.pts_seconds.tolist()
    except _FAILURES as error:
        raise Unsuited(_in_short(error)) from error
    for pts, second in zip(wanted, seconds, strict=True):
        if abs(second - float(pts * base)) > float(base) / 2 + 1e-9:
            raise Unsuited(f"it shows the frame of {second:.4f} s in place of that of {float(pts * base):.4f} s")
    return [frame.copy() for frame in pixels]


def _imported() -> Any:
    try:
        import torchcodec
    except (ImportError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"torchcodec cannot be used ({_in_short(error)})",
            where="features.<name>.compute.decoder",
            remedy=f"{_INSTALL}, or set `decoder: av`",
        ) from error
    if torchcodec.ffmpeg_major_version is None:
        raise ConfigError(
            "torchcodec finds no shared libraries of FFmpeg",
            where="features.<name>.compute.decoder",
            remedy="install FFmpeg 4 to 9 with its shared libraries (the package `ffmpeg` of the system or of conda), "
            "or set `decoder: av`",
        )
    return torchcodec


def _need_gpu_decoder() -> None:
    """Decode two generated pictures on the GPU, because only that shows that it can be done."""
    try:
        decoder = _imported().decoders.VideoDecoder(_two_pictures(), device="cuda")
        decoder.get_frame_at(0)
        reason = str(decoder.cpu_fallback) if decoder.cpu_fallback else ""
    except _FAILURES as error:
        reason = _in_short(error)
    if reason:
        raise ConfigError(
            f"torchcodec finds no decoder in the GPU ({reason})",
            where="features.<name>.compute.decoder",
            remedy="set `decoder: av`, or `device: cpu`; in a container, the driver's video capability must be let in",
        )


def _two_pictures() -> bytes:
    """A video of H.264, as most are."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 256, 256, "yuv420p"
        for grey in (60, 180):
            picture = np.full((256, 256, 3), grey, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    return file.getvalue()


def _in_short(error: Exception) -> str:
    """The first line, without the place in torchcodec's sources."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return re.sub(r"^\w+, \S+:\d+, ", "", lines[0])
