"""A tiny miniature of every data set, one file more of each damaged: all are named in the table, no other is lost.

The real code from raw files to the table: manifest, extraction, coverage.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from clips import make, tone

from utopia.config import registry
from utopia.datasets import _common
from utopia.features.extract import extract_shard
from utopia.files import read_json
from utopia.inputs.coverage import report_coverage
from utopia.inputs.manifest import list_inputs
from utopia.inputs.miniature import damaged_id, generate, generators, has_media, video_ids

COUNT = 6
SIZE = {"seconds": 6.0, "width": 32, "height": 32, "fps": 5, "annotators": 4, "label_annotators": 2}
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>"
FRAMES = {"extractor": "googlenet", "options": {"weights": "random", "size": 32, "fps": 1.0}}
SOUND = {"extractor": "vggish", "options": {"weights": "random"}}


def sound_only(path: Path) -> None:
    content = make(path.with_name("sound.m4a"), frames=0, sound=tone(3)).read_bytes()
    path.with_name("sound.m4a").unlink()
    path.write_bytes(content)


def pictures_only(path: Path) -> None:
    content = make(path.with_name("silent.mp4"), frames=10).read_bytes()
    path.with_name("silent.mp4").unlink()
    path.write_bytes(content)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES: dict[str, tuple[Any, str]] = {
    "liris": (truncated, "cut short"),
    "tvsum": (lambda path: path.write_bytes(b""), "the file is empty"),
    "summe": (lambda path: path.write_bytes(PAGE), "the file is a web page, not media"),
    "eev": (sound_only, "the file holds sound only"),
    "pmemo": (pictures_only, "the file holds pictures only"),
}
"""What is done to one more file of each, and the words of its reason."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, str]], dict[str, dict[str, Any]]]:
    """The rows of the coverage table, and the items of the feature indexes by data set."""
    root = tmp_path_factory.mktemp("study")
    manifests, indexes, found = [], [], {}
    for dataset in DAMAGES:
        raw, manifest = root / "raw" / dataset, root / f"{dataset}.json"
        generate(dataset=dataset, count=COUNT, settings=SIZE, seed=3, folder=raw)
        module = registry.load("datasets", dataset)
        located = module.locate(raw, module.Config())
        role = _common.medium(module).role
        files = {item.id: item.files.get(role) for item in module.items(located, module.Config())}
        path = files[spoiled(dataset)]
        assert path is not None
        DAMAGES[dataset][0](path)
        list_inputs(dataset=dataset, folder=raw, options={}, output=manifest)
        index = root / "features" / dataset / "shard-0000.json"
        extract_shard(
            manifest=manifest,
            root=raw,
            items=video_ids(dataset, COUNT),
            features={"googlenet": FRAMES} if role == "video" else {"vggish": SOUND},
            weights_folder=None,
            store=root / "features" / "store",
            output=index,
            seed=1,
            device="cpu",
            threads=2,
        )
        manifests.append(manifest)
        indexes.append(index)
        found[dataset] = read_json(index)["items"]
    report_coverage(manifests=manifests, indexes=indexes, absent={}, output=root / "coverage.csv")
    with (root / "coverage.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file)), found


def spoiled(dataset: str) -> str:
    """An item of a data set whose file the generator leaves whole."""
    return next(item for item in video_ids(dataset, COUNT) if item != damaged_id(dataset, COUNT))


def test_every_data_set_is_here() -> None:
    assert set(DAMAGES) == {dataset for dataset in generators() if has_media(dataset)}


@pytest.mark.long
@pytest.mark.parametrize("dataset", DAMAGES)
def test_each_bad_file_is_named_with_its_reason_and_nothing_else_is_lost(
    table: tuple[list[dict[str, str]], dict[str, dict[str, Any]]], dataset: str
) -> None:
    rows, found = table
    own = [row for row in rows if row["dataset"] == dataset]
    media = "songs" if dataset == "pmemo" else "videos"
    feature = "vggish" if dataset == "pmemo" else "googlenet"
    bad, generated = spoiled(dataset), damaged_id(dataset, COUNT)
    for subject in (media, f"feature:{feature}"):
        reasons = {item: row["reason"] for row in own if row["subject"] == subject for item in row["items"].split()}
        assert DAMAGES[dataset][1] in reasons[bad], subject
        assert reasons[generated], subject
        never = {item for item in reasons if item not in video_ids(dataset, COUNT)}
        assert set(reasons) - never == {bad, generated}, subject
        row = next(row for row in own if row["subject"] == subject)
        assert int(row["obtained"]) == COUNT - 2 and int(row["expected"]) == COUNT + len(never)
    assert sum(int(row["missing"]) for row in own if row["subject"] == "annotations") == 0
    for item in video_ids(dataset, COUNT):
        entry = found[dataset][item][feature]
        assert ("absent" in entry) == (item in (bad, generated)), item
        assert "absent" in entry or entry["rows"] >= 3
