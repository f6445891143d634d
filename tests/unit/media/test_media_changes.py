"""Streams whose form changes on the way, as joined files and broadcasts have them, and streams that begin late."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
import pytest
from clips import RATE, make, tone

from utopia.errors import InputError
from utopia.media.audio import read_audio
from utopia.media.container import another_follows
from utopia.media.frames import sample_frames
from utopia.media.probe import probe

BARE = {"write_xing": "0", "id3v2_version": "0"}
CODECS = {"song.mp3": ("libmp3lame", BARE), "song.aac": ("aac", {}), "song.ac3": ("ac3", {}), "song.flac": ("flac", {})}


def joined(path: Path, *parts: Path) -> Path:
    """What `cat` makes."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def song(path: Path, codec: str, container: dict[str, str], channels: int, rate: int = RATE) -> Path:
    sound = tone(2, rate=rate, channels=channels)
    return make(path, frames=0, sound=sound, sound_rate=rate, sound_codec=codec, container=container)


@pytest.mark.parametrize("name", CODECS)
def test_sound_that_changes_on_the_way_is_refused_with_its_time(tmp_path: Path, name: str) -> None:
    """PyAV's queue takes frames of another layout unseen: from two channels to one it ends the process."""
    codec, container = CODECS[name]
    mono = song(tmp_path / f"mono_{name}", codec, container, 1)
    stereo = song(tmp_path / f"stereo_{name}", codec, container, 2)
    other = song(tmp_path / f"other_{name}", codec, container, 2, 48_000)
    for parts, change in (
        ((mono, stereo), "its channels from mono to stereo"),
        ((stereo, mono), "its channels from stereo to mono"),
        ((stereo, other), "its sample rate from 44100 Hz to 48000 Hz"),
    ):
        path = joined(tmp_path / name, *parts)
        for channels in (1, 2):
            with pytest.raises(InputError, match=rf"{name}: the sound changes .*{change}.* at 2\.0\d s"):
                read_audio(path, channels=channels)


def test_songs_of_one_form_that_were_joined_are_one_song(tmp_path: Path) -> None:
    part = song(tmp_path / "part.mp3", *CODECS["song.mp3"], 2)
    heard = read_audio(joined(tmp_path / "both.mp3", part, part))
    assert len(heard) / 16_000 == pytest.approx(4.05, abs=0.05)
    assert np.abs(heard[-24_000:-8000]).mean() == pytest.approx(np.abs(heard[8000:24_000]).mean(), rel=1e-3)


def test_times_of_sound_that_run_back_are_refused(tmp_path: Path) -> None:
    """Two recordings joined as transport streams: both begin at 0."""
    part = make(tmp_path / "part.ts", frames=50, options={"g": "25"}, sound=tone(2))
    with pytest.raises(InputError, match=r"the times of the sound run back by 2\.0\d s at 2\.0\d s"):
        read_audio(joined(tmp_path / "both.ts", part, part))
    with pytest.raises(InputError, match=r"both.ts: .* \d\.\d\d s"):
        probe(tmp_path / "both.ts")


@pytest.mark.parametrize(
    "change", [{"size": (320, 240)}, {"pix_fmt": "yuv444p"}, {"pix_fmt": "yuv420p10le"}, {"size": (96, 160)}]
)
def test_pictures_that_change_on_the_way_keep_their_rows(tmp_path: Path, change: dict) -> None:
    """Each picture is brought to the size that a network wants by itself."""
    parts = [make(tmp_path / f"{n}.h264", frames=50, options={"g": "25"}, **own) for n, own in enumerate(({}, change))]
    path = joined(tmp_path / "both.h264", *parts)
    expected = [pixels for part in parts for _, pixels in sample_frames(part, every=5)]
    for skip in (True, False):
        samples = list(sample_frames(path, every=5, skip=skip))
        assert len(samples) == len(expected) == 20
        assert all(np.array_equal(pixels, own) for (_, pixels), own in zip(samples, expected, strict=True))


@pytest.mark.parametrize("name", ["late.ts", "late.mkv", "late.mp4", "late.flv"])
def test_sound_that_begins_late_is_heard_where_it_is(tmp_path: Path, name: str) -> None:
    """FFmpeg looks at the first seconds of a transport stream for what is in it; the sound begins after them."""
    path = make(
        tmp_path / name,
        frames=20 * 25,
        options={"g": "25", "crf": "51", "preset": "ultrafast"},
        size=(64, 48),
        sound=tone(3, rate=44_100, channels=1),
        sound_delay_s=15,
    )
    if name.endswith("ts"):
        with av.open(str(path)) as container:
            assert container.streams.best("audio") is None, "the clip is not of the kind that this test is about"
    heard = read_audio(path)
    assert probe(path).audio_codec is not None
    assert len(heard) / 16_000 == pytest.approx(18, abs=0.1)
    assert not heard[: 14 * 16_000].any()
    assert np.abs(heard[int(15.5 * 16_000) : int(17.5 * 16_000)]).mean() > 0.2


@pytest.mark.parametrize("name", ["late.ts", "late.mkv", "late.mp4", "late.flv"])
def test_sound_before_the_first_picture_is_cut(tmp_path: Path, name: str) -> None:
    small = {"size": (64, 48), "options": {"g": "25", "preset": "ultrafast"}}
    path = make(tmp_path / name, frames=100, first=15 * 25, sound=tone(20, channels=1), **small)
    assert len(read_audio(path)) / 16_000 == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("name", ["song.wav", "odd.wav", "filled.wav", "film.mp4", "film.mov"])
def test_a_file_behind_the_end_of_another_is_not_passed_over(tmp_path: Path, name: str) -> None:
    """What `cat a.wav b.wav` makes: both formats state their length, and FFmpeg reads no further."""
    part = tmp_path / f"part_{name}"
    if name.endswith(".wav"):
        with wave.open(str(part), "wb") as file:
            file.setparams((1, 1, 16_000, 0, "NONE", ""))
            file.writeframes(bytes(16_000 if name == "song.wav" else 16_001))
        if name == "filled.wav":  # as the format asks for; Python's module leaves the byte out
            part.write_bytes(part.read_bytes() + b"\0")
    else:
        make(part, frames=25, sound=tone(1))
    assert read_audio(part).shape[-1] >= 16_000
    with pytest.raises(InputError, match=r"another file was joined behind this one, .* after 1\.\d\d s .*ffmpeg"):
        read_audio(joined(tmp_path / name, part, part))
    for more in (b"\0" * 5000, b"LIST\x04\0\0\0abcd", part.read_bytes()[:5]):
        (tmp_path / f"more_{name}").write_bytes(part.read_bytes() + more)
        assert np.array_equal(read_audio(tmp_path / f"more_{name}"), read_audio(part)), "no file: a tool's own notes"


@pytest.mark.parametrize("size", [0, 5, 2**31, 2**32 - 1, 2**64 - 1])
def test_sizes_that_lead_nowhere_end_the_search_for_a_second_file(tmp_path: Path, size: int) -> None:
    form = size.to_bytes(4, "big") + b"free" if size < 2**32 else b"\0\0\0\1free" + size.to_bytes(8, "big")
    path = make(tmp_path / "film.mp4", frames=25, sound=tone(1))
    path.write_bytes(path.read_bytes() + form + b"\0\0\0\x08ftyp")
    assert not another_follows(path, "mov,mp4,m4a,3gp,3g2,mj2")
