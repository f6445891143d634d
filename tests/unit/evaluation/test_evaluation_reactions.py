"""EEV's metric and the labels' own correlation: by hand, and against NumPy and SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import butter, filtfilt

from utopia import arrays
from utopia.errors import ComputeError, InputError
from utopia.evaluation import metrics_csv
from utopia.evaluation.label_correlation import label_correlation, label_correlations
from utopia.evaluation.protocols import evaluate_run
from utopia.evaluation.reactions import correlations, of_video, of_videos
from utopia.labels.read import Labels

HOW = {"double_rounding": False, "constant": "zero", "label_filter": "none"}
RUN = {"id": "eev.bi_gru.l1", "targets": ["reactions"], "repeats": 1} | HOW


def test_pearson_of_each_reaction() -> None:
    rng = np.random.default_rng(0)
    p, y = rng.normal(size=(50, 4)), rng.normal(size=(50, 4))
    expected = [np.corrcoef(p[:, c], y[:, c])[0, 1] for c in range(4)]
    assert correlations(p, y) == pytest.approx(expected, abs=1e-6)
    assert of_video(correlations(p, y)) == pytest.approx(np.mean(expected), abs=1e-6)


def test_the_denominator_is_of_sums_and_has_a_millionth_added() -> None:
    """By hand: p = (0, e), y = (0, 1): sums e/2, e^2/2, 1/2, so r = (e/2) / (e/2 + 1e-6)."""
    (r,) = correlations([[0.0], [2e-6]], [[0.0], [1.0]])
    assert r == pytest.approx(1e-6 / (1e-6 + 1e-6))


@pytest.mark.parametrize(("rule", "value"), [("zero", 0.0), ("minus_one", -1.0), ("skip", None)])
def test_a_constant_series_by_rule(rule: str, value: float | None) -> None:
    r_C = correlations(np.full((9, 2), 0.3), np.random.default_rng(0).random((9, 2)), rule)  # type: ignore[arg-type]
    assert of_video(r_C) == value


@given(st.integers(2, 40), st.floats(0.1, 10), st.floats(-5, 5))
def test_scale_and_offset_do_not_matter(length: int, scale: float, offset: float) -> None:
    rng = np.random.default_rng(length)
    p, y = rng.normal(size=(length, 3)), rng.normal(size=(length, 3))
    assert correlations(scale * p + offset, y) == pytest.approx(correlations(p, y), abs=1e-4)


def test_shapes_and_holes_are_refused() -> None:
    with pytest.raises(ComputeError, match=r"not \(3, 2\) and \(4, 2\)"):
        correlations(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(ComputeError, match="not finite"):
        correlations(np.full((3, 2), np.nan), np.zeros((3, 2)))
    with pytest.raises(ComputeError, match="no video has a correlation"):
        of_videos([None])


# -- the labels' own correlation


def test_labels_once_per_second_by_hand() -> None:
    """A triangle wave whose corners stand at whole seconds is what linear interpolation gives back."""
    seconds = np.array([0.0, 1.0, 0.5, 0.8, 0.2])
    y_TC = np.interp(np.arange(25) / 6, np.arange(5), seconds)[:, None]
    assert label_correlation(y_TC, 6, "none") == pytest.approx(1, abs=1e-5)
    spike = y_TC.copy()
    spike[3] += 1  # between two seconds: nothing of it is left
    (expected,) = np.corrcoef(y_TC[:, 0], spike[:, 0])[:1, 1]
    assert label_correlation(spike, 6, "none") == pytest.approx(expected, abs=1e-5)


def test_butterworth_against_scipy() -> None:
    y_TC = np.random.default_rng(1).random((240, 2))
    b, a = butter(2, 0.2)
    left = np.maximum(filtfilt(b, a, y_TC[::6], axis=0), 0)
    known = np.concatenate([left, left[-1:]])
    dense = np.stack([np.interp(np.arange(240) / 6, np.arange(41), known[:, c]) for c in range(2)], axis=1)
    expected = np.mean([np.corrcoef(dense[:, c], y_TC[:, c])[0, 1] for c in range(2)])
    assert label_correlation(y_TC, 6, "butterworth") == pytest.approx(expected, abs=1e-5)


# -- metrics.csv


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    rng = np.random.default_rng(2)
    contents = {}
    for item, length in {"t0": 60, "t1": 72, "v0": 66, "v1": 60, "u0": 60}.items():
        contents[f"{item}/times"] = np.arange(length) / 6
        if item != "u0":
            contents[f"{item}/reactions"] = rng.random((length, 3)).astype(np.float32)
    meta = {
        "dataset": "eev",
        "protocol": "reactions",
        "targets": {"reactions": {"low": 0, "high": 1}},
        "columns": {"reactions": ["awe", "pain", "triumph"]},
        "items": ["t0", "t1", "v0", "v1", "u0"],
        "unlabelled": ["u0"],
        "folds": [{"name": "official", "train": ["t0", "t1"], "test": ["v0", "v1"]}],
        "absent": {},
    }
    arrays.save(tmp_path / "labels.safetensors", contents, meta)
    return tmp_path / "labels.safetensors"


def predict(labels: Path, seeds: int = 1, **other: np.ndarray) -> Path:
    rng, read = np.random.default_rng(3), Labels(labels)
    contents = {
        f"reactions/official/{seed}/{item}": rng.random((len(read.times(item)), 3)).astype(np.float32)
        for seed in range(seeds)
        for item in ("v0", "v1", "u0")
    }
    path = labels.parent / "predictions.safetensors"
    arrays.save(path, contents | other, {"folds": ["official"]})
    return path


def metric(path: Path, name: str, item: str = "") -> float:
    (value,) = [row.value for row in metrics_csv.read(path) if row.metric == name and row.item == item]
    return value


def test_metrics_of_a_run(labels: Path, tmp_path: Path) -> None:
    predictions, output = predict(labels), tmp_path / "metrics.csv"
    evaluate_run(run=RUN, labels=labels, predictions=predictions, output=output)
    stored, read = arrays.load(predictions), Labels(labels)
    r = {
        item: correlations(stored[f"reactions/official/0/{item}"], read.label(item, "reactions"))
        for item in ("v0", "v1")
    }
    assert metric(output, "correlation.pain", "v0") == r["v0"][1]
    assert metric(output, "correlation", "v1") == pytest.approx(r["v1"].mean())
    assert metric(output, "correlation") == pytest.approx((r["v0"].mean() + r["v1"].mean()) / 2)
    assert metric(output, "correlation.awe") == pytest.approx((r["v0"][0] + r["v1"][0]) / 2)
    assert not [row for row in metrics_csv.read(output) if row.item == "u0"]  # nothing to judge it by
    own = label_correlations(read, "reactions", ["t0", "t1"], "none")
    assert metric(output, "label_correlation") == own["label_correlation"] != own["label_correlation_first"]


def test_the_filter_of_the_run_is_that_of_its_labels(labels: Path, tmp_path: Path) -> None:
    outputs = {}
    for name in ("none", "median"):
        outputs[name] = tmp_path / f"{name}.csv"
        evaluate_run(run=RUN | {"label_filter": name}, labels=labels, predictions=predict(labels), output=outputs[name])
    assert metric(outputs["none"], "correlation") == metric(outputs["median"], "correlation")
    assert metric(outputs["none"], "label_correlation") != metric(outputs["median"], "label_correlation")


def test_a_prediction_of_another_shape_is_refused(labels: Path, tmp_path: Path) -> None:
    predictions = predict(labels, **{"reactions/official/0/v0": np.zeros((66, 2), np.float32)})
    with pytest.raises(InputError, match=r"has shape \(66, 2\), its label \(66, 3\)"):
        evaluate_run(run=RUN, labels=labels, predictions=predictions, output=tmp_path / "metrics.csv")
