"""The manifest: hashes and facts of what is there, a reason for what is not, and never a crash over one bad file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from utopia.datasets import _card
from utopia.errors import ChecksumError
from utopia.inputs import manifest as under_test
from utopia.inputs.manifest import list_inputs
from utopia.inputs.miniature import generate

SIZE = {"seconds": 10.0, "width": 32, "height": 32, "fps": 10, "annotators": 6, "label_annotators": 2}
GOOD, BAD = "MEDIAEVAL18_00", "MEDIAEVAL18_03"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    for dataset in ("liris", "summe", "tvsum"):
        generate(dataset=dataset, count=6, settings=SIZE, seed=3, folder=root / dataset)
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the generated LIRIS to spoil."""
    return Path(shutil.copytree(made / "liris", tmp_path / "liris"))


def listed(dataset: str, folder: Path, tmp_path: Path, **options: Any) -> tuple[dict[str, Any], list[Path]]:
    hashed = list_inputs(dataset=dataset, folder=folder, options=options, output=tmp_path / "manifest.json")
    return json.loads((tmp_path / "manifest.json").read_text()), hashed


def entry(manifest: dict[str, Any], item: str) -> dict[str, Any]:
    return next(entry for entry in manifest["items"] if entry["id"] == item)


def annotations(folder: Path, item: str) -> Path:
    return next(folder.glob(f"*/annotations/{item}_Valence-Arousal.txt"))


def test_tells_files_facts_and_card(made: Path, tmp_path: Path) -> None:
    manifest, hashed = listed("liris", made / "liris", tmp_path)
    assert manifest["dataset"] == "liris" and manifest["root"] == str(made / "liris") and manifest["generated"]
    assert "LIRIS" in manifest["card"]["title"] and manifest["card"]["licence"] and manifest["card"]["citation"]
    good = entry(manifest, GOOD)
    assert good["present"] and not good["reason"] and not good["video_reason"]
    video = made / "liris" / good["files"]["video"]["path"]
    assert good["files"]["video"]["sha256"] == hashlib.sha256(video.read_bytes()).hexdigest()
    assert good["files"]["video"]["bytes"] == video.stat().st_size
    assert (good["facts"]["width"], good["facts"]["height"], good["facts"]["video_codec"]) == (32, 32, "h264")
    assert good["facts"]["duration_s"] == pytest.approx(good["annotations"]["rows"])
    assert len(hashed) == len(set(hashed)) == 12


def test_the_cut_video_is_a_declared_absence_and_its_labels_stay(made: Path, tmp_path: Path) -> None:
    manifest, _ = listed("liris", made / "liris", tmp_path)
    bad = entry(manifest, BAD)
    assert bad["present"] and "video" not in bad["files"]
    assert BAD in bad["video_reason"] and "cut short" in bad["video_reason"]
    assert bad["facts"]["rows"] > 0
    assert bad["damaged"]["video"]["sha256"]
    coverage = manifest["coverage"]
    assert (coverage["expected"], coverage["present"], coverage["missing"]) == (6, 6, {})
    assert (coverage["videos"]["present"], sum(coverage["videos"]["missing"].values())) == (5, 1)


def test_a_web_page_in_place_of_a_video(folder: Path, tmp_path: Path) -> None:
    next(folder.glob(f"*/data/{GOOD}.mp4")).write_text("<!DOCTYPE html><html><body>404</body></html>")
    manifest, _ = listed("liris", folder, tmp_path)
    assert GOOD in entry(manifest, GOOD)["video_reason"]
    assert manifest["coverage"]["videos"]["present"] == 4


def test_a_video_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    next(folder.glob(f"*/data/{GOOD}.mp4")).unlink()
    manifest, _ = listed("liris", folder, tmp_path)
    assert entry(manifest, GOOD)["video_reason"] == f"no video {GOOD} below {folder}"
    assert manifest["coverage"]["videos"]["missing"]["the video is not there"] == 1


def test_unreadable_annotations_are_an_absence_with_file_and_line(folder: Path, tmp_path: Path) -> None:
    path = annotations(folder, GOOD)
    path.write_text("Time\tValence\tArousal\n0\t0.1\t0.2\n1\tbroken\n")
    annotations(folder, BAD).unlink()
    manifest, _ = listed("liris", folder, tmp_path)
    broken = entry(manifest, GOOD)
    assert not broken["present"] and f"{path}:3" in broken["reason"]
    assert broken["files"]["video"] and broken["facts"]["frames"]
    assert not entry(manifest, BAD)["present"]
    assert manifest["coverage"]["present"] == 4
    assert manifest["coverage"]["missing"]["the annotations are not there"] == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_file_without_permission_is_an_absence(folder: Path, tmp_path: Path) -> None:
    annotations(folder, GOOD).chmod(0)
    manifest, _ = listed("liris", folder, tmp_path)
    assert "cannot be read (Permission denied)" in entry(manifest, GOOD)["reason"]


def test_a_file_that_fails_to_be_read_is_an_absence(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without permission, or on a failing disk; root is denied nothing, so hashing is made to fail."""
    video, text = next(folder.glob(f"*/data/{GOOD}.mp4")), annotations(folder, BAD)
    whole = under_test.sha256

    def failing(path: Path) -> str:
        if path in (video, text):
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(under_test, "sha256", failing)
    manifest, hashed = listed("liris", folder, tmp_path)
    assert entry(manifest, GOOD)["present"] and "Permission denied" in entry(manifest, GOOD)["video_reason"]
    assert not entry(manifest, BAD)["present"] and "Permission denied" in entry(manifest, BAD)["reason"]
    assert video not in hashed and text not in hashed


def test_a_missing_folder_is_all_absent_with_the_reason(tmp_path: Path) -> None:
    manifest, hashed = listed("liris", tmp_path / "nowhere", tmp_path)
    assert not hashed
    assert manifest["coverage"]["expected"] == 66 and manifest["coverage"]["present"] == 0
    assert all("there is no folder" in item["reason"] for item in manifest["items"])


def test_a_second_file_of_the_same_name_is_told_and_not_used(folder: Path, tmp_path: Path) -> None:
    path = annotations(folder, GOOD)
    second = folder / "old" / "copies" / "of" / path.name
    second.parent.mkdir(parents=True)
    second.write_text("Time\tValence\tArousal\n0\t0\t0\n")
    manifest, hashed = listed("liris", folder, tmp_path)
    assert manifest["duplicates"] == [f"old/copies/of/{path.name}"]
    assert path in hashed and second not in hashed


def test_a_file_that_is_a_folder_s_name(tmp_path: Path) -> None:
    (tmp_path / "liris").write_text("not a folder")
    manifest, _ = listed("liris", tmp_path / "liris", tmp_path)
    assert manifest["coverage"]["present"] == 0


def test_a_video_of_another_length_than_the_annotations_is_an_absence(made: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made / "summe", tmp_path / "summe"))
    before, _ = listed("summe", folder, tmp_path)
    videos = sorted((folder / "videos").glob("*.mp4"), key=lambda path: path.stat().st_size)
    shutil.copy(made / "liris" / "MEDIAEVAL18-DevSet-Part1-Data" / "data" / f"{GOOD}.mp4", videos[-1])
    after, hashed = listed("summe", folder, tmp_path)
    other = next(item for item in after["items"] if item["key"] == videos[-1].stem)
    assert "frames, its annotations" in other["video_reason"] and "video" not in other["files"]
    assert other["present"] and videos[-1] in hashed  # its labels can be used, with features of someone else
    assert after["coverage"]["videos"]["present"] == before["coverage"]["videos"]["present"] - 1
    assert "the video has another number of frames than its annotations" in after["coverage"]["videos"]["missing"]


class TestChecksums:
    def spoiled(self, shared_data: Path, tmp_path: Path) -> Path:
        """The real TVSum file with one byte of its free-text header changed: readable, but not the published one."""
        path = tmp_path / "tvsum" / "ydata-tvsum50.mat"
        path.parent.mkdir()
        content = bytearray((shared_data / "tvsum" / path.name).read_bytes())
        content[100] ^= 1
        path.write_bytes(content)
        return path

    def test_another_file_than_the_published_one_is_refused(self, shared_data: Path, tmp_path: Path) -> None:
        path = self.spoiled(shared_data, tmp_path)
        with pytest.raises(ChecksumError) as caught:
            listed("tvsum", path.parent, tmp_path)
        published = next(file.sha256 for file in _card.card("tvsum").files if file.name == path.name)
        assert caught.value.where == str(path) and str(published) in caught.value.what
        assert "checksums: record" in caught.value.remedy
        assert not (tmp_path / "manifest.json").exists()

    def test_unless_the_user_says_so(self, shared_data: Path, tmp_path: Path) -> None:
        path = self.spoiled(shared_data, tmp_path)
        manifest, _ = listed("tvsum", path.parent, tmp_path, checksums="record")
        assert manifest["coverage"]["present"] == 50
        assert entry(manifest, "video_1")["files"]["annotations"]["published"] is False

    def test_the_published_files_are_recognised(self, shared_data: Path, tmp_path: Path) -> None:
        manifest, hashed = listed("summe", shared_data / "summe", tmp_path)
        assert entry(manifest, "video_1")["files"]["shots"]["published"] is True
        assert manifest["coverage"]["present"] == 25 and not manifest["generated"]
        assert len(hashed) == 26
