"""CASE: viewers' files as labels and votes, and what can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from utopia.config.load import load
from utopia.datasets import case
from utopia.datasets._common import LabelledItem, Limits
from utopia.datasets.case import Config
from utopia.errors import InputError
from utopia.inputs.manifest import list_inputs
from utopia.inputs.miniature import generate
from utopia.labels.build import build_labels
from utopia.labels.read import Labels
from utopia.plan.availability import survey

LIMITS = Limits(-1.0, 1.0)
SIZE = {"seconds": 10.0, "width": 32, "height": 32, "fps": 5, "annotators": 4, "label_annotators": 2}


def write_viewer(folder: Path, number: int, rows: list[tuple[int, float, float, int]]) -> Path:
    path = folder / "data" / "interpolated" / "annotations" / f"sub_{number}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("jstime,valence,arousal,video\n" + "".join(f"{','.join(map(str, row))}\n" for row in rows))
    return path


def read(folder: Path, clip: int = 0, options: Config | None = None) -> LabelledItem:
    chosen = options or Config()
    located = case.locate(folder, chosen)
    return case.read_labels(located, case.items(located, chosen)[clip], chosen, LIMITS)


def test_labels_by_hand(tmp_path: Path) -> None:
    # the first viewer sees clip 1, then clip 2; the second one the other way round
    write_viewer(tmp_path, 1, [(0, 5, 5, 10), (50, 9.5, 5, 1), (100, 5, 0.5, 1), (150, 5, 5, 11), (200, 0.5, 9.5, 2)])
    write_viewer(tmp_path, 2, [(0, 5, 5, 10), (50, 9.5, 9.5, 2), (100, 5, 5, 11), (150, 5, 5, 1), (200, 7.25, 5, 1)])
    first, second = read(tmp_path, 0), read(tmp_path, 1)
    assert first.times.tolist() == [0, 0.05] and second.times.tolist() == [0]
    assert first.votes["valence"].tolist() == [[1, 0], [0, 0.5]] and first.votes["arousal"].tolist() == [
        [0, -1],
        [0, 0],
    ]
    assert first.labels["valence"].tolist() == [0.5, 0.25] and second.labels["valence"].tolist() == [0]
    assert second.labels["arousal"].tolist() == [1] and first.notes == ["2 of 30 viewers"]


def test_signals_and_uneven_times_of_the_same_names_are_not_taken(tmp_path: Path) -> None:
    write_viewer(tmp_path, 1, [(0, 5, 5, 1)])
    for other in ("data/interpolated/physiological", "data/non-interpolated/annotations", "data/initial"):
        (tmp_path / other).mkdir(parents=True)
        for number in (1, 2):
            (tmp_path / other / f"sub_{number}.csv").write_text("daqtime,ecg\n1,2\n")
    assert [path.name for path in case.locate(tmp_path, Config()).files["annotations"]] == ["sub_1.csv"]


def test_who_skipped_a_clip_or_left_early_is_left_out_and_named(tmp_path: Path) -> None:
    for number in (1, 2):
        write_viewer(tmp_path, number, [(0, 6, 5, 1), (50, 6, 5, 1), (100, 5, 5, 2)])
    write_viewer(tmp_path, 3, [(0, 5, 5, 1), (50, 9, 5, 2)])
    write_viewer(tmp_path, 4, [(0, 9, 5, 2)])
    first, second = read(tmp_path, 0), read(tmp_path, 1)
    assert first.votes["valence"].shape == (2, 2) and second.votes["valence"].shape == (4, 1)
    assert first.notes == [
        "2 of 30 viewers",
        "sub_3.csv is left out: 1 sample of video 1, most viewers have 2",
    ]


def test_labels_of_few_viewers_are_judged_by_those_of_all(tmp_path: Path) -> None:
    for number in range(1, 6):
        write_viewer(tmp_path, number, [(0, 4 + number / 2, 5, 1), (50, 5, 4 + number / 2, 1)])
    few, everyone = read(tmp_path, options=Config(label_annotators=3)), read(tmp_path)
    assert len(few.annotators) == 3
    assert few.labels["valence"] == pytest.approx(few.votes["valence"][list(few.annotators)].mean(axis=0))
    assert few.evaluation["valence"] == pytest.approx(everyone.labels["valence"])
    with pytest.raises(InputError, match="has 5 annotators, fewer than the 6 asked for"):
        read(tmp_path, options=Config(label_annotators=6))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("jstime,valence,arousal\n0,5,5\n", r"sub_1.csv:1: the header lacks video"),
        ("jstime,valence,arousal,video\n0,5,5,1\n50,five,5,1\n", r"sub_1.csv:3: expected numbers, found '50,five,5,1'"),
        ("jstime,valence,arousal,video\n0,5,5,1\n50,5\n", r"sub_1.csv:3: expected numbers"),
        ("jstime,valence,arousal,video\n0,5,5,1\n50,nan,5,1\n", r"sub_1.csv:3: the valence label is not a number"),
        ("jstime,valence,arousal,video\n0,5,5,1\n50,5,10,1\n", r"sub_1.csv:3: the arousal label 1.11111 lies outside"),
        ("jstime,valence,arousal,video\n0,5,5,1\n100,5,5,1\n", r"sub_1.csv:3: rows are missing"),
        ("jstime,valence,arousal,video\n0,5,5,1\n0,5,5,1\n", r"sub_1.csv:3: the times 0 s and 0 s repeat"),
        ("jstime,valence,arousal,video\n", "has no rows"),
        ("jstime,valence,arousal,video\n0,5,5,2\n", "no viewer has a row of video 1"),
        ("", "the header lacks jstime, valence, arousal, video"),
        ("\x00\xff", "the header lacks"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "sub_1.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=told):
        read(tmp_path)


def test_generated_viewers_are_read_as_they_were_drawn(tmp_path: Path) -> None:
    from utopia import arrays

    # more clips than the numbers of start, blue screen and end leave free in one row
    generate(dataset="case", count=12, settings=SIZE, seed=5, folder=tmp_path)
    truth = arrays.load(tmp_path / "truth.safetensors")
    for clip, name in enumerate(("video_1", "video_9", "video_12")):
        labelled = read(tmp_path, (0, 8, 11)[clip])
        assert labelled.id == name
        for target in case.TARGETS:
            assert labelled.votes[target] == pytest.approx(truth[f"{name}/{target}.votes"], abs=2e-4)


def test_it_is_there_with_labels_and_says_why_nothing_is_trained_on_it(tmp_path: Path) -> None:
    generate(dataset="case", count=6, settings=SIZE, seed=5, folder=tmp_path / "case")
    there = survey(load(overrides={"study": "paper", "data": str(tmp_path)}), "case")
    assert there.available and there.features == () and "labels only" in there.feature_reason
    assert "fetch" not in there.feature_reason


class TestRealData:
    def test_votes_are_those_of_another_implementation(self, shared_data: Path, tmp_path: Path) -> None:
        folder = shared_data / "case"
        manifest, output = tmp_path / "manifest.json", tmp_path / "labels.safetensors"
        list_inputs(dataset="case", folder=folder, options={"checksums": "refuse"}, output=manifest)
        build_labels(
            dataset="case",
            manifest=manifest,
            folder=folder,
            options={},
            distribution={"low": -1, "high": 1},
            output=output,
        )
        labels = Labels(output)
        assert len(labels.items) == len(labels.folds) == 8 and not labels.absent
        with h5py.File(folder / "case_annotations.h5") as file:
            for item in labels.items:
                for target in case.TARGETS:
                    votes, theirs = labels.votes(item, target), file[item][target][()]
                    assert votes is not None and votes.shape == (30, len(labels.times(item)))
                    np.testing.assert_allclose(votes * 4.5 + 5, theirs, rtol=0, atol=1e-5)
                    np.testing.assert_allclose(labels.label(item, target), votes.mean(axis=0), rtol=1e-6)
                np.testing.assert_allclose(np.diff(labels.times(item)), 0.05, rtol=1e-6)
