"""What web videos are like: odd pixels, several streams, cut starts, holes in the sound."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make, tone

from utopia.media.audio import read_audio, resample, stream_audio
from utopia.media.frames import sample_frames
from utopia.media.probe import probe

COLOURS = [(200, 30, 40), (30, 180, 60), (40, 60, 210), (128, 128, 128)]


def colour(index: int) -> np.ndarray:
    return np.full((120, 160, 3), COLOURS[index], np.uint8)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "name"),
    [
        ("libx264", "yuv420p", "clip.mp4"),
        ("libx264", "yuvj420p", "clip.mp4"),
        ("libx264", "yuv422p", "clip.mkv"),
        ("libx264", "yuv444p", "clip.mkv"),
        ("libx264", "yuv420p10le", "clip.mkv"),
        ("libx265", "yuv420p10le", "clip.mp4"),
        ("libx264rgb", "rgb24", "clip.mkv"),
        ("png", "rgb24", "clip.mov"),
        ("png", "rgba", "clip.mov"),
        ("ffv1", "bgr0", "clip.mkv"),
        ("ffv1", "yuv420p", "clip.avi"),
        ("mjpeg", "yuvj422p", "clip.avi"),
    ],
)
def test_every_pixel_format_gives_the_colours_that_went_in(tmp_path: Path, codec: str, pix_fmt: str, name: str) -> None:
    settings = {"options": {"x265-params": "log-level=none"}} if codec == "libx265" else {}
    path = make(tmp_path / name, frames=4, fps=1, codec=codec, pix_fmt=pix_fmt, draw=colour, **settings)
    for skip in (True, False):
        samples = list(sample_frames(path, fps=1, skip=skip))
        assert [time for time, _ in samples] == [0, 1, 2, 3]
        for (_, pixels), expected in zip(samples, COLOURS, strict=True):
            assert pixels.shape == (120, 160, 3) and pixels.dtype == np.uint8
            assert np.abs(pixels[20:-20, 20:-20].mean((0, 1)) - expected).max() < 7


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le"])
def test_grey_video_is_three_equal_channels(tmp_path: Path, pix_fmt: str) -> None:
    path = make(
        tmp_path / "grey.mkv",
        frames=3,
        fps=1,
        codec="ffv1",
        pix_fmt=pix_fmt,
        draw=lambda index: np.full((120, 160, 3), 60 * index, np.uint8),
    )
    for index, (_, pixels) in enumerate(sample_frames(path, fps=1)):
        assert np.ptp(pixels) <= 1 and abs(pixels.mean() - 60 * index) < 2


@pytest.mark.parametrize(("rotation", "turns"), [(0, 0), (90, 1), (180, 2), (-90, 3)])
def test_every_quarter_turn_is_applied(tmp_path: Path, rotation: int, turns: int) -> None:
    def wedge(_: int) -> np.ndarray:
        x, y = np.meshgrid(np.arange(160), np.arange(120))
        return np.repeat((x + y)[..., None] * 255 // 280, 3, 2).astype(np.uint8)

    path = make(tmp_path / "turned.mp4", frames=3, draw=wedge, rotation=rotation)
    ((_, pixels),) = sample_frames(path, fps=1)
    assert np.abs(pixels.astype(int) - np.rot90(wedge(0), turns)).max() < 12
    facts = probe(path)
    assert (facts.height, facts.width) == pixels.shape[:2] and facts.rotation == 90 * turns


def test_of_two_pictures_and_two_sounds_the_main_ones_are_taken(tmp_path: Path) -> None:
    """Those that the file marks: a preview picture and a second language beside them change nothing."""
    path = tmp_path / "two.mkv"
    clock = np.arange(2 * 16_000) / 16_000
    with av.open(str(path), "w") as output:
        small, large = (output.add_stream("libx264", rate=10) for _ in range(2))
        sounds = [output.add_stream("flac", rate=16_000, layout="stereo" if main else "mono") for main in (False, True)]
        for stream, (width, height) in ((small, (64, 48)), (large, (160, 120))):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for stream in (small, sounds[0]):
            stream.disposition = av.stream.Disposition(0)
        for stream in (large, sounds[1]):
            stream.disposition = av.stream.Disposition.default
        for index in range(20):
            for stream, level in ((small, 200), (large, 5 * index)):
                picture = np.full((stream.height, stream.width, 3), level, np.uint8)
                output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        for stream, hertz in zip(sounds, (1000, 440), strict=True):
            wave = np.round(16_000 * np.sin(2 * np.pi * hertz * clock)).astype(np.int16)
            channels = stream.codec_context.layout.nb_channels
            for start in range(0, len(wave), 1024):
                block = np.repeat(wave[start : start + 1024], channels).reshape(1, -1)
                layout = "stereo" if channels == 2 else "mono"
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="s16", layout=layout)
                frame.sample_rate, frame.pts, frame.time_base = 16_000, start, Fraction(1, 16_000)
                output.mux(stream.encode(frame))
        for stream in (small, large, *sounds):
            output.mux(stream.encode(None))
    for skip in (True, False):
        samples = list(sample_frames(path, fps=1, skip=skip))
        assert [pixels.shape for _, pixels in samples] == [(120, 160, 3)] * 2
        assert [round(pixels.mean() / 5) for _, pixels in samples] == [0, 10]
    heard = read_audio(path)
    assert len(heard) == 32_000 and np.abs(np.fft.rfft(heard)).argmax() / 2 == 440


def shifted(source: Path, path: Path, frames: int) -> Path:
    """The same packets, the first so many frames before time 0: the MP4 hides these by an edit list."""
    with av.open(str(source)) as input_, av.open(str(path), "w", options={"avoid_negative_ts": "disabled"}) as output:
        stream = input_.streams.video[0]
        copy = output.add_stream_from_template(stream)
        ticks = round(frames / (stream.average_rate * stream.time_base))
        for packet in input_.demux(stream):
            if packet.dts is None:
                continue
            packet.pts -= ticks
            packet.dts -= ticks
            packet.stream = copy
            output.mux(packet)
    return path


def test_what_an_edit_list_hides_is_no_frame(tmp_path: Path) -> None:
    source = make(
        tmp_path / "source.mp4",
        frames=50,
        options={"bf": "0", "g": "50"},
        draw=lambda k: np.full((120, 160, 3), 4 * k, np.uint8),
    )
    path = shifted(source, tmp_path / "cut.mp4", 10)
    facts = probe(path)
    assert facts.frames == 40 and facts.duration_s == pytest.approx(1.6)
    for skip in (True, False):
        samples = list(sample_frames(path, fps=5, skip=skip))
        assert [time for time, _ in samples] == pytest.approx(np.arange(8) / 5)
        assert [round(pixels.mean() / 4) for _, pixels in samples] == list(range(10, 50, 5))


@pytest.mark.parametrize("rate", [{"fps": 2.0}, {"fps": 3.7}, {"every": 15}, {"every": 7}])
def test_the_number_of_rows_follows_from_the_facts(tmp_path: Path, rate: dict) -> None:
    """The contract of frame counts: ceil(seconds x fps), or ceil(frames / every)."""
    clips = [
        make(tmp_path / "even.mp4", frames=73, options={"g": "20"}),
        make(tmp_path / "uneven.mp4", frames=40, times=np.cumsum(np.arange(40) * 3 + 5).tolist(), ticks=1000),
        make(tmp_path / "late.mkv", frames=51, first=30),
    ]
    for path in clips:
        facts = probe(path)
        assert facts.frames is not None
        count = len(list(sample_frames(path, **rate)))
        if "every" in rate:
            assert count == -(-facts.frames // rate["every"])
        else:
            assert count == int(np.ceil(round(facts.duration_s * rate["fps"], 6)))


def test_a_hole_in_the_sound_is_silence(tmp_path: Path) -> None:
    """Half a second is missing: what follows stays where the picture has it."""
    path = tmp_path / "hole.mkv"
    wave = np.round(16_000 * tone(2, rate=16_000, channels=1)[0]).astype(np.int16)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for start in range(0, len(wave), 800):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 800].copy(), format="s16", layout="mono")
            frame.sample_rate, frame.time_base = 16_000, Fraction(1, 16_000)
            frame.pts = start + (8000 if start >= 16_000 else 0)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    heard = read_audio(path)
    expected = np.concatenate([wave[:16_000], np.zeros(8000, np.int16), wave[16_000:]]) / 32_768
    assert len(heard) == 40_000
    np.testing.assert_allclose(heard, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_resampling_in_pieces_is_resampling_the_whole(rate: int) -> None:
    """The published window on the whole sound at once is the oracle."""
    import torch
    from torchaudio.functional import resample as windowed_sinc

    sound = np.random.default_rng(rate).normal(0, 0.1, 21 * rate + 77).astype(np.float32)
    expected = windowed_sinc(
        torch.from_numpy(sound),
        rate,
        16_000,
        lowpass_filter_width=50,
        rolloff=0.917347,
        resampling_method="sinc_interp_kaiser",
        beta=12.9846,
    ).numpy()
    ours = resample(sound, rate, 16_000)
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, atol=1e-6, rtol=0)


def test_memory_does_not_grow_with_the_length_of_the_sound(tmp_path: Path) -> None:
    def peak(seconds: int) -> int:
        path = tmp_path / f"{seconds}.mkv"
        make(path, frames=0, sound=tone(seconds, rate=44_100, channels=1), sound_codec="flac")
        pieces: Iterator[np.ndarray] = stream_audio(path)
        total = len(next(pieces))  # what is imported for the first piece is none of its memory
        tracemalloc.start()
        total += sum(len(piece) for piece in pieces)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert total == 16_000 * seconds
        return most

    assert peak(180) < 1.3 * peak(60) < 1.3 * 8e6
