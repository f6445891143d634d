"""EEV: what is wrong with a table is named, counted, and costs no more than the videos that it concerns."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utopia.datasets import eev
from utopia.datasets._common import Limits
from utopia.datasets._eev_index import EXPRESSIONS
from utopia.datasets.eev import GRID, Config
from utopia.errors import InputError
from utopia.files import read_json
from utopia.inputs.coverage import report_coverage
from utopia.inputs.manifest import list_inputs
from utopia.labels.build import build_labels
from utopia.labels.read import Labels

HEADER = "YouTube ID,Timestamp (microseconds)"
FULL = f"{HEADER},{','.join(EXPRESSIONS)}"
LIMITS = Limits(0.0, 1.0)


def time(row: int) -> int:
    return row // 6 * 1_000_000 + GRID[row % 6]


def rows(video: str, count: int, value: float = 0.5, first: int = 0) -> list[str]:
    """Rows of a video on the grid; the expression c of row i is `value` but 0.01 c + 0.001 i."""
    return [
        f"{video},{time(i)}," + ",".join(f"{value * (0.01 * c + 0.001 * i + 0.5):.6f}" for c in range(15))
        for i in range(first, first + count)
    ]


def write(folder: Path, train: list[str], val: list[str] | None = None, test: list[str] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "train.csv").write_text("\n".join([FULL, *train]) + "\n")
    (folder / "val.csv").write_text("\n".join([FULL, *(rows("v1", 6) if val is None else val)]) + "\n")
    if test is not None:
        (folder / "test.csv").write_text("\n".join([HEADER, *test]) + "\n")
    return folder


def read(folder: Path, video: str, **options: Any) -> Any:
    config = Config(**options)
    located = eev.locate(folder, config)
    item = next(item for item in eev.items(located, config) if item.id == video)
    return eev.read_labels(located, item, config, LIMITS)


def built(folder: Path, **options: Any) -> tuple[dict[str, Any], Labels]:
    options = {"checksums": "record", **options}
    list_inputs(dataset="eev", folder=folder, options=options, output=folder.parent / "m.json")
    build_labels(
        dataset="eev",
        manifest=folder.parent / "m.json",
        folder=folder,
        options=options,
        distribution={},
        output=folder.parent / "l.safetensors",
    )
    return read_json(folder.parent / "m.json"), Labels(folder.parent / "l.safetensors")


def test_official_order_names_and_one_fold(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "eev",
        [*rows("t2", 7), *rows("t1", 6)],
        [*rows("-v", 6), *rows("_w", 6)],
        [f"x,{time(i)}" for i in range(9)],
    )
    manifest, labels = built(folder)
    assert [item["part"] for item in manifest["items"]] == ["train", "train", "validation", "validation", "test"]
    assert labels.items == ["t2", "t1", "-v", "_w", "x"] and labels.unlabelled == ["x"]
    assert labels.folds == [{"name": "official", "train": ["t2", "t1"], "test": ["-v", "_w"]}]
    assert labels.columns == {"reactions": list(EXPRESSIONS)} and labels.protocol == "reactions"
    assert labels.targets == {"reactions": {"low": 0.0, "high": 1.0}}
    assert labels.label("t2", "reactions").shape == (7, 15) and labels.label("t2", "reactions").dtype == np.float32
    assert labels.times("x").tolist() == [time(i) / 1e6 for i in range(9)] and "x/reactions" not in labels.arrays
    assert labels.times("x").dtype == np.float64


def test_columns_in_another_order_give_the_same_labels(tmp_path: Path) -> None:
    folder = write(tmp_path / "eev", rows("t1", 6))
    expected = read(folder, "t1").labels["reactions"]
    table = list(csv.reader((folder / "train.csv").open()))
    (folder / "train.csv").write_text("\n".join(",".join(reversed(row)) for row in table) + "\n")
    np.testing.assert_array_equal(read(folder, "t1").labels["reactions"], expected)
    assert len(set(expected[0].tolist())) == 15


def test_ids_that_differ_by_case_alone_have_their_own_videos(tmp_path: Path) -> None:
    folder = write(tmp_path / "eev", [*rows("aBc", 6), *rows("abc", 6)])
    (folder / "videos").mkdir()
    (folder / "videos" / "abc.mp4").write_text("")
    located = eev.locate(folder, Config())
    files = {item.id: set(item.files) for item in eev.items(located, Config())}
    assert files == {"aBc": {"annotations"}, "abc": {"annotations", "video"}, "v1": {"annotations"}}


BAD = {
    "repeats": ([*rows("t1", 3), *rows("t1", 1, first=2), *rows("t1", 3, first=3)], "the time repeats: 333333", 5),
    "goes back": ([*rows("t1", 3), *rows("t1", 1, first=1)], "the time goes back: 333333 is followed by 166666", 5),
    "two places that overlap": ([*rows("t1", 3), *rows("t2", 2), *rows("t1", 3)], "the time goes back", 7),
    "too large": ([*rows("t1", 3), *rows("t1", 1, 3.0, first=3)], "lies outside [0, 1]", 5),
    "no number": (
        [*rows("t1", 3), f"t1,{time(3)}," + ",".join(["0.5"] * 14) + ",high"],
        "triumph label is not a number",
        5,
    ),
    "negative": ([*rows("t1", 3), f"t1,{time(3)},-0.5," + ",".join(["0.5"] * 14)], "amusement label -0.5", 5),
    "too few fields": ([*rows("t1", 3), f"t1,{time(3)},0.5"], "3 fields instead of 17", 5),
    "without rows": (["t1," + "," * 15], "listed without rows", 2),
    "milliseconds": ([f"t1,{i * 1000 // 6}," + ",".join(["0.5"] * 15) for i in range(8)], "not microseconds", 3),
    "in two files": ([*rows("v1", 3)], "listed in train.csv and val.csv", 2),
    "no id": ([f",{time(0)}," + ",".join(["0.5"] * 15)], "not the id of a video", None),
    "a path for an id": ([f"../x,{time(0)}," + ",".join(["0.5"] * 15)], "not the id of a video", None),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_video_is_named_and_counted_and_the_others_stay(kind: str, tmp_path: Path) -> None:
    bad, words, line = BAD[kind]
    folder = write(tmp_path / "eev", [*bad, *rows("good", 6), *rows("better", 6)])
    manifest, labels = built(folder)
    absent = [item for item in manifest["items"] if not item["present"]]
    assert len(absent) == 1 and words in absent[0]["reason"]
    assert line is None or f"train.csv:{line}:" in absent[0]["reason"]
    assert list(labels.absent) == [absent[0]["id"]]
    assert {"good", "better"} <= set(labels.items)
    report_coverage(manifests=[tmp_path / "m.json"], indexes=[], output=tmp_path / "c.csv")
    table = {(row["subject"], row["items"]): row for row in csv.DictReader((tmp_path / "c.csv").open())}
    counted = table["annotations", absent[0]["id"]]
    assert counted["missing"] == "1" and counted["obtained"] == str(int(counted["expected"]) - 1)


def test_rows_that_the_grid_lacks_are_noted_and_not_made_up(tmp_path: Path) -> None:
    folder = write(tmp_path / "eev", [*rows("t1", 5, first=2), *rows("t1", 2, first=9), *rows("t2", 6)])
    manifest, labels = built(folder)
    assert labels.times("t1").tolist() == [time(i) / 1e6 for i in (2, 3, 4, 5, 6, 9, 10)]
    said = " ".join(labels.meta["notes"]["t1"])
    assert (
        "2 rows of the 6 Hz grid are missing (the first after 1.000 s)" in said
        and "first row stands at 0.333 s" in said
    )
    facts = next(item["annotations"] for item in manifest["items"] if item["id"] == "t1")
    assert facts["missing_rows"] == 2 and facts["rows"] == 7


def test_a_few_times_beside_the_grid_are_noted(tmp_path: Path) -> None:
    lines = rows("t1", 12)
    lines[4] = lines[4].replace("666666", "660000")
    labelled = read(write(tmp_path / "eev", lines), "t1")
    assert labelled.notes == ["1 times lie beside the 6 Hz grid (the first: line 6)"] and labelled.times[4] == 0.66


def test_rows_in_two_places_are_joined_with_a_note(tmp_path: Path) -> None:
    folder = write(tmp_path / "eev", [*rows("t1", 3), *rows("t2", 6), *rows("t1", 3, first=3)])
    joined = read(folder, "t1")
    assert joined.notes == ["its rows are in 2 places of train.csv"]
    np.testing.assert_array_equal(
        joined.labels["reactions"], read(write(folder, rows("t1", 6)), "t1").labels["reactions"]
    )


def test_a_file_without_its_last_end_of_line_is_noted(tmp_path: Path) -> None:
    folder = write(tmp_path / "eev", [*rows("t1", 6), *rows("t2", 6)])
    (folder / "train.csv").write_text((folder / "train.csv").read_text()[:-3])
    assert read(folder, "t2").notes == ["train.csv ends without an end of line: its last row may be cut"]
    assert read(folder, "t1").notes == []


def test_rows_of_zeros_are_kept_and_counted(tmp_path: Path) -> None:
    zeros = [f"t1,{time(i)}," + ",".join(["0"] * 15) for i in range(6, 12)]
    manifest, labels = built(write(tmp_path / "eev", [*rows("t1", 6), *zeros, *rows("t2", 6)]))
    assert [item["annotations"]["no_face"] for item in manifest["items"]] == [6, 0, 0]
    assert (labels.label("t1", "reactions")[6:] == 0).all() and len(labels.times("t1")) == 12


class TestFolder:
    def test_one_table_is_not_enough(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "eev", rows("t1", 6))
        (folder / "val.csv").unlink()
        assert "not both below" in eev.locate(folder, Config()).missing["annotations"]

    def test_a_header_that_is_not_understood_is_the_reason(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "eev", rows("t1", 6))
        (folder / "train.csv").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:9a1a\n")
        reason = eev.locate(folder, Config()).missing["annotations"]
        assert "header is not understood: 'version https://git-lfs" in reason and "train.csv:1" in reason

    def test_a_training_table_without_expressions_is_the_reason(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "eev", [])
        (folder / "val.csv").write_text(f"{HEADER}\nv1,0\n")
        assert "val.csv has no columns of expressions" in eev.locate(folder, Config()).missing["annotations"]

    def test_an_empty_test_table_s_columns_are_no_labels(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "eev", rows("t1", 6))
        (folder / "test.csv").write_text("\n".join([FULL, *(f"x,{time(i)}," + "," * 14 for i in range(3))]) + "\n")
        labelled = read(folder, "x")
        assert labelled.labels == {} and labelled.times.shape == (3,)
        assert labelled.notes == ["test.csv has columns of expressions, which are not used"]

    def test_another_file_than_the_published_one_is_refused(self, tmp_path: Path) -> None:
        folder = write(tmp_path / "eev", rows("t1", 6))
        with pytest.raises(InputError, match="the card names"):
            built(folder, checksums="refuse")


class TestCoverage:
    def test_parts_are_counted_against_the_card_by_reason(self, tmp_path: Path) -> None:
        train = [line for name in ("t1", "t2", "t3", "t4") for line in rows(name, 6)]
        folder = write(tmp_path / "eev", train)
        (folder / "videos").mkdir()
        tries = [("t1", "gone"), ("t2", "private"), ("t3", "region"), ("t2", "private"), ("v1", "gone"), ("v1", "ok")]
        lines = [{"id": id, "status": status, "message": "", "time": "", "attempts": 1} for id, status in tries]
        (folder / "videos" / "availability.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
        (folder / "videos" / "nobody.mp4").write_text("")
        manifest, _ = built(folder)
        assert manifest["unlisted"] == ["videos/nobody.mp4"]
        report_coverage(manifests=[tmp_path / "m.json"], indexes=[], output=tmp_path / "c.csv")
        table = list(csv.DictReader((tmp_path / "c.csv").open()))
        found = {(row["subject"], row["reason"]): row for row in table}
        video = {reason: row for (subject, reason), row in found.items() if subject == "videos:train"}
        assert {reason: row["items"] for reason, row in video.items() if row["items"]} == {
            "the video is gone from its site": "t1",
            "the video is private": "t2",
            "the video is closed to the region that asked for it": "t3",
            "no video <item> below <data>/eev": "t4",
        }
        short = video["on the official list, but not in the file of the part train"]
        assert (short["expected"], short["obtained"], short["missing"]) == ("3061", "0", "3057")
        assert found["videos:validation", "the video was fetched, and is no longer there"]["items"] == "v1"
        test = next(row for row in table if row["subject"] == "annotations:test")
        assert (test["expected"], test["missing"]) == ("1377", "1377") and "no test.csv below" in test["reason"]
        other = next(row for row in table if row["subject"] == "unlisted videos")
        assert (other["obtained"], other["items"]) == ("1", "nobody")

    def test_without_any_file_the_card_s_numbers_are_missing(self, tmp_path: Path) -> None:
        report_coverage(manifests=[], indexes=[], absent={"eev": "no eev/"}, output=tmp_path / "c.csv")
        (row,) = csv.DictReader((tmp_path / "c.csv").open())
        assert (row["expected"], row["obtained"], row["missing"]) == ("5193", "0", "5193")


class TestLabelGap:
    """Labels of videos that are not used leak into the one before, as in the reference code, or do not."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        from utopia.inputs.miniature.files import write_mp4

        train = [*rows("t1", 7), *rows("gone1", 3, 0.9), *rows("gone2", 2, 0.8), *rows("t2", 6), *rows("gone3", 4, 0.7)]
        folder = write(tmp_path / "eev", train)
        pictures, sound = np.zeros((10, 32, 32, 3), np.uint8), np.zeros(16000, np.float32)
        for video in ("t1", "t2", "v1"):
            write_mp4(folder / "videos" / f"{video}.mp4", pictures, sound, 10)
        return folder

    def test_by_default_a_video_s_labels_end_where_they_end(self, folder: Path) -> None:
        _, labels = built(folder)
        assert [len(labels.times(item)) for item in labels.items] == [7, 3, 2, 6, 4, 6]
        assert labels.meta["notes"] == {}

    def test_the_reference_goes_on_up_to_the_next_video_that_is_used(self, folder: Path) -> None:
        _, fixed = built(folder)
        own = {item: fixed.label(item, "reactions") for item in fixed.items}
        _, labels = built(folder, label_gap="reference")
        np.testing.assert_array_equal(
            labels.label("t1", "reactions"), np.concatenate([own["t1"], own["gone1"], own["gone2"]])
        )
        np.testing.assert_array_equal(labels.times("t1"), [time(i) / 1e6 for i in range(12)])
        np.testing.assert_array_equal(labels.label("t2", "reactions"), np.concatenate([own["t2"], own["gone3"]]))
        for item in ("gone1", "gone2", "gone3", "v1"):
            np.testing.assert_array_equal(labels.label(item, "reactions"), own[item])
        assert labels.meta["notes"]["t1"] == [
            "5 rows of videos that are not used follow its own, as in the reference code"
        ]

    def test_a_video_that_is_damaged_is_one_that_is_not_used(self, folder: Path) -> None:
        (folder / "videos" / "t2.mp4").write_bytes(b"no video")
        _, labels = built(folder, label_gap="reference")
        assert len(labels.times("t1")) == 7 + 3 + 2 + 6 + 4
