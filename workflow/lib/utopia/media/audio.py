"""Sound as one channel of samples, decoded by PyAV and mixed down and resampled by ourselves.

FFmpeg's own down-mix multiplies by the square root of two in floating point (not in 16 bit), which shifts every log-mel
value by 0.35; and its default resampler differs from the one VGGish was trained with by up to 0.67 in log-mel. So
neither is used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np

from utopia.errors import InputError
from utopia.media.container import audio_stream, damaged, opened, video_stream

_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}


class NoAudio(InputError):  # noqa: N818 - an absence, not a fault
    """The file has no sound."""


def read_audio(path: str | Path, rate: int = 16_000) -> np.ndarray:
    """The sound of a media file: float32 [samples] in [-1, 1] at `rate` samples per second, the mean of its channels.

    Time 0 is the first frame of the video: sound that starts later is preceded by silence, what comes earlier is cut.
    Resampling is a windowed sinc with the parameters of resampy's `kaiser_best` (width 50, roll-off 0.917347, Kaiser
    beta 12.9846), the nearest to the published VGGish front end.

    Raises:
        NoAudio: there is no audio stream, or it is empty.
        InputError: the sound is damaged (naming the time), or the file is no media.
    """
    path = Path(path)
    blocks: list[np.ndarray] = []
    with opened(path) as container:
        stream = audio_stream(container)
        if stream is None:
            raise NoAudio("the file has no sound", where=path, remedy="nothing, if the video is silent")
        lead = _lead_s(container, stream)
        source_rate, samples = 0, 0
        try:
            for frame in container.decode(stream):
                source_rate = source_rate or frame.sample_rate
                if frame.sample_rate != source_rate:
                    raise damaged(path, "the sample rate changes", samples / source_rate)
                blocks.append(_mono(frame))
                samples += frame.samples
        except av.error.FFmpegError as error:
            at = samples / source_rate if source_rate else 0.0
            raise damaged(path, "the sound cannot be decoded after", at) from error
    if not samples:
        raise NoAudio("the audio stream is empty", where=path, remedy="nothing, if the video is silent")
    mono = np.concatenate(blocks)
    shift = round(lead * source_rate)
    mono = np.concatenate([np.zeros(shift, np.float32), mono]) if shift > 0 else mono[-shift:]
    return resample(mono, source_rate, rate)


def resample(samples: np.ndarray, source_rate: int, rate: int) -> np.ndarray:
    """Resample float32 [n] from `source_rate` to `rate`: float32 [ceil(n * rate / source_rate)]."""
    if source_rate == rate:
        return samples
    import torch
    from torchaudio.functional import resample as windowed_sinc  # type: ignore[import-untyped]

    result = windowed_sinc(
        torch.from_numpy(samples),
        source_rate,
        rate,
        lowpass_filter_width=50,
        rolloff=0.917347,
        resampling_method="sinc_interp_kaiser",
        beta=12.9846,
    )
    return np.asarray(result.numpy())


def _mono(frame: Any) -> np.ndarray:
    """The mean of the channels of a decoded frame, float32 [samples]."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(frame.samples, -1).T
    name = frame.format.name.removesuffix("p")
    offset = 2.0**7 if name == "u8" else 0.0
    return ((values.mean(axis=0, dtype=np.float64) - offset) / _FULL_SCALE[name]).astype(np.float32)


def _lead_s(container: Any, stream: Any) -> float:
    """Seconds by which the sound starts after the video (negative: before)."""
    video = video_stream(container)
    if video is None or video.start_time is None or stream.start_time is None:
        return 0.0
    return float(stream.start_time * stream.time_base - video.start_time * video.time_base)
