"""The coverage table, on manifests of generated data and feature indexes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from utopia.files import write_json
from utopia.inputs.coverage import COLUMNS, report_coverage
from utopia.inputs.manifest import list_inputs
from utopia.inputs.miniature import generate

SIZE = {"seconds": 8.0, "width": 32, "height": 32, "fps": 5, "annotators": 4, "label_annotators": 2}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("liris")
    generate(dataset="liris", count=6, settings=SIZE, seed=3, folder=root / "raw")
    list_inputs(dataset="liris", folder=root / "raw", options={}, output=root / "liris.json")
    return root / "liris.json"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        found = list(reader)
        assert tuple(reader.fieldnames or ()) == COLUMNS
    return found


def test_counts_by_reason(manifest: Path, tmp_path: Path) -> None:
    done = {"file": "store/x", "sha256": "0", "rows": 3, "width": 2}
    silent = "/raw/data/{}.mp4: the file has no sound"
    items = {
        "MEDIAEVAL18_00": {"googlenet": done, "vggish": done},
        "MEDIAEVAL18_01": {"googlenet": done, "vggish": {"absent": silent.format("MEDIAEVAL18_01")}},
        "MEDIAEVAL18_02": {"googlenet": done, "vggish": {"absent": silent.format("MEDIAEVAL18_02")}},
        "MEDIAEVAL18_54": {"googlenet": done, "vggish": done},
    }
    write_json(tmp_path / "shard-0000.json", {"dataset": "liris", "items": items})
    report_coverage(
        manifests=[manifest],
        indexes=[tmp_path / "shard-0000.json"],
        absent={"tvsum": "the data folder has no tvsum/"},
        output=tmp_path / "coverage.csv",
    )
    found = {(row["dataset"], row["subject"], row["items"]): row for row in rows(tmp_path / "coverage.csv")}
    whole = found["liris", "annotations", ""]
    assert (whole["expected"], whole["obtained"], whole["missing"], whole["reason"]) == ("6", "6", "0", "")
    video = found["liris", "videos", "MEDIAEVAL18_03"]
    assert (video["expected"], video["obtained"], video["missing"]) == ("6", "5", "1")
    assert video["reason"].startswith("<item>: ") and "cut short" in video["reason"]
    silence = found["liris", "feature:vggish", "MEDIAEVAL18_01 MEDIAEVAL18_02"]
    assert (silence["obtained"], silence["missing"], silence["reason"]) == ("2", "2", "<item>: the file has no sound")
    # Not in the index: the damaged video for its own reason, the other because nobody asked.
    assert "cut short" in found["liris", "feature:googlenet", "MEDIAEVAL18_03"]["reason"]
    assert found["liris", "feature:googlenet", "MEDIAEVAL18_55"]["reason"] == "no job was asked for it"
    tvsum = next(row for row in found.values() if row["dataset"] == "tvsum")
    assert (tvsum["expected"], tvsum["obtained"], tvsum["missing"]) == ("50", "0", "50")
    for subject in {(row["dataset"], row["subject"]) for row in found.values()}:
        same = [row for key, row in found.items() if key[:2] == subject]
        assert sum(int(row["missing"]) for row in same) == int(same[0]["expected"]) - int(same[0]["obtained"])


def test_ids_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    items = [
        {
            "id": f"video_{n}",
            "key": f"Video {n}",
            "present": False,
            "reason": f"GT/Video {n}.mat: bad",
            "files": {},
            "video_reason": "",
        }
        for n in (1, 10)
    ]
    write_json(tmp_path / "summe.json", {"dataset": "summe", "root": "somewhere/summe", "items": items})
    report_coverage(manifests=[tmp_path / "summe.json"], indexes=[], output=tmp_path / "coverage.csv")
    (row,) = [row for row in rows(tmp_path / "coverage.csv") if row["subject"] == "annotations"]
    assert (row["reason"], row["items"]) == ("<item>: bad", "video_1 video_10")


def test_a_key_that_is_a_number_is_found_as_a_file_or_a_song_only(tmp_path: Path) -> None:
    def item(number: int, reason: str) -> dict[str, object]:
        return {
            "id": f"song_{number}",
            "key": str(number),
            "present": True,
            "reason": "",
            "files": {},
            "video_reason": reason.format(number),
        }

    reasons = ("/d/pmemo/chorus/{}.mp3: breaks off at 15.45 s", "no song {} below /d/pmemo")
    items = [item(number, reasons[number == 45]) for number in (5, 15, 45)]
    manifest = {"dataset": "pmemo", "medium": "audio", "root": "/d/pmemo", "items": items}
    write_json(tmp_path / "pmemo.json", manifest)
    report_coverage(manifests=[tmp_path / "pmemo.json"], indexes=[], output=tmp_path / "coverage.csv")
    found = {row["items"]: row["reason"] for row in rows(tmp_path / "coverage.csv") if row["subject"] == "songs"}
    assert found == {"song_5 song_15": "<item>: breaks off at 15.45 s", "song_45": "no song <item> below <data>/pmemo"}
