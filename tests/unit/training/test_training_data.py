"""What a training says of the data that it was given: modalities that end early, shots and files that are others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from frame_toy import make_toy

from utopia import arrays
from utopia.evaluation.summaries import reasons
from utopia.features import store
from utopia.features.read import shots_digest
from utopia.files import read_json, write_json


def test_label_frames_that_a_shorter_modality_does_not_reach_are_counted(tmp_path: Path) -> None:
    """The rule: a label sees the last row at or before it, so the last row lasts to the end; how often is recorded."""
    toy = make_toy(tmp_path)
    (index,) = toy.features
    content, folder = read_json(index), toy.root / "features" / "store"
    for item, features in content["items"].items():
        reach = 8 if item in ("v1", "v4") else 30  # rows of a second, for labels of half a second
        identity = {"item": item, "name": "sound"}
        rows = np.random.default_rng(1).normal(size=(reach, 3)).astype(np.float32)
        features["sound"] = store.put(store.place(folder, identity), folder, rows, np.arange(reach) * 1.0, identity)
    write_json(index, content)
    _, summary, _ = toy.train(
        repeats=1, features=["plain", "sound"], normalise={}, training={"epochs": 1}, targets=["mood"]
    )
    # 43 and 52 labels; those up to 8.0 s, the end of the last row, are the first 17
    assert summary["outside"] == {"v1": {"sound": 43 - 17}, "v4": {"sound": 52 - 17}}


def test_shots_of_other_features_and_files_of_other_versions_are_named(tmp_path: Path) -> None:
    toy = make_toy(tmp_path)
    file = arrays.load(toy.labels)
    contents, meta = dict(file), file.meta
    meta["unlike_published"] = ["shots.h5 is not the published file"]
    for item in meta["items"]:
        frames = 15 * len(contents[f"{item}/times"])
        contents |= {
            f"{item}/change_points": np.array([[0, 29], [30, frames - 1]]),
            f"{item}/user_summary": np.zeros((2, frames), np.uint8),
            f"{item}/n_frames": np.array([frames]),
            f"{item}/picks": np.arange(0, frames, 15),
        }
    arrays.save(toy.labels, contents, meta)
    (index,) = toy.features
    content = read_json(index)
    first, second, *_ = meta["items"]
    content["items"][first]["plain"]["shots"] = shots_digest(contents[f"{first}/change_points"])
    content["items"][second]["plain"]["shots"] = shots_digest(np.array([[0, 44], [45, 200]]))
    write_json(index, content)
    _, summary, _ = toy.train(repeats=1, training={"epochs": 1})
    assert summary["other_shots"] == {"plain": 1}
    reason = reasons({}, [toy.root / "run" / "training.json"])[summary["run"]]
    assert "shots.h5 is not the published file" in reason
    assert f"plain comes with other shots of 1 of {len(summary['items'])} items" in reason
