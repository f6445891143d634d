from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import make, tone

from utopia.errors import InputError
from utopia.media.probe import probe


def test_facts_of_a_clip_with_sound(tmp_path: Path) -> None:
    facts = probe(make(tmp_path / "clip.mp4", frames=50, size=(96, 72), sound=tone(2)))
    assert (facts.frames, facts.fps, facts.width, facts.height, facts.rotation) == (50, 25.0, 96, 72, 0)
    assert (facts.video_codec, facts.audio_codec, facts.sample_rate) == ("h264", "aac", 44_100)
    assert facts.duration_s == pytest.approx(2.0)
    assert facts.as_dict()["frames"] == 50


def test_facts_without_sound_and_without_video(tmp_path: Path) -> None:
    silent = probe(make(tmp_path / "silent.mp4", frames=10))
    assert silent.audio_codec is None and silent.sample_rate is None
    song = probe(make(tmp_path / "song.mkv", frames=0, sound=tone(3), sound_codec="flac"))
    assert (song.frames, song.fps, song.width, song.video_codec) == (None, None, None, None)
    assert song.audio_codec == "flac" and song.duration_s == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(("rotation", "size"), [(90, (60, 96)), (180, (96, 60)), (-90, (60, 96))])
def test_size_is_that_of_the_display(tmp_path: Path, rotation: int, size: tuple[int, int]) -> None:
    facts = probe(make(tmp_path / "turned.mp4", frames=5, size=(96, 60), rotation=rotation))
    assert (facts.width, facts.height) == size
    assert facts.rotation == rotation % 360


def test_facts_do_not_depend_on_where_time_starts(tmp_path: Path) -> None:
    facts = probe(make(tmp_path / "late.mkv", frames=25, first=100))
    assert facts.frames == 25 and facts.duration_s == pytest.approx(1.0, abs=0.002)


def test_real_clip(shared_data: Path) -> None:
    facts = probe(shared_data / "video" / "nasa_13013.mp4")
    assert (facts.frames, facts.width, facts.height) == (390, 480, 270)
    assert facts.fps == pytest.approx(30000 / 1001)
    assert facts.duration_s == pytest.approx(13.013)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html><body>Sign in to confirm your age</body></html>", "web page"),
        (bytes(np.random.default_rng(0).integers(0, 255, 5000, np.uint8)), "not readable as media"),
        (b"id,valence\n1,0.3\n" * 300, "not readable as media"),
    ],
)
def test_no_media(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        probe(path)
    assert str(path) in str(caught.value) and caught.value.remedy


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        probe(tmp_path / "nothing.mp4")


def test_mp4_cut_before_its_index(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", frames=50).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="moov"):
        probe(cut)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fast.mp4", {"container": {"movflags": "faststart"}}),
        ("clip.mkv", {"sound": tone(6)}),
        ("clip.avi", {"codec": "mpeg4"}),
    ],
)
def test_file_cut_in_the_middle_names_the_time(tmp_path: Path, name: str, settings: dict) -> None:
    whole = make(tmp_path / name, frames=150, options={"g": "25"}, **settings)
    assert probe(whole).frames == 150
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with pytest.raises(InputError, match=r"breaks off.* at [1234]\.\d\d s"):
        probe(cut)


def test_an_mp3_that_tells_its_length_is_known_to_be_cut(tmp_path: Path) -> None:
    whole = make(tmp_path / "song.mp3", frames=0, sound=tone(8), sound_codec="libmp3lame")
    assert probe(whole).duration_s == pytest.approx(8, abs=0.1)
    cut = tmp_path / "cut.mp3"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(InputError, match=r"its header declares 8\.\d\d s, its data end at [34]\.\d\d s"):
        probe(cut)


def test_an_mp3_without_that_header_is_as_long_as_its_frames(tmp_path: Path) -> None:
    """FFmpeg's guess of such a file's length, from its first frames, must not pass for a declared one."""
    bare = make(
        tmp_path / "bare.mp3",
        frames=0,
        sound=tone(8),
        sound_codec="libmp3lame",
        container={"write_xing": "0", "id3v2_version": "0"},
    )
    assert probe(bare).duration_s == pytest.approx(8, abs=0.1)
    quiet = tmp_path / "long.mp3"
    content = bare.read_bytes()
    quiet.write_bytes(content[: len(content) // 2])
    assert probe(quiet).duration_s == pytest.approx(4, abs=0.2)
