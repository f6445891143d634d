"""The command that fine-tunes: from published weights and labelled frames to the file of a card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from utopia import arrays, registry
from utopia.extractors import openpose_action
from utopia.features import finetune, weights
from utopia.files import sha256


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for number, name in enumerate(("dark", "light")):
        for video in range(3):
            place = tmp_path / "frames" / name / str(video)
            place.mkdir(parents=True)
            picture = random.integers(150 * number, 150 * number + 80, (32, 32, 3), np.uint8)
            Image.fromarray(picture).save(place / "0.png")
    return tmp_path / "frames"


def test_the_file_of_the_card_is_made_from_the_published_weights(
    frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["openpose_action", str(frames), "--data", str(tmp_path), "--epochs", "2", "--device", "cpu"]
    assert finetune.main(words) == 1
    said = capsys.readouterr().err
    assert "needs the weights body_pose_model.pth" in said and "download https://" in said

    folder = tmp_path / "weights"
    folder.mkdir()
    small = openpose_action.Config(height=32, width=32)
    published = openpose_action.tunable(small, None, 5, "cpu").network.state_dict()
    front = {name.removeprefix("front."): value for name, value in published.items() if name.startswith("front.")}
    torch.save(front, folder / "body_pose_model.pth")
    monkeypatch.setattr(weights, "identify", lambda found: sha256(found.path))  # a generated file is no published one
    monkeypatch.setattr(registry, "config_of", lambda *_: lambda: small)
    assert finetune.main(words) == 0
    output = folder / weights.card("openpose_action").file
    printed = capsys.readouterr().out
    assert f"features.openpose_action.sha256: {{openpose_action: {sha256(output)}}}" in printed
    saved = arrays.load(output)
    assert saved.meta["base"] == {"openpose_coco": sha256(folder / "body_pose_model.pth")}
    assert np.array_equal(saved["front.conv1_1.weight"], front["conv1_1.weight"].numpy())
    config = small.model_copy(update={"weights": "openpose_action", "layer": "action"})
    assert openpose_action.build(config, output, 0, "cpu")([np.zeros((32, 32, 3), np.uint8)]).shape == (1, 128)

    assert finetune.main(words) == 1
    assert "is there already" in capsys.readouterr().err
