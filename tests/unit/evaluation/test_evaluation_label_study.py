"""The study of labels: planted truth, measures recomputed with SciPy, holes that say why, and the pilot's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import gaussian_kde, wasserstein_distance

from utopia import arrays
from utopia.evaluation import label_study, metrics_csv
from utopia.evaluation.label_study import BINS, ESTIMATORS, compare, complete, histograms, study_labels
from utopia.inputs.manifest import list_inputs
from utopia.labels.build import build_labels
from utopia.tables.cells import Results, build

RUN = {"targets": ["x"], "low": 0.0, "high": 1.0, "seed": 7, "repeats": 2, "label_draws": 4}


def write(folder: Path, votes: Mapping[str, np.ndarray | None]) -> Path:
    contents = {f"{item}/x.votes": each for item, each in votes.items() if each is not None}
    meta = {"dataset": "toy", "targets": {"x": {"low": 0.0, "high": 1.0}}, "items": list(votes), "folds": []}
    arrays.save(folder / "labels.safetensors", contents, meta)
    return folder / "labels.safetensors"


def planted(annotators: int, frames: int, seed: int, *, error: float = 0.12) -> np.ndarray:
    rng = np.random.default_rng(seed)
    bias = rng.normal(0, 0.005, (annotators, 1))
    return np.clip(rng.normal(0.5, 0.09, frames) + bias + rng.normal(0, error, (annotators, frames)), 0, 1)


def studied(folder: Path, votes: Mapping[str, np.ndarray | None], **more: Any) -> dict[tuple[str, str, str], float]:
    """Seed, item and metric -> value."""
    study_labels(labels=write(folder, votes), run=RUN | more, output=folder / "metrics.csv")
    return {(row.repeat, row.item, row.metric): row.value for row in metrics_csv.read(folder / "metrics.csv")}


def test_on_planted_truth_calibration_is_nearer_than_labels_and_any_convolution(tmp_path: Path) -> None:
    found = studied(tmp_path, {f"v{number}": planted(30, 400, number) for number in range(4)})
    of = {name: found["0", "", f"w1.b20.k3.{name}"] for name in ESTIMATORS}
    assert of["calibrated"] < 0.5 * of["as_is"]
    assert of["calibrated"] < of["ulda_best"]
    assert of["ulda_best"] <= of["ulda"]
    assert of["as_is"] <= of["ulda"]  # it can only widen what is too wide
    for k in (2, 3, 5, 10):  # more annotators, less to be made up for
        assert found["0", "", f"w1.b20.k{k}.as_is"] < found["0", "", "w1.b20.k1.as_is"]
    settings = [value for (_, _, name), value in found.items() if name.startswith("w1.b20.k3.ulda.")]
    assert len(settings) == 16
    assert np.mean([found[seed, "", "w1.b20.k3.ulda_best"] for seed in "01"]) == pytest.approx(min(settings))


def test_one_annotator_leaves_nothing_to_calibrate(tmp_path: Path) -> None:
    found = studied(tmp_path, {f"v{number}": planted(12, 60, number) for number in range(2)})
    for measure in ("pcc", "w1"):
        assert found["0", "v0", f"{measure}.b10.k1.calibrated"] == found["0", "v0", f"{measure}.b10.k1.as_is"]


def test_measures_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, 9, (2, 5, 12)).astype(float)
    found = compare(one, two, 0.25)
    places = np.arange(12) * 0.25
    for draw in range(5):
        assert found["w1"][draw] == pytest.approx(wasserstein_distance(places, places, one[draw], two[draw]))
        assert found["pcc"][draw] == pytest.approx(np.corrcoef(one[draw], two[draw])[0, 1])
    assert compare(np.ones(4), np.arange(4.0), 1.0)["pcc"] == 0


def test_everything_of_a_video_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One video, k = 3: labels, others, histograms, kernel density and means over draws, all written out."""
    votes = planted(7, 50, 3)
    seen: list[label_study.VotedItem] = []
    usable = label_study.usable
    monkeypatch.setattr(label_study, "usable", lambda *args: (seen.extend(usable(*args)[0]) or list(seen), {}))
    found = studied(tmp_path, {"v": votes})
    edges = np.linspace(0, 1, 11)
    wide = edges.copy()
    wide[[0, -1]] = -9, 9
    values = {"as_is": [], "kde": []}
    for order in seen[0].order[4:]:  # the draws of the second repeat
        label, others = votes[order[:3]].mean(axis=0), votes[order[3:]].mean(axis=0)
        utopia, as_is = np.histogram(others, edges)[0], np.histogram(label, edges)[0]
        density = gaussian_kde(label)
        kde = [density.integrate_box_1d(low, high) for low, high in pairwise(wide)]
        values["as_is"].append(np.corrcoef(as_is, utopia)[0, 1])
        values["kde"].append(np.corrcoef(kde, utopia)[0, 1])
    for name, each in values.items():
        assert found["1", "v", f"pcc.b10.k3.{name}"] == pytest.approx(np.mean(each))


def test_pooled_values_are_of_summed_histograms(tmp_path: Path) -> None:
    votes = {"a": planted(6, 40, 1), "b": planted(6, 80, 2)}
    found = studied(tmp_path, votes, label_draws=1, repeats=1)
    low, value, high = (found["0", "", f"pooled_w1.b10.k2.as_is{end}"] for end in (".low", "", ".high"))
    assert low <= value <= high
    alone = studied(tmp_path, {"a": votes["a"]}, label_draws=1, repeats=1)
    assert alone["0", "", "pooled_w1.b10.k2.as_is"] == pytest.approx(alone["0", "a", "w1.b10.k2.as_is"])
    assert ("0", "", "pooled_w1.b10.k2.as_is.low") not in alone  # one video has no spread


def test_equal_inputs_give_equal_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    votes = {"a": planted(6, 40, 1)}
    texts = []
    for seed in (1, 1, 2):
        studied(tmp_path, votes, seed=seed)
        texts.append((tmp_path / "metrics.csv").read_bytes())
    assert texts[0] == texts[1] != texts[2]


def test_histograms_count_each_series_apart() -> None:
    labels = np.array([[0.05, 0.15, 0.15], [0.95, 1.0, 0.0]])
    setting = label_study.setting_of(10, RUN)
    found = histograms(labels, setting)
    assert found[0].tolist() == [1, 2, *[0] * 8]
    assert found[1].tolist() == [1, *[0] * 8, 2]


def test_votes_with_holes_are_used_as_far_as_they_go() -> None:
    votes = planted(4, 10, 0)
    votes[3, :6] = np.nan  # saw less than half of it
    votes[0, 2] = np.nan
    kept = complete(votes)
    assert kept.shape == (3, 9)
    assert np.isfinite(kept).all()
    assert complete(np.full((3, 5), np.nan)).shape[0] == 0
    assert complete(np.empty((0, 5))).shape[0] == 0


@pytest.mark.parametrize(
    ("votes", "k", "says"),
    [
        (planted(1, 30, 0), 1, "no video has more than 1 annotator: with 1 behind the label nobody is left"),
        (planted(5, 30, 0), 5, "no video has more than 5 annotators: with 5 behind the label"),
        (planted(5, 30, 0), 10, "no video has more than 5 annotators: with 10 behind the label"),
        (None, 1, "has no votes of single annotators"),
        (np.full((5, 30), np.nan), 1, "fewer than 2 frames"),
        (planted(5, 1, 0), 1, "fewer than 2 frames"),
    ],
)
def test_what_cannot_be_studied_is_a_hole_of_the_table_with_its_reason(
    tmp_path: Path, votes: np.ndarray | None, k: int, says: str
) -> None:
    studied(tmp_path, {"v": votes})
    column = {"id": "c", "title": "", "target": "x", "metric": "w1", "decimals": 3, "better": "lower"}
    names = ("as_is", "calibrated")
    table_rows = [
        {
            "id": name,
            "title": name,
            "runs": {"c": "r"},
            "as": {"c": {"metric": f"w1.b10.k{k}.{name}"}},
            "against": None if name == "as_is" else "as_is",
        }
        for name in names
    ]
    table = {"id": "t", "seed": 1, "columns": [column], "rows": table_rows}
    cells = build(table, Results({"r": tmp_path / "metrics.csv"}, {}))
    assert [cell.status for cell in cells] == ["absent", "absent"]
    assert all(says in cell.reason for cell in cells)


def test_a_row_is_compared_with_the_other_measure_of_the_same_run(tmp_path: Path) -> None:
    found = studied(tmp_path, {f"v{number}": planted(12, 60, number) for number in range(4)})
    column = {"id": "c", "title": "", "target": "x", "metric": "w1", "decimals": 3, "better": "lower"}
    table_rows = [
        {"id": name, "title": name, "runs": {"c": "r"}, "as": {"c": {"metric": f"w1.b10.k2.{name}"}}, "against": other}
        for name, other in (("as_is", None), ("kde", "as_is"))
    ]
    cells = build(
        {"id": "t", "seed": 1, "columns": [column], "rows": table_rows}, Results({"r": tmp_path / "metrics.csv"}, {})
    )
    mean = {name: np.mean([found[seed, "", f"w1.b10.k2.{name}"] for seed in "01"]) for name in ("as_is", "kde")}
    assert cells[1].value == pytest.approx(mean["kde"])
    assert cells[1].difference == pytest.approx(mean["kde"] - mean["as_is"])
    assert cells[1].difference_low is not None


def test_constant_votes_are_studied(tmp_path: Path) -> None:
    votes = np.repeat([[0.2], [0.4], [0.6], [0.8]], 20, axis=1)
    found = studied(tmp_path, {"a": votes, "b": votes})
    own = [value for (seed, item, _), value in found.items() if seed and not item]
    assert own
    assert np.isfinite(own).all()


@pytest.mark.long
@pytest.mark.shared
def test_the_pilot_on_tvsum(tmp_path: Path, shared_data: Path) -> None:
    """b = 10, k = 3: labels .61 / .061, ULDA .80 / .059; calibrated is nearer than both (PCC / W1)."""
    where = {"dataset": "tvsum", "folder": shared_data / "tvsum", "options": {}}
    list_inputs(**where, output=tmp_path / "manifest.json")
    labels = tmp_path / "labels.safetensors"
    build_labels(**where, manifest=tmp_path / "manifest.json", distribution={"low": 0.0, "high": 1.0}, output=labels)
    run = RUN | {"targets": ["importance"], "repeats": 1}
    study_labels(labels=labels, run=run, output=tmp_path / "metrics.csv")
    own = {row.metric: row.value for row in metrics_csv.read(tmp_path / "metrics.csv") if not row.item}
    assert own["pcc.b10.k3.as_is"] == pytest.approx(0.61, abs=0.03)
    assert own["w1.b10.k3.as_is"] == pytest.approx(0.061, abs=0.004)
    assert own["pcc.b10.k3.ulda"] == pytest.approx(0.80, abs=0.03)
    assert own["w1.b10.k3.ulda"] == pytest.approx(0.059, abs=0.004)
    assert own["w1.b10.k3.calibrated"] < 0.052
    assert own["pcc.b100.k10.as_is"] == pytest.approx(0.75, abs=0.04)
    assert own["pcc.b100.k10.ulda"] == pytest.approx(0.43, abs=0.04)
    assert len([name for name in own if name.startswith("w1.b")]) == len(BINS) * 5 * (len(ESTIMATORS) + 16)
