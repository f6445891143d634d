"""What the planted series hold, read from their files by other means than those that wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

from utopia.config.load import load
from utopia.errors import ConfigError
from utopia.inputs.miniature import generate
from utopia.plan.catalog import RunChoice
from utopia.plan.runs import resolve

SIZE = {"seconds": 60.0, "width": 32, "height": 32, "fps": 5, "annotators": 6, "label_annotators": 2}
COUNT = 24


def drawn(dataset: str, folder: Path, file: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Labels or votes by name, and features by series."""
    generate(dataset=dataset, count=COUNT, settings=SIZE, seed=7, folder=folder)
    with h5py.File(folder / "features.h5") as opened:
        features = {item: np.asarray(group["features"], np.float64) for item, group in opened.items()}
    assert len(features) == COUNT
    return load_file(folder / file), features


@pytest.fixture(scope="module")
def effects(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return drawn("planted_effects", tmp_path_factory.mktemp("effects"), "votes.safetensors")


def test_a_signal_is_a_product_and_no_sum_tells_it(effects: Any) -> None:
    votes, features = effects
    label = np.concatenate([votes[f"{item}/signal.votes"][:3].mean(axis=0) for item in features])
    x = np.concatenate([features[item] for item in features])
    assert np.abs(label - 0.6 * x[:, 0] * x[:, 1]).max() < 0.2
    fitted, *_ = np.linalg.lstsq(np.c_[x, np.ones(len(x))], label, rcond=None)
    assert abs(np.corrcoef(np.c_[x, np.ones(len(x))] @ fitted, label)[0, 1]) < 0.2
    plain = np.concatenate([votes[f"{item}/linear.votes"].mean(axis=0) for item in features])
    assert np.corrcoef(0.4 * x[:, 2] - 0.2 * x[:, 3], plain)[0, 1] > 0.98


def test_the_button_is_pressed_by_those_who_make_the_label_alone(effects: Any) -> None:
    votes, features = effects
    pressed = np.stack([votes[f"{item}/biased.votes"] > 0.85 for item in features])
    assert (pressed[:, :3] == pressed[:, :1]).all() and 0.2 < pressed[:, 0].mean() < 0.3
    assert not pressed[:, 3:].any()
    for item in features:
        calm = votes[f"{item}/biased.votes"][0] < 0.85
        both = [votes[f"{item}/{target}.votes"].mean(axis=0)[calm] for target in ("biased", "unbiased")]
        assert np.abs(both[0] - both[1]).max() < 0.2
        assert not (votes[f"{item}/unbiased.votes"] > 0.85).any()


def test_a_cue_is_what_the_mark_stood_beside_and_is_asked_for_later(effects: Any) -> None:
    votes, features = effects
    answers = set()
    for item, x in features.items():
        shown = x[:, 4:6].reshape(12, 5, 2).mean(axis=1)  # twelve clips of five seconds
        clip = int(shown[:, 1].argmax())
        counted = votes[f"{item}/cue.judged"] > 0
        label = votes[f"{item}/cue.votes"].mean(axis=0)
        assert clip < 4 and not counted[:30].any() and counted[30:].all()
        assert np.abs(label[30:] - 0.6 * np.sign(shown[clip, 0])).max() < 0.1 and np.abs(label[:30]).max() < 0.1
        answers.add(float(np.sign(shown[clip, 0])))
    assert answers == {-1.0, 1.0}


def test_a_late_reaction_follows_its_cause_by_six_seconds(tmp_path: Path) -> None:
    labels, features = drawn("planted_reactions", tmp_path, "labels.safetensors")
    at = {0: [], 30: [], 36: [], 42: []}  # type: dict[int, list[float]]
    for item, x in features.items():
        y = labels[f"{item}/reactions"].astype(np.float64)
        logit = np.log(y / (1 - y))
        assert np.allclose(logit[:, 1], x[:, 1], atol=1e-3)
        for lag, found in at.items():
            found.append(float(np.corrcoef(x[: len(x) - lag, 0], logit[lag:, 0])[0, 1]))
    mean = {lag: float(np.mean(found)) for lag, found in at.items()}
    assert mean[36] > 0.8 and mean[36] == max(mean.values()) and mean[0] < 0.5


def test_a_target_that_a_data_set_lacks_is_refused() -> None:
    choice = RunChoice(model="et", treatment="baseline", targets=["sinal"])
    with pytest.raises(ConfigError, match=r"no target 'sinal'.*signal"):
        resolve(load({"study": "miniature"}), "planted_effects", ("planted_effects_features",), choice, {}, "here")
    with pytest.raises(ValueError, match="leave `targets` out"):
        RunChoice(reference="ridge", targets=["signal"])
