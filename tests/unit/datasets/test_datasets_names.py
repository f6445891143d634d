"""Media files as downloaders leave them: used where it is clear what they are, else named with what helps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from utopia.datasets import eev, tvsum
from utopia.datasets._common import AUDIO_SUFFIXES
from utopia.datasets._names import media_of
from utopia.inputs.manifest import list_inputs
from utopia.inputs.miniature import generate

ID = "J0nA4VgnoCo"


@pytest.mark.parametrize(
    "name",
    [
        "{id}.mp4",
        "{id}.MP4",
        "{id}.webm",
        "#0001 FLAT TIRE [{id}].mp4",
        "Title with [brackets] [{id}].mkv",
        "Title-{id}.mp4",
        "{id}.f137.mp4",
        "{id}.f137-drc.mp4",
        "Title [{id}].f137.mp4",
        "{id}.mp4.webm",
        "{id}.mp4.mkv",
        "{id} (1).mp4",
        "Title [{id}] (2).mp4",
    ],
)
def test_one_file_that_can_only_be_this_video_is_it(name: str) -> None:
    path = Path("deep", name.format(id=ID))
    for same in (str, str.lower):
        assert media_of([path, Path("other.mp4")], [ID, "98MoyGZKHXc"], same=same) == ({ID: path}, {})


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["{id}.mp4.part"], "only an unfinished download is there ({id}.mp4.part)"),
        (["{id}.part"], "only an unfinished download is there"),
        (["{id}.f137.mp4.part", "{id}.f140.m4a.part"], "only an unfinished download is there"),
        (["{id}.mp4.part-Frag12"], "only an unfinished download is there"),
        (["{id}.temp.mp4"], "only an unfinished download is there"),
        (["Title [{id}].mp4.ytdl"], "only an unfinished download is there"),
        (["{id}.mp4.crdownload"], "only an unfinished download is there"),
        (["A [{id}].mp4", "B [{id}].mp4"], "several files may be it (A [{id}].mp4 and B [{id}].mp4): rename the right"),
        (["A [{id}].webm", "{id}.f137.mp4"], "to {id}."),
        (["{id}.f137.mp4", "{id}.f140.m4a"], "never joined ({id}.f137.mp4 and {id}.f140.m4a)"),
        (["{id}.f137.mp4", "{id}.f251.webm"], "-c copy {id}.mkv"),
        (["{id}.f140.m4a"], "holds no pictures by its name"),
    ],
)
def test_what_is_not_clear_is_named_and_not_used(names: list[str], words: str) -> None:
    files = [Path(name.format(id=ID)) for name in names]
    found = media_of(files, [ID], same=str)
    assert not found.files and words.format(id=ID) in found.hints[ID]


def test_the_very_name_comes_first_whatever_else_is_there() -> None:
    others = [f"{ID}.mp4.part", f"Title [{ID}].mp4", f"{ID}.f137.mp4", f"{ID}.f140.m4a", f"{ID}.mp4.webm"]
    files = [Path(name) for name in (*others, f"{ID}.mp4", f"deep/{ID}.mp4")]
    assert media_of(files, [ID]) == ({ID: Path(f"{ID}.mp4")}, {})


def test_ids_that_differ_in_case_alone_are_two_videos() -> None:
    """Of YouTube; on a disk that forgets case only one of them can be."""
    other = ID.swapcase()
    found = media_of([Path(f"{ID}.mp4")], [ID, other], same=str)
    assert found.files == {ID: Path(f"{ID}.mp4")}
    assert found.hints == {other: f"{ID}.mp4 may be it: rename it to {other}.mp4 if it is"}


def test_other_data_sets_keep_their_names() -> None:
    """A title in brackets or behind a dash is no id where ids are words and numbers."""
    found = media_of([Path("Track [1].mp3"), Path("song-2.mp3"), Path("3.mp3")], ["1", "2", "3"], AUDIO_SUFFIXES)
    assert found == ({"3": Path("3.mp3")}, {})
    files = [Path("Base_Jumping.MP4"), Path("deep/Base jumping.mp4")]
    assert media_of(files, ["Base jumping"]).files == {"Base jumping": files[0]}


def test_the_manifest_says_what_is_there_instead(tmp_path: Path) -> None:
    """TVSum: one file under the name of its title is used, of the others each reason names the file and the rename."""
    folder, size = tmp_path / "tvsum", {"seconds": 12.0, "width": 32, "height": 32, "fps": 10}
    generate(dataset="tvsum", count=6, settings=size | {"annotators": 5, "label_annotators": 2}, seed=5, folder=folder)
    keys = [item["key"] for item in json.loads((folder / "expected.json").read_text())["items"]]
    paths = [next(folder.rglob(f"{key}.mp4")) for key in keys]
    paths[0].rename(paths[0].with_name(f"{keys[0]}.f137.mp4"))
    paths[1].rename(paths[1].with_name(f"{keys[1]}.mp4.part"))
    shutil.copy(paths[2], paths[2].with_name(f"{keys[2]}.mp4.webm"))
    paths[2].rename(paths[2].with_name(f"{keys[2]}.f18.mp4"))
    list_inputs(dataset="tvsum", folder=folder, options={}, output=tmp_path / "tvsum.json")
    items = json.loads((tmp_path / "tvsum.json").read_text())["items"]
    assert items[0]["files"]["video"]["path"].endswith(f"{keys[0]}.f137.mp4") and not items[0]["video_reason"]
    assert f"only an unfinished download is there ({keys[1]}.mp4.part)" in items[1]["video_reason"]
    assert f"rename the right one to {keys[2]}." in items[2]["video_reason"]
    assert all(item["present"] for item in items)


def test_where_no_video_has_its_name_the_plan_says_so(tmp_path: Path) -> None:
    for module in (tvsum, eev):
        (tmp_path / f"{ID}.mp4.part").touch()
        missing = module.locate(tmp_path, module.Config()).missing["videos"]
        assert f"1 file there has another name or is unfinished, as {ID}.mp4.part" in missing
