"""Labels of some annotators, judged by others: who is drawn, what the labels are, and every case of too few votes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utopia import arrays
from utopia.distribution.approximate import approximate_distribution
from utopia.evaluation.evaluated_item import read_evaluated_item
from utopia.evaluation.metrics_csv import is_hole, read
from utopia.evaluation.references import evaluate_reference
from utopia.labels.choose import choose_annotators
from utopia.labels.read import Labels

SETTINGS = {"bins": 10, "low": -1.0, "high": 1.0, "delta": 0.3, "sigma": 0.1, "estimator": "oracle"}
RUN = {"id": "r", "targets": ["y"], "low": -1.0, "high": 1.0, "seed": 5, "repeats": 1, "double_rounding": False,
       "constant": "zero"}  # fmt: skip


def votes(annotators: int, steps: int, number: int = 0) -> np.ndarray:
    """Votes [A, T] that tell annotators and steps apart."""
    return np.random.default_rng(number).uniform(-1, 1, (annotators, steps))


def base(folder: Path, given: dict[str, np.ndarray | None], **meta: Any) -> Path:
    """A labels file of single items' votes [A, T] (None: of labels alone), each tested once."""
    contents: dict[str, np.ndarray] = {}
    for item, votes_AT in given.items():
        steps = 5 if votes_AT is None else votes_AT.shape[1]
        contents[f"{item}/times"] = np.arange(float(steps))
        contents[f"{item}/y"] = np.zeros(steps) if votes_AT is None else np.nan_to_num(votes_AT).mean(axis=0)
        if votes_AT is not None:
            contents[f"{item}/y.votes"] = votes_AT
    names = list(given)
    folds = [{"name": item, "train": [x for x in names if x != item], "test": [item]} for item in names]
    known = {"dataset": "toy", "protocol": "affect", "targets": {"y": {"low": -1.0, "high": 1.0}}, "items": names,
             "folds": folds, "absent": {}, "annotators": {}, "notes": {}, "dropped_folds": []} | meta  # fmt: skip
    arrays.save(folder / "labels.safetensors", contents, known)
    return folder / "labels.safetensors"


def chosen(folder: Path, labels: Path, seed: int = 3, **choice: Any) -> Labels:
    output = folder / ("chosen." + ",".join(f"{name}={value}" for name, value in choice.items()) + ".safetensors")
    choose_annotators(labels=labels, choice=choice, seed=seed, output=output)
    return Labels(output)


def test_labels_and_judges_are_the_means_of_the_annotators_that_are_named(tmp_path: Path) -> None:
    given = {name: votes(9, 20, number) for number, name in enumerate("abc")}
    found = chosen(tmp_path, base(tmp_path, given), annotators=3, judges=4)
    for item, votes_AT in given.items():
        behind, judges = found.meta["annotators"][item], found.meta["judges"][item]
        assert len(behind) == 3 and len(judges) == 4 and not set(behind) & set(judges)
        np.testing.assert_allclose(found.label(item, "y"), sum(votes_AT[a] for a in behind) / 3)
        np.testing.assert_allclose(found.evaluation(item, "y"), sum(votes_AT[a] for a in judges) / 4)
        np.testing.assert_array_equal(found.votes(item, "y"), votes_AT)
        np.testing.assert_array_equal(found.judging_votes(item, "y"), votes_AT[judges])
    assert len({tuple(found.meta["judges"][item]) for item in given}) > 1, "each item draws its own"


def test_three_and_all_the_others_have_the_same_judges(tmp_path: Path) -> None:
    labels = base(tmp_path, {name: votes(9, 20, number) for number, name in enumerate("abc")})
    three, others = chosen(tmp_path, labels, annotators=3, judges=4), chosen(tmp_path, labels, judges=4)
    assert three.meta["judges"] == others.meta["judges"]
    for item in "abc":
        behind = others.meta["annotators"][item]
        assert sorted(behind + others.meta["judges"][item]) == list(range(9))
        assert set(three.meta["annotators"][item]) < set(behind)
    assert chosen(tmp_path, labels, seed=4, judges=4).meta["judges"] != others.meta["judges"]


def test_without_judges_the_own_label_judges(tmp_path: Path) -> None:
    given = {name: votes(6, 20, number) for number, name in enumerate("ab")}
    found = chosen(tmp_path, base(tmp_path, given), annotators=2)
    np.testing.assert_allclose(found.evaluation("a", "y"), given["a"].mean(axis=0))
    assert found.meta["judges"] == {}


def test_the_oracle_is_the_histogram_of_those_who_judge(tmp_path: Path) -> None:
    given = {name: votes(9, 50, number) for number, name in enumerate("ab")}
    found = chosen(tmp_path, base(tmp_path, given), annotators=3, judges=2)
    approximate_distribution(labels=found.path, settings=SETTINGS, window=10, output=tmp_path / "d.safetensors")
    stored = arrays.load(tmp_path / "d.safetensors")
    for item, votes_AT in given.items():
        first, second = found.meta["judges"][item]
        by_hand, _ = np.histogram((votes_AT[first] + votes_AT[second]) / 2, np.linspace(-1, 1, 11))
        np.testing.assert_array_equal(stored[f"{item}/y/utopia_count"], by_hand)


def test_summaries_and_votes_that_judge_are_those_of_the_judges(tmp_path: Path) -> None:
    votes_AT = votes(5, 4)
    path = base(tmp_path, {"a": votes_AT, "b": votes(5, 4, 1)}, protocol="summary")
    old = arrays.load(path)
    summaries = np.eye(5, 60, dtype=np.uint8)
    shots = {"picks": np.arange(0, 60, 15), "n_frames": np.array([60]), "change_points": np.array([[0, 29], [30, 59]])}
    more = {f"{item}/{name}": values for item in "ab" for name, values in (shots | {"user_summary": summaries}).items()}
    arrays.save(path, {name: old[name] for name in old} | more, old.meta)
    found = chosen(tmp_path, path, annotators=2, judges=2)
    judges = found.meta["judges"]["a"]
    own = read_evaluated_item(found, "y", "a", "zero")
    assert own.shots is not None and own.votes is not None and own.consensus is not None
    np.testing.assert_array_equal(own.shots.user_summary, summaries[judges])
    np.testing.assert_array_equal(own.votes, votes_AT[judges])
    np.testing.assert_allclose(own.consensus, votes_AT[judges].mean(axis=0))


def test_neighbouring_folds_are_joined(tmp_path: Path) -> None:
    names = "abcde"
    labels = base(tmp_path, {name: votes(4, 5, number) for number, name in enumerate(names)})
    folds = chosen(tmp_path, labels, judges=1, folds=2).folds
    assert [fold["test"] for fold in folds] == [["a", "b", "c"], ["d", "e"]]
    assert [sorted(fold["train"]) for fold in folds] == [["d", "e"], ["a", "b", "c"]]
    assert [fold["name"] for fold in folds] == ["a+b+c", "d+e"]
    assert chosen(tmp_path, labels, judges=1, folds=9).folds == Labels(labels).folds


@pytest.mark.parametrize(
    ("bad", "choice", "words"),
    [
        (votes(1, 10), {"judges": 1}, "has 1 annotator who voted"),
        (votes(4, 10), {"annotators": 5}, "has 4 annotators who voted on half of it or more, and 5 are needed"),
        (votes(4, 10), {"annotators": 3, "judges": 2}, "and 5 are needed"),
        (None, {"annotators": 3}, "has no votes of single annotators on y"),
        (np.where(np.arange(10) < 6, np.nan, votes(4, 10)), {"annotators": 1}, "has 0 annotators"),
        (np.where((np.arange(10) == 4) & (np.arange(5) < 9)[:, None], np.nan, votes(5, 10)), {"judges": 2},
         "1 of 10 y labels have no vote of the annotators who label"),
    ],
    ids=["one annotator", "k too large", "k and judges", "mean votes only", "all skipped most", "a frame skipped"],
)  # fmt: skip
def test_an_item_with_too_few_votes_is_absent_and_says_why(
    tmp_path: Path, bad: np.ndarray | None, choice: dict[str, int], words: str
) -> None:
    labels = base(tmp_path, {"bad": bad, "a": votes(9, 10, 1), "b": votes(9, 10, 2)})
    found = chosen(tmp_path, labels, **choice)
    assert found.items == ["a", "b"] and words in found.absent["bad"]
    assert [fold["name"] for fold in found.folds] == ["a", "b"]
    (dropped,) = found.meta["dropped_folds"]
    assert dropped["name"] == "bad" and words in dropped["reason"]


def test_who_skipped_a_video_does_not_count_for_it_and_a_skipped_frame_is_the_mean_of_the_others(
    tmp_path: Path,
) -> None:
    votes_AT = votes(5, 10)
    votes_AT[2] = np.nan
    votes_AT[4, 3] = np.nan
    found = chosen(tmp_path, base(tmp_path, {"a": votes_AT, "b": votes(5, 10, 1)}), judges=2)
    assert 2 not in found.meta["annotators"]["a"] + found.meta["judges"]["a"]
    behind = found.meta["annotators"]["a"]
    by_hand = [[votes_AT[a, t] for a in behind if np.isfinite(votes_AT[a, t])] for t in range(10)]
    np.testing.assert_allclose(found.label("a", "y"), [sum(each) / len(each) for each in by_hand])
    assert np.isfinite(found.evaluation("a", "y")).all()


def test_nothing_left_is_a_declared_hole_all_the_way(tmp_path: Path) -> None:
    found = chosen(tmp_path, base(tmp_path, {"a": votes(2, 10), "b": votes(2, 10, 1)}), annotators=3)
    assert not found.items and not found.folds and len(found.meta["dropped_folds"]) == 2
    approximate_distribution(labels=found.path, settings=SETTINGS, window=10, output=tmp_path / "d.safetensors")
    for reference in ("human", "oracle"):
        output = tmp_path / f"{reference}.csv"
        evaluate_reference(reference=reference, labels=found.path, run=RUN, output=output)  # type: ignore[arg-type]
        rows = read(output)
        assert {"mse", "pcc"} <= {row.metric for row in rows}
        assert all(is_hole(row) and "3 are needed" in row.item for row in rows)


def test_constant_votes_have_a_label_and_every_estimate_of_its_distribution(tmp_path: Path) -> None:
    found = chosen(tmp_path, base(tmp_path, {"a": np.full((6, 10), 0.25), "b": votes(6, 10)}), annotators=3, judges=2)
    np.testing.assert_allclose(found.label("a", "y"), 0.25)
    for estimator in ("oracle", "calibrated", "convolution"):
        output = tmp_path / f"{estimator}.safetensors"
        approximate_distribution(labels=found.path, settings=SETTINGS | {"estimator": estimator}, window=10,
                                 output=output)  # fmt: skip
        stored = arrays.load(output)
        np.testing.assert_allclose(stored["a/y/weight"], 1.0)
