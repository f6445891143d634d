"""SumMe: the real files, the two sources held against one another, and what can be wrong with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from utopia.datasets import _summary, summe
from utopia.datasets._common import LabelledItem, Limits
from utopia.errors import InputError
from utopia.inputs.miniature import generate

OPTIONS = summe.Config()
LIMITS = Limits(0, 1)
SIZE = {"seconds": 12.0, "width": 32, "height": 32, "fps": 10, "annotators": 9, "label_annotators": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("summe")
    generate(dataset="summe", count=6, settings=SIZE, seed=5, folder=folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "summe", ignore=shutil.ignore_patterns("*.mp4")))


def read(folder: Path, index: int = 0, options: summe.Config = OPTIONS) -> LabelledItem:
    located = summe.locate(folder, options)
    return summe.read_labels(located, summe.items(located, options)[index], options, LIMITS)


def rewrite_mat(path: Path, **changes: object) -> None:
    content = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    savemat(path, content | changes)


class TestRealData:
    def test_labels_are_the_files_own_gtscore(self, shared_data: Path) -> None:
        located = summe.locate(shared_data / "summe", OPTIONS)
        items = summe.items(located, OPTIONS)
        assert len(items) == 25
        with h5py.File(shared_data / "summe" / "summe_labels.h5") as file:
            for item in items:
                labelled = summe.read_labels(located, item, OPTIONS, LIMITS)
                np.testing.assert_allclose(labelled.labels["importance"], file[item.id]["gtscore"][()], atol=5e-8)
                np.testing.assert_array_equal(
                    labelled.shots["picks"], _summary.grid(int(labelled.shots["n_frames"][0]))
                )
                assert not labelled.notes
                assert labelled.shots["change_points"][-1, 1] + 1 == labelled.shots["n_frames"][0]

    def test_labels_are_the_official_gt_score_at_the_grid(self, shared_data: Path) -> None:
        labelled = read(shared_data / "summe", index=11)
        official = loadmat(shared_data / "summe" / "GT" / "Jumps.mat")["gt_score"][:, 0]
        np.testing.assert_allclose(labelled.labels["importance"], official[::15], atol=1e-12)
        assert labelled.times[-1] == pytest.approx(945 / 25)

    def test_folds_are_the_published_splits(self, shared_data: Path) -> None:
        located = summe.locate(shared_data / "summe", OPTIONS)
        ids = [item.id for item in summe.items(located, OPTIONS)]
        published = json.loads((shared_data / "splits" / "summe_splits.json").read_text())
        for fold, split in zip(summe.folds(located, ids, OPTIONS), published, strict=True):
            assert set(fold["test"]) == set(split["test_keys"])
            assert set(fold["train"]) == set(split["train_keys"])

    def test_card_agrees_with_the_official_files(self, shared_data: Path) -> None:
        located = summe.locate(shared_data / "summe", OPTIONS)
        for entry, item in zip(located.items, summe.items(located, OPTIONS), strict=True):
            facts = summe.describe(located, item, OPTIONS)
            assert (facts["fps"], facts["frames"]) == (pytest.approx(entry.fps, abs=1e-9), entry.frames)


def test_without_mat_files_the_hdf5_file_and_the_card_serve(folder: Path) -> None:
    whole = read(folder)
    shutil.rmtree(folder / "GT")
    labelled = read(folder)
    np.testing.assert_array_equal(labelled.labels["importance"], whole.labels["importance"])
    np.testing.assert_array_equal(labelled.times, whole.times)
    assert "frame rate from the card" in labelled.notes[0]


def test_without_the_hdf5_file_there_are_labels_but_no_shots(folder: Path) -> None:
    whole = read(folder)
    (folder / "summe_labels.h5").unlink()
    labelled = read(folder)
    np.testing.assert_array_equal(labelled.labels["importance"], whole.labels["importance"])
    assert set(labelled.shots) == {"picks", "n_frames"}
    assert "shots" in summe.locate(folder, OPTIONS).missing


def test_the_published_file_is_preferred(folder: Path) -> None:
    shutil.copy(folder / "summe_labels.h5", folder / "eccv16_dataset_summe_google_pool5.h5")
    assert summe.locate(folder, OPTIONS).files["shots"][0].name.startswith("eccv16")


def test_few_annotators_make_the_label_and_all_judge_it(folder: Path) -> None:
    options = summe.Config(label_annotators=3)
    few, all_of_them = read(folder, options=options), read(folder)
    votes = few.votes["importance"]
    assert votes.shape[0] == 9 and len(few.annotators) == 3
    np.testing.assert_allclose(few.labels["importance"], votes[list(few.annotators)].mean(axis=0))
    np.testing.assert_allclose(few.evaluation["importance"], all_of_them.labels["importance"])
    np.testing.assert_allclose(votes.mean(axis=0), all_of_them.labels["importance"])
    assert read(folder, options=options).annotators == few.annotators
    others = {
        tuple(read(folder, options=summe.Config(label_annotators=3, label_seed=seed)).annotators) for seed in range(5)
    }
    assert len(others) > 1


def test_more_annotators_than_there_are_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="has 9 annotators, fewer than the 10 asked for"):
        read(folder, options=summe.Config(label_annotators=10))


def test_a_mat_file_of_the_wrong_length_is_refused_with_both_lengths(folder: Path) -> None:
    path = folder / "GT" / "Miniature_01.mat"
    scores = loadmat(path)["user_score"]
    rewrite_mat(path, user_score=scores[:-7])
    with pytest.raises(
        InputError, match=rf"user_score is {len(scores) - 7} x 9 but nFrames is {len(scores)}"
    ) as caught:
        read(folder)
    assert caught.value.where == str(path)


def test_sources_that_disagree_are_refused(folder: Path) -> None:
    path = folder / "GT" / "Miniature_01.mat"
    scores = loadmat(path)["user_score"]
    scores[5:8, 2] = scores[5:8, 2] == 0
    rewrite_mat(path, user_score=scores)
    with pytest.raises(InputError, match="the HDF5 file has other votes in 3 of") as caught:
        read(folder)
    assert "Miniature_01.mat" in caught.value.where and "summe_labels.h5" in caught.value.why
    rewrite_mat(path, user_score=scores[:, :-1])
    with pytest.raises(InputError, match=rf"8 users x {len(scores)} frames, but the HDF5 file has 9 x {len(scores)}"):
        read(folder)


def test_votes_that_are_not_numbers_are_refused(folder: Path) -> None:
    path = folder / "GT" / "Miniature_01.mat"
    scores = loadmat(path)["user_score"].astype(float)
    scores[17, 1] = np.nan
    rewrite_mat(path, user_score=scores)
    with pytest.raises(InputError, match="user_score is not a number in frame 17"):
        read(folder)


@pytest.mark.parametrize("keep", [0, 60, 128, 400, -9])
def test_a_cut_mat_file_is_refused(folder: Path, keep: int) -> None:
    path = folder / "GT" / "Miniature_01.mat"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="not a readable SumMe annotation file") as caught:
        read(folder)
    assert caught.value.where == str(path)
    assert read(folder, index=1).labels


def test_a_file_of_noise_is_refused(folder: Path) -> None:
    path = folder / "GT" / "Miniature_01.mat"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(InputError, match="not a readable SumMe annotation file"):
        read(folder)


@pytest.mark.parametrize("keep", [0, 100, 0.5, 0.9])
def test_a_cut_hdf5_file_is_refused(folder: Path, keep: float) -> None:
    path = folder / "summe_labels.h5"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    with pytest.raises(InputError, match="damaged, cut short or not in the expected layout") as caught:
        read(folder)
    assert caught.value.where == str(path)


def spoil(folder: Path, name: str, values: object) -> None:
    with h5py.File(folder / "summe_labels.h5", "r+") as file:
        group = file["video_1"]
        values = values({part: group[part][()] for part in group}) if callable(values) else values
        if name in group:
            del group[name]
        group[name] = values


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("picks", np.array([0, 15, 15]), "picks are not increasing"),
        ("picks", np.array([0, 15, 99_999]), "picks are not increasing frame numbers below n_frames"),
        ("change_points", np.array([[0, 30], [20, 50]]), "change_points overlap"),
        ("change_points", np.arange(6), "change_points must be"),
        ("user_summary", np.full((9, 20), 3), "values other than 0 and 1"),
        ("gtscore", np.zeros(3), "3 gtscore values for"),
        ("picks", lambda all: all["picks"] * 2, "picks are not increasing frame numbers below n_frames (140)"),
        ("picks", lambda all: all["picks"] + 0.5, "picks holds other than whole numbers"),
        ("picks", lambda all: all["picks"][:-1], "picks go from 0 to 120 in steps of 15, but n_frames is 140"),
        ("picks", lambda all: all["picks"] + np.eye(10, dtype=int)[2], "not evenly spaced: 15 is followed by 31"),
        ("n_frames", lambda all: all["n_frames"] + 30, "user_summary is 9 x 140, but n_frames is 170"),
        ("n_frames", lambda all: all["n_frames"] + 30, "picks go from 0 to 135 in steps of 15, but n_frames is 170"),
        ("n_frames", lambda all: all["n_frames"] + 3, "change_points go from 0 to 139, but the frames from 0 to 142"),
        ("n_frames", lambda all: np.array([60, 60]), "n_frames is [60 60], not one number"),
        ("change_points", lambda all: all["change_points"] // 15, "change_points overlap or go back: shot 2 is ["),
        ("change_points", lambda all: np.array([[0, 3], [4, 9]]), "0 to 9, as steps of picks would, but the frames"),
        ("change_points", lambda all: np.array([[0, 49], [50, 400]]), "go from 0 to 400, but the frames from 0 to 139"),
        ("change_points", lambda all: np.array([[0, 139], [140, 150]]), "from 0 to 150, but the frames from 0 to 139"),
        (
            "change_points",
            lambda all: np.array([[0, 49], [60, 139]]),
            "1 holes: a shot ends at 49, the next begins at 60",
        ),
        ("change_points", lambda all: np.array([[5, 49], [50, 139]]), "go from 5 to 139, but the frames from 0 to 139"),
        ("change_points", lambda all: np.array([[50, 139], [0, 49]]), "change_points overlap or go back"),
        ("user_summary", lambda all: all["user_summary"].T, "is 140 x 9, but n_frames is 140: it is transposed"),
        (
            "user_summary",
            lambda all: all["user_summary"][:, ::15],
            "9 x 10, but n_frames is 140: it has a value per pick",
        ),
        ("user_summary", lambda all: all["user_summary"][:, :100], "user_summary is 9 x 100, but n_frames is 140"),
        ("user_summary", lambda all: all["user_summary"][0], "user_summary must be [users, frames], not [140]"),
        ("features", lambda all: np.zeros((5, 4)), "5 features for 10 picks"),
        ("n_steps", lambda all: np.array(9), "9 n_steps for 10 picks"),
        ("n_frame_per_seg", lambda all: np.array([100, 19]), "n_frame_per_seg gives 119 frames in 2 shots"),
        ("gtscore", lambda all: np.full(10, np.nan), "gtscore is not a number"),
        ("gtsummary", lambda all: np.zeros(7), "7 gtsummary values for 10 picks of 140 frames"),
        ("video_name", b"Someone_else", "video_1 is 'Someone_else' here, but 'Miniature_01' in the official list"),
    ],
)
def test_contradictions_within_the_hdf5_file_are_refused(folder: Path, name: str, values: object, words: str) -> None:
    """The clip has 140 frames, 10 picks and 9 viewers."""
    spoil(folder, name, values)
    for votes in (folder / "GT", None):  # with the official votes, and where the HDF5 file serves in their place
        if votes is None:
            shutil.rmtree(folder / "GT")
        with pytest.raises(InputError) as caught:
            read(folder)
        assert words in caught.value.what and "summe_labels.h5" in caught.value.where
    assert read(folder, index=1).labels


@pytest.mark.parametrize(
    "name",
    [
        "Miniature 01.mp4",
        np.array([b"Miniature_01"]),
        np.array([["MINIATURE_01".encode("latin-1")]]),
        b"Miniature_01.MP4",
    ],
)
def test_names_as_tools_write_them_are_the_same_name(folder: Path, name: object) -> None:
    """As in files of features: the field's file is both."""
    plain_shots = read(folder).shots
    spoil(folder, "video_name", name)
    assert np.array_equal(read(folder).shots["change_points"], plain_shots["change_points"])


def test_a_group_that_is_not_there_is_refused(folder: Path) -> None:
    with h5py.File(folder / "summe_labels.h5", "r+") as file:
        del file["video_1"]
    with pytest.raises(InputError, match="has no group 'video_1'"):
        read(folder)


def test_another_gtscore_is_noted_and_not_used(folder: Path) -> None:
    label = read(folder).labels["importance"]
    spoil(folder, "gtscore", np.zeros(len(label)))
    labelled = read(folder)
    np.testing.assert_array_equal(labelled.labels["importance"], label)
    assert "gtscore" in labelled.notes[0]
