from __future__ import annotations

import contextlib
import tracemalloc
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
import pytest
from clips import make, spoil, tone
from hypothesis import given, settings
from hypothesis import strategies as st

from utopia.errors import InputError
from utopia.media import frames as module
from utopia.media.frames import sample_frames

RATES = [{"fps": 2.0}, {"fps": 0.6}, {"fps": 30}, {"every": 15}]

VFR = np.cumsum(np.random.default_rng(0).integers(1, 90, 100)).tolist()
SKIPPED = {
    "groups.mp4": {"options": {"g": "30", "bf": "3"}, "sound": tone(4)},
    "pyramid.mkv": {"options": {"g": "33", "bf": "8", "x264-params": "b-pyramid=normal:ref=6"}},
    "open_groups.mp4": {"options": {"g": "20", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}},
    "intra_refresh.mp4": {"options": {"g": "20", "bf": "2", "x264-params": "intra-refresh=1"}},
    "odd_size.mp4": {"size": (161, 121), "pix_fmt": "yuv444p", "options": {"g": "12"}},
    "variable_rate.mp4": {"times": VFR, "ticks": 1000, "options": {"g": "20", "bf": "2"}},
    "late_start.mkv": {"first": 40, "options": {"g": "20", "bf": "2"}},
    "stream.ts": {"options": {"g": "20", "bf": "2"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "keyint=20:log-level=none"}},
    "asp.avi": {"codec": "mpeg4", "options": {"g": "20", "bf": "2"}},
    "turned.mp4": {"rotation": 90, "options": {"g": "20"}},
}
PLAIN = {
    "interlaced.mp4": {"options": {"g": "50", "bf": "2", "x264-params": "tff=1"}},
    "no_times.h264": {"options": {"g": "20", "bf": "2"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}, "frames": 50},
}


@lru_cache(maxsize=1)
def every_frame(path: Path) -> tuple[list[Fraction], list[np.ndarray], Fraction]:
    """Times and pictures of all frames, and the end of the last."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        rate, base = Fraction(stream.average_rate), Fraction(stream.time_base)
        frames = list(container.decode(stream))
        turns = round(frames[0].rotation / 90)
    pictures = [np.rot90(frame.to_ndarray(format="rgb24"), turns) for frame in frames]
    if frames[0].pts is None:
        times = [index / rate for index in range(len(frames))]
        end = times[-1] + 1 / rate
    else:
        times = [(frame.pts - frames[0].pts) * base for frame in frames]
        end = times[-1] + (frames[-1].duration * base or 1 / rate)
    return times, pictures, end


def oracle(path: Path, fps: float | None = None, every: int | None = None) -> list[tuple[float, np.ndarray]]:
    """Every frame decoded and kept; the last one at or before each sample time taken."""
    times, pictures, end = every_frame(path)
    if every is not None:
        return [(float(times[index]), pictures[index]) for index in range(0, len(pictures), every)]
    result, index = [], 0
    while (time := index / Fraction(str(fps))) < end:
        result.append((float(time), pictures[max(k for k, start in enumerate(times) if start <= time)]))
        index += 1
    return result


def same(left: list[tuple[float, np.ndarray]], right: list[tuple[float, np.ndarray]]) -> bool:
    return [time for time, _ in left] == [time for time, _ in right] and all(
        np.array_equal(a, b) for (_, a), (_, b) in zip(left, right, strict=True)
    )


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {name: make(folder / name, **settings) for name, settings in {**SKIPPED, **PLAIN}.items()}


@pytest.mark.long
@pytest.mark.parametrize("name", [*SKIPPED, *PLAIN])
def test_skipping_and_plain_decoding_give_the_bits_of_the_oracle(clips: dict[str, Path], name: str) -> None:
    for rate in RATES:
        expected = oracle(clips[name], **rate)
        assert len(expected) >= 2
        assert same(list(sample_frames(clips[name], **rate, skip=False)), expected), rate
        assert same(list(sample_frames(clips[name], **rate)), expected), rate


@pytest.mark.parametrize("name", SKIPPED)
def test_what_can_be_skipped_is_skipped(clips: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "plain_samples", lambda *_: pytest.fail("fell back to plain decoding"))
    assert len(list(sample_frames(clips[name], fps=1))) >= 4


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_not_known_falls_back(clips: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    used, plain = [], module.plain_samples
    monkeypatch.setattr(module, "plain_samples", lambda *values: used.append(1) or plain(*values))
    assert list(sample_frames(clips[name], fps=1)) and used


@given(name=st.sampled_from([*SKIPPED]), fps=st.floats(0.2, 40).map(lambda rate: round(rate, 2)))
@settings(max_examples=25)
def test_skipping_is_plain_decoding_at_any_rate(clips: dict[str, Path], name: str, fps: float) -> None:
    assert same(list(sample_frames(clips[name], fps=fps)), list(sample_frames(clips[name], fps=fps, skip=False)))


@pytest.mark.parametrize("name", ["groups.mp4", "hevc.mp4"])
def test_nothing_is_decoded_after_the_last_wanted_picture_of_a_group(clips: dict[str, Path], name: str) -> None:
    """x265's groups are open: pictures shown before a key picture refer to the group before, and are not needed."""
    times, _ = module.timeline_of(clips[name])
    wanted = np.zeros(len(times.pts), dtype=bool)
    chosen = np.flatnonzero(times.entry)[1:3]
    wanted[chosen] = True
    decoded = [frame.pts for frame in module.needed_frames(clips[name], times, wanted)]
    assert decoded == times.pts[chosen].tolist()


def test_skipping_decodes_less(clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen, needed = [], module.needed_frames
    monkeypatch.setattr(
        module, "needed_frames", lambda *values: (seen.append(frame) or frame for frame in needed(*values))
    )
    assert len(list(sample_frames(clips["groups.mp4"], fps=1))) == 4
    assert len(seen) < 50


def test_fallback_in_the_middle_repeats_and_loses_nothing(
    clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, needed = clips["groups.mp4"], module.needed_frames

    def stumbling(*values):
        for count, frame in enumerate(needed(*values)):
            yield None if count == 20 else frame

    expected = oracle(path, fps=7)
    monkeypatch.setattr(module, "needed_frames", stumbling)
    assert same(list(sample_frames(path, fps=7)), expected)


@pytest.mark.parametrize("rate", [{"fps": 1}, {"fps": 2}, {"fps": 29.97}, {"every": 15}])
def test_real_clip(shared_data: Path, rate: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared_data / "video" / "nasa_13013.mp4"
    expected = list(sample_frames(path, **rate, skip=False))
    assert same(expected, oracle(path, **rate))
    monkeypatch.setattr(module, "plain_samples", lambda *_: pytest.fail("fell back to plain decoding"))
    assert same(list(sample_frames(path, **rate)), expected)


def test_the_frame_on_screen_is_taken_not_the_nearest(tmp_path: Path) -> None:
    """Each picture shows its number as a grey level: at 1 fps of a 25 fps video, pictures 0, 25, 50, ..."""
    path = make(tmp_path / "numbers.mp4", draw=lambda index: np.full((120, 160, 3), 2 * index, np.uint8))
    for skip in (True, False):
        samples = list(sample_frames(path, fps=1, skip=skip))
        assert [time for time, _ in samples] == [0.0, 1.0, 2.0, 3.0]
        assert [round(pixels.mean() / 2) for _, pixels in samples] == [0, 25, 50, 75]


def test_rotation_brings_the_picture_upright(tmp_path: Path) -> None:
    def dark_left(_: int) -> np.ndarray:
        return np.repeat(np.linspace(0, 255, 160).astype(np.uint8)[None, :, None], 120, 0).repeat(3, 2)

    path = make(tmp_path / "turned.mp4", frames=3, draw=dark_left, rotation=90)
    ((_, pixels),) = sample_frames(path, fps=1)
    assert pixels.shape == (160, 120, 3)
    assert pixels[-10:].mean() < 30 < 220 < pixels[:10].mean()  # a quarter turn to the left: left becomes bottom


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    path = make(tmp_path / "long.mp4", frames=400, size=(320, 240), options={"g": "100", "preset": "ultrafast"})
    for skip in (True, False):
        tracemalloc.start()
        assert sum(1 for _ in sample_frames(path, fps=25, skip=skip)) == 400
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * 320 * 240 * 3


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4", "clip.avi"])
def test_damage_in_the_middle_names_file_and_time(tmp_path: Path, name: str, skip: bool) -> None:
    settings = {"codec": "mpeg4"} if name.endswith("avi") else {}
    path = spoil(make(tmp_path / name, frames=150, options={"g": "50"}, **settings), range(70, 80))
    taken = []
    with pytest.raises(InputError, match=rf"{name}: .* \d\.\d\d s"):
        taken.extend(sample_frames(path, fps=5, skip=skip))
    assert len(taken) < 30


@pytest.mark.parametrize("name", ["clip.mkv", "clip.mp4", "clip.ts", "clip.avi", "bare.h264", "vp9.webm", "hevc.mp4"])
def test_clips_are_the_same_bytes_each_time(tmp_path: Path, name: str) -> None:
    """Else a test of damage would depend on chance: x264 and Matroska write other bytes each time by default."""
    options = {"g": "20", "bf": "2"}
    codec = {"webm": "libvpx", "avi": "mpeg4"}.get(name.split(".")[1], "libx264")
    settings = (
        {"codec": "libx265", "options": {"x265-params": "log-level=none"}} if "hevc" in name else {"codec": codec}
    )
    copies = [make(tmp_path / f"{turn}{name}", frames=30, **({"options": options} | settings)) for turn in range(3)]
    assert len({copy.read_bytes() for copy in copies}) == 1


def test_damage_that_no_decoder_notices_is_left_to_the_checksum(tmp_path: Path) -> None:
    """A bit deep in a picture is another picture, not an error: docs/extraction.md says so."""
    path = make(tmp_path / "clip.mkv", frames=50, options={"g": "50"})
    whole, before = path.read_bytes(), list(sample_frames(path, every=1))
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(container.streams.video[0]) if packet.size]
    unnoticed = 0
    for start, size in places[20:32]:
        content = bytearray(whole)
        content[start + size * 9 // 10] ^= 1
        path.write_bytes(bytes(content))
        with contextlib.suppress(InputError):
            after = list(sample_frames(path, every=1))
            unnoticed += len(after) == len(before) and not same(after, before)
    assert unnoticed >= 3


def test_exactly_one_rate() -> None:
    for rate in ({}, {"fps": 1, "every": 2}, {"fps": 0}, {"every": 0}):
        with pytest.raises(ValueError, match="exactly one"):
            sample_frames("clip.mp4", **rate)


@settings(deadline=None)
@given(
    gaps=st.lists(st.integers(1, 50), min_size=1, max_size=15),
    tail=st.integers(1, 60),
    period=st.fractions(Fraction(1, 2), 100),
)
def test_on_screen_is_the_definition(gaps: list[int], tail: int, period: Fraction) -> None:
    shown = np.concatenate([[0], np.cumsum(gaps)])
    end = int(shown[-1]) + tail
    wanted, labels = module.samples_on_screen(shown, end, period, Fraction(1))
    pairs = [(pts, time) for pts, times in zip(wanted, labels, strict=True) for time in times]
    expected, index = [], 0
    while index * period < end:
        expected.append((max(pts for pts in shown.tolist() if pts <= index * period), float(index * period)))
        index += 1
    assert pairs == expected
