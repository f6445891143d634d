"""Random and human rows on the real SumMe annotations."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from utopia import arrays
from utopia.evaluation.references import evaluate_reference
from utopia.tables.results import over_repeats, repeat_means

pytestmark = [pytest.mark.shared, pytest.mark.long]


@pytest.fixture(scope="module")
def summe(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SumMe's 25 videos as a labels file: the five published splits, and one fold that tests all videos."""
    contents: dict[str, np.ndarray] = {}
    with h5py.File(shared_data / "summe" / "summe_labels.h5") as file:
        names = sorted(file, key=lambda name: int(name.split("_")[1]))
        for name in names:
            group = file[name]
            contents |= {f"{name}/{part}": group[part][()] for part in ("picks", "change_points", "user_summary")}
            contents[f"{name}/n_frames"] = np.array([group["n_frames"][()]])
            contents[f"{name}/importance"] = group["gtscore"][()].astype(np.float64)
            contents[f"{name}/importance.votes"] = group["user_summary"][()][:, group["picks"][()]].astype(np.float64)
            contents[f"{name}/times"] = group["picks"][()] / 25.0
    splits = json.loads((shared_data / "splits" / "summe_splits.json").read_text())
    folds = [{"name": str(i), "train": s["train_keys"], "test": s["test_keys"]} for i, s in enumerate(splits)]
    folder = tmp_path_factory.mktemp("summe")
    common = {"dataset": "summe", "protocol": "summary", "items": names, "absent": {}}
    common["targets"] = {"importance": {"low": 0.0, "high": 1.0}}
    arrays.save(folder / "splits.safetensors", contents, common | {"folds": folds})
    every = [{"name": "all", "train": [], "test": names}]
    arrays.save(folder / "all.safetensors", contents, common | {"folds": every})
    return folder


HOW = {"double_rounding": False, "constant": "zero"}
RUN = {"targets": ["importance"], "low": 0.0, "high": 1.0, "seed": 2307, "repeats": 3} | HOW


@pytest.mark.parametrize(
    ("reference", "folds", "expected", "tolerance"),
    [
        # On all 25 videos the literature has about 40 for random scores, about 54 for humans (maximum over users).
        ("random", "all", 40.5, 1.0),
        ("human", "all", 54.3, 0.05),
        # The five published splits test 18 of the 25 videos, some of them repeatedly.
        ("random", "splits", 44.7, 1.0),
        ("human", "splits", 55.1, 0.05),
    ],
)
def test_random_and_human_on_summe(
    summe: Path, tmp_path: Path, reference: str, folds: str, expected: float, tolerance: float
) -> None:
    run = RUN | {"id": f"summe.reference.{reference}"}
    output = tmp_path / "metrics.csv"
    evaluate_reference(
        reference=reference, labels=summe / f"{folds}.safetensors", run=run | {"random_draws": 10}, output=output
    )  # type: ignore[arg-type]
    found = over_repeats(repeat_means([output], "importance", "f_score"))
    assert found.value == pytest.approx(expected, abs=tolerance)
    assert found.n == (3 if reference == "random" else 1)
    assert (found.std is None) == (reference == "human")


def test_people_agree_half_as_well_with_one_another_as_with_their_mean(shared_data: Path, tmp_path: Path) -> None:
    """TVSum: two conventions go under one name. The field's literature has rho .204 (Otani et al., CVPR 2019) for each
    against each; each against the mean of the others gives about twice as much."""
    contents: dict[str, np.ndarray] = {}
    with h5py.File(shared_data / "tvsum" / "ydata-tvsum50.mat") as file:
        votes = [np.asarray(file[place][()], np.float64) for place in file["tvsum50/user_anno"][:, 0]]
    assert {len(of_users) for of_users in votes} == {20}
    for number, of_users in enumerate(votes):
        frames = of_users.shape[1]
        picks = np.arange(0, frames, 15)
        contents |= {
            f"v{number}/times": picks / 25.0,
            f"v{number}/importance": of_users[:, picks].mean(axis=0),
            f"v{number}/importance.votes": of_users[:, picks],
            f"v{number}/picks": picks,
            f"v{number}/n_frames": np.array([frames]),
            f"v{number}/change_points": np.array([[0, frames - 1]]),  # the F-score is not asked for here
            f"v{number}/user_summary": np.zeros((2, frames), np.uint8),
        }
    names = [f"v{number}" for number in range(len(votes))]
    facts = {"dataset": "tvsum", "protocol": "summary", "items": names, "absent": {}}
    facts |= {"targets": {"importance": {"low": 1.0, "high": 5.0}}}
    facts |= {"folds": [{"name": "all", "train": [], "test": names}]}
    arrays.save(tmp_path / "labels.safetensors", contents, facts)
    run = RUN | {"id": "tvsum.reference.human", "low": 1.0, "high": 5.0}
    evaluate_reference(reference="human", labels=tmp_path / "labels.safetensors", run=run, output=tmp_path / "m.csv")
    found = {
        name: over_repeats(repeat_means([tmp_path / "m.csv"], "importance", name)).value
        for name in ("spearman_users", "spearman")
    }
    assert found["spearman_users"] == pytest.approx(0.204, abs=0.0005)
    assert found["spearman"] == pytest.approx(0.396, abs=0.0005)
