"""Random and human rows on the real SumMe annotations."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from utopia import arrays
from utopia.evaluation.references import evaluate_reference
from utopia.outputs.results import measure

pytestmark = pytest.mark.shared


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
    evaluate_reference(reference=reference, labels=summe / f"{folds}.safetensors", run=run, output=output, draws=30)  # type: ignore[arg-type]
    found = measure([output], "importance", "f_score")
    assert found.value == pytest.approx(expected, abs=tolerance)
    assert found.n == (3 if reference == "random" else 1)
    assert (found.std is None) == (reference == "human")
