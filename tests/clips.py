"""Real media files for tests, encoded with PyAV: pictures that tell their own number, sounds of known pitch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 44_100


def picture(index: int, width: int = 160, height: int = 120) -> np.ndarray:
    """Frame `index` of the test pictures: a moving texture with some noise, uint8 [height, width, 3]."""
    base = np.random.default_rng(7).integers(0, 255, (height, width, 3))
    noise = np.random.default_rng(index).integers(0, 40, base.shape)
    return (np.roll(base, 2 * index, axis=1) // 2 + noise).astype(np.uint8)


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0, channels: int = 2) -> np.ndarray:
    """float32 [channels, samples]: the tone in the first channel, at half the loudness in the others."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)
    return np.stack([wave if channel == 0 else wave / 2 for channel in range(channels)]).astype(np.float32)


def make(
    path: Path,
    *,
    frames: int = 100,
    fps: int = 25,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    size: tuple[int, int] = (160, 120),
    pix_fmt: str = "yuv420p",
    draw: Callable[[int], np.ndarray] | None = None,
    times: Sequence[int] | None = None,
    ticks: int | None = None,
    first: int = 0,
    rotation: int = 0,
    sound: np.ndarray | None = None,
    sound_rate: int = RATE,
    sound_codec: str = "aac",
    sound_delay_s: float = 0.0,
    container: dict[str, str] | None = None,
) -> Path:
    """Encode a clip: the same bytes each time, on any number of cores.

    Args:
        times: presentation times of the frames in units of 1 / `ticks` seconds (variable frame rate); else one per
            frame.
        first: the first frame's presentation time, in frames.
        sound: float32 [channels, samples]; None for a silent file.
    """
    with av.open(str(path), "w", options={"fflags": "+bitexact"} | (container or {})) as output:
        video = output.add_stream(codec, rate=fps) if frames else None
        if video is not None:
            video.width, video.height = size
            video.pix_fmt, video.options = pix_fmt, _repeatable(codec, options or {})
            if ticks is not None:
                video.codec_context.time_base = Fraction(1, ticks)
            if rotation:
                video.set_display_rotation(rotation)
        audio = None
        if sound is not None:
            audio = output.add_stream(sound_codec, rate=sound_rate, layout="mono" if len(sound) == 1 else "stereo")
        for index in range(frames):
            array = draw(index) if draw else picture(index, *size)
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts = index + first if times is None else times[index]
            frame.time_base = Fraction(1, ticks or fps)
            output.mux(video.encode(frame))
        if video is not None:
            output.mux(video.encode(None))
        if audio is not None:
            _encode_sound(output, audio, sound, sound_rate, sound_delay_s)
    return path


def spoil(path: Path, packets: range, kept: int = 12) -> Path:
    """Invert every byte of some packets of the pictures but the first `kept` bytes of each: damage in the same place
    each time, which no decoder can miss.
    """
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(container.streams.video[0]) if packet.size]
    for number in packets:
        start, size = places[number]
        for at in range(start + kept, start + size):
            content[at] ^= 0xFF
    path.write_bytes(bytes(content))
    return path


def _repeatable(codec: str, options: dict[str, str]) -> dict[str, str]:
    """Encoder settings under which the same pictures give the same bytes; x264's assembler alone does not."""
    steady = {}
    if codec.startswith("libx264"):
        steady["x264-params"] = ":".join(["cpu-independent=1", *filter(None, [options.get("x264-params")])])
    if codec == "libx265":
        steady["x265-params"] = ":".join(["pools=none", *filter(None, [options.get("x265-params")])])
    return {"threads": "1"} | options | steady


def _encode_sound(output, audio, sound: np.ndarray, rate: int, delay_s: float) -> None:
    planar = audio.codec_context.format.is_planar
    name = audio.codec_context.format.name
    layout = "mono" if len(sound) == 1 else "stereo"
    for start in range(0, sound.shape[1], 1024):
        block = sound[:, start : start + 1024]
        if name.startswith("s16"):
            block = np.round(block * 32768).clip(-32768, 32767).astype(np.int16)
        elif name.startswith("s32"):
            block = np.round(block.astype(np.float64) * 2**31).clip(-(2**31), 2**31 - 1).astype(np.int32)
        values = np.ascontiguousarray(block if planar else block.T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(values, format=name, layout=layout)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = start + round(delay_s * rate)
        output.mux(audio.encode(frame))
    output.mux(audio.encode(None))
