"""Planted series: the answer lies in the cues, and in nothing that is shown when it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from utopia import arrays
from utopia.config.load import load
from utopia.datasets import planted
from utopia.datasets._common import Limits
from utopia.errors import InputError
from utopia.evaluation.metrics_csv import read
from utopia.evaluation.protocols import evaluate_run
from utopia.features.precomputed import import_features
from utopia.features.read import FeatureReader
from utopia.inputs.manifest import list_inputs
from utopia.inputs.miniature import generate, latent
from utopia.inputs.miniature.planted import plant
from utopia.labels.build import build_labels
from utopia.plan.plan import Plan

SIZE = {"seconds": 300.0, "width": 32, "height": 32, "fps": 5, "annotators": 6, "label_annotators": 2}


def drawn(count: int = 40) -> list[tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]]:
    return [plant(latent.generator(5, "planted", f"video_{number}"), 300) for number in range(count)]


def test_the_cue_answers() -> None:
    """Read off the features: clips of 10 s, marks in columns 1 and 2, the value in column 0, questions in 4 and 5."""
    for x_TD, targets in drawn():
        clip_CD = x_TD.reshape(30, 10, 8).mean(axis=1)
        cues = [int(clip_CD[:, column].argmax()) for column in (1, 2)]
        assert cues[0] < 2 and cues[1] < 4 and cues[0] != cues[1]
        value = np.sign(clip_CD[cues, 0])
        for target, since in (("one_cue", 90), ("long_delay", 150)):
            label, judged = targets[target]
            assert (judged[:since] == 0).all() and (judged[since:] == 1).all() and (label[:since] == 0).all()
            np.testing.assert_allclose(label[since:], 0.6 * value[0])
        asked = clip_CD[:, 5] > clip_CD[:, 4]
        np.testing.assert_allclose(
            targets["two_cues"][0][90:].reshape(21, 10)[:, 0], 0.6 * value[asked[9:].astype(int)]
        )


def test_nothing_else_answers() -> None:
    """Later clips show values that say nothing of the answer; the false mark is as common as not."""
    series = drawn(120)
    answer = np.array([targets["long_delay"][0][-1] / 0.6 for _, targets in series])
    shown = np.array([x_TD.reshape(30, 10, 8).mean(axis=1)[:, 0] for x_TD, _ in series])
    assert np.abs((np.sign(shown[:, 4:]) * answer[:, None]).mean(axis=0)).max() < 0.35
    assert abs(answer.mean()) < 0.25
    false = np.array([x_TD.reshape(30, 10, 8).mean(axis=1)[:, 3] > 0.5 for x_TD, _ in series])
    assert 0.4 < false[:, 4:].mean() < 0.6


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    generate(dataset="planted", count=10, settings=SIZE, seed=11, folder=folder / "raw")
    list_inputs(dataset="planted", folder=folder / "raw", options={}, output=folder / "manifest.json")
    bounds = {"low": -1.0, "high": 1.0}
    build_labels(dataset="planted", manifest=folder / "manifest.json", folder=folder / "raw", options={},
                 distribution=bounds, output=folder / "labels.safetensors")  # fmt: skip
    return folder


def test_features_come_from_the_generated_folder(study: Path) -> None:
    settings = {"extractor": "hdf5", "files": ["features.h5"], "array": "features"}
    output = study / "features" / "planted" / "drawn.json"
    import_features(manifest=study / "manifest.json", root=study / "raw", feature="drawn", settings=settings,
                    source=study / "raw", store=study / "features" / "store", output=output)  # fmt: skip
    reader = FeatureReader([output])
    expected, _ = plant(latent.generator(11, "planted", "video_3"), 300)
    np.testing.assert_allclose(reader.aligned("video_3", ["drawn"], np.arange(300.0)), expected, atol=1e-6)


def test_only_what_is_asked_counts(study: Path, tmp_path: Path) -> None:
    """Answering 0 has a mean squared error of 0.36, whatever is answered before anything is asked."""
    labels = arrays.load(study / "labels.safetensors")
    test = labels.meta["folds"][0]["test"]
    assert test == ["video_5", "video_10"]
    guess = np.zeros(300, dtype=np.float32)
    guess[:90] = 0.9
    predictions = {f"{target}/test/0/{item}": guess for target in planted.TARGETS for item in test}
    arrays.save(tmp_path / "p.safetensors", predictions, {"folds": ["test"]})
    how = {"double_rounding": False, "constant": "zero", "label_filter": "none"}
    run = {"id": "r", "targets": list(planted.TARGETS), "repeats": 1} | how
    evaluate_run(run=run, labels=study / "labels.safetensors", predictions=tmp_path / "p.safetensors",
                 output=tmp_path / "metrics.csv")  # fmt: skip
    errors = [row.value for row in read(tmp_path / "metrics.csv") if row.metric == "mse"]
    assert len(errors) == 9
    np.testing.assert_allclose(errors, 0.36, atol=1e-9)


def test_damage_is_named(study: Path, tmp_path: Path) -> None:
    located = planted.locate(study / "raw", planted.Config())
    item = planted.items(located, planted.Config())[0]
    path = tmp_path / "labels.safetensors"
    arrays.save(path, {"video_2/one_cue": np.zeros(3)}, {})
    item.files["annotations"] = path
    with pytest.raises(InputError, match="no labels video_1/one_cue"):
        planted.describe(located, item, planted.Config())
    with pytest.raises(InputError):
        planted.read_labels(located, planted.items(located, planted.Config())[0], planted.Config(), Limits(-0.1, 0.1))


def test_only_a_study_that_asks_for_it_has_it() -> None:
    """Nobody publishes these series, so that no other study misses them."""
    assert "planted" not in Plan(load(overrides={"study": "miniature"})).datasets
    there = Plan(load(overrides={"study": "rmn_memory"})).datasets["planted"]
    assert there.available and there.features == ("planted_features",) and not there.with_video
