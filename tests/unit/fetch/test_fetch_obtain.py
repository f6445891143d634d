"""Recipes carried out against a loopback server: what comes, what is skipped, what is missing and why."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from clips import make

from utopia.config import registry
from utopia.errors import InputError
from utopia.fetch import coverage, recipe, webvideo
from utopia.fetch import obtain as obtain_module
from utopia.fetch.agreement import Seen
from utopia.fetch.coverage import FileOutcome
from utopia.fetch.obtain import FetchOptions, obtain
from utopia.fetch.recipe import Recipe
from utopia.fetch.record import FetchRecord
from utopia.fetch.transfer import Policy

QUICK = Policy(spare=0, attempts=1, stall=2.0, sleep=lambda seconds: None)


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def run(data: Path, made: Recipe, name: str = "example", look: Any = None, **more: Any) -> dict[str, FileOutcome]:
    manner = FetchOptions(policy=QUICK, **more)
    outcomes = obtain(name, made, data / name, FetchRecord(data), manner, look)
    assert len({outcome.subject for outcome in outcomes}) == len(outcomes)
    return {outcome.subject: outcome for outcome in outcomes}


def one_file(url: str, **more: Any) -> Recipe:
    return Recipe.model_validate({"files": [{"name": "labels.csv", "role": "annotations", "urls": [url], **more}]})


def test_a_file_comes_once_and_is_recorded(server: Any, tmp_path: Path) -> None:
    made = one_file(server.file("/labels.csv", b"1,2\n"))
    found = run(tmp_path, made)["annotations:labels.csv"]
    assert (found.expected, found.obtained, found.came, found.failed) == (1, 1, 4, False)
    entry = FetchRecord(tmp_path).entry(tmp_path / "example" / "labels.csv")
    assert entry is not None and entry.sha256 == hashlib.sha256(b"1,2\n").hexdigest() and entry.pinned == "first use"
    assert entry.url == server.url("/labels.csv") and entry.etag
    assert run(tmp_path, made)["annotations:labels.csv"].came == 0 and len(server.asked["/labels.csv"]) == 1


def test_the_first_file_that_came_binds_later_ones(server: Any, tmp_path: Path) -> None:
    made = one_file(server.file("/labels.csv", b"1,2\n"))
    run(tmp_path, made)
    (tmp_path / "example" / "labels.csv").unlink()
    server.file("/labels.csv", b"1,3\n")
    found = run(tmp_path, made)["annotations:labels.csv"]
    assert found.failed and found.obtained == 0
    assert "sends another file" in next(iter(found.reasons)) and hashlib.sha256(b"1,2\n").hexdigest() in str(found)
    server.file("/labels.csv", b"1,2\n")
    assert not run(tmp_path, made)["annotations:labels.csv"].failed


def test_a_file_that_was_changed_is_told_and_left_alone(server: Any, tmp_path: Path) -> None:
    made = one_file(server.file("/labels.csv", b"1,2\n"))
    run(tmp_path, made)
    path = tmp_path / "example" / "labels.csv"
    path.write_bytes(b"7,7\n8")
    found = run(tmp_path, made)["annotations:labels.csv"]
    assert found.failed and "move it away" in next(iter(found.reasons)) and path.read_bytes() == b"7,7\n8"
    assert len(server.asked["/labels.csv"]) == 1


def test_verify_hashes_what_looks_unchanged(server: Any, tmp_path: Path) -> None:
    import os

    made = one_file(server.file("/labels.csv", b"1,2\n"))
    run(tmp_path, made)
    path = tmp_path / "example" / "labels.csv"
    before = path.stat()
    path.write_bytes(b"1,9\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not run(tmp_path, made)["annotations:labels.csv"].failed, "size and time are the recorded ones"
    assert run(tmp_path, made, verify=True)["annotations:labels.csv"].failed


def test_what_the_user_has_anywhere_below_the_folder_is_not_fetched(server: Any, tmp_path: Path) -> None:
    own = tmp_path / "example" / "deep" / "er" / "labels.csv"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    assert run(tmp_path, one_file(server.url("/labels.csv")))["annotations:labels.csv"].obtained == 1
    entry = FetchRecord(tmp_path).entry(own)
    assert not server.asked and entry is not None and entry.url == "in place"


ARCHIVE = {"set/GT/1.mat": b"1", "set/GT/2.mat": b"2", "set/videos/1.mp4": b"v", "set/junk": b"j"}


def archived(url: str, other: str) -> Recipe:
    gives = [
        {"path": "GT/*.mat", "role": "annotations", "count": 2},
        {"path": "videos/*.mp4", "role": "videos", "count": 1},
    ]
    how = {"members": ["GT/*.mat", "videos/*.mp4"], "strip": 1, "largest": 1000}
    files = [
        {"name": "first.zip", "urls": [url], "extract": how, "gives": gives},
        {"name": "second.zip", "urls": [other], "extract": how, "gives": gives},
    ]
    return Recipe.model_validate({"files": files})


def test_an_archive_is_unpacked_and_not_kept(server: Any, tmp_path: Path) -> None:
    made = archived(server.file("/first.zip", zipped(ARCHIVE)), server.url("/second.zip"))
    found = run(tmp_path, made)
    assert [(o.expected, o.obtained) for o in found.values()] == [(2, 2), (1, 1)]
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"fetched.json", *(f"example/{name[4:]}" for name in ARCHIVE if name != "set/junk")}
    assert not server.asked["/second.zip"], "the other archive gives the same"
    run(tmp_path, made)
    assert len(server.asked["/first.zip"]) == 1
    assert FetchRecord(tmp_path).entry(tmp_path / ".archives" / "first.zip") is not None


def test_the_next_archive_is_tried_where_one_fails(server: Any, tmp_path: Path) -> None:
    server.file("/first.zip", zipped(ARCHIVE | {"../evil": b"e"}))
    made = archived(server.url("/first.zip"), server.file("/second.zip", zipped(ARCHIVE)))
    assert all(o.obtained == o.expected and not o.failed for o in run(tmp_path, made).values())
    assert not (tmp_path / "evil").exists()
    record = FetchRecord(tmp_path)
    assert record.entry(tmp_path / ".archives" / "first.zip") is None, "what cannot be unpacked is not trusted"
    assert record.entry(tmp_path / ".archives" / "second.zip") is not None


def test_a_member_with_another_digest_is_not_put_into_place(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"1.mat": {"sha256": hashlib.sha256(b"1").hexdigest(), "bytes": 1}}
    monkeypatch.setattr(obtain_module, "published", lambda dataset: known)
    server.file("/first.zip", zipped(ARCHIVE | {"set/GT/1.mat": b"X"}))
    made = archived(server.url("/first.zip"), server.url("/second.zip"))
    found = run(tmp_path, made)["annotations:GT/*.mat"]
    assert found.obtained == 0 and "first.zip.refused: gives another 1.mat: its sha256 is" in next(iter(found.reasons))
    assert not list(tmp_path.rglob("*.mat"))
    server.file("/second.zip", zipped(ARCHIVE))
    assert all(o.obtained == o.expected for o in run(tmp_path, made).values())


def test_reasons_of_all_sources_are_said(server: Any, tmp_path: Path) -> None:
    made = archived(server.url("/first.zip"), server.file("/second.zip", b"PK no"))
    found = run(tmp_path, made)["annotations:GT/*.mat"]
    reason = next(iter(found.reasons))
    assert found.failed and "answers 404" in reason and "is damaged or not an archive" in reason


def test_local_folders_and_mirrors_come_first(server: Any, tmp_path: Path) -> None:
    made = one_file(server.url("/original/labels.csv"), sha256=hashlib.sha256(b"right").hexdigest())
    server.file("/mirror/example/labels.csv", b"right")
    data = tmp_path / "data"
    assert run(data, made, mirrors=[server.url("/mirror")])["annotations:labels.csv"].obtained == 1
    assert not server.asked["/original/labels.csv"]
    usb = tmp_path / "usb"
    usb.mkdir()
    (usb / "labels.csv").write_bytes(b"right")
    server.asked.clear()
    assert run(tmp_path / "other", made, origins=[usb])["annotations:labels.csv"].obtained == 1
    assert not server.asked


def test_only_and_dry(server: Any, tmp_path: Path) -> None:
    made = archived(server.file("/first.zip", zipped(ARCHIVE)), server.url("/second.zip"))
    found = run(tmp_path, made, dry=True)
    assert "would be fetched from" in next(iter(found["annotations:GT/*.mat"].reasons))
    assert not server.asked and list(tmp_path.iterdir()) == []
    assert list(run(tmp_path, made, roles=["videos"])) == ["videos:videos/*.mp4"]


def web(server: Any, **more: Any) -> Recipe:
    labels = {"name": "train.csv", "role": "annotations", "urls": [server.url("/train.csv")]}
    videos = {"address": server.url("/{id}.mp4"), "ids": {"files": ["train.csv"]}, **more}
    return Recipe.model_validate({"files": [labels], "videos": videos})


def test_videos_listed_in_a_file_and_their_coverage(server: Any, tmp_path: Path) -> None:
    pytest.importorskip("yt_dlp")
    clip = make(tmp_path / "clip.mp4", frames=20).read_bytes()
    server.file("/train.csv", b"Video ID,Timestamp\na,0\na,1\nlost,0\nb,0\nlost,1\n")
    for id in "ab":
        server.file(f"/{id}.mp4", clip, kind="video/mp4")
    quick = webvideo.RequestOptions(
        pause=0.0, attempts=1, timeout=2.0, sleep=lambda seconds: None, options={"proxy": ""}
    )
    data = tmp_path / "data"
    found = run(data, web(server), videos=quick)
    videos = found["videos"]
    assert (videos.expected, videos.obtained, videos.failed) == (3, 2, False)
    assert videos.reasons == {"gone": ("lost",)}
    table = coverage.write(list(found.values()), data)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [tuple(row[name] for name in coverage.COLUMNS[1:]) for row in rows] == [
        ("annotations:train.csv", "1", "1", "0", "", ""),
        ("videos", "3", "2", "1", "gone", "lost"),
    ]  # fmt: skip
    server.asked.clear()
    assert run(data, web(server), videos=quick)["videos"].reasons == {"gone": ("lost",)} and not server.asked


def test_videos_of_an_unknown_list(server: Any, tmp_path: Path) -> None:
    found = run(tmp_path, web(server))
    assert found["videos"].failed and "it lists the videos" in next(iter(found["videos"].reasons))


def test_a_table_keeps_the_rows_of_other_data_sets(tmp_path: Path) -> None:
    coverage.write([FileOutcome("b", "videos", 2, 1, {f"no {tmp_path}/x": ("v",)})], tmp_path)
    coverage.write([FileOutcome("a", "videos", 1, 1)], tmp_path)
    coverage.write([FileOutcome("a", "labels", 4, 1, {"gone": ("x", "y"), "private": ("z",)})], tmp_path)
    with (tmp_path / "fetched.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["dataset"], row["missing"], row["reason"]) for row in rows] == [
        ("a", "2", "gone"),
        ("a", "1", "private"),
        ("b", "1", "no <data>/x"),
    ]


def look(folder: Path) -> Seen:
    module = registry.load("datasets", "liris")
    located = module.locate(folder, module.Config())
    items = module.items(located, module.Config())
    return Seen({item.id: item.files for item in items}, located.missing)


def test_agreed_data_that_are_not_there(tmp_path: Path) -> None:
    told: list[str] = []
    found = run(tmp_path, recipe.load("liris"), "liris", look, told=lambda dataset, words: told.append(words))
    assert {name: (o.expected, o.obtained, o.failed) for name, o in found.items()} == {
        "annotations": (66, 0, False),
        "videos": (66, 0, False),
    }
    assert "given out under a signed agreement" in next(iter(found["annotations"].reasons)), "the data set's own words"
    assert "1. Ask for access" in told[0] and "https://liris-accede.ec-lyon.fr" in told[0]


def test_agreed_data_are_taken_from_the_user_s_folder(tmp_path: Path) -> None:
    own = tmp_path / "own"
    part = own / "MEDIAEVAL18-DevSet-Part1-Data" / "data"
    part.mkdir(parents=True)
    for number in range(3):
        (part / f"MEDIAEVAL18_0{number}.mp4").write_bytes(b"movie %d" % number)
    labels = {
        f"annotations/MEDIAEVAL18_0{n}_Valence-Arousal.txt": b"Time\tValence\tArousal\n0\t0\t0\n" for n in range(2)
    }
    data = tmp_path / "data"
    (data / "liris").mkdir(parents=True)
    archive = data / "liris" / "MEDIAEVAL18-DevSet-Part1-Valence_Arousal-annotations.zip"
    archive.write_bytes(zipped(labels))
    found = run(data, recipe.load("liris"), "liris", look, origins=[own])
    assert (found["annotations"].obtained, found["videos"].obtained) == (2, 3)
    assert len(next(iter(found["videos"].reasons.values()))) == 63
    copied = data / "liris" / "MEDIAEVAL18-DevSet-Part1-Data" / "data" / "MEDIAEVAL18_00.mp4"
    assert copied.read_bytes() == b"movie 0" and FetchRecord(data).current(copied) is not None
    before = (data / "fetched.json").read_bytes()
    run(data, recipe.load("liris"), "liris", look, origins=[own])
    assert (data / "fetched.json").read_bytes() == before, "nothing is copied or unpacked twice"


def test_a_damaged_archive_of_agreed_data_is_said(tmp_path: Path) -> None:
    (tmp_path / "liris").mkdir()
    (tmp_path / "liris" / "MEDIAEVAL18-TestSet-Data.zip").write_bytes(b"PK\x03\x04 cut")
    found = run(tmp_path, recipe.load("liris"), "liris", look)
    assert found["videos"].failed and "is damaged or not an archive" in next(iter(found["videos"].reasons))


def test_a_damaged_record_is_said(tmp_path: Path) -> None:
    for text in ('{"a": 1}', "[]"):
        (tmp_path / "fetched.json").write_text(text)
        with pytest.raises(InputError, match=r"(?s)is not a record of fetched files.*hashed and recorded again"):
            FetchRecord(tmp_path).entry(tmp_path / "a")
    (tmp_path / "fetched.json").write_text(json.dumps({}))
    assert FetchRecord(tmp_path).entry(tmp_path / "a") is None
