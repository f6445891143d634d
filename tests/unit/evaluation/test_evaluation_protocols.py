"""evaluate_run on small labels files whose metrics are computed by hand, and its refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from utopia import arrays
from utopia.errors import InputError
from utopia.evaluation import metrics_csv
from utopia.evaluation.evaluated_item import RANK_METRICS, SERIES_METRICS
from utopia.evaluation.predictions import FORMAT, metadata
from utopia.evaluation.protocols import evaluate_run
from utopia.evaluation.references import evaluate_reference

FOLDS = [{"name": "0", "train": ["c"], "test": ["a", "b"]}]
HOW = {"double_rounding": False, "constant": "zero", "label_filter": "none"}
RUN = {"id": "liris.et.cwl", "targets": ["valence"], "repeats": 2, "low": -1.0, "high": 1.0, "seed": 3} | HOW


def meta(protocol: str, target: str, folds: list[dict[str, Any]], dataset: str = "liris") -> dict[str, Any]:
    return {
        "dataset": dataset,
        "protocol": protocol,
        "targets": {target: {"low": -1.0, "high": 1.0}},
        "items": ["a", "b", "c"],
        "folds": folds,
        "absent": {},
    }


@pytest.fixture
def affect(tmp_path: Path) -> Path:
    """Movies a (4 s) and b (2 s); a's predictions are judged by another label than it is trained on."""
    path = tmp_path / "labels.safetensors"
    contents = {
        "a/valence": np.array([9.0, 9, 9, 9]),
        "a/valence.evaluation": np.array([0.0, 1, 2, 3]),
        "b/valence": np.array([1.0, -1]),
        "c/valence": np.array([0.0, 1]),
        "b/valence.votes": np.array([[1.0, -1], [1, -1], [0, -1]]),
    }
    contents |= {f"{item}/times": np.arange(len(contents[f"{item}/valence"]), dtype=float) for item in "abc"}
    arrays.save(path, contents, meta("affect", "valence", FOLDS))
    return path


def predictions(path: Path, series: dict[str, list[float]], **more: Any) -> Path:
    contents = {name: np.array(values, np.float32) for name, values in series.items()}
    arrays.save(path, contents, {"folds": ["0"], "repeats": [0, 1], "targets": ["valence"]} | more)
    return path


GOOD: dict[str, list[float]] = {
    "valence/0/0/a": [0, 2, 2, 4],
    "valence/0/0/b": [0, 0],
    "valence/0/1/a": [0, 1, 2, 3],
    "valence/0/1/b": [1, -1],
}


def values(path: Path) -> dict[tuple[str, str, str, str], float]:
    return {(row.fold, row.repeat, row.item, row.metric): row.value for row in metrics_csv.read(path)}


def test_affect_by_hand(affect: Path, tmp_path: Path) -> None:
    output = tmp_path / "metrics.csv"
    evaluate_run(run=RUN, labels=affect, predictions=predictions(tmp_path / "p.safetensors", GOOD), output=output)
    found = values(output)
    assert output.read_text().splitlines()[0] == "target,fold,repeat,item,metric,value"
    # a: errors 0, 1, 0, 1; b: -1, 1. A constant prediction has correlation 0.
    r = 6 / np.sqrt(40)
    assert found["0", "0", "a", "mse"] == pytest.approx(0.5)
    assert found["0", "0", "b", "mse"] == pytest.approx(1.0)
    assert found["0", "0", "", "mse"] == pytest.approx(4 / 6)
    assert found["0", "0", "", "mse_item"] == pytest.approx(0.75)
    assert found["0", "0", "a", "rmse"] == pytest.approx(0.5**0.5)
    assert found["0", "0", "b", "rmse"] == pytest.approx(1.0)
    assert found["0", "0", "", "rmse"] == pytest.approx((4 / 6) ** 0.5)
    # The mean of roots, (0.7071 + 1) / 2, is neither the root of the mean nor that of the pooled error.
    assert found["0", "0", "", "rmse_item"] == pytest.approx(0.8535533905932737)
    assert found["0", "0", "a", "pcc"] == pytest.approx(r)
    assert found["0", "0", "b", "pcc"] == 0.0
    assert found["0", "0", "", "pcc"] == pytest.approx(r / 2)
    pooled = np.corrcoef([0, 2, 2, 4, 0, 0], [0, 1, 2, 3, 1, -1])[0, 1]
    assert found["0", "0", "", "pcc_pooled"] == pytest.approx(pooled)
    # Three annotators of b gave 1 and -1 five times and 0 once; a has no single votes, and no such distance.
    assert found["0", "0", "b", "wasserstein"] == found["0", "0", "", "wasserstein"] == pytest.approx(5 / 6)
    assert ("0", "0", "a", "wasserstein") not in found
    assert found["0", "1", "", "rmse"] == found["0", "1", "", "rmse_item"] == 0.0
    assert found["0", "1", "", "mse"] == 0.0 and found["0", "1", "", "pcc"] == pytest.approx(1.0)


def test_a_metric_is_added_in_one_place(
    affect: Path, summaries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run and of each row that needs no network, for items and replicas (docs/extending.md)."""

    def furthest(prediction: ArrayLike, label: ArrayLike) -> float:
        return float(np.abs(np.asarray(prediction) - np.asarray(label)).max())

    monkeypatch.setitem(SERIES_METRICS, "furthest", furthest)
    monkeypatch.setitem(RANK_METRICS, "furthest", furthest)
    output = tmp_path / "metrics.csv"
    evaluate_run(run=RUN, labels=affect, predictions=predictions(tmp_path / "p.safetensors", GOOD), output=output)
    found = values(output)
    assert [found["0", "0", item, "furthest"] for item in ("a", "b", "")] == [1.0, 1.0, 1.0]
    evaluate_reference(reference="oracle", run=RUN, labels=affect, output=output)
    # The labels that a is trained on are 9 everywhere, and it is judged by 0, 1, 2, 3.
    assert [values(output)["0", "0", item, "furthest"] for item in ("a", "b", "")] == [9.0, 0.0, 4.5]
    stored = arrays.load(affect)
    votes = {f"{item}/valence.votes": np.array([[0.0, 1], [0, -1], [0, 0]]) for item in "ab"}
    arrays.save(affect, dict(stored) | votes, stored.meta)
    evaluate_reference(reference="human", run=RUN, labels=affect, output=output)
    # Each against the mean of the other two: 1.5, 1.5 and 0 at the second time.
    assert values(output)["0", "0", "", "furthest"] == pytest.approx(1.0)
    arrays.save(affect, dict(stored), stored.meta | {"folds": []})
    evaluate_reference(reference="human", run=RUN, labels=affect, output=output)
    assert "furthest" in {row.metric for row in metrics_csv.read(output) if metrics_csv.is_hole(row)}
    run = RUN | {"targets": ["importance"], "low": 0.0, "high": 1.0, "id": "summe.reference.oracle"}
    evaluate_reference(reference="oracle", run=run, labels=summaries, output=output)
    assert ("0", "0", "", "furthest") in values(output)


def test_same_input_same_bytes(affect: Path, tmp_path: Path) -> None:
    stored = predictions(tmp_path / "p.safetensors", GOOD)
    for name in ("one.csv", "two.csv"):
        evaluate_run(run=RUN, labels=affect, predictions=stored, output=tmp_path / name)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"valence/0/1/a": None, "valence/0/1/b": None}, "1 repeat instead of 2"),
        ({"valence/0/1/b": None}, "valence/0/1 has other items: b"),
        ({"valence/0/0/a": [0, 1, 2]}, r"valence/0/0/a has shape \(3,\), its label \(4,\)"),
        ({"valence/0/0/a": [0, 1, 2, np.nan]}, "valence/0/0/a holds values that are not finite"),
        ({"valence/9/0/a": [0, 1, 2, 3]}, "valence/9 is not part of the run"),
    ],
)
def test_refuses_holes(affect: Path, tmp_path: Path, change: dict[str, Any], says: str) -> None:
    series = {name: found for name, found in (GOOD | change).items() if found is not None}
    output = tmp_path / "metrics.csv"
    with pytest.raises(InputError, match=says):
        evaluate_run(run=RUN, labels=affect, predictions=predictions(tmp_path / "p.safetensors", series), output=output)
    assert not output.exists()


def test_refuses_an_item_that_the_fold_trains_on(affect: Path, tmp_path: Path) -> None:
    series = GOOD | {"valence/0/0/c": [0, 1], "valence/0/1/c": [0, 1]}
    stored = predictions(tmp_path / "p.safetensors", series)
    with pytest.raises(InputError, match="items that it does not test: c"):
        evaluate_run(run=RUN, labels=affect, predictions=stored, output=tmp_path / "m.csv")


def test_folds_may_be_restricted_to_items_with_features(affect: Path, tmp_path: Path) -> None:
    series = {name: found for name, found in GOOD.items() if name.endswith("a")}
    stored = predictions(tmp_path / "p.safetensors", series)
    evaluate_run(run=RUN, labels=affect, predictions=stored, output=tmp_path / "m.csv")
    assert values(tmp_path / "m.csv")["0", "0", "", "mse"] == pytest.approx(0.5)


@pytest.fixture
def summaries(tmp_path: Path) -> Path:
    """Two videos of 40 frames in ten shots of 4; capacity 6 frames: the best shot alone."""
    path = tmp_path / "summaries.safetensors"
    shots = np.array([[first, first + 3] for first in range(0, 40, 4)])
    users = np.zeros((3, 40), np.uint8)
    users[0, 28:32] = 1
    users[1, 28:36] = 1
    users[2, :4] = 1
    contents: dict[str, np.ndarray] = {}
    for item in ("a", "b"):
        contents |= {
            f"{item}/times": np.arange(10.0),
            f"{item}/importance": np.linspace(0, 1, 10),
            f"{item}/importance.votes": np.array([np.linspace(0, 1, 10), np.linspace(0, 1, 10) ** 2]),
            f"{item}/picks": np.arange(0, 40, 4),
            f"{item}/change_points": shots,
            f"{item}/user_summary": users,
            f"{item}/n_frames": np.array([40]),
        }
    folds = [{"name": "0", "train": ["b"], "test": ["a"]}, {"name": "1", "train": ["a"], "test": ["b"]}]
    arrays.save(path, contents, meta("summary", "importance", folds, dataset="summe"))
    return path


def _summary_run(summaries: Path, tmp_path: Path, dataset: str) -> dict[tuple[str, str, str, str], float]:
    file = arrays.load(summaries)
    labels = tmp_path / f"{dataset}.safetensors"
    arrays.save(labels, dict(file), file.meta | {"dataset": dataset})
    scores = np.zeros(10, np.float32)
    scores[7], scores[8] = 0.9, 0.5
    stored = tmp_path / "p.safetensors"
    arrays.save(stored, {"importance/0/0/a": scores, "importance/1/0/b": scores}, {"folds": ["0", "1"]})
    run = RUN | {"targets": ["importance"], "repeats": 1, "id": f"{dataset}.et.cwl"}
    evaluate_run(run=run, labels=labels, predictions=stored, output=tmp_path / "m.csv")
    return values(tmp_path / "m.csv")


def test_summaries_by_hand(summaries: Path, tmp_path: Path) -> None:
    """Shot 7 (frames 28..31) is taken: F against the users is 100, 2 * 4 / (4 + 8) and 0."""
    summe = _summary_run(summaries, tmp_path, "summe")
    assert summe["0", "0", "a", "f_score"] == summe["0", "0", "", "f_score"] == pytest.approx(100)
    tvsum = _summary_run(summaries, tmp_path, "tvsum")
    assert tvsum["1", "0", "b", "f_score"] == pytest.approx((100 + 200 / 3) / 3)
    # The mean vote ascends: ranks 8 and 9 of 10 hold the only two scores that are not 0.
    assert summe["0", "0", "", "spearman"] > 0 and summe["0", "0", "", "kendall"] > 0


def test_missing_shots_are_named(summaries: Path, tmp_path: Path) -> None:
    file = arrays.load(summaries)
    labels = tmp_path / "bare.safetensors"
    arrays.save(labels, {name: file[name] for name in file if "change_points" not in name}, file.meta)
    run = RUN | {"targets": ["importance"], "id": "summe.reference.random"}
    with pytest.raises(InputError, match="no shots"):
        evaluate_reference(reference="random", run=run, labels=labels, output=tmp_path / "m.csv")


def test_references_by_hand(summaries: Path, affect: Path, tmp_path: Path) -> None:
    run = RUN | {"targets": ["importance"], "low": 0.0, "high": 1.0, "id": "summe.reference.human"}
    evaluate_reference(reference="human", run=run, labels=summaries, output=tmp_path / "m.csv")
    found = values(tmp_path / "m.csv")
    # F between users: (0,1) = 2*4/12 = 2/3, the third shares nothing; maxima 2/3, 2/3, 0.
    assert found["0", "0", "", "f_score"] == pytest.approx(100 * 4 / 9)
    assert ("0", "1", "", "f_score") not in found
    evaluate_reference(reference="oracle", run=run, labels=summaries, output=tmp_path / "m.csv")
    # The labels ascend: the last shot is chosen, which no user has.
    assert values(tmp_path / "m.csv")["0", "0", "", "f_score"] == 0
    assert values(tmp_path / "m.csv")["0", "0", "", "kendall"] == pytest.approx(1)

    evaluate_reference(reference="oracle", run=RUN, labels=affect, output=tmp_path / "m.csv")
    assert values(tmp_path / "m.csv")["0", "0", "a", "mse"] == pytest.approx((81 + 64 + 49 + 36) / 4)
    assert values(tmp_path / "m.csv")["0", "0", "b", "mse"] == 0
    with pytest.raises(InputError, match="a has no votes"):
        evaluate_reference(reference="human", run=RUN, labels=affect, output=tmp_path / "m.csv")


def test_one_annotator_is_nobody_to_agree_with(summaries: Path, tmp_path: Path) -> None:
    file = arrays.load(summaries)
    run = RUN | {"targets": ["importance"], "low": 0.0, "high": 1.0, "id": "summe.reference.human"}
    for name, kept in (("user_summary", 1), ("importance.votes", 1)):
        contents = dict(file) | {f"b/{name}": file[f"b/{name}"][:kept]}
        arrays.save(tmp_path / "one.safetensors", contents, file.meta)
        with pytest.raises(InputError, match=r"b has the (summary|votes) of one .*none is left") as caught:
            evaluate_reference(
                reference="human", run=run, labels=tmp_path / "one.safetensors", output=tmp_path / "m.csv"
            )
        assert "what to do" in str(caught.value)


def test_random_scores_are_seeded_and_uniform(affect: Path, tmp_path: Path) -> None:
    run = RUN | {"id": "liris.reference.random"}
    for name in ("one.csv", "two.csv"):
        evaluate_reference(reference="random", run=run | {"random_draws": 400}, labels=affect, output=tmp_path / name)
    evaluate_reference(
        reference="random", run=run | {"seed": 4, "random_draws": 400}, labels=affect, output=tmp_path / "other.csv"
    )
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    found = values(tmp_path / "one.csv")
    assert found != values(tmp_path / "other.csv")
    assert found["0", "0", "", "mse"] != found["0", "1", "", "mse"]
    # E (u - y)^2 = y^2 + 1/3 for u uniform on [-1, 1]; b's labels are 1 and -1.
    assert found["0", "0", "b", "mse"] == pytest.approx(4 / 3, abs=0.12)
    assert found["0", "0", "", "pcc"] == pytest.approx(0, abs=0.1)


def test_files_that_call_a_repeat_a_seed_are_read(tmp_path: Path) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    lines = "v,0,1,a,mse,0.5\nv,0,1,,mse,0.5\n"
    old.write_text(f"target,fold,seed,item,metric,value\n{lines}")
    new.write_text(f"target,fold,repeat,item,metric,value\n{lines}")
    assert metrics_csv.read(old) == metrics_csv.read(new)
    metrics_csv.write(old, metrics_csv.read(old))
    assert old.read_bytes() == new.read_bytes()

    arrays.save(tmp_path / "p.safetensors", {}, {"run": "r", "folds": ["0"], "seeds": [0, 1]})
    read = metadata(arrays.load(tmp_path / "p.safetensors"))
    assert read == {"run": "r", "folds": ["0"], "repeats": [0, 1], "format": 1}
    arrays.save(tmp_path / "p.safetensors", {}, {"format": FORMAT + 1, "folds": ["0"]})
    with pytest.raises(InputError, match=rf"of format {FORMAT + 1}, and this version reads up to {FORMAT}"):
        metadata(arrays.load(tmp_path / "p.safetensors"))


def test_metrics_file_round_trip(tmp_path: Path) -> None:
    made = [
        metrics_csv.MetricRow("v", "0", "0", "", "mse", 0.1 + 0.2),
        metrics_csv.MetricRow("v", "0", "0", 'a "quoted", name', "mse", 1e-300),
    ]
    metrics_csv.write(tmp_path / "m.csv", made)
    assert metrics_csv.read(tmp_path / "m.csv") == made
    (tmp_path / "m.csv").write_text("target,fold,repeat,item,metric,value\nv,0,0,,mse,high\n")
    with pytest.raises(InputError, match=r"m.csv:2: not a metric"):
        metrics_csv.read(tmp_path / "m.csv")
    (tmp_path / "m.csv").write_text("a,b\n")
    with pytest.raises(InputError, match="not a metrics file"):
        metrics_csv.read(tmp_path / "m.csv")
