from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from utopia.errors import ChecksumError, InputError
from utopia.features.precomputed import import_features
from utopia.features.read import FeatureReader
from utopia.files import read_json, sha256, write_json

SETTINGS: dict[str, Any] = {"extractor": "hdf5", "files": ["f.h5"], "array": "features", "sha256": None, "note": ""}


def item(number: int, name: str, fps: float | None = 25.0, frames: int | None = 100, **other: Any) -> dict[str, Any]:
    facts = {"fps": fps, "frames": frames}
    return {"id": f"id_{number}", "key": f"video_{number}", "name": name, "files": {}, "facts": facts} | other


def write(path: Path, **groups: dict[str, Any]) -> Path:
    with h5py.File(path, "w") as file:
        for group, content in groups.items():
            for name, value in content.items():
                file[f"{group}/{name}"] = value
    return path


def run(folder: Path, items: list[dict[str, Any]], source: Path, **settings: Any) -> dict[str, Any]:
    write_json(folder / "manifest.json", {"dataset": "movies", "items": items})
    output = folder / "features" / "movies" / "pool5.json"
    made = import_features(
        manifest=folder / "manifest.json",
        root=folder,
        feature="pool5",
        settings=SETTINGS | settings,
        source=source,
        store=folder / "features" / "store",
        output=output,
    )
    index = read_json(output)
    entries = {name: entry["pool5"] for name, entry in index["items"].items()}
    assert made == sorted(folder / "features" / entry["file"] for entry in entries.values() if "file" in entry)
    return entries


def rows(count: int, width: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def test_groups_by_key_and_by_name(tmp_path: Path) -> None:
    first, second = rows(7, seed=1), rows(3, seed=2)
    source = write(
        tmp_path / "f.h5",
        video_1={"features": first},
        other={"features": second, "picks": [0, 40, 90], "video_name": "Base jumping"},
    )
    entries = run(tmp_path, [item(1, "Cooking"), item(9, "base_Jumping")], source)
    reader = FeatureReader([tmp_path / "features" / "movies" / "pool5.json"])
    features, times = reader.rows("id_1", "pool5")
    assert np.array_equal(features, first) and times == pytest.approx(np.arange(0, 100, 15) / 25)
    features, times = reader.rows("id_9", "pool5")
    assert np.array_equal(features, second) and times == pytest.approx([0, 1.6, 3.6])
    assert (entries["id_9"]["rows"], entries["id_9"]["width"]) == (3, 4)


def test_groups_by_id(tmp_path: Path) -> None:
    """TVSum: groups are numbered as the ids, and hold no names or those of the files."""
    source = write(
        tmp_path / "f.h5", video_1={"features": rows(7)}, video_2={"features": rows(7), "video_name": "98MoyGZKHXc"}
    )
    items = [
        item(1, "#0001: FLAT TIRE", id="video_1", key="J0nA4VgnoCo"),
        item(2, "How to use a tyre repair kit", id="video_2", key="98MoyGZKHXc"),
    ]
    entries = run(tmp_path, items, source)
    assert [entries[name]["rows"] for name in ("video_1", "video_2")] == [7, 7]


def test_the_frame_rate_of_the_annotations_comes_first(tmp_path: Path) -> None:
    """Labels stand at picks / the annotations' rate: features on the same picks must stand there too."""
    source = write(tmp_path / "f.h5", video_1={"features": rows(7)})
    run(tmp_path, [item(1, "a", fps=29.97, annotations={"fps": 30.0, "frames": 100})], source)
    assert FeatureReader([tmp_path / "features" / "movies" / "pool5.json"]).rows("id_1", "pool5")[1][1] == 0.5


HOLE = rows(7)
HOLE[3, 2] = np.nan


@pytest.mark.parametrize(
    ("group", "facts", "words"),
    [
        ({"pca128": rows(7)}, {}, "video_1 has no array 'features'"),
        ({"features": HOLE}, {}, "1 rows hold values that are not numbers"),
        ({"features": rows(7), "picks": [0, 15, 30]}, {}, "7 rows but 3 picks"),
        ({"features": rows(3), "picks": [0, 30, 15]}, {}, "do not rise"),
        ({"features": rows(3), "picks": [0, 50, 100]}, {}, "row for frame 100, but the video has 100 frames"),
        ({"features": rows(9)}, {}, "9 rows and no picks, but of 100 frames every 15th are 7"),
        ({"features": rows(38)}, {"frames": 950}, "38 rows and no picks, but of 950 frames every 15th are 64"),
        ({"features": rows(7)}, {"frames": None}, "how many frames the video has is not known"),
        ({"features": rows(7), "picks": [b"0", b"15"] + [b"x"] * 5}, {}, "the picks of video_1 are no frame numbers"),
        ({"features": rows(7), "picks": np.arange(7) / 2}, {}, "the picks of video_1 are no frame numbers (float64"),
        ({"features": rows(7), "picks": np.arange(7)}, {}, "rows for the frames 0 to 6 only, of 100"),
        ({"features": rows(3), "picks": [90, 92, 94]}, {}, "rows for the frames 90 to 94 only, of 100"),
        (
            {"features": rows(7), "n_frames": 98},
            {},
            "video_1 is of a video of 98 frames (n_frames), the labels are of 100",
        ),
        ({"features": rows(7), "n_frames": [100, 50]}, {}, "is of a video of 100, 50 frames"),
        ({"features": rows(7, width=5)}, {}, "has 5 columns, others have 4"),
        ({"features": rows(4, width=7)}, {}, "has 7 columns, others have 4"),
        ({"features": h5py.SoftLink("/nowhere")}, {}, "video_1"),
        ({"features": h5py.ExternalLink("gone.h5", "/features")}, {}, "video_1"),
        ({"features": rows(7), "picks": h5py.SoftLink("/nowhere")}, {}, "cannot be read"),
        ({"features": rows(7).astype("S8")}, {}, "not rows of numbers"),
        ({"features": rows(7), "video_name": ["Cooking", "Jumps"]}, {}, "no group for id_1"),
        ({"features": np.zeros(5, np.float32)}, {}, "not rows of numbers"),
        ({"features": np.zeros((0, 4), np.float32)}, {}, "not rows of numbers"),
        ({"features": rows(7)}, {"fps": None}, "frame rate is not known"),
        ({"features": rows(7), "video_name": "Jumps"}, {}, "video_1 is of the video 'Jumps', not 'Cooking'"),
    ],
)
def test_unusable_groups_are_absences(tmp_path: Path, group: dict, facts: dict, words: str) -> None:
    fine = {"features": rows(7)}
    source = write(tmp_path / "f.h5", video_1=group, video_2=fine, video_3=fine)
    entries = run(tmp_path, [item(1, "Cooking", **facts), item(2, "Fine")], source)
    assert words in entries["id_1"]["absent"] and entries["id_1"]["absent"].startswith("f.h5: ")
    assert entries["id_2"]["rows"] == 7


@pytest.mark.parametrize(
    "name",
    [
        "Café_Paris",
        "Café Paris.mp4",
        "CAFÉ PARIS.MP4",
        "videos/Café_Paris.webm",
        "Café_Paris".encode("latin-1"),
        np.array(["Café Paris".encode()]),
        np.array([["Café Paris".encode("latin-1")]]),
    ],
)
def test_names_as_tools_write_them(tmp_path: Path, name: Any) -> None:
    """Text or bytes of whatever encoding, in an array of one, with the ending of the file."""
    source = write(tmp_path / "f.h5", group_7={"features": rows(7), "video_name": name}, other={"features": rows(7)})
    entries = run(tmp_path, [item(1, "Café Paris"), item(2, "Other.mp4")], source)
    assert entries["id_1"]["rows"] == 7 and entries["id_2"]["rows"] == 7


def test_links_to_nothing_cost_their_own_video(tmp_path: Path) -> None:
    source = write(tmp_path / "f.h5", video_1={"features": rows(7)})
    with h5py.File(source, "r+") as file:
        file["video_2"] = h5py.SoftLink("/nowhere")
        file["video_3"] = h5py.ExternalLink("gone.h5", "/video_3")
        file["video_4"] = np.arange(3)
    entries = run(tmp_path, [item(number, f"Name {number}") for number in range(1, 5)], source)
    assert entries["id_1"]["rows"] == 7
    assert all("has no group for" in entries[f"id_{number}"]["absent"] for number in (2, 3, 4))


@pytest.mark.parametrize(("frames", "every", "count"), [(950, 25, 38), (950, 15, 63), (950, 15, 64), (100, 1, 100)])
def test_rows_without_picks_stand_at_the_stated_rate(tmp_path: Path, frames: int, every: int, count: int) -> None:
    """The last one, which some tools leave out, may be missing."""
    source = write(tmp_path / "f.h5", video_1={"features": rows(count)})
    run(tmp_path, [item(1, "Cooking", frames=frames)], source, every=every)
    times = FeatureReader([tmp_path / "features" / "movies" / "pool5.json"]).rows("id_1", "pool5")[1]
    assert times == pytest.approx(np.arange(count) * every / 25)


def test_shots_that_come_with_features_are_noted(tmp_path: Path) -> None:
    """The F-score goes by the data set's own shots; of features that come with others, every value says so."""
    shots = np.array([[0, 49], [50, 99]])
    fine: dict[str, Any] = {"features": rows(7), "n_frames": [[100]]}
    source = write(
        tmp_path / "f.h5",
        video_1=fine | {"change_points": shots.astype(float)},
        video_2=fine | {"change_points": np.array([[0, 54], [55, 99]])},
        video_3=fine,
        video_4=fine | {"change_points": [b"x", b"y"]},
    )
    entries = run(tmp_path, [item(number, f"Film {number}") for number in range(1, 5)], source)
    reader = FeatureReader([tmp_path / "features" / "movies" / "pool5.json"])
    assert [reader.other_shots(name, "pool5", shots) for name in entries] == [False, True, False, True]


def test_whole_numbers_are_features_too(tmp_path: Path) -> None:
    source = write(tmp_path / "f.h5", video_1={"features": rows(7).round().astype(np.int8), "picks": range(0, 100, 15)})
    assert run(tmp_path, [item(1, "Cooking")], source)["id_1"]["rows"] == 7


def test_missing_and_ambiguous_groups(tmp_path: Path) -> None:
    twins = {"features": rows(7), "video_name": "Twins"}
    source = write(tmp_path / "f.h5", a=twins, b=twins)
    entries = run(tmp_path, [item(1, "Cooking"), item(2, "twins")], source)
    assert "no group for id_1 alias video_1 alias Cooking" in entries["id_1"]["absent"]
    assert "several groups" in entries["id_2"]["absent"]


def test_all_groups_share_a_width(tmp_path: Path) -> None:
    """Whichever comes first: the odd one is left out, not all the others."""
    for odd in (1, 2, 3):
        groups = {f"video_{n}": {"features": rows(7, 5 if n == odd else 4)} for n in (1, 2, 3)}
        entries = run(tmp_path, [item(n, str(n)) for n in (1, 2, 3)], write(tmp_path / "f.h5", **groups))
        assert "5 columns, others have 4" in entries[f"id_{odd}"]["absent"]
        assert [entry.get("width") for entry in entries.values()].count(4) == 2


def test_checksum(tmp_path: Path) -> None:
    source = write(tmp_path / "f.h5", video_1={"features": rows(7)})
    assert "file" in run(tmp_path, [item(1, "a")], source, sha256=sha256(source))["id_1"]
    with pytest.raises(ChecksumError, match=r"f.h5: its sha256 is"):
        run(tmp_path, [item(1, "a")], source, sha256="0" * 64)


@pytest.mark.parametrize("content", [b"", b"<html>", None])
def test_unreadable_files(tmp_path: Path, content: bytes | None) -> None:
    source = tmp_path / "f.h5"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(InputError, match=r"f.h5: .*HDF5"):
        run(tmp_path, [item(1, "a")], source)


def test_real_features_of_summe(tmp_path: Path, shared_data: Path) -> None:
    source = shared_data / "summe" / "summe_dino_vitb16_cls.h5"
    with h5py.File(shared_data / "summe" / "summe_labels.h5") as labels:
        items = [
            {
                "id": group,
                "key": group,
                "name": labels[group]["video_name"][()].decode(),
                "facts": {"fps": 25.0, "frames": int(labels[group]["n_frames"][()])},
            }
            for group in labels
        ]
    digest = "312a6d1cd66149b65efc434d2aee33630a3f564673c19e5e191082d1c7cf2d44"
    entries = run(tmp_path, items, source, sha256=digest)
    there = sorted((name for name, entry in entries.items() if "file" in entry), key=lambda name: int(name[6:]))
    assert [int(name[6:]) for name in there] == [2, 3, 4, 8, 11, 12, 13, 16, 18, 19, 20, 23, 24, 25]
    absent = {entry["absent"] for entry in entries.values() if "absent" in entry}
    assert len(absent) == 11 and all("has no array 'features'" in reason for reason in absent)
    reader = FeatureReader([tmp_path / "features" / "movies" / "pool5.json"])
    with h5py.File(source) as file:
        for name in there:
            features, times = reader.rows(name, "pool5")
            assert np.array_equal(features, file[name]["features"][()])
            assert np.array_equal(times, file[name]["picks"][()] / 25.0)


def write_arrays(path: Path, names: dict[str, str], **values: Any) -> Path:
    with h5py.File(path, "w") as file:
        for item, array in values.items():
            file[item] = array
            if item in names:
                file[item].attrs["video_name"] = names[item]
    return path


def test_an_array_per_video_in_the_place_of_groups(tmp_path: Path) -> None:
    single, wide = np.arange(7, dtype=np.float32), rows(7, width=1)
    source = write_arrays(
        tmp_path / "f.h5",
        {"video_2": "Jumps", "video_3": "Other"},
        video_1=single,
        video_2=wide,
        video_3=single,
        video_4=single[:5],
        video_5=rows(7, width=2),
    )
    items = [item(number, name) for number, name in enumerate(("A", "jumps", "C", "D", "E"), start=1)]
    entries = run(tmp_path, items, source, array=None)
    reader = FeatureReader([tmp_path / "features" / "movies" / "pool5.json"])
    assert np.array_equal(reader.rows("id_1", "pool5")[0], single[:, None])
    assert np.array_equal(reader.rows("id_2", "pool5")[0], wide)
    assert reader.rows("id_1", "pool5")[1] == pytest.approx(np.arange(0, 100, 15) / 25)
    for number, told in ((3, "is of the video 'Other'"), (4, "has 5 rows and no picks"), (5, "has 2 columns")):
        assert told in entries[f"id_{number}"]["absent"]


@pytest.mark.parametrize(("dataset", "videos"), [("summe", 25), ("tvsum", 50)])
def test_the_plumbing_feature_is_there_for_every_video(
    tmp_path: Path, shared_data: Path, dataset: str, videos: int
) -> None:
    from utopia.config.load import load
    from utopia.inputs.manifest import list_inputs

    settings = load({}).features[f"diff_attention_{dataset}"].model_dump(mode="json")  # type: ignore[attr-defined]
    assert "untrained" in settings["note"]
    list_inputs(dataset=dataset, folder=shared_data / dataset, options={}, output=tmp_path / "listed.json")
    items = read_json(tmp_path / "listed.json")["items"]
    source = shared_data / settings.pop("folder") / settings["files"][0]
    entries = run(tmp_path, items, source, **settings)
    assert len(entries) == videos and all(entry.get("width") == 1 for entry in entries.values())
