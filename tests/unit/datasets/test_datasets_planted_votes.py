"""Planted votes: the two settings are what they say, told by an oracle that shares no code with the estimators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from utopia import arrays
from utopia.config.load import load
from utopia.datasets import planted_votes
from utopia.datasets._common import Limits
from utopia.distribution.approximate import approximate_distribution
from utopia.errors import InputError
from utopia.features.precomputed import import_features
from utopia.features.read import FeatureReader
from utopia.inputs.manifest import list_inputs
from utopia.inputs.miniature import generate, latent
from utopia.inputs.miniature.planted_votes import SCATTER, TARGETS, PlantedVotes, plant
from utopia.labels.build import build_labels
from utopia.labels.read import Labels
from utopia.plan.plan import Plan

SIZE = {"seconds": 60.0, "width": 32, "height": 32, "fps": 5, "annotators": 6, "label_annotators": 2}
SPREAD = {"bins": 20, "low": -1.0, "high": 1.0, "delta": 0.3, "sigma": 0.1}
HOLDS, FAILS = TARGETS


@pytest.fixture(scope="module")
def long() -> PlantedVotes:
    """One series that is long enough for its moments to be those of the law."""
    return plant(latent.generator(5, "long"), 30_000, 0.15 * np.random.default_rng(1).standard_normal(20))


def test_where_the_theory_holds_utopia_labels_are_normal_about_the_label_with_the_variance_of_the_kernel(
    long: PlantedVotes,
) -> None:
    """The kernel by hand: three taps, a bin of .1 apart, in the ratio exp(-1/2) (delta .3, sigma .1)."""
    side = np.exp(-0.5)
    kernel_variance = 2 * side / (1 + 2 * side) * 0.1**2
    assert pytest.approx(kernel_variance, rel=0.01) == SCATTER**2
    for k in (3, 20):
        apart_T = long.utopia[HOLDS] - long.votes[HOLDS][:k].mean(axis=0)
        assert apart_T.var() == pytest.approx(kernel_variance + 0.05**2 / k, rel=0.1)
        assert np.corrcoef(apart_T, long.law[HOLDS][0])[0, 1] == pytest.approx(0, abs=0.05)
        skew = ((apart_T - apart_T.mean()) ** 3).mean() / apart_T.std() ** 3
        assert abs(skew) < 0.15
    assert long.utopia[HOLDS].var() > 1.2 * long.votes[HOLDS][:3].mean(axis=0).var()


def test_where_it_fails_labels_are_about_the_utopia_labels_and_wider_the_fewer_vote(long: PlantedVotes) -> None:
    u_T = long.utopia[FAILS]
    for k in (3, 20):
        label_T = long.votes[FAILS][:k].mean(axis=0)
        assert (label_T - u_T).var() == pytest.approx(0.3**2 / k, rel=0.1)
        assert np.corrcoef(label_T - u_T, u_T)[0, 1] == pytest.approx(0, abs=0.05)
        assert label_T.var() == pytest.approx(u_T.var() + 0.3**2 / k, rel=0.1)
    bias_A = (long.votes[FAILS] - u_T).mean(axis=1)
    assert 0.05 < bias_A.std() < 0.3


def test_features_show_the_utopia_labels_and_nothing_else(long: PlantedVotes) -> None:
    half = len(long.features) // 2
    for number, target in enumerate(TARGETS):
        u_T = long.utopia[target]
        own = slice(4 * number, 4 * number + 4)
        for columns, explained in ((own, True), (slice(8, 12), False)):
            x_TD = np.c_[long.features[:, columns], np.ones(len(u_T))]
            solution, *_ = np.linalg.lstsq(x_TD[:half], u_T[:half], rcond=None)
            share = 1 - (x_TD[half:] @ solution - u_T[half:]).var() / u_T[half:].var()
            assert (share > 0.8) == explained and (share < 0.01) != explained


def gain(target: str, k: int, width: float) -> float:
    """Per cent by which weights change the error of a weighted least-squares map on short series.

    The weights are a ratio of densities: of the planted law, and of a label that is smoothed by `width`; each by sums
    of normal densities over frames. No bin, no histogram.
    """
    bias_A = 0.15 * np.random.default_rng(1).standard_normal(20)
    many = [plant(latent.generator(7, f"{number}"), 200, bias_A) for number in range(60)]
    x, y, weights = [], [], []
    for number, series in enumerate(many[:40]):
        behind = np.random.default_rng(number).permutation(20)[:k]  # others on each series, as labels.annotators has it
        label_T = series.votes[target][behind].mean(axis=0)
        mean_T, deviation_T = series.law[target]
        own_T = np.exp(-0.5 * ((label_T[:, None] - label_T) / width) ** 2).mean(axis=1) / width
        spread_T = np.sqrt(deviation_T**2 + width**2)
        true_T = (np.exp(-0.5 * ((label_T[:, None] - mean_T) / spread_T) ** 2) / spread_T).mean(axis=1)
        x.append(series.features), y.append(label_T), weights.append(true_T / own_T)
    x_TD, y_T, root_T = np.c_[np.concatenate(x), np.ones(8000)], np.concatenate(y), np.sqrt(np.concatenate(weights))
    plain, *_ = np.linalg.lstsq(x_TD, y_T, rcond=None)
    weighed, *_ = np.linalg.lstsq(x_TD * root_T[:, None], y_T * root_T, rcond=None)
    errors = [
        np.mean(
            [((np.c_[each.features, np.ones(200)] @ map_D - each.utopia[target]) ** 2).mean() for each in many[40:]]
        )
        for map_D in (plain, weighed)
    ]
    return float(100 * (1 - errors[1] / errors[0]))


def test_the_true_distribution_gains_where_the_theory_holds_and_costs_where_few_noisy_votes_are_the_label() -> None:
    """So a control that finds nothing on these series is at fault itself."""
    assert gain(HOLDS, 3, 0.03) > 3
    assert gain(FAILS, 3, 0.03) < -20
    assert abs(gain(FAILS, 20, 0.03)) < 10


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted_votes")
    generate(dataset="planted_votes", count=9, settings=SIZE, seed=11, folder=folder / "raw")
    list_inputs(dataset="planted_votes", folder=folder / "raw", options={}, output=folder / "manifest.json")
    build_labels(dataset="planted_votes", manifest=folder / "manifest.json", folder=folder / "raw",
                 options={"label_annotators": 2}, distribution={"low": -1.0, "high": 1.0},
                 output=folder / "labels.safetensors")  # fmt: skip
    return folder


def test_the_utopia_labels_judge_and_some_annotators_label(study: Path) -> None:
    labels, raw = Labels(study / "labels.safetensors"), arrays.load(study / "raw" / "labels.safetensors")
    (fold,) = labels.folds
    assert fold["test"] == ["video_3", "video_6", "video_9"] and len(fold["train"]) == 6
    for item in labels.items:
        behind = labels.meta["annotators"][item]
        for target in TARGETS:
            np.testing.assert_array_equal(labels.evaluation(item, target), raw[f"{item}/{target}.utopia"])
            by_hand = (raw[f"{item}/{target}.votes"][behind[0]] + raw[f"{item}/{target}.votes"][behind[1]]) / 2
            np.testing.assert_allclose(labels.label(item, target), by_hand, atol=1e-6)


def test_the_oracle_is_the_planted_law(study: Path, tmp_path: Path) -> None:
    """By hand: many draws from the law, counted. Where nothing scatters, the utopia labels themselves."""
    settings = SPREAD | {"estimator": "oracle"}
    approximate_distribution(labels=study / "labels.safetensors", settings=settings, window=10,
                             output=tmp_path / "d.safetensors")  # fmt: skip
    stored, raw = arrays.load(tmp_path / "d.safetensors"), arrays.load(study / "raw" / "labels.safetensors")
    edges, rng = np.linspace(-1, 1, 21), np.random.default_rng(0)
    mean_T = raw[f"video_4/{HOLDS}.law"][0]
    draws = np.histogram(mean_T + SCATTER * rng.standard_normal((20_000, len(mean_T))), edges)[0] / 20_000
    np.testing.assert_allclose(stored[f"video_4/{HOLDS}/utopia_count"], draws, atol=0.1)
    own, _ = np.histogram(raw[f"video_4/{FAILS}.utopia"], edges)
    np.testing.assert_array_equal(stored[f"video_4/{FAILS}/utopia_count"], own)


def test_features_come_from_the_generated_folder(study: Path) -> None:
    settings = {"extractor": "hdf5", "files": ["features.h5"], "array": "features"}
    output = study / "features" / "planted_votes" / "drawn.json"
    import_features(manifest=study / "manifest.json", root=study / "raw", feature="drawn", settings=settings,
                    source=study / "raw", store=study / "features" / "store", output=output)  # fmt: skip
    shown = FeatureReader([output]).aligned("video_3", ["drawn"], np.arange(60.0))
    assert shown.shape == (60, 12) and np.isfinite(shown).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"votes": None}, "no video_1/theory_holds.votes"),
        ({"votes": np.zeros((0, 4))}, r"must be \[T\], \[2, T\] and \[annotators, T\]"),
        ({"votes": np.zeros((3, 5))}, "votes \\[3, 5\\]"),
        ({"law": np.zeros((1, 4))}, "law \\[1, 4\\]"),
        ({"votes": np.full((3, 4), np.nan)}, "not a number"),
        ({"utopia": np.full(4, 1.5)}, "1.5 lies outside"),
    ],
)
def test_damage_is_named(study: Path, tmp_path: Path, change: dict[str, np.ndarray | None], words: str) -> None:
    located = planted_votes.locate(study / "raw", planted_votes.Config())
    item = planted_votes.items(located, planted_votes.Config())[0]
    whole = {"utopia": np.zeros(4), "law": np.zeros((2, 4)), "votes": np.zeros((3, 4))}
    contents = {f"video_1/{target}.{part}": values for target in TARGETS for part, values in whole.items()}
    for part, values in change.items():
        name = f"video_1/{HOLDS}.{part}"
        contents = (
            {**contents, name: values} if values is not None else {n: v for n, v in contents.items() if n != name}
        )
    arrays.save(tmp_path / "labels.safetensors", contents, {})
    item.files["annotations"] = tmp_path / "labels.safetensors"
    with pytest.raises(InputError, match=words):
        planted_votes.read_labels(located, item, planted_votes.Config(), Limits(-1.0, 1.0))


def test_a_study_of_real_data_makes_them_and_no_other_misses_them() -> None:
    assert "planted_votes" not in Plan(load({"study": "miniature"})).datasets
    plan = Plan(load({"study": "few_observers"}))
    there = plan.datasets["planted_votes"]
    assert there.available and there.generated and there.features == ("planted_features",) and not there.with_video
    assert len(there.item_ids) >= 60
    assert plan.generated("planted_votes")["count"] == len(there.item_ids)
    assert not plan.datasets["studyforrest"].generated
    (job,) = (job for job in plan.jobs if job.rule == "generate_miniature")
    assert job.names == {"dataset": "planted_votes"}
