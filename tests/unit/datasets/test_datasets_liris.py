"""LIRIS-ACCEDE: both layouts, the annotation file and everything that can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utopia.datasets import _card, liris
from utopia.datasets._common import Item, LabelledItem, Limits
from utopia.errors import InputError

HEADER = "Time\tValence\tArousal"
OPTIONS = liris.Config()
LIMITS = Limits(-1, 1)
Write = Callable[..., LabelledItem]


def rows(count: int, start: int = 0) -> list[str]:
    return [f"{start + t}\t{np.sin(t):.5f}\t{np.cos(t):.5f}" for t in range(count)]


def place(folder: Path, movie: int, lines: list[str]) -> Path:
    part = (
        "DevSet-Part1" if movie < 14 else "DevSet-Part2" if movie < 44 else "DevSet-Part3" if movie < 54 else "TestSet"
    )
    name = f"MEDIAEVAL18-{part}-Valence_Arousal-annotations/annotations/MEDIAEVAL18_{movie:02d}_Valence-Arousal.txt"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def item_of(folder: Path, movie: int) -> Item:
    return liris.items(liris.locate(folder, OPTIONS), OPTIONS)[movie]


@pytest.fixture
def read(tmp_path: Path) -> Write:
    """Write a movie's annotation file and read it; `duration_s` is what a manifest would say of its video."""

    def call(lines: list[str], movie: int = 3, **facts: Any) -> LabelledItem:
        place(tmp_path, movie, lines)
        located = liris.locate(tmp_path, OPTIONS)
        item = replace(liris.items(located, OPTIONS)[movie], facts=facts)
        return liris.read_labels(located, item, OPTIONS, LIMITS)

    return call


def test_values_and_times_are_those_of_the_file(read: Write) -> None:
    labelled = read([HEADER, "1\t0.25\t-0.5", "2\t0.5\t-1", "3\t-1e-1\t1"])
    assert labelled.times.tolist() == [1, 2, 3]
    assert labelled.labels["valence"].tolist() == [0.25, 0.5, -0.1]
    assert labelled.labels["arousal"].tolist() == [-0.5, -1, 1]
    assert not labelled.evaluation and not labelled.votes


def test_columns_go_by_their_names(read: Write) -> None:
    labelled = read(["Time\tArousal\tValence", "0\t0.1\t0.9", "1\t0.2\t0.8"])
    assert labelled.labels["valence"].tolist() == [0.9, 0.8]


def test_a_file_without_header_loses_no_second(read: Write) -> None:
    assert len(read(rows(5)).times) == 5


def test_all_movies_are_expected_and_the_fold_is_the_task_s(tmp_path: Path) -> None:
    for movie in (0, 13, 14, 43, 44, 53, 54, 65):
        place(tmp_path, movie, [HEADER, *rows(3)])
    located = liris.locate(tmp_path, OPTIONS)
    items = liris.items(located, OPTIONS)
    assert [item.id for item in items] == [f"MEDIAEVAL18_{n:02d}" for n in range(66)]
    assert sum("annotations" in item.files for item in items) == 8
    (fold,) = liris.folds(located, [item.id for item in items], OPTIONS)
    assert (fold["name"], len(fold["train"]), len(fold["test"])) == ("test", 54, 12)
    assert fold["test"][0] == "MEDIAEVAL18_54"
    assert "videos" in located.missing and "annotations" not in located.missing


def test_a_flat_folder_is_as_good(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "MEDIAEVAL18_05.mkv").touch()
    (tmp_path / "MEDIAEVAL18_05_Valence-Arousal.txt").write_text("\n".join([HEADER, *rows(4)]))
    item = item_of(tmp_path, 5)
    assert {role: path.name for role, path in item.files.items()} == {
        "annotations": "MEDIAEVAL18_05_Valence-Arousal.txt",
        "video": "MEDIAEVAL18_05.mkv",
    }


def test_the_provided_feature_files_are_not_looked_through(tmp_path: Path) -> None:
    decoy = (
        tmp_path / "MEDIAEVAL18-DevSet-Part1-Visual_features" / "visual_features" / "MEDIAEVAL18_05_Valence-Arousal.txt"
    )
    decoy.parent.mkdir(parents=True)
    decoy.touch()
    assert "annotations" in liris.locate(tmp_path, OPTIONS).missing


@pytest.mark.parametrize(
    ("lines", "line", "words"),
    [
        ([HEADER, *rows(3), "3\tnan\t0"], 5, "valence label is not a number (1 of 4 rows)"),
        ([HEADER, *rows(3), "3\t0\tinf"], 5, "arousal label is not a number"),
        ([HEADER, "0\t0\t0", "1\t1.2\t0", "2\t0\t0"], 3, "valence label 1.2 lies outside [-1, 1] (1 of 3 rows)"),
        ([HEADER, *rows(4), *rows(3, start=3)], 6, "3 s and 3 s repeat or go back"),
        ([HEADER, *rows(4), *rows(3, start=9)], 6, "rows are missing: 3 s is followed by 9 s"),
        ([HEADER, *rows(4)[::-1]], 3, "repeat or go back"),
        ([HEADER, "0\t0\t0", "0.5\t0\t0", "1\t0\t0"], 3, "0 s is followed by 0.5 s"),
        ([HEADER, "0\t0\t0", "1\t0"], 3, "expected three numbers (time, valence, arousal), found '1\\t0'"),
        ([HEADER, "0\t0\t0", "1\t0\t0\t0"], 3, "expected three numbers"),
        ([HEADER, "0\t0\t0", "1\tlow\t0"], 3, "expected three numbers"),
        (["Start\tEnd\tFear", *rows(3)], 1, "the header names Start, End, Fear"),
        ([HEADER, "nan\t0\t0", "1\t0\t0"], 3, "rows are missing: nan s is followed by 1 s"),
    ],
)
def test_a_bad_row_is_refused_with_file_and_line(read: Write, lines: list[str], line: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read(lines)
    assert caught.value.where.endswith(f"MEDIAEVAL18_03_Valence-Arousal.txt:{line}")
    assert words in caught.value.what
    assert caught.value.remedy


@pytest.mark.parametrize("content", [b"", b"\n\n", HEADER.encode(), b"\xff\xfe\x00binary"])
def test_a_file_without_rows_or_text_is_refused(tmp_path: Path, content: bytes) -> None:
    path = place(tmp_path, 3, [])
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"has no rows|cannot be read as text"):
        liris.describe(liris.locate(tmp_path, OPTIONS), item_of(tmp_path, 3), OPTIONS)


@pytest.mark.parametrize(("duration", "fits"), [(100, True), (104.9, True), (95.1, True), (105.5, False), (94, False)])
def test_labels_must_be_as_long_as_the_video(read: Write, duration: float, fits: bool) -> None:
    if fits:
        assert not read([HEADER, *rows(100)], duration_s=duration).notes
    else:
        with pytest.raises(InputError, match=rf"100 labels \(one per second\) for a video of {duration:.1f} s"):
            read([HEADER, *rows(100)], duration_s=duration)


def test_the_known_short_movie_keeps_what_is_labelled_and_says_so(read: Write) -> None:
    labelled = read([HEADER, *rows(100)], movie=46, duration_s=3000.0)
    assert len(labelled.times) == 100
    assert "known defect" in labelled.notes[0]


def test_the_known_short_movie_may_not_be_too_long(read: Write) -> None:
    with pytest.raises(InputError, match="100 labels"):
        read([HEADER, *rows(100)], movie=46, duration_s=50.0)


def test_known_defects_are_on_the_card() -> None:
    kinds = {defect.id: defect.kind for defect in _card.card("liris").known_defects}
    assert kinds["MEDIAEVAL18_46"] == "short_labels"
    assert {"MEDIAEVAL18_06", "MEDIAEVAL18_18", "MEDIAEVAL18_27"} < set(kinds)
