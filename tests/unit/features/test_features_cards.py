"""Extractors of several networks: each has weights of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import make, tone

from utopia import arrays, seeds
from utopia.config import registry
from utopia.extractors import xception_face
from utopia.extractors._separation import hybrid_demucs
from utopia.features import cards, weights
from utopia.features.extract import extract_shard
from utopia.files import read_json, sha256, write_json

MUSIC = {"channels": 4, "weights": "random", "separator_weights": "random"}


@pytest.fixture
def shard(tmp_path: Path) -> dict[str, Any]:
    video = make(tmp_path / "one.mp4", frames=75, sound=tone(3))
    file = {"path": "one.mp4", "sha256": sha256(video), "bytes": video.stat().st_size}
    item = {"id": "one", "files": {"video": file}, "present": True, "reason": None, "facts": {}}
    write_json(tmp_path / "movies.json", {"dataset": "movies", "items": [item]})
    return {
        "manifest": tmp_path / "movies.json",
        "root": tmp_path,
        "items": ["one"],
        "store": tmp_path / "features" / "store",
        "output": tmp_path / "features" / "movies" / "shard-0.json",
        "seed": 1,
        "device": "cpu",
    }


def test_cards_are_read_from_the_settings() -> None:
    config = registry.config_of("extractors", "xception_face")
    assert cards.chosen(config()) == {"weights": "xception_imagenet", "detector_weights": "mtcnn"}
    assert cards.needed(config(weights="random")) == ["mtcnn"]
    assert cards.needed(registry.config_of("extractors", "vggish")()) == ["vggish_audioset"]


@pytest.mark.long
def test_both_networks_weights_determine_the_features(shard: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    card = weights.card("hdemucs_high_musdb")
    own = MUSIC | {"separator_weights": "hdemucs_high_musdb"}
    features = {
        "drawn": {"extractor": "vggish_music", "options": MUSIC},
        "own": {"extractor": "vggish_music", "options": own},
    }
    extract_shard(features=features, weights_folder=folder, **shard)
    index = read_json(shard["output"])
    seed = seeds.derive(1, "extractor", "vggish_music")
    drawn = {"kind": "random", "seed": seed}
    assert index["weights"]["drawn"] == drawn | {"others": {"separator_weights": drawn}}
    assert card.file in index["items"]["one"]["own"]["absent"]

    torch.save(hybrid_demucs(4, None, 99).state_dict(), folder / card.file)
    digest = sha256(folder / card.file)
    features["own"]["sha256"] = {"hdemucs_high_musdb": digest}
    extract_shard(features=features, weights_folder=folder, **shard)
    index = read_json(shard["output"])
    assert index["weights"]["own"]["others"]["separator_weights"] == {
        "kind": "card",
        "card": "hdemucs_high_musdb",
        "file": card.file,
        "sha256": digest,
    }
    rows = [
        arrays.load(tmp_path / "features" / index["items"]["one"][name]["file"])["features"]
        for name in ("drawn", "own")
    ]
    assert rows[0].shape == rows[1].shape == (3, 128) and not np.allclose(*rows)


@pytest.mark.long
def test_a_video_without_faces_has_rows_of_zeros(
    shard: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xception_face, "largest", lambda found: [None] * len(found))
    options = {"weights": "random", "detector_weights": "random", "size": 64, "fps": 2.0}
    extract_shard(features={"face": {"extractor": "xception_face", "options": options}}, weights_folder=None, **shard)
    entry = read_json(shard["output"])["items"]["one"]["face"]
    assert (entry["rows"], entry["width"]) == (6, 3072)
    assert not arrays.load(tmp_path / "features" / entry["file"])["features"].any()
