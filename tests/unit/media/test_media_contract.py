"""The contract of frame counts: as many rows as the presentation times demand, or an error; never rows out of place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import make, tone

from utopia.errors import InputError
from utopia.media import frames
from utopia.media.audio import read_audio
from utopia.media.frames import sample_frames, timeline_of
from utopia.media.probe import probe

RATES: list[dict[str, Any]] = [{"fps": 5}, {"every": 7}]


def without(source: Path, path: Path, lost: range) -> Path:
    """The same packets but for some, in order of decoding."""
    with av.open(str(source)) as input_, av.open(str(path), "w") as output:
        stream = input_.streams.video[0]
        copy = output.add_stream_from_template(stream)
        for number, packet in enumerate(input_.demux(stream)):
            if packet.dts is not None and number not in lost:
                packet.stream = copy
                output.mux(packet)
    return path


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4"])
def test_a_start_that_cannot_be_decoded_is_no_shorter_video(
    tmp_path: Path, name: str, skip: bool, rate: dict[str, Any]
) -> None:
    """Decoders pass over pictures before the first key picture without a word: every row would come 1.6 s too early."""
    source = make(tmp_path / f"whole_{name}", frames=100, options={"g": "50", "bf": "2"})
    path = without(source, tmp_path / name, range(10))
    with pytest.raises(InputError, match=r"decoding gave \d+ samples .* presentation times demand \d+"):
        list(sample_frames(path, **rate, skip=skip))


@pytest.mark.parametrize("lost", [range(40, 60), range(85, 100)])
def test_pictures_that_a_decoder_swallows_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: range
) -> None:
    path = make(tmp_path / "clip.mkv", frames=100, codec="ffv1")
    decoded = frames.decoded_frames

    def swallowing(*values: Any) -> Iterator[Any]:
        yield from (frame for number, frame in enumerate(decoded(*values)) if number not in lost)

    monkeypatch.setattr(frames, "decoded_frames", swallowing)
    with pytest.raises(InputError, match=r"frames are missing: .* at (1\.8|3\.6)0 s"):
        list(sample_frames(path, fps=5))
    with pytest.raises(InputError, match="demand 15"):
        list(sample_frames(path, every=7))


def test_a_pause_between_pictures_is_no_hole(tmp_path: Path) -> None:
    times = [0, 40, 80, 120, 3000, 3040, 3080]
    path = make(tmp_path / "pause.mkv", frames=7, times=times, ticks=1000, codec="ffv1")
    for skip in (True, False):
        assert len(list(sample_frames(path, fps=5, skip=skip))) == 16


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("fields.ts", {"options": {"g": "20", "x264-params": "tff=1"}}),
        ("hidden.webm", {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}}),
        ("packed.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
        ("bare.h264", {"options": {"g": "20", "bf": "2"}}),
        ("old.mpg", {"codec": "mpeg1video", "options": {"bf": "2", "threads": "2"}}),
        ("old.wmv", {"codec": "wmv2"}),
        ("old.flv", {"codec": "flv1"}),
    ],
)
def test_formats_whose_packets_are_not_quite_frames_keep_it(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    path = make(tmp_path / name, frames=100, **settings)
    times, _ = timeline_of(path)
    for rate in RATES:
        count = len(list(sample_frames(path, **rate)))
        assert count == times.samples(**rate) == (20 if "fps" in rate else 15)


def test_a_part_of_the_times_tells_nothing(tmp_path: Path) -> None:
    times, _ = timeline_of(make(tmp_path / "clip.mkv", frames=10))
    object.__setattr__(times, "end", None)
    assert times.timed and times.samples(fps=5) is None


@pytest.mark.parametrize("container", [{"movflags": "faststart"}, {"movflags": "frag_keyframe+empty_moov"}, {}])
def test_a_download_that_died_is_never_a_shorter_sound(tmp_path: Path, container: dict[str, str]) -> None:
    """Wherever it broke off: in a picture, in the sound, between them. Without an index at its end, an MP4 still
    opens.
    """
    name = "clip.mp4" if container else "clip.mkv"
    path = make(tmp_path / name, frames=250, sound=tone(10), options={"g": "50"}, container=container)
    whole = path.read_bytes()
    fast = container.get("movflags") == "faststart"
    refused = 0
    for share in np.linspace(0.3, 0.85, 24):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError):
            read_audio(path)
        try:
            probe(path)
        except InputError:
            refused += 1
    # A fragmented MP4 has no length in its header: cut between two packets, it is a shorter video.
    assert refused == 24 if fast or not container else refused >= 12


def test_every_rate_has_its_count(tmp_path: Path) -> None:
    """Counted by hand: 73 frames of 40 ms end at 2.92 s."""
    times, _ = timeline_of(make(tmp_path / "clip.mp4", frames=73))
    asked = itertools.chain(
        [({"fps": 1}, 3), ({"fps": 2}, 6), ({"fps": 25}, 73), ({"fps": 50}, 146), ({"fps": 0.1}, 1)],
        [({"every": 1}, 73), ({"every": 15}, 5), ({"every": 73}, 1), ({"every": 72}, 2)],
    )
    for rate, expected in asked:
        assert times.samples(**rate) == expected, rate
