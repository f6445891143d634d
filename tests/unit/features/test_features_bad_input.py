"""Files as they come: each is features with the right rows, or an absence with its reason; none fails its shard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make, spoil, tone
from PIL import Image

from utopia import arrays
from utopia.errors import InputError
from utopia.features.extract import extract_shard
from utopia.features.read import FeatureReader
from utopia.files import read_json, sha256, write_json
from utopia.media import worker
from utopia.media.probe import probe

FEATURES: dict[str, Any] = {
    "frames": {"extractor": "googlenet", "options": {"weights": "random", "size": 32, "fps": 2.0}},
    "sound": {"extractor": "vggish", "options": {"weights": "random"}},
}
PAGE = b"<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>"
CENC = {
    "encryption_scheme": "cenc-aes-ctr",
    "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
    "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
}

CRASH = """
import os, signal
from utopia.media import frames
decode = frames.sample_frames
def crashing(path, **rate):
    for count, sample in enumerate(decode(path, **rate)):
        if "crash" in path and count == 3:
            os.kill(os.getpid(), signal.SIGSEGV)
        yield sample
frames.sample_frames = crashing
"""
"""What a decoder does at a file that it cannot bear."""

Expected = int | str
"""Rows, or words of the reason of an absence."""
EXPECTED: dict[str, tuple[Expected, Expected]] = {
    "good.mp4": (6, 3),
    "truncated.mkv": ("breaks off", "cannot be decoded|breaks off|damaged|3"),
    "cut_index.mp4": ("cut short", "cut short"),
    "zero.mp4": ("the file is empty", "the file is empty"),
    "sound_only.m4a": ("no video", 3),
    "video_only.mp4": (6, "no sound"),
    "really_mp4.avi": (6, 3),
    "one_frame.mp4": (1, "no sound"),
    "huge.mp4": (1, "no sound"),
    "corrupt.mkv": ("damaged|cannot be decoded", "no sound"),
    "encrypted.mp4": ("cannot be decoded|damaged|encrypted", "cannot be decoded|damaged|encrypted"),
    "noise.mp4": ("cannot be decoded|damaged|no frame", "no sound"),
    "page.mp4": ("a web page", "a web page"),
    "text.mp4": ("not readable as media", "not readable as media"),
    "picture.png": ("", "no sound"),
    "joined.aac": ("no video", "changes on the way .* from stereo to mono.* at 2.0"),
    "crash.mp4": (r"the decoder crashes \(SIGSEGV\) after 1.00 s", "no sound"),
    "last.mp4": (6, 3),
}


def flat(value: int, width: int = 160, height: int = 120) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bad")
    good = make(root / "good.mp4", frames=75, sound=tone(3), options={"g": "25"}).read_bytes()
    (root / "really_mp4.avi").write_bytes(good)
    (root / "cut_index.mp4").write_bytes(good[: len(good) // 2])
    whole = make(root / "truncated.mkv", frames=250, sound=tone(10), options={"g": "50"}).read_bytes()
    (root / "truncated.mkv").write_bytes(whole[: len(whole) // 2])
    (root / "zero.mp4").write_bytes(b"")
    make(root / "sound_only.m4a", frames=0, sound=tone(3))
    make(root / "video_only.mp4", frames=75, options={"g": "25"})
    make(root / "one_frame.mp4", frames=1)
    make(
        root / "huge.mp4",
        frames=1,
        size=(7680, 4320),
        options={"preset": "ultrafast"},
        draw=lambda _: flat(90, 7680, 4320),
    )
    spoil(make(root / "corrupt.mkv", frames=150, options={"g": "50"}), range(70, 80))
    make(root / "encrypted.mp4", frames=75, sound=tone(3), container=CENC)
    noise = bytearray(make(root / "noise.mp4", frames=75).read_bytes())
    start = noise.index(b"mdat") + 4
    end = noise.index(b"moov", start) - 4
    noise[start:end] = np.random.default_rng(3).integers(0, 255, end - start, np.uint8).tobytes()
    (root / "noise.mp4").write_bytes(bytes(noise))
    (root / "page.mp4").write_bytes(PAGE)
    (root / "text.mp4").write_text("this is not a video")
    Image.fromarray(flat(10)).save(root / "picture.png")
    parts = [make(root / f"{count}.aac", frames=0, sound=tone(2, channels=count)) for count in (2, 1)]
    (root / "joined.aac").write_bytes(b"".join(part.read_bytes() for part in parts))
    (root / "crash.mp4").write_bytes((root / "video_only.mp4").read_bytes())
    (root / "last.mp4").write_bytes(good)
    return root


def shard(folder: Path, names: list[str], where: Path, **other: Any) -> dict[str, Any]:
    items = []
    for name in names:
        path = folder / name
        file = {"path": name, "sha256": sha256(path), "bytes": path.stat().st_size}
        items.append({"id": name, "files": {"video": file}, "present": True, "reason": None, "facts": {}})
    write_json(where / "manifest.json", {"dataset": "bad", "items": items})
    settings: dict[str, Any] = {"features": FEATURES, "threads": 3} | other
    extract_shard(
        manifest=where / "manifest.json",
        root=folder,
        items=names,
        weights_folder=None,
        store=where / "features" / "store",
        output=where / "features" / "bad" / "shard-0.json",
        seed=1,
        device="cpu",
        **settings,
    )
    return read_json(where / "features" / "bad" / "shard-0.json")["items"]


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """All of them in one shard: none keeps the others from being made."""
    start, serve = worker.SERVE.rsplit("; ", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "SERVE", f"{start}\n{CRASH}\n{serve}")
        yield shard(folder, list(EXPECTED), tmp_path_factory.mktemp("made"))


@pytest.mark.long
@pytest.mark.parametrize("name", EXPECTED)
def test_each_is_features_or_a_recorded_absence(found: dict[str, Any], name: str) -> None:
    for feature, expected in zip(("frames", "sound"), EXPECTED[name], strict=True):
        entry = found[name][feature]
        if isinstance(expected, int):
            assert entry.get("rows") == expected, entry
        elif "absent" in entry:
            assert re.search(expected or "^", entry["absent"]), entry
        else:
            assert name in ("picture.png", "truncated.mkv") and entry["rows"] >= 1, entry


def test_no_file_crashes_the_probe(folder: Path) -> None:
    """What a manifest is made with: facts, or an error that names the file."""
    for name in EXPECTED:
        try:
            facts = probe(folder / name)
        except InputError as error:
            assert error.what and name in str(error)
        else:
            assert facts.duration_s > 0


def test_ten_hours_of_three_pictures(tmp_path: Path) -> None:
    """A video whose header and times say ten hours: every sample time has its row, each picture is seen once."""
    hours = 10 * 3600
    times = [0, 4 * 3600 * 1000, hours * 1000 - 80, hours * 1000 - 40]
    settings: dict[str, Any] = {"times": times, "ticks": 1000, "options": {"bf": "0"}}
    path = make(tmp_path / "long.mp4", frames=4, draw=lambda index: flat(40 + 60 * index), **settings)
    assert probe(path).duration_s == pytest.approx(hours, abs=1)
    options = FEATURES["frames"]["options"] | {"fps": 0.1}
    features = {"frames": {"extractor": "googlenet", "options": options}, "sound": FEATURES["sound"]}
    entry = shard(tmp_path, ["long.mp4"], tmp_path, features=features)["long.mp4"]
    assert entry["sound"] == {"absent": "the file has no sound"}
    stored = arrays.load(tmp_path / "features" / entry["frames"]["file"])
    assert stored["times"].tolist() == [10.0 * k for k in range(hours // 10)]
    _, first = np.unique(stored["features"], axis=0, return_index=True)
    assert sorted(first.tolist()) == [0, 4 * 360]


def test_reader_gives_what_is_there(folder: Path, tmp_path: Path) -> None:
    shard(folder, ["page.mp4", "good.mp4"], tmp_path)
    reader = FeatureReader([tmp_path / "features" / "bad" / "shard-0.json"])
    assert "web page" in (reader.available("page.mp4", ["frames"]) or "")
    assert reader.available("good.mp4", ["frames", "sound"]) is None
