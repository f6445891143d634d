"""The labels file: what it holds, and that bad annotations are recorded absences, not holes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from utopia.datasets import liris
from utopia.datasets._common import Item
from utopia.errors import InputError
from utopia.inputs.manifest import list_inputs
from utopia.inputs.miniature import generate
from utopia.labels.build import build_labels
from utopia.labels.read import Labels

SIZE = {"seconds": 20.0, "width": 32, "height": 32, "fps": 5, "annotators": 8, "label_annotators": 2}
RANGES = {"liris": {"low": -1.0, "high": 1.0}, "summe": {"low": 0.0, "high": 1.0}, "tvsum": {"low": 0.0, "high": 1.0}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    for dataset in RANGES:
        generate(dataset=dataset, count=6, settings=SIZE, seed=3, folder=root / dataset)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of the generated data to spoil."""
    return Path(shutil.copytree(made, tmp_path / "raw"))


def built(dataset: str, folder: Path, tmp_path: Path, **options: object) -> Labels:
    manifest, output = tmp_path / f"{dataset}.json", tmp_path / f"{dataset}.safetensors"
    list_inputs(dataset=dataset, folder=folder, options=options, output=manifest)
    build_labels(
        dataset=dataset,
        manifest=manifest,
        folder=folder,
        options=options,
        distribution=RANGES[dataset] | {"bins": 10},
        output=output,
    )
    return Labels(output)


def annotations(root: Path, movie: int) -> Path:
    return next((root / "liris").glob(f"*/annotations/MEDIAEVAL18_{movie:02d}_Valence-Arousal.txt"))


def change_line(path: Path, line: int, text: str | None) -> None:
    """Replace a line (1-based), or take it out."""
    lines = path.read_text().splitlines()
    lines[line - 1 : line] = [] if text is None else [text]
    path.write_text("\n".join(lines) + "\n")


def test_the_file_holds_what_the_raw_files_say(root: Path, tmp_path: Path) -> None:
    labels = built("liris", root / "liris", tmp_path)
    assert labels.dataset == "liris" and labels.protocol == "affect" and labels.meta["generated"]
    assert labels.targets == {"valence": {"low": -1.0, "high": 1.0}, "arousal": {"low": -1.0, "high": 1.0}}
    assert labels.absent == {} and len(labels.items) == 6
    for movie in (0, 54):
        table, item = np.loadtxt(annotations(root, movie), skiprows=1), f"MEDIAEVAL18_{movie:02d}"
        np.testing.assert_array_equal(labels.times(item), table[:, 0])
        np.testing.assert_array_equal(labels.label(item, "valence"), table[:, 1])
        np.testing.assert_array_equal(labels.label(item, "arousal"), table[:, 2])
        np.testing.assert_array_equal(labels.evaluation(item, "arousal"), table[:, 2])
        assert labels.votes(item, "valence") is None and not labels.has_shots(item)
    assert labels.folds == [
        {
            "name": "test",
            "train": [f"MEDIAEVAL18_{n:02d}" for n in range(4)],
            "test": ["MEDIAEVAL18_54", "MEDIAEVAL18_55"],
        }
    ]


def test_few_annotators_are_recorded(root: Path, tmp_path: Path) -> None:
    labels = built("summe", root / "summe", tmp_path, label_annotators=2)
    for item in labels.items:
        votes, chosen = labels.votes(item, "importance"), labels.meta["annotators"][item]
        assert votes is not None and votes.shape[0] == 8 and len(chosen) == 2
        np.testing.assert_allclose(labels.label(item, "importance"), votes[chosen].mean(axis=0))
        np.testing.assert_allclose(labels.evaluation(item, "importance"), votes.mean(axis=0))
        shots = labels.shots(item)
        np.testing.assert_array_equal(shots.user_summary[:, shots.picks], votes)
        assert shots.change_points[-1, 1] == shots.n_frames - 1


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        (4, "2\tnan\t0.1", "valence label is not a number"),
        (4, "2\t0.1\t-1.5", "arousal label -1.5 lies outside [-1, 1]"),
        (4, "1\t0.1\t0.1", "repeat or go back"),
        (4, None, "rows are missing: 1 s is followed by 3 s"),
        (4, "2\t0.1", "expected three numbers"),
    ],
)
def test_a_bad_row_makes_one_recorded_absence(
    root: Path, tmp_path: Path, line: int, text: str | None, words: str
) -> None:
    path = annotations(root, 1)
    change_line(path, line, text)
    labels = built("liris", root / "liris", tmp_path)
    assert list(labels.absent) == ["MEDIAEVAL18_01"]
    assert words in labels.absent["MEDIAEVAL18_01"] and f"{path}:{line}" in labels.absent["MEDIAEVAL18_01"]
    assert "MEDIAEVAL18_01" not in labels.items
    assert not labels.arrays.under("MEDIAEVAL18_01")
    assert all("MEDIAEVAL18_01" not in fold["train"] + fold["test"] for fold in labels.folds)


def test_a_file_of_the_wrong_length_tells_both_lengths(root: Path, tmp_path: Path) -> None:
    path = annotations(root, 1)
    lines = path.read_text().splitlines()
    seconds = len(lines) - 1
    path.write_text("\n".join(lines[:-8]) + "\n")
    reason = built("liris", root / "liris", tmp_path).absent["MEDIAEVAL18_01"]
    assert f"{seconds - 8} labels (one per second) for a video of {seconds:.1f} s" in reason and str(path) in reason


def test_labels_of_a_movie_whose_video_is_damaged_stay(root: Path, tmp_path: Path) -> None:
    assert "MEDIAEVAL18_03" in built("liris", root / "liris", tmp_path).items


def test_a_damaged_mat_file_makes_one_recorded_absence(root: Path, tmp_path: Path) -> None:
    path = root / "summe" / "GT" / "Miniature_02.mat"
    path.write_bytes(path.read_bytes()[:300])
    labels = built("summe", root / "summe", tmp_path)
    assert list(labels.absent) == ["video_2"] and str(path) in labels.absent["video_2"]


def test_a_mat_file_of_the_wrong_length_makes_one_recorded_absence(root: Path, tmp_path: Path) -> None:
    path = root / "summe" / "GT" / "Miniature_02.mat"
    content = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    frames = len(content["user_score"])
    savemat(path, content | {"user_score": content["user_score"][: frames - 5]})
    labels = built("summe", root / "summe", tmp_path)
    assert f"user_score is {frames - 5} x 8 but nFrames is {frames}" in labels.absent["video_2"]


def test_a_damaged_file_of_all_videos_is_an_error_with_its_name(root: Path, tmp_path: Path) -> None:
    path = root / "summe" / "summe_labels.h5"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="only 0 of 6 items of summe have labels") as caught:
        built("summe", root / "summe", tmp_path)
    assert str(path) in str(caught.value) and "(6 items)" in str(caught.value)
    assert not (tmp_path / "summe.safetensors").exists()


def test_votes_off_the_scale_make_one_recorded_absence(root: Path, tmp_path: Path) -> None:
    with h5py.File(root / "tvsum" / "ydata-tvsum50.mat", "r+") as file:
        file[file["tvsum50"]["user_anno"][2, 0]][1, 30] = np.nan
    labels = built("tvsum", root / "tvsum", tmp_path)
    assert "is nan for user 2 in frame 30" in labels.absent["video_3"]


def test_fewer_than_two_items_are_an_error(root: Path, tmp_path: Path) -> None:
    for path in list((root / "liris").glob("*/annotations/*.txt"))[1:]:
        path.write_text("")
    with pytest.raises(InputError, match="only 1 of 6 items of liris have labels"):
        built("liris", root / "liris", tmp_path)


def test_a_fold_without_test_items_is_dropped_with_the_reason(root: Path, tmp_path: Path) -> None:
    for movie in (54, 55):
        annotations(root, movie).unlink()
    labels = built("liris", root / "liris", tmp_path)
    assert labels.folds == []
    assert labels.meta["dropped_folds"] == [{"name": "test", "reason": "none of its test items has labels"}]


def test_an_item_that_the_manifest_calls_absent_stays_absent(root: Path, tmp_path: Path) -> None:
    path = annotations(root, 2)
    whole = path.read_text()
    path.write_text("")
    manifest = tmp_path / "liris.json"
    list_inputs(dataset="liris", folder=root / "liris", options={}, output=manifest)
    path.write_text(whole)
    output = tmp_path / "labels.safetensors"
    build_labels(
        dataset="liris",
        manifest=manifest,
        folder=root / "liris",
        options={},
        distribution=RANGES["liris"],
        output=output,
    )
    assert "has no rows" in Labels(output).absent["MEDIAEVAL18_02"]


class TestRealData:
    def test_summe_whole(self, shared_data: Path, tmp_path: Path) -> None:
        labels = built("summe", shared_data / "summe", tmp_path)
        assert len(labels.items) == 25 and not labels.absent
        assert [(len(fold["train"]), len(fold["test"])) for fold in labels.folds] == [(20, 5)] * 5
        users = {labels.shots(item).user_summary.shape[0] for item in labels.items}
        assert users <= set(range(15, 19))

    def test_tvsum_labels_without_shots(self, shared_data: Path, tmp_path: Path) -> None:
        labels = built("tvsum", shared_data / "tvsum", tmp_path)
        assert len(labels.items) == 50 and not labels.absent
        assert np.mean([len(labels.times(item)) for item in labels.items]) == pytest.approx(470.2)
        if not labels.has_shots("video_1"):
            with pytest.raises(InputError, match="video_1 has no shots and user summaries"):
                labels.shots("video_1")


def test_one_item_that_contradicts_itself_is_one_absence(root: Path, tmp_path: Path) -> None:
    """Viewers' summaries of the picks only: the official votes are there too, and the two cannot both be right."""
    with h5py.File(root / "summe" / "summe_labels.h5", "r+") as file:
        values = file["video_2"]["user_summary"][:, ::15]
        del file["video_2"]["user_summary"]
        file["video_2"]["user_summary"] = values
    labels = built("summe", root / "summe", tmp_path)
    assert list(labels.absent) == ["video_2"] and len(labels.items) == 5
    for part in ("summe_labels.h5", "video_2", "user_summary", "it has a value per pick"):
        assert part in labels.absent["video_2"]


def test_an_item_whose_reader_fails_is_one_absence(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a file leads its reader to raise: the study goes on, and the log tells the rest."""
    for function in ("describe", "read_labels"):
        with monkeypatch.context() as patch:
            real = getattr(liris, function)

            def failing(located: object, item: Item, *others: object, real: Any = real) -> object:
                return [][3] if item.id.endswith("02") else real(located, item, *others)

            patch.setattr(liris, function, failing)
            labels = built("liris", root / "liris", tmp_path)
        assert list(labels.absent) == ["MEDIAEVAL18_02"] and len(labels.items) == 5
        assert "cannot be read (IndexError" in labels.absent["MEDIAEVAL18_02"]
        assert "list index out of range" in labels.absent["MEDIAEVAL18_02"] and "Traceback" in caplog.text
