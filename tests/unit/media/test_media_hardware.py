"""torchcodec, where it is installed: the bits of PyAV on the CPU, and its GPU decoder where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make, tone

from utopia.errors import ConfigError, InputError
from utopia.media import hardware
from utopia.media.decoding import Decoder
from utopia.media.frames import Sample, sample_frames

RATES: list[dict[str, Any]] = [{"fps": 2.0, "every": None}, {"fps": 30.0, "every": None}, {"fps": None, "every": 15}]
VFR = np.cumsum(np.random.default_rng(0).integers(1, 90, 100)).tolist()
SAME: dict[str, dict[str, Any]] = {
    "groups.mp4": {"options": {"g": "30", "bf": "3"}, "sound": tone(4)},
    "pyramid.mkv": {"options": {"g": "33", "bf": "8", "x264-params": "b-pyramid=normal:ref=6"}},
    "open_groups.mp4": {"options": {"g": "20", "bf": "3", "x264-params": "open-gop=1:scenecut=0"}},
    "odd_size.mp4": {"size": (161, 121), "pix_fmt": "yuv444p", "options": {"g": "12"}},
    "variable_rate.mp4": {"times": VFR, "ticks": 1000, "options": {"g": "20", "bf": "2"}},
    "late_start.mkv": {"first": 40, "options": {"g": "20", "bf": "2"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "keyint=20:log-level=none"}},
    "full_range.mp4": {"pix_fmt": "yuvj420p"},
    "turned.mp4": {"rotation": 90, "options": {"g": "20"}},
    "turned_back.mp4": {"rotation": -90, "options": {"g": "20"}},
    "upside_down.mp4": {"rotation": 180, "options": {"g": "20"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}, "frames": 50},
}
FALLS_BACK: dict[str, dict[str, Any]] = {
    "stream.ts": {"options": {"g": "20", "bf": "2"}},
    "asp.avi": {"codec": "mpeg4", "options": {"g": "20", "bf": "2"}},
    "intra_refresh.mp4": {"options": {"g": "20", "bf": "2", "x264-params": "intra-refresh=1"}},
    "no_times.h264": {"options": {"g": "20", "bf": "2"}},
}


def usable(device: str) -> None:
    pytest.importorskip("torchcodec", reason="torchcodec, an optional extra, is not installed", exc_type=Exception)
    try:
        hardware.facts(device)
    except ConfigError as error:
        pytest.skip(error.what)


def both(path: Path, rate: dict[str, Any], device: str = "cpu") -> tuple[list[Sample], list[Sample], list[str]]:
    told: list[str] = []
    found = list(Decoder("torchcodec", device).sample(path, **rate, told=told.append))
    return found, list(sample_frames(path, **rate)), told


@pytest.mark.parametrize("name", SAME)
def test_the_cpu_gives_the_bits_of_pyav(tmp_path: Path, name: str) -> None:
    usable("cpu")
    path = make(tmp_path / name, **SAME[name])
    for rate in RATES:
        found, expected, told = both(path, rate)
        assert told == [] and [time for time, _ in found] == [time for time, _ in expected]
        for (_, ours), (_, theirs) in zip(found, expected, strict=True):
            assert np.array_equal(ours, theirs), rate


@pytest.mark.parametrize("name", FALLS_BACK)
def test_what_it_cannot_read_is_left_to_pyav_and_said(tmp_path: Path, name: str) -> None:
    usable("cpu")
    path = make(tmp_path / name, **FALLS_BACK[name])
    reasons = []
    for rate in RATES:
        found, expected, told = both(path, rate)
        reasons += told
        assert [time for time, _ in found] == [time for time, _ in expected]
        assert all(np.array_equal(ours, theirs) for (_, ours), (_, theirs) in zip(found, expected, strict=True))
    # Of periodic refresh torchcodec loses its way only where it seeks.
    assert len(reasons) == len(RATES) or (name == "intra_refresh.mp4" and reasons)
    assert all(reason.startswith("decoded by PyAV") for reason in reasons)


def test_no_video_is_the_same_error(tmp_path: Path) -> None:
    usable("cpu")
    (tmp_path / "page.mp4").write_bytes(b"<!DOCTYPE html><html></html>")
    with pytest.raises(InputError, match="a web page"):
        list(Decoder("torchcodec").sample(tmp_path / "page.mp4", fps=1, every=None))


def test_a_picture_that_is_shown_longer_is_one_array(tmp_path: Path) -> None:
    """So that networks see it once."""
    usable("cpu")
    path = make(tmp_path / "slow.mp4", frames=4, fps=1)
    samples = list(Decoder("torchcodec").sample(path, fps=3, every=None))
    assert len(samples) == 12 and len({id(frame) for _, frame in samples}) == 4


@pytest.mark.parametrize("name", ["groups.mp4", "odd_size.mp4", "turned.mp4", "hevc.mp4", "variable_rate.mp4"])
def test_a_gpu_takes_the_same_frames(tmp_path: Path, name: str) -> None:
    usable("cuda")
    path = make(tmp_path / name, **({"size": (320, 240)} | SAME[name]))
    for rate in RATES:
        found, expected, _ = both(path, rate, "cuda")
        assert [time for time, _ in found] == [time for time, _ in expected]
        for (_, ours), (_, theirs) in zip(found, expected, strict=True):
            assert ours.shape == theirs.shape
            assert np.abs(ours.astype(int) - theirs).mean() < 3  # another conversion of colours, the same picture


def test_a_gpu_that_is_not_there_is_said() -> None:
    pytest.importorskip("torchcodec", reason="torchcodec, an optional extra, is not installed", exc_type=Exception)
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError) as raised:
        hardware.facts("cuda")
    assert "decoder: av" in raised.value.remedy
