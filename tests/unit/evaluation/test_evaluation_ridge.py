"""The ridge regression: against least squares on rows made longer by the penalty, and what it may know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utopia.config.load import load
from utopia.datasets import studyforrest
from utopia.errors import InputError
from utopia.evaluation import metrics_csv, ridge
from utopia.evaluation.references import evaluate_reference
from utopia.features.precomputed import import_features
from utopia.inputs.manifest import list_inputs
from utopia.labels.build import build_labels
from utopia.plan.availability import EMBEDDED
from utopia.plan.plan import Plan

FOLDER = EMBEDDED / "studyforrest"


def least_squares(x: np.ndarray, y: np.ndarray, new: np.ndarray, alpha: float) -> np.ndarray:
    """The oracle: a penalty is as many more rows as there are features, whose label is 0."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    rows = np.concatenate([(x - mean) / deviation, np.sqrt(alpha) * np.eye(x.shape[1])])
    weights = np.linalg.lstsq(rows, np.concatenate([y - y.mean(), np.zeros(x.shape[1])]), rcond=None)[0]
    return (new - mean) / deviation @ weights + y.mean()


def drawn(items: int, width: int = 5, seed: int = 0) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=width)
    x = {f"item_{number}": rng.normal(1.5, 2, (40 + number, width)) for number in range(items)}
    return x, {name: rows @ weights + rng.normal(size=len(rows)) for name, rows in x.items()}


@pytest.mark.parametrize("items", [2, 7, 23])
def test_the_penalty_and_the_map_are_those_of_least_squares(items: int) -> None:
    x, y = drawn(items)
    train = list(x)
    groups = [train[start::10] for start in range(min(items, 10))]
    errors = []
    for alpha in ridge.ALPHAS:
        error = 0.0
        for group in groups:
            rest = [name for name in train if name not in group]
            for name in group:
                guess = least_squares(np.concatenate([x[r] for r in rest]), np.concatenate([y[r] for r in rest]),
                                      x[name], alpha)  # fmt: skip
                error += float(((guess - y[name]) ** 2).sum())
        errors.append(error)
    model = ridge.fit(x, y, train)
    assert model.alpha == ridge.ALPHAS[int(np.argmin(errors))]
    new = np.random.default_rng(9).normal(size=(6, 5))
    every = least_squares(np.concatenate(list(x.values())), np.concatenate(list(y.values())), new, model.alpha)
    assert model.predict(new) == pytest.approx(every, abs=1e-9)


def test_where_features_say_nothing_it_predicts_the_mean() -> None:
    x, y = drawn(6)
    rng = np.random.default_rng(4)
    noise = {name: rng.normal(size=rows.shape) for name, rows in x.items()}
    guess = ridge.fit(noise, y, list(x)).predict(rng.normal(size=(500, 5)))
    assert guess.std() < 0.1 * np.concatenate(list(y.values())).std()


def test_a_feature_that_does_not_vary_does_no_harm() -> None:
    x, y = drawn(4)
    still = {name: np.concatenate([rows, np.full((len(rows), 1), 7.0)], axis=1) for name, rows in x.items()}
    without, with_it = ridge.fit(x, y, list(x)), ridge.fit(still, y, list(x))
    assert with_it.predict(still["item_0"]) == pytest.approx(without.predict(x["item_0"]))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """Labels, the index of features, and what the reference is given."""
    root = tmp_path_factory.mktemp("studyforrest")
    plan = Plan(load({"study": "open"}))
    run = plan.runs["studyforrest.reference.ridge"]
    manifest, labels = root / "manifest.json", root / "labels.safetensors"
    list_inputs(dataset="studyforrest", folder=FOLDER, options={}, output=manifest)
    limits = {"low": -1.0, "high": 1.0}
    build_labels(
        dataset="studyforrest", manifest=manifest, folder=FOLDER, options={}, distribution=limits, output=labels
    )
    index = root / "features" / "studyforrest" / "confounds.json"
    import_features(
        manifest=manifest,
        root=FOLDER,
        feature="studyforrest_confounds",
        settings=plan.study.features["studyforrest_confounds"].model_dump(mode="json"),  # type: ignore[attr-defined]
        source=FOLDER / "confounds_1hz.csv",
        store=root / "features" / "store",
        output=index,
    )
    return labels, index, {**run.settings, "double_rounding": False, "constant": "zero", "repeats": 2}


class TestOnStudyforrest:
    """The data set in the box, from its files to the metrics."""

    def metrics(self, made: tuple[Path, Path, dict[str, Any]], output: Path) -> dict[tuple[str, str, str, str], float]:
        labels, index, run = made
        evaluate_reference(reference="ridge", labels=labels, run=run, output=output, features=[index])
        rows = metrics_csv.read(output)
        return {(row.target, row.fold, row.repeat, row.metric): row.value for row in rows if not row.item}

    def test_it_finds_arousal_and_no_valence(self, made: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
        values = self.metrics(made, tmp_path / "m.csv")
        pcc = {
            target: np.mean([values[target, str(fold), "0", "pcc"] for fold in range(8)])
            for target in studyforrest.TARGETS
        }
        assert pcc["arousal"] == pytest.approx(0.339, abs=0.001) and -0.15 < pcc["valence"] < 0.05
        # every repeat has the same numbers
        assert all(values[key] == values[(*key[:2], "1", key[3])] for key in values if key[2] == "0")

    def test_its_numbers_are_those_of_the_oracle(self, made: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
        from utopia.datasets._common import Limits

        values = self.metrics(made, tmp_path / "m.csv")
        located = studyforrest.locate(FOLDER, studyforrest.Config())
        items = studyforrest.items(located, studyforrest.Config())
        read = [studyforrest.read_labels(located, item, studyforrest.Config(), Limits(-1, 1)) for item in items]
        table = np.genfromtxt(FOLDER / "confounds_1hz.csv", delimiter=",", skip_header=1, dtype=None, encoding="utf-8")
        x = [np.array([list(row)[2:] for row in table if row[0] == item.id]) for item in items]
        for fold in (1, 7):
            rest = [number for number in range(8) if number != fold]
            y = np.concatenate([read[number].labels["arousal"] for number in rest])
            guess = least_squares(np.concatenate([x[number] for number in rest]), y, x[fold], 100.0)
            truth = read[fold].labels["arousal"]
            assert values["arousal", str(fold), "0", "pcc"] == pytest.approx(np.corrcoef(guess, truth)[0, 1], abs=1e-5)
            assert values["arousal", str(fold), "0", "mse"] == pytest.approx(((guess - truth) ** 2).mean(), abs=1e-5)

    def test_without_features_it_says_so(self, made: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
        labels, _, run = made
        with pytest.raises(InputError, match="in no fold have two training items and a test item features"):
            evaluate_reference(reference="ridge", labels=labels, run=run, output=tmp_path / "m.csv")

    def test_a_data_set_without_features_or_of_reactions_has_a_hole(self, tmp_path: Path) -> None:
        plan = Plan(load({"study": "miniature"}))
        from utopia.plan.catalog import RunChoice

        plan.add_run("eev", RunChoice(reference="ridge"), {}, "here")
        assert "no single number" in plan.absent_runs["eev.reference.ridge"]
        run = plan.add_run("liris", RunChoice(reference="ridge"), {}, "here")
        assert run.features and run.id in plan.runs
