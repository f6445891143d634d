"""Songs that were joined with their tags: what stands behind a tag is heard exactly as without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import RATE, make, tone

from utopia.errors import InputError
from utopia.media.audio import read_audio
from utopia.media.probe import probe
from utopia.media.tags import Without, inner_tags

BARE = {"write_xing": "0", "id3v2_version": "0"}
RANDOM = np.random.default_rng(5).integers(0, 256, 300_000).astype(np.uint8).tobytes()
"""As a cover picture: it has the marks of some hundred frames in it."""


def song(path: Path, hertz: float = 440.0, rate: int = RATE, channels: int = 2, codec: str = "libmp3lame") -> bytes:
    """The frames of a song, without any tag."""
    sound = tone(1.5, rate=rate, channels=channels, hertz=hertz)
    made = make(path, frames=0, sound=sound, sound_rate=rate, sound_codec=codec, container=BARE)
    return made.read_bytes()


def id3v2(body: bytes, version: int = 4, footer: bool = False) -> bytes:
    """A tag by the standard: ten bytes of head; the last four hold seven bits each of the body's size."""
    size = bytes(len(body) >> shift & 0x7F for shift in (21, 14, 7, 0))
    head = bytes([version, 0, 0x10 if footer else 0]) + size
    return b"ID3" + head + body + (b"3DI" + head if footer else b"")


def ape(body: bytes) -> bytes:
    """An APEv2 tag: head, items and foot of 32 bytes each; the size that both state leaves out the head."""
    rest = (2000).to_bytes(4, "little") + (len(body) + 32).to_bytes(4, "little") + (1).to_bytes(4, "little")
    return b"APETAGEX" + rest + bytes([0, 0, 0, 0xA0]) + bytes(8) + body + b"APETAGEX" + rest + bytes(12)


ID3V1 = b"TAG" + b"A song".ljust(124, b"\0") + b"\x0c"
TAGS = {
    "id3v2": id3v2(b"TIT2\0\0\0\x07\0\0\0A song" + bytes(100)),
    "id3v2.3 with a picture": id3v2(b"APIC" + RANDOM, version=3),
    "id3v2 with a foot": id3v2(RANDOM[:5000], footer=True),
    "id3v1": ID3V1,
    "ape": ape(RANDOM[:3000]),
    "all of them": ape(RANDOM[:700]) + ID3V1 + id3v2(b"APIC" + RANDOM[:90_000]),
}


@pytest.mark.parametrize("name", TAGS)
@pytest.mark.parametrize(("rate", "codec"), [(44_100, "libmp3lame"), (22_050, "libmp3lame"), (48_000, "mp2")])
def test_joined_songs_sound_as_if_they_had_no_tags(tmp_path: Path, name: str, rate: int, codec: str) -> None:
    """Of MPEG 1 and 2, layers II and III."""
    suffix = "mp3" if codec == "libmp3lame" else "mp2"
    first, second = (song(tmp_path / f"{hertz}.{suffix}", hertz, rate, codec=codec) for hertz in (440.0, 880.0))
    plain, tagged = tmp_path / "plain.mp3", tmp_path / "tagged.mp3"
    plain.write_bytes(first + second + first)
    tagged.write_bytes(TAGS["id3v2"] + first + TAGS[name] + second + TAGS[name] + first + ID3V1)
    expected = read_audio(plain, channels=2)
    assert np.array_equal(read_audio(tagged, channels=2), expected) and expected.shape[1] > 4 * 16_000
    assert expected.shape[1] / 16_000 == pytest.approx(probe(tagged).duration_s, abs=0.1)
    start, tag = len(TAGS["id3v2"]) + len(first), len(TAGS[name])
    ranges = [(start, start + tag), (start + tag + len(second), start + 2 * tag + len(second))]
    assert inner_tags(tagged)[0][0] == ranges[0][0] and inner_tags(tagged)[-1][1] == ranges[1][1]
    with Without(tagged, inner_tags(tagged)) as stream:
        assert stream.read() == TAGS["id3v2"] + first + second + first + ID3V1
        stream.seek(-len(ID3V1) - 7, 2)
        assert stream.read(10) == (first + ID3V1)[-len(ID3V1) - 7 :][:10]


def test_a_mark_inside_a_frame_is_no_tag(tmp_path: Path) -> None:
    content = bytearray(song(tmp_path / "song.mp3") * 2)
    at = len(content) // 2 + 1200
    content[at : at + 10] = id3v2(bytes(200))[:10]
    (tmp_path / "odd.mp3").write_bytes(content)
    assert inner_tags(tmp_path / "odd.mp3") == []


def test_tags_at_either_end_and_an_empty_file_have_nothing_inside(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    path.write_bytes(TAGS["id3v2 with a foot"] + song(tmp_path / "part.mp3") + TAGS["ape"] + ID3V1)
    assert inner_tags(path) == []
    path.write_bytes(b"")
    assert inner_tags(path) == []


def test_what_cannot_be_known_behind_a_tag_is_an_absence_with_its_time(tmp_path: Path) -> None:
    """A song of another form, and a tag that states a wrong length."""
    stereo, mono = song(tmp_path / "stereo.mp3"), song(tmp_path / "mono.mp3", channels=1)
    path = tmp_path / "both songs.mp3"
    path.write_bytes(stereo + TAGS["all of them"] + mono)
    with pytest.raises(
        InputError, match=r"from stereo to mono\) at 1\.5\d s \(to use it: ffmpeg -i 'both songs\.mp3' "
    ):
        read_audio(path)
    longer = bytearray(id3v2(RANDOM[:4000]))
    longer[8] += 2
    path.write_bytes(stereo + longer + stereo)
    with pytest.raises(InputError, match=r"1\.5\d s"):
        read_audio(path)
