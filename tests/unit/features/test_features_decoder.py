"""The choice of decoder names the object, and where another one had to decode, the index says so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clips import make, tone

from utopia import arrays
from utopia.errors import ConfigError
from utopia.features.extract import extract_shard
from utopia.files import read_json, sha256, write_json
from utopia.media import hardware

FRAMES: dict[str, Any] = {"extractor": "googlenet", "options": {"weights": "random", "size": 32, "fps": 2.0}}
SOUND: dict[str, Any] = {"extractor": "vggish", "options": {"weights": "random"}}
CHOSEN = {"compute": {"decoder": "torchcodec"}}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("movies")
    path = make(folder / "a.mp4", frames=75, sound=tone(3), options={"g": "25"})
    file = {"path": path.name, "sha256": sha256(path), "bytes": path.stat().st_size}
    write_json(folder / "manifest.json", {"dataset": "movies", "items": [{"id": "a", "files": {"video": file}}]})
    return folder


def run(root: Path, where: Path, features: dict[str, Any]) -> dict[str, Any]:
    output = where / "features" / "movies" / "shard-0.json"
    extract_shard(
        manifest=root / "manifest.json",
        root=root,
        items=["a"],
        features=features,
        weights_folder=None,
        store=where / "features" / "store",
        output=output,
        seed=1,
        device="cpu",
    )
    return read_json(output)


def test_where_it_is_not_installed_the_job_says_what_to_do(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    with pytest.raises(ConfigError, match=r"torchcodec cannot be used") as raised:
        run(root, tmp_path, {"frames": FRAMES | CHOSEN})
    assert "[hardware]" in raised.value.remedy and "decoder: av" in raised.value.remedy


def test_sound_has_no_choice(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="hears sound"):
        run(root, tmp_path, {"sound": SOUND | CHOSEN})


def test_a_fallback_is_recorded_and_found_again(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that gives up at once, in place of torchcodec."""

    def giving_up(*_: Any, **__: Any) -> Iterator[Any]:
        raise hardware.Unsuited("no such codec")
        yield

    facts = {"name": "torchcodec", "version": "0.0", "ffmpeg": "8", "device": "cpu"}
    monkeypatch.setattr(hardware, "facts", lambda device: facts)
    monkeypatch.setattr(hardware, "sample", giving_up)
    plain = run(root, tmp_path, {"frames": FRAMES})
    index = run(root, tmp_path, {"frames": FRAMES | CHOSEN})
    assert index["decoder"] == {"frames": facts} and plain["decoder"]["frames"]["name"] == "pyav"
    entry, ours = index["items"]["a"]["frames"], plain["items"]["a"]["frames"]
    assert entry["fallback"] == "decoded by PyAV, because torchcodec cannot: no such codec"
    assert entry["file"] != ours["file"] and "fallback" not in ours
    stored, expected = (arrays.load(tmp_path / "features" / found["file"]) for found in (entry, ours))
    assert stored["features"].tolist() == expected["features"].tolist()
    assert stored.meta["decoder"] == facts and stored.meta["made_with"]["fallback"] == entry["fallback"]
    assert run(root, tmp_path, {"frames": FRAMES | CHOSEN}) == index, "a shard that is found says so too"


def test_torchcodec_gives_the_same_features_under_another_name(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchcodec", reason="torchcodec, an optional extra, is not installed", exc_type=Exception)
    try:
        hardware.facts("cpu")
    except ConfigError as error:
        pytest.skip(error.what)
    features = {"frames": FRAMES | CHOSEN, "plain": FRAMES, "sound": SOUND}
    index = run(root, tmp_path, features)
    ours, expected = (arrays.load(tmp_path / "features" / index["items"]["a"][n]["file"]) for n in ("frames", "plain"))
    assert ours["features"].tolist() == expected["features"].tolist() and ours.path != expected.path
    assert index["decoder"]["frames"]["name"] == "torchcodec" and index["decoder"]["sound"]["name"] == "pyav"
    assert all("fallback" not in entry for entry in index["items"]["a"].values())
