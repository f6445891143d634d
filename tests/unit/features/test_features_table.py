"""Tables of features that somebody else extracted: a row per item and time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from utopia import arrays
from utopia.errors import ChecksumError, InputError
from utopia.features.precomputed import import_features
from utopia.files import read_json, write_json

SETTINGS: dict[str, Any] = {"extractor": "csv", "files": ["f.csv"], "item": "musicId", "time": "frameTime"}
ITEMS = [{"id": f"song_{n}", "key": str(n), "name": f"Song {n}", "files": {}} for n in (1, 2, 10)]
HEADER = "musicId,frameTime,energy,zcr"
GOOD = ["1,15.0,0.5,-1", "1,15.5,0.25,2e-3", "2,15.0,1,2", "10,0.0,3,4", "10,0.5,5,6", "99,0,7,8"]


def run(folder: Path, lines: list[str], **settings: Any) -> dict[str, Any]:
    source = folder / "f.csv"
    source.write_text("\n".join(lines) + "\n")
    write_json(folder / "manifest.json", {"dataset": "pmemo", "items": ITEMS})
    output = folder / "features" / "pmemo" / "smile.json"
    import_features(
        manifest=folder / "manifest.json",
        root=folder,
        feature="smile",
        settings=SETTINGS | {"sha256": None} | settings,
        source=source,
        store=folder / "features" / "store",
        output=output,
    )
    return {name: entry["smile"] for name, entry in read_json(output)["items"].items()}


def test_rows_go_to_their_items_with_their_times(tmp_path: Path) -> None:
    entries = run(tmp_path, [HEADER, *GOOD])
    stored = arrays.load(tmp_path / "features" / entries["song_1"]["file"])
    np.testing.assert_array_equal(stored["times"], [15.0, 15.5])
    np.testing.assert_array_equal(stored["features"], np.array([[0.5, -1], [0.25, 2e-3]], np.float32))
    assert {name: (entry["rows"], entry["width"]) for name, entry in entries.items()} == {
        "song_1": (2, 2),
        "song_2": (1, 2),
        "song_10": (2, 2),
    }


def test_columns_go_by_name_wherever_they_stand(tmp_path: Path) -> None:
    entries = run(tmp_path, ["zcr,second,song,energy", "1,0.5,2,3", "4,1.0,2,6"], item="song", time="second")
    stored = arrays.load(tmp_path / "features" / entries["song_2"]["file"])
    np.testing.assert_array_equal(stored["times"], [0.5, 1.0])
    np.testing.assert_array_equal(stored["features"], [[1, 3], [4, 6]])
    assert entries["song_1"] == {"absent": "f.csv: has no row of it"}


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["1,15.0,0.5,-1", "1,15.5,loud,1"], "from line 2: could not convert string to float: 'loud'"),
        (["1,15.0,0.5,-1", "1,15.5,1"], "line 3 has 3 columns, the header 4"),
        (["1,15.0,0.5,nan"], "1 rows hold values that are not numbers"),
        (["1,15.5,0.5,1", "1,15.0,0.5,1"], "the times do not rise"),
        (["1,15.0,0.5,1", "2,15.0,0.5,1", "1,15.5,0.5,1"], "the rows of 1 are not together: lines 2 and 4"),
    ],
)
def test_bad_rows_are_an_absence_of_their_item_alone(tmp_path: Path, lines: list[str], says: str) -> None:
    entries = run(tmp_path, [HEADER, *lines, "10,0.0,3,4"])
    assert says in entries["song_1"]["absent"]
    assert entries["song_10"]["rows"] == 1


@pytest.mark.parametrize("header", ["", "musicId,energy,zcr", "a,b,c", "musicId,frameTime"])
def test_a_table_without_the_columns_is_refused(tmp_path: Path, header: str) -> None:
    with pytest.raises(InputError, match="expected musicId, frameTime and features") as caught:
        run(tmp_path, [header, *GOOD])
    assert caught.value.where.endswith("f.csv:1")


def test_another_file_than_the_published_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChecksumError, match="the published one is"):
        run(tmp_path, [HEADER, *GOOD], sha256="0" * 64)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a readable table"):
        run(tmp_path, [HEADER])
        (tmp_path / "f.csv").write_bytes(b"\xff\xfe\x00\x01")
        import_features(
            manifest=tmp_path / "manifest.json",
            root=tmp_path,
            feature="smile",
            settings=SETTINGS | {"sha256": None},
            source=tmp_path / "f.csv",
            store=tmp_path / "features" / "store",
            output=tmp_path / "o.json",
        )


def test_only_one_item_is_held_in_memory(tmp_path: Path) -> None:
    """Rows of the next item are not read before this one is stored."""
    from utopia.features import table

    source = tmp_path / "f.csv"
    source.write_text("\n".join([HEADER, "1,0,1,1", "2,0,1,1", "3,0,bad", "4,0,1,1"]) + "\n")
    blocks = table.blocks_of(source, "musicId", "frameTime")
    assert [next(blocks).key, next(blocks).key] == ["1", "2"]
    assert next(blocks).fault and next(blocks).key == "4"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("name", ["Café_Paris", "café paris.mp3", "chorus/Café Paris.MP3"])
def test_names_as_tools_write_them(tmp_path: Path, name: str, encoding: str) -> None:
    items = [{"id": "song_1", "key": "1", "name": "Café Paris", "files": {}}, ITEMS[1]]
    write_json(tmp_path / "manifest.json", {"dataset": "pmemo", "items": items})
    source, output = tmp_path / "f.csv", tmp_path / "features" / "pmemo" / "smile.json"
    source.write_bytes("\n".join([HEADER, "2,15.0,1,2", f"{name},0.0,3,4", ""]).encode(encoding))
    import_features(
        manifest=tmp_path / "manifest.json",
        root=tmp_path,
        feature="smile",
        settings=SETTINGS | {"sha256": None},
        source=source,
        store=tmp_path / "features" / "store",
        output=output,
    )
    assert {item: entry["smile"].get("rows") for item, entry in read_json(output)["items"].items()} == {
        "song_1": 1,
        "song_2": 1,
    }
