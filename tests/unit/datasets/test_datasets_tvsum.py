"""TVSum: the real file, the scales of the label, and what can be wrong with the files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from utopia.datasets import tvsum
from utopia.datasets._common import LabelledItem, Limits
from utopia.errors import InputError
from utopia.inputs.miniature import generate

OPTIONS = tvsum.Config()
LIMITS = Limits(0, 1)
SIZE = {"seconds": 30.0, "width": 32, "height": 32, "fps": 10, "annotators": 9, "label_annotators": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tvsum")
    generate(dataset="tvsum", count=6, settings=SIZE, seed=5, folder=folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "tvsum"))


def read(folder: Path, index: int = 0, options: tvsum.Config = OPTIONS, limits: Limits = LIMITS) -> LabelledItem:
    located = tvsum.locate(folder, options)
    return tvsum.read_labels(located, tvsum.items(located, options)[index], options, limits)


def change(folder: Path, name: str, values: np.ndarray, index: int = 0) -> None:
    with h5py.File(folder / "ydata-tvsum50.mat", "r+") as file:
        new = file["#refs#"].create_dataset("changed", data=values)
        file["tvsum50"][name][index, 0] = new.ref


def votes_of(folder: Path, index: int = 0) -> np.ndarray:
    with h5py.File(folder / "ydata-tvsum50.mat") as file:
        return file[file["tvsum50"]["user_anno"][index, 0]][()]


class TestRealData:
    def test_labels_are_the_official_mean_score(self, shared_data: Path) -> None:
        located = tvsum.locate(shared_data / "tvsum", OPTIONS)
        items = tvsum.items(located, OPTIONS)
        steps = []
        with h5py.File(shared_data / "tvsum" / "ydata-tvsum50.mat") as file:
            for index, item in enumerate(items):
                labelled = tvsum.read_labels(located, item, OPTIONS, LIMITS)
                official = file[file["tvsum50"]["gt_score"][index, 0]][0, ::15]
                np.testing.assert_allclose(labelled.labels["importance"] * 4 + 1, official, atol=1e-12)
                steps.append(len(labelled.times))
        assert len(items) == 50
        assert np.mean(steps) == pytest.approx(470.2)

    def test_folds_are_the_published_splits(self, shared_data: Path) -> None:
        located = tvsum.locate(shared_data / "tvsum", OPTIONS)
        ids = [item.id for item in tvsum.items(located, OPTIONS)]
        published = json.loads((shared_data / "splits" / "tvsum_splits.json").read_text())
        for fold, split in zip(tvsum.folds(located, ids, OPTIONS), published, strict=True):
            assert set(fold["test"]) == set(split["test_keys"])
            assert set(fold["train"]) == set(split["train_keys"])

    def test_the_official_table_names_the_same_videos(self, shared_data: Path) -> None:
        lines = (shared_data / "tvsum" / "ydata-tvsum50-info.tsv").read_text().splitlines()[1:]
        located = tvsum.locate(shared_data / "tvsum", OPTIONS)
        assert [(line.split("\t")[1], line.split("\t")[2]) for line in lines] == [
            (item.key, item.name) for item in located.items
        ]

    def test_without_the_hdf5_file_the_reason_is_told(self, shared_data: Path) -> None:
        located = tvsum.locate(shared_data / "tvsum", OPTIONS)
        if "shots" in located.files:
            pytest.skip("the HDF5 file with the shots is there")
        assert "eccv16_dataset_tvsum_google_pool5.h5" in located.missing["shots"]
        assert set(read(shared_data / "tvsum").shots) == {"picks", "n_frames"}


def test_the_three_scales(folder: Path) -> None:
    mean = votes_of(folder).mean(axis=0)
    grid = mean[::15]
    labels = {
        scale: read(folder, options=tvsum.Config(tvsum_gt_scale=scale)).labels["importance"]  # type: ignore[arg-type]
        for scale in ("minus_one_quarter", "over_five", "min_max")
    }
    np.testing.assert_allclose(labels["minus_one_quarter"], (grid - 1) / 4)
    np.testing.assert_allclose(labels["over_five"], grid / 5)
    np.testing.assert_allclose(labels["min_max"], (grid - mean.min()) / (mean.max() - mean.min()))


@pytest.mark.parametrize("scale", ["minus_one_quarter", "over_five", "min_max"])
def test_votes_are_in_label_units(folder: Path, scale: str) -> None:
    labelled = read(folder, options=tvsum.Config(tvsum_gt_scale=scale))  # type: ignore[arg-type]
    np.testing.assert_allclose(labelled.votes["importance"].mean(axis=0), labelled.labels["importance"], atol=1e-12)


def test_a_constant_video_has_a_label_under_min_max(folder: Path) -> None:
    change(folder, "user_anno", np.full_like(votes_of(folder), 3.0))
    assert (read(folder, options=tvsum.Config(tvsum_gt_scale="min_max")).labels["importance"] == 0).all()


def test_few_annotators_make_the_label_and_all_judge_it(folder: Path) -> None:
    few = read(folder, options=tvsum.Config(label_annotators=2))
    np.testing.assert_allclose(few.labels["importance"], few.votes["importance"][list(few.annotators)].mean(axis=0))
    np.testing.assert_allclose(few.evaluation["importance"], read(folder).labels["importance"])


def shots_file(folder: Path, frames: int) -> None:
    with h5py.File(folder / "eccv16_dataset_tvsum_google_pool5.h5", "w") as file:
        group = file.create_group("video_1")
        group["n_frames"] = frames
        group["picks"] = np.arange(0, frames, 15)
        group["change_points"] = np.array([[0, 49], [50, frames - 1]])
        group["user_summary"] = np.ones((20, frames), dtype=np.float32)
        group["gtscore"] = np.linspace(0, 1, len(range(0, frames, 15)))


def test_the_hdf5_file_gives_the_shots_but_not_the_label(folder: Path) -> None:
    label = read(folder).labels["importance"]
    shots_file(folder, votes_of(folder).shape[1])
    labelled = read(folder)
    np.testing.assert_array_equal(labelled.labels["importance"], label)
    assert set(labelled.shots) == {"picks", "n_frames", "change_points", "user_summary"}
    assert labelled.shots["user_summary"].dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "spoilt", "words"),
    [
        ("user_summary", lambda values: values.T, "it is transposed"),
        ("user_summary", lambda values: values[:, ::15], "it has a value per pick, not per frame"),
        ("user_summary", lambda values: values[:, :-1], "user_summary is 20 x 289, but n_frames is 290"),
        (
            "change_points",
            lambda values: np.array([[0, 3], [4, 19]]),
            "change_points go from 0 to 19, as steps of picks would",
        ),
        ("change_points", lambda values: values + np.array([[0, 0], [0, 50]]), "change_points go from 0 to 339"),
        ("n_frames", lambda values: values + 30, "user_summary is 20 x 290, but n_frames is 320"),
    ],
)
def test_shots_that_contradict_themselves_are_refused_although_they_are_no_part_of_the_label(
    folder: Path, name: str, spoilt: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    """Else the F-score would be 0, or wrong, without a word."""
    shots_file(folder, votes_of(folder).shape[1])
    path = folder / "eccv16_dataset_tvsum_google_pool5.h5"
    with h5py.File(path, "r+") as file:
        values = spoilt(file["video_1"][name][()])
        del file["video_1"][name]
        file["video_1"][name] = values
    with pytest.raises(InputError) as caught:
        read(folder)
    assert words in caught.value.what and caught.value.where == f"{path}:video_1"


def test_an_hdf5_file_of_another_length_is_refused_with_both_lengths(folder: Path) -> None:
    frames = votes_of(folder).shape[1]
    shots_file(folder, frames + 100)
    with pytest.raises(InputError, match=rf"has {frames} frames, but video_1 of the HDF5 file has {frames + 100}"):
        read(folder)


@pytest.mark.parametrize(("bad", "shown"), [(np.nan, "nan"), (0.0, "0"), (6.0, "6")])
def test_a_vote_off_the_scale_is_refused_with_user_and_frame(folder: Path, bad: float, shown: str) -> None:
    votes = votes_of(folder)
    votes[4, 77] = bad
    change(folder, "user_anno", votes)
    with pytest.raises(InputError, match=rf"user_anno of Miniature01 is {shown} for user 5 in frame 77"):
        read(folder)


def test_annotations_of_the_wrong_length_are_refused_with_both_lengths(folder: Path) -> None:
    votes = votes_of(folder)
    change(folder, "user_anno", votes[:, :-9])
    with pytest.raises(
        InputError, match=rf"is 9 x {votes.shape[1] - 9} \(users x frames\) but nframes is {votes.shape[1]}"
    ):
        read(folder)


def test_another_order_of_videos_is_refused(folder: Path) -> None:
    change(folder, "video", np.array([[ord(letter)] for letter in "Miniature02"], dtype=np.uint16))
    with pytest.raises(InputError, match="entry 1 is 'Miniature02', but 'Miniature01' in the official list"):
        read(folder)
    assert read(folder, index=1).labels


def test_labels_outside_the_study_s_range_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="importance label"):
        read(folder, limits=Limits(0.9, 1.0))


@pytest.mark.parametrize("keep", [0, 600, 0.5])
def test_a_cut_mat_file_is_refused(folder: Path, keep: float) -> None:
    path = folder / "ydata-tvsum50.mat"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
    with pytest.raises(InputError, match="damaged, cut short") as caught:
        read(folder)
    assert caught.value.where == str(path)


def test_a_mat_file_without_the_struct_is_refused(folder: Path) -> None:
    with h5py.File(folder / "ydata-tvsum50.mat", "w") as file:
        file["something"] = 1
    with pytest.raises(InputError, match="not in the expected layout"):
        read(folder)


class TestUniformShots:
    """Where the HDF5 file with shots is not there, and the study asks for uniform ones in their place."""

    UNIFORM = tvsum.Config(missing_shots="uniform")

    def test_they_last_two_seconds_and_cover_every_frame(self) -> None:
        shots = tvsum.uniform_shots(np.ones((2, 107)), fps=12.5)
        assert shots["change_points"].tolist() == [[0, 24], [25, 49], [50, 74], [75, 99], [100, 106]]
        # 2 s are 24.975 frames: starts are rounded one by one, so that the error does not grow
        starts = tvsum.uniform_shots(np.ones((1, 1000)), fps=24.975 / 2)["change_points"][:, 0]
        assert np.abs(starts - 24.975 * np.arange(len(starts))).max() <= 0.5

    def test_a_users_summary_is_the_best_that_fits(self) -> None:
        """Against trying every set of shots."""
        votes = np.random.default_rng(3).integers(1, 6, (4, 10)).repeat(20, axis=1)
        shots = tvsum.uniform_shots(votes, fps=10)
        sets = [[shot for shot in range(10) if code >> shot & 1] for code in range(1 << 10)]
        room = int(0.15 * 200) // 20
        for user, summary in zip(votes[:, ::20], shots["user_summary"], strict=True):
            best = max(sum(int(user[shot]) for shot in chosen) for chosen in sets if len(chosen) <= room)
            assert summary.sum() <= 30 and (user * summary[::20]).sum() == best

    def test_the_published_shots_come_first(self, folder: Path) -> None:
        shots_file(folder, votes_of(folder).shape[1])
        assert read(folder, options=self.UNIFORM).shots["change_points"].tolist() == [[0, 49], [50, 289]]
        assert not tvsum.locate(folder, self.UNIFORM).unlike_published

    def test_every_value_says_so(self, folder: Path) -> None:
        (folder / "tvsum_labels.h5").unlink(missing_ok=True)
        located = tvsum.locate(folder, self.UNIFORM)
        assert located.unlike_published == (tvsum.UNIFORM,) and "shots" not in located.missing
        assert "shots" in tvsum.locate(folder, OPTIONS).missing
        assert len(read(folder, options=self.UNIFORM).shots["user_summary"]) == len(votes_of(folder))

    def test_table_2_on_all_videos_and_folds(self, shared_data: Path) -> None:
        from utopia.config.load import load
        from utopia.plan.plan import Plan

        study = load(
            {
                "study": "paper",
                "data": str(shared_data),
                "tables": ["ulda_table_2"],
                "figures": [],
                "datasets": {
                    "summe": {"features": [["diff_attention_summe"]]},
                    "tvsum": {"features": [["diff_attention_tvsum"]], "options": {"missing_shots": "uniform"}},
                },
            }
        )
        plan = Plan(study)
        if "shots" in tvsum.locate(shared_data / "tvsum", OPTIONS).files:
            pytest.skip("the HDF5 file with the shots is there")
        measured = {cell.run.id: cell.run for cell in plan.cells if cell.run is not None}
        assert len(measured) == 22 and not plan.absent_runs
        for run in measured.values():
            notes = plan.not_comparable(run)
            assert (tvsum.UNIFORM in notes) == (run.dataset == "tvsum")
            assert any("untrained" in note for note in notes) == (run.reference is None)
        for name in ("summe", "tvsum"):
            folds = plan.datasets[name].folds
            assert [fold.train + fold.test for fold in folds] == [{"summe": 25, "tvsum": 50}[name]] * 5
