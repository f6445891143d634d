"""The miniature's data: official layouts, equal bytes for equal seeds, and a planted truth that can be found again."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pytest
from scipy.io import loadmat

from utopia import arrays
from utopia.datasets.eev import EXPRESSIONS, GRID, PARTS
from utopia.errors import InputError
from utopia.inputs import miniature
from utopia.inputs.miniature import Size, damaged_id, files, generate, item_ids, latent, scene
from utopia.inputs.miniature.eev_ids import ids_of
from utopia.media.probe import probe

SIZE = {"seconds": 20.0, "width": 48, "height": 40, "fps": 10, "annotators": 24, "label_annotators": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("miniature")
    for dataset in ("eev", "liris", "pmemo", "summe", "tvsum"):
        written = generate(dataset=dataset, count=8, settings=SIZE, seed=2307, folder=root / dataset)
        assert sorted(written) == sorted(path for path in (root / dataset).rglob("*") if path.is_file())
    return root


def decoded(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean colour per frame [N, 3] and the sound [samples]."""
    with av.open(str(path)) as container:
        colours = [frame.to_ndarray(format="rgb24").mean(axis=(0, 1)) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.stack(colours), np.concatenate(sound)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def fitted(features: np.ndarray, truth: np.ndarray) -> float:
    """Correlation of the truth with its least-squares fit from the features."""
    design = np.column_stack([features, np.ones(len(features))])
    weights, *_ = np.linalg.lstsq(design, truth, rcond=None)
    return correlation(design @ weights, truth)


class TestDeterminism:
    @pytest.mark.parametrize("dataset", ["liris", "pmemo", "summe", "tvsum"])
    def test_equal_arguments_give_equal_bytes(self, dataset: str, made: Path, tmp_path: Path) -> None:
        again = generate(dataset=dataset, count=8, settings=SIZE, seed=2307, folder=tmp_path)
        for path in again:
            assert path.read_bytes() == (made / dataset / path.relative_to(tmp_path)).read_bytes(), path.name

    def test_an_item_does_not_depend_on_the_count(self, made: Path, tmp_path: Path) -> None:
        generate(dataset="liris", count=6, settings=SIZE, seed=2307, folder=tmp_path)
        for name in (
            "Data/data/MEDIAEVAL18_01.mp4",
            "Valence_Arousal-annotations/annotations/MEDIAEVAL18_01_Valence-Arousal.txt",
        ):
            path = f"MEDIAEVAL18-DevSet-Part1-{name}"
            assert (tmp_path / path).read_bytes() == (made / "liris" / path).read_bytes()

    def test_another_seed_gives_other_data(self, made: Path, tmp_path: Path) -> None:
        generate(dataset="tvsum", count=8, settings=SIZE, seed=2308, folder=tmp_path)
        name = "ydata-tvsum50.mat"
        assert (tmp_path / name).read_bytes() != (made / "tvsum" / name).read_bytes()


class TestScience:
    @pytest.mark.parametrize("item", ["MEDIAEVAL18_00", "MEDIAEVAL18_02", "MEDIAEVAL18_54"])
    def test_truth_shows_in_colour_loudness_and_pitch(self, made: Path, item: str) -> None:
        truth = arrays.load(made / "liris" / "truth.safetensors")
        valence, arousal = truth[f"{item}/valence"], truth[f"{item}/arousal"]
        colours, sound = decoded(next((made / "liris").glob(f"*/data/{item}.mp4")))
        seconds = len(valence)
        colour = colours.reshape(seconds, 10, 3).mean(axis=1)
        blocks = sound[: seconds * scene.SAMPLE_RATE].reshape(seconds, -1)
        crossings = (np.diff(np.signbit(blocks), axis=1) != 0).mean(axis=1)
        assert fitted(colour, valence) > 0.5
        assert fitted(colour, arousal) > 0.5
        assert correlation(np.log(np.square(blocks).mean(axis=1)), arousal) > 0.5
        assert correlation(crossings, valence) > 0.5

    @pytest.mark.parametrize("number", [1, 3, 6])
    def test_truth_shows_in_the_loudness_and_pitch_of_songs(self, made: Path, number: int) -> None:
        from utopia.media.audio import read_audio

        truth = arrays.load(made / "pmemo" / "truth.safetensors")
        valence, arousal = truth[f"song_{number}/valence"], truth[f"song_{number}/arousal"]
        sound = read_audio(made / "pmemo" / "chorus" / f"{number}.mp3")[15 * scene.SAMPLE_RATE :]
        blocks = sound[: len(valence) * scene.SAMPLE_RATE // 2].reshape(len(valence), -1)
        crossings = (np.diff(np.signbit(blocks), axis=1) != 0).mean(axis=1)
        assert correlation(np.log(np.square(blocks).mean(axis=1)), arousal) > 0.8
        assert correlation(crossings, valence) > 0.8

    def test_expressions_show_in_what_is_seen_and_heard(self, made: Path) -> None:
        """Of what is felt, pictures and sound tell much; of what is shown, less: its noise is in neither."""
        truth = arrays.load(made / "eev" / "truth.safetensors")
        features, felt, shown = [], [], []
        for item in ids_of(8)["train"][:-1]:
            colours, sound = decoded(made / "eev" / "videos" / f"{item}.mp4")
            seconds = len(colours) // 10
            blocks = sound[: seconds * scene.SAMPLE_RATE].reshape(seconds, -1)
            crossings = (np.diff(np.signbit(blocks), axis=1) != 0).mean(axis=1)
            level = np.log(np.square(blocks).mean(axis=1))
            colour = colours[: seconds * 10].reshape(seconds, 10, 3).mean(axis=1)
            features.append(np.column_stack([colour, level, crossings]))
            for into, name in ((felt, "felt"), (shown, "reactions")):
                into.append(truth[f"{item}/{name}"].reshape(-1, 6, 15).mean(axis=1))
        design, felt, shown = (np.concatenate(parts) for parts in (features, felt, shown))
        of_felt, of_shown = (
            np.mean([fitted(design, values[:, column]) for column in range(15)]) for values in (felt, shown)
        )
        assert of_felt > 0.6 and of_felt > of_shown > 0.25

    def test_expressions_have_sudden_zeros_and_noise_faster_than_their_rows(self) -> None:
        from utopia.inputs.miniature.eev import expression_weights, expressions

        weights, names = expression_weights(3), scene.Drives._fields
        made = [expressions(latent.plant(3, "eev", str(n), 60, 10, names), weights, 3, str(n)) for n in range(40)]
        shown = [one for _, one in made]
        assert all(((one > 0) & (one < 1) | (one == 0)).all() for one in shown)
        zero = np.concatenate([(one == 0).all(axis=1) for one in shown])
        assert (zero == np.concatenate([(one == 0).any(axis=1) for one in shown])).all()
        assert (
            0.015 < zero.mean() < 0.05
            and not (zero.reshape(-1, 6).any(axis=1) & ~zero.reshape(-1, 6).all(axis=1)).any()
        )
        seen = np.concatenate([one[(one > 0).all(axis=1)] for one in shown])
        logit = np.log(seen / (1 - seen))
        assert abs(logit.mean() + 1.5) < 0.15 and 1.0 < logit.std() < 1.6
        steps = [np.diff(np.log(one / (1 - one)), axis=0) for one in shown if (one > 0).all()]
        # Ornstein-Uhlenbeck of unit variance at 0.1 s, read every sixth of a second: steps of 1.27 of its deviation.
        assert abs(np.concatenate(steps).std() / 0.8 - np.sqrt(2 * (1 - np.exp(-1 / 0.6)))) < 0.2

    def test_training_songs_are_labelled_by_few_and_test_songs_by_all(self, made: Path) -> None:
        truth = arrays.load(made / "pmemo" / "truth.safetensors")
        folder = made / "pmemo" / "annotations"
        means = np.loadtxt(folder / "dynamic_annotations.csv", skiprows=1, delimiter=",")
        deviations = np.loadtxt(folder / "dynamic_annotations_std.csv", skiprows=1, delimiter=",")
        for song in range(1, 9):
            rows = means[:, 0] == song
            for column, target in ((2, "arousal"), (3, "valence")):
                votes = truth[f"song_{song}/{target}.votes"]
                of_all = np.abs(means[rows, column] - (votes.mean(axis=0) + 1) / 2).max() < 1e-5
                assert of_all == (song % 3 == 0)
                if of_all:
                    np.testing.assert_allclose(deviations[rows, column], votes.std(axis=0), atol=1e-5)

    def test_truth_shows_in_motion(self, made: Path) -> None:
        truth = arrays.load(made / "summe" / "truth.safetensors")
        found = []
        for item in ("video_1", "video_2", "video_3"):
            with av.open(str(made / "summe" / "videos" / f"Miniature_{item[-1:]:0>2}.mp4")) as container:
                shown = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
            # The patch is the only white thing; its centre moves faster when more happens.
            white = shown.min(axis=3) > 160
            rows, columns = (
                (white.any(axis=axis) * np.arange(white.shape[3 - axis])).sum(axis=1) / white.any(axis=axis).sum(axis=1)
                for axis in (2, 1)
            )
            speed = np.hypot(np.diff(rows), np.diff(columns))
            signal = truth[f"{item}/importance"][1:]
            found.append(correlation(latent.per_step(speed, 10), latent.per_step(signal, 10)))
        assert np.mean(found) > 0.5

    def test_one_linear_map_serves_all_videos(self, made: Path) -> None:
        """What a model needs: the same colour means the same in every video."""
        truth = arrays.load(made / "liris" / "truth.safetensors")
        colours, arousal = [], []
        for item in item_ids("liris", 8)[:4]:
            seconds = truth[f"{item}/arousal"]
            colours.append(
                decoded(next((made / "liris").glob(f"*/data/{item}.mp4")))[0].reshape(len(seconds), 10, 3).mean(axis=1)
            )
            arousal.append(seconds)
        assert fitted(np.concatenate(colours), np.concatenate(arousal)) > 0.5

    def test_few_annotators_stray_further_from_the_truth_than_many(self, made: Path) -> None:
        truth = arrays.load(made / "liris" / "truth.safetensors")
        rng = np.random.default_rng(0)
        few, many = [], []
        for item in item_ids("liris", 8):
            for target in ("valence", "arousal"):
                votes, signal = truth[f"{item}/{target}.votes"], truth[f"{item}/{target}"]
                chosen = [votes[rng.choice(len(votes), 3, replace=False)].mean(axis=0) for _ in range(20)]
                few.append(np.mean([np.square(label - signal).mean() for label in chosen]))
                many.append(np.square(votes.mean(axis=0) - signal).mean())
        assert np.mean(few) > 1.5 * np.mean(many)

    def test_development_labels_are_of_few_and_test_labels_of_all(self, made: Path) -> None:
        truth = arrays.load(made / "liris" / "truth.safetensors")
        for item in item_ids("liris", 8):
            path = next((made / "liris").glob(f"*/annotations/{item}_*.txt"))
            table = np.loadtxt(path, skiprows=1)
            of_all = np.column_stack(
                [truth[f"{item}/{target}.votes"].mean(axis=0) for target in ("valence", "arousal")]
            )
            same = np.abs(table[:, 1:] - of_all).max() < 1e-5
            assert same == (int(item[-2:]) >= 54)

    def test_summaries_follow_the_truth_within_a_budget(self, made: Path) -> None:
        truth = arrays.load(made / "summe" / "truth.safetensors")
        shares, agreement = [], []
        for item in item_ids("summe", 8):
            votes = truth[f"{item}/importance.votes"]
            assert votes.any(axis=1).all()
            shares.append(votes.mean())
            agreement.append(correlation(votes.mean(axis=0), truth[f"{item}/importance"]))
        assert 0.05 < np.mean(shares) < 0.2
        assert np.mean(agreement) > 0.5

    def test_most_moments_are_near_neutral(self) -> None:
        signals = [latent.plant(1, "liris", str(n), 60, 10, ("valence",)).signals["valence"] for n in range(20)]
        signal = np.concatenate(signals)
        assert np.abs(signal).max() <= 1
        assert (np.abs(signal) < 1 / 3).mean() > 0.5 > (np.abs(signal) > 2 / 3).mean() > 0


class TestOfficialLayouts:
    def test_mp4_files_hold_h264_and_aac_and_end_on_a_second(self, made: Path) -> None:
        bad = ("MEDIAEVAL18_05", "Miniature_08", "Miniature08", damaged_id("eev", 8))
        whole = [path for path in made.rglob("*.mp4") if path.stem not in bad]
        assert len(whole) == 28
        for path in whole:
            facts = probe(path)
            assert (facts.video_codec, facts.audio_codec, facts.fps) == ("h264", "aac", 10)
            assert (facts.width, facts.height, facts.sample_rate) == (48, 40, scene.SAMPLE_RATE)
            assert facts.frames == facts.duration_s * 10 and facts.duration_s == int(facts.duration_s)

    @pytest.mark.parametrize(
        ("dataset", "name"), [("liris", "MEDIAEVAL18_05"), ("summe", "Miniature_08"), ("tvsum", "Miniature08")]
    )
    def test_one_video_is_cut_short(self, made: Path, dataset: str, name: str) -> None:
        with pytest.raises(InputError, match="cut short"):
            probe(next((made / dataset).rglob(f"{name}.mp4")))

    def test_one_song_is_cut_short_and_the_others_are_mp3_of_their_length(self, made: Path, shared_data: Path) -> None:
        lines = (made / "pmemo" / "metadata.csv").read_text().splitlines()
        assert lines[0] == (shared_data / "pmemo" / "metadata.csv").read_text().splitlines()[0]
        for line in lines[1:]:
            name, seconds = line.split(",")[1], float(line.split(",")[5])
            song = made / "pmemo" / "chorus" / name
            if name == "8.mp3":
                with pytest.raises(InputError, match=rf"its header declares {seconds:.2f} s"):
                    probe(song)
                continue
            facts = probe(song)
            assert (facts.audio_codec, facts.frames) == ("mp3float", None)
            assert facts.duration_s == pytest.approx(seconds, abs=0.15)

    def test_the_song_tables_have_the_official_columns_and_half_second_rows(
        self, made: Path, shared_data: Path
    ) -> None:
        for name in ("dynamic_annotations", "dynamic_annotations_std", "static_annotations"):
            ours = (made / "pmemo" / "annotations" / f"{name}.csv").read_text().splitlines()
            real = (shared_data / "pmemo" / "annotations" / f"{name}.csv").read_text().splitlines()
            assert ours[0] == real[0]
        table = np.loadtxt(made / "pmemo" / "annotations" / "dynamic_annotations.csv", skiprows=1, delimiter=",")
        for song in range(1, 9):
            times = table[table[:, 0] == song, 1]
            np.testing.assert_array_equal(times, 15.5 + 0.5 * np.arange(len(times)))
            lines = (made / "pmemo" / "metadata.csv").read_text().splitlines()
            assert times[-1] == float(lines[song].split(",")[5])
        assert table[:, 2:].min() >= 0 and table[:, 2:].max() <= 1

    def test_user_summaries_are_the_knapsack_of_the_users_own_votes(self, made: Path) -> None:
        from utopia.evaluation import summary

        truth = arrays.load(made / "tvsum" / "truth.safetensors")
        with h5py.File(made / "tvsum" / "tvsum_labels.h5") as file:
            assert "features" not in file["video_1"]
            for item in item_ids("tvsum", 8):
                group, votes = file[item], truth[f"{item}/importance.votes"]
                points, frames = group["change_points"][()], int(group["n_frames"][()])
                assert votes.shape == (20, frames) and group["user_summary"].shape == (20, frames)
                for user, chosen in zip(votes, group["user_summary"][()], strict=True):
                    means = np.array([user[a : b + 1].mean() for a, b in points])
                    lengths = points[:, 1] - points[:, 0] + 1
                    best = summary.knapsack(means, lengths, int(0.15 * frames))
                    kept = [index for index, (a, _) in enumerate(points) if chosen[a]]
                    assert chosen.sum() == lengths[kept].sum() <= 0.15 * frames
                    assert means[kept].sum() == pytest.approx(means[best].sum())
                picks = group["picks"][()]
                np.testing.assert_allclose(group["gtscore"][()], (votes.mean(axis=0)[picks] - 1) / 4, atol=1e-6)

    def test_the_tables_of_eev_list_every_sixth_of_a_second(self, made: Path) -> None:
        for part, name in PARTS.items():
            with (made / "eev" / name).open(newline="") as file:
                header, *rows = csv.reader(file)
            assert header[:2] == ["YouTube ID", "Timestamp (microseconds)"]
            assert tuple(header[2:]) == (() if part == "test" else EXPRESSIONS)
            by_id = {video: [int(row[1]) for row in rows if row[0] == video] for video, *_ in rows}
            assert list(by_id) == ids_of(8)[part]
            for video, times in by_id.items():
                assert times == [i // 6 * 1_000_000 + GRID[i % 6] for i in range(len(times))]
                path = made / "eev" / "videos" / f"{video}.mp4"
                if path.is_file() and video != damaged_id("eev", 8):
                    assert probe(path).duration_s == pytest.approx(len(times) / 6, abs=0.15)

    def test_annotations_have_the_official_columns(self, made: Path) -> None:
        for path in made.glob("liris/*/annotations/*.txt"):
            header, first, *_ = path.read_text().splitlines()
            assert header.split("\t") == ["Time", "Valence", "Arousal"]
            assert len(first.split("\t")) == 3

    def test_mat_files_have_the_official_variables(self, made: Path, shared_data: Path) -> None:
        ours = loadmat(made / "summe" / "GT" / "Miniature_01.mat")
        real = loadmat(shared_data / "summe" / "GT" / "Jumps.mat")
        assert set(ours) == set(real)
        users = 24
        assert ours["user_score"].shape == (ours["nFrames"].item(), users)
        assert ours["segments"].shape == (1, users) and ours["segments"].dtype == real["segments"].dtype
        np.testing.assert_allclose(ours["gt_score"][:, 0], (ours["user_score"] > 0).mean(axis=1))
        start, end = ours["segments"][0, 0][0] * ours["FPS"].item()
        assert (ours["user_score"][round(start) : round(end) + 1, 0] == 1).all()

    def test_the_hdf5_file_has_the_field_s_arrays(self, made: Path, shared_data: Path) -> None:
        with (
            h5py.File(made / "summe" / "summe_labels.h5") as ours,
            h5py.File(shared_data / "summe" / "summe_labels.h5") as real,
        ):
            for name, array in real["video_1"].items():
                assert ours["video_1"][name].dtype.kind == array.dtype.kind
                assert ours["video_1"][name].ndim == array.ndim
            group = ours["video_1"]
            points, frames = group["change_points"][()], int(group["n_frames"][()])
            np.testing.assert_array_equal(points[1:, 0], points[:-1, 1] + 1)
            assert points[0, 0] == 0 and points[-1, 1] == frames - 1
            np.testing.assert_array_equal(group["n_frame_per_seg"][()].sum(), frames)

    def test_the_v73_file_has_the_official_fields(self, made: Path, shared_data: Path) -> None:
        with (
            h5py.File(made / "tvsum" / "ydata-tvsum50.mat") as ours,
            h5py.File(shared_data / "tvsum" / "ydata-tvsum50.mat") as real,
        ):
            assert ours.userblock_size == real.userblock_size
            for name, column in real["tvsum50"].items():
                mine = ours["tvsum50"][name]
                assert mine.shape == (8, 1) and mine.dtype == column.dtype
                a, b = ours[mine[0, 0]], real[column[0, 0]]
                assert a.attrs["MATLAB_class"] == b.attrs["MATLAB_class"]
                assert (a.dtype, a.ndim) == (b.dtype, b.ndim)
            votes = ours[ours["tvsum50"]["user_anno"][0, 0]][()]
        assert set(np.unique(votes)) <= {1, 2, 3, 4, 5} and len(np.unique(votes)) >= 4
        # Whole two-second shots are voted on.
        assert (votes[:, :20] == votes[:, :1]).all()

    def test_the_v73_file_begins_like_a_matlab_file(self, made: Path) -> None:
        head = (made / "tvsum" / "ydata-tvsum50.mat").read_bytes()[:128]
        assert head.startswith(b"MATLAB 7.3 MAT-file") and head[124:] == b"\x00\x02IM"


def test_the_configuration_s_fields_are_the_settings(tmp_path: Path) -> None:
    from utopia.config.study import Generated

    generated = Generated(seconds=60, seconds_of={"tvsum": 6})
    settings: dict[str, Any] = generated.size("tvsum")
    assert set(settings) == set(Size.__dataclass_fields__)
    assert settings["seconds"] == 6 and generated.size("liris")["seconds"] == 60
    assert generate(dataset="tvsum", count=6, settings=settings, seed=1, folder=tmp_path)


def test_a_damaged_target_is_left_alone_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match=r"zero-size|shape|frame"):
        files.write_mp4(path, np.zeros((2, 32, 32, 4), dtype=np.uint8), np.zeros(100, dtype=np.float32), 5)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_planning_needs_neither_decoder_nor_scipy() -> None:
    """The plan asks for ids at start-up, which must stay fast."""
    import subprocess
    import sys

    asked = "video_ids('liris', 8); video_ids('eev', 8)"
    code = f"import sys; from utopia.inputs.miniature import video_ids; {asked}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"av", "scipy", "torch", "h5py"} & set(loaded)


def test_the_study_s_size_is_made_within_seconds(tmp_path: Path) -> None:
    """Guards against a slow path; the whole miniature (24 videos of a minute) takes about 10 CPU seconds."""
    settings = {"seconds": 60.0, "width": 96, "height": 72, "fps": 10, "annotators": 30, "label_annotators": 3}
    start = time.process_time()
    generate(dataset="summe", count=miniature.FEWEST, settings=settings, seed=1, folder=tmp_path)
    assert time.process_time() - start < 15
