"""Threads, batches and interruptions change nothing but the time that a shard takes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make, tone

from utopia import arrays
from utopia.errors import ChecksumError, ConfigError, InputError
from utopia.features import extract
from utopia.features.read import FeatureReader
from utopia.files import read_json, sha256, write_json

FRAMES: dict[str, Any] = {
    "extractor": "googlenet",
    "options": {"weights": "random", "size": 32, "fps": 5.0, "batch": 4},
}
SOUND: dict[str, Any] = {"extractor": "vggish", "options": {"weights": "random"}}
ITEMS = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("movies")
    for count, name in enumerate(ITEMS):
        sound = tone(2 + count) if name != "b" else None
        make(folder / f"{name}.mp4", frames=50 + 25 * count, sound=sound, options={"g": "25"})
    items = []
    for name in ITEMS:
        path = folder / f"{name}.mp4"
        file = {"path": path.name, "sha256": sha256(path), "bytes": path.stat().st_size}
        items.append({"id": name, "files": {"video": file}, "present": True, "reason": None, "facts": {}})
    write_json(folder / "manifest.json", {"dataset": "movies", "items": items})
    return folder


def settings(root: Path, where: Path, features: dict[str, Any], **other: Any) -> dict[str, Any]:
    return {
        "manifest": root / "manifest.json",
        "root": root,
        "items": ITEMS,
        "features": features,
        "weights_folder": None,
        "store": where / "features" / "store",
        "output": where / "features" / "movies" / "shard-0.json",
        "seed": 2307,
        "device": "cpu",
    } | other


def run(root: Path, where: Path, features: dict[str, Any], **other: Any) -> dict[str, Any]:
    given = settings(root, where, features, **other)
    extract.extract_shard(**given)
    return read_json(given["output"])


def rows(where: Path, item: str, name: str) -> np.ndarray:
    return FeatureReader([where / "features" / "movies" / "shard-0.json"]).rows(item, name)[0]


@pytest.fixture(scope="module")
def plain(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without threads, a video after the other."""
    where = tmp_path_factory.mktemp("plain")
    run(root, where, {"frames": FRAMES, "sound": SOUND})
    return where


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_change_no_bit(root: Path, plain: Path, tmp_path: Path, threads: int) -> None:
    index = run(root, tmp_path, {"frames": FRAMES, "sound": SOUND}, threads=threads)
    assert index == read_json(plain / "features" / "movies" / "shard-0.json")


def test_the_shard_changes_no_bit(root: Path, plain: Path, tmp_path: Path) -> None:
    index = run(root, tmp_path, {"frames": FRAMES}, items=["c"], threads=2)
    whole = read_json(plain / "features" / "movies" / "shard-0.json")
    assert index["items"]["c"]["frames"] == whole["items"]["c"]["frames"]


def test_batches_across_videos_differ_by_rounding_and_have_a_name_of_their_own(
    root: Path, plain: Path, tmp_path: Path
) -> None:
    index = run(root, tmp_path, {"frames": FRAMES | {"compute": {"across_videos": True}}}, threads=3)
    whole = read_json(plain / "features" / "movies" / "shard-0.json")
    for item in ITEMS:
        assert index["items"][item]["frames"]["file"] != whole["items"][item]["frames"]["file"]
        ours, expected = rows(tmp_path, item, "frames"), rows(plain, item, "frames")
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_bfloat16_states_its_error(root: Path, plain: Path, tmp_path: Path) -> None:
    compute = {"precision": "bfloat16", "channels_last": False}
    features = {"frames": FRAMES | {"compute": compute}, "sound": SOUND | {"compute": {"precision": "bfloat16"}}}
    index = run(root, tmp_path, features, items=["a", "c"])
    for name in features:
        stated = index["precision"][name]
        assert stated["precision"] == "bfloat16" and 1e-5 < stated["relative_error"] < 0.05
        expected = rows(plain, "c", name)
        error = np.linalg.norm(rows(tmp_path, "c", name) - expected) / np.linalg.norm(expected)
        assert 0 < error < 4 * stated["relative_error"]
    again = run(root, tmp_path, features, items=["a", "c"])
    assert again == index, "a shard that is found says the same of its precision"
    exact = read_json(plain / "features" / "movies" / "shard-0.json")["precision"]["frames"]
    assert exact == {"precision": "float32", "relative_error": 0.0}


def test_an_extractor_with_one_order_of_channels_says_so(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one order of channels"):
        run(root, tmp_path, {"sound": SOUND | {"compute": {"channels_last": True}}}, items=["a"])


def test_how_it_is_computed_names_the_object(root: Path, tmp_path: Path) -> None:
    computes: list[dict[str, Any]] = [{}, {"precision": "bfloat16"}, {"channels_last": False}, {"across_videos": True}]
    files = {
        run(root, tmp_path, {"frames": FRAMES | {"compute": own}}, items=["b"])["items"]["b"]["frames"]["file"]
        for own in computes
    }
    assert len(files) == len(computes)


def test_another_decoder_never_reuses(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from utopia.features import maker

    before = run(root, tmp_path, {"frames": FRAMES}, items=["b"])["items"]["b"]["frames"]
    newer = {"name": "pyav", "version": "99.0", "libavcodec": "99.1"}
    monkeypatch.setattr(maker, "decoder", lambda: newer)
    after = run(root, tmp_path, {"frames": FRAMES}, items=["b"])["items"]["b"]["frames"]
    assert before["file"] != after["file"]
    assert arrays.load(tmp_path / "features" / after["file"]).meta["decoder"] == newer


def test_a_changed_video_stops_the_job_from_its_thread(root: Path, tmp_path: Path) -> None:
    listed = read_json(root / "manifest.json")
    listed["items"][3]["files"]["video"]["sha256"] = "0" * 64
    write_json(tmp_path / "manifest.json", listed)
    with pytest.raises(ChecksumError, match=r"d\.mp4: its sha256 is"):
        run(root, tmp_path, {"frames": FRAMES}, manifest=tmp_path / "manifest.json", threads=4)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_shard_killed_by_the_system_goes_on_at_the_next_video(
    root: Path, plain: Path, tmp_path: Path, threads: int
) -> None:
    """A real process, ended by SIGKILL as soon as its first object lies in the store."""
    slow = FRAMES | {"options": FRAMES["options"] | {"fps": 25.0, "size": 64}}
    given = settings(root, tmp_path, {"frames": slow}, threads=threads)
    paths = {name: str(value) for name, value in given.items() if isinstance(value, Path)}
    code = (
        "import json, sys; from pathlib import Path; from utopia.features.extract import extract_shard\n"
        "given, paths = json.loads(sys.argv[1]), json.loads(sys.argv[2])\n"
        "extract_shard(**given, **{name: Path(value) for name, value in paths.items()})\n"
    )
    rest = json.dumps({name: value for name, value in given.items() if name not in paths})
    process = subprocess.Popen([sys.executable, "-c", code, rest, json.dumps(paths)], env=os.environ)
    deadline = time.monotonic() + 900  # against hanging alone: a busy machine may take minutes
    while not list(given["store"].glob("*/[!.]*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    kept = list(given["store"].glob("*/[!.]*.safetensors"))
    assert 1 <= len(kept) < len(ITEMS) and not given["output"].exists()
    stamps = {path: path.stat().st_mtime_ns for path in kept}

    made = extract.extract_shard(**given)
    assert len(made) == len(ITEMS) and set(kept) < set(made)
    assert {path: path.stat().st_mtime_ns for path in kept} == stamps
    assert [rows(tmp_path, item, "frames").shape for item in ITEMS] == [
        (50, 1024),
        (75, 1024),
        (100, 1024),
        (125, 1024),
    ]


def test_a_finished_shard_imports_no_network(root: Path, plain: Path, tmp_path: Path) -> None:
    """Under two seconds, though one of its videos is without sound."""
    given = settings(root, plain, {"frames": FRAMES, "sound": SOUND})
    given["output"] = tmp_path / "shard-0.json"
    paths = {name: str(value) for name, value in given.items() if isinstance(value, Path)}
    code = (
        "import json, sys; from pathlib import Path; from utopia.features.extract import extract_shard\n"
        "given, paths = json.loads(sys.argv[1]), json.loads(sys.argv[2])\n"
        "made = extract_shard(**given, **{name: Path(value) for name, value in paths.items()})\n"
        "assert len(made) == 7\n"
        "assert 'torch' not in sys.modules\n"
    )
    rest = json.dumps({name: value for name, value in given.items() if name not in paths})
    subprocess.run([sys.executable, "-c", code, rest, json.dumps(paths)], check=True)
    index = read_json(given["output"])
    assert index == read_json(plain / "features" / "movies" / "shard-0.json")
    assert index["items"]["b"]["sound"] == {"absent": "the file has no sound"}


def test_what_a_file_cannot_give_is_not_tried_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But it is for other settings; a failure to read says nothing about the file, and is tried again."""
    tried: list[str] = []
    decode = extract.stream_audio

    def watched(path: Path, *values: Any) -> Any:
        tried.append(path.stem)
        if len(tried) == 1:
            raise InputError("cannot read the file") from OSError(5, "Input/output error")
        return decode(path, *values)

    monkeypatch.setattr(extract, "stream_audio", watched)
    reasons = [run(root, tmp_path, {"sound": SOUND}, items=["b"])["items"]["b"]["sound"] for _ in range(3)]
    assert reasons == [{"absent": "cannot read the file"}, *[{"absent": "the file has no sound"}] * 2]
    assert tried == ["b", "b"]
    other = SOUND | {"options": SOUND["options"] | {"patch": "per_second"}}
    assert run(root, tmp_path, {"sound": other}, items=["b"])["items"]["b"]["sound"] == reasons[1]
    assert tried == ["b"] * 3
    noted = sorted((tmp_path / "features" / "store").rglob("*.json"))
    assert len(noted) == 2 and all(read_json(path)["identity"]["item"] == "b" for path in noted)
