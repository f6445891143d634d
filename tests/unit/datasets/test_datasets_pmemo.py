"""PMEmo: the real annotations, the authors' split, twins, and everything that can be wrong with the tables."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from utopia.datasets import _card, pmemo
from utopia.datasets._common import Item, LabelledItem, Limits, Located
from utopia.errors import ChecksumError, InputError
from utopia.inputs.manifest import list_inputs
from utopia.inputs.miniature import generate
from utopia.labels.build import build_labels
from utopia.labels.read import Labels

OPTIONS = pmemo.Config()
LIMITS = Limits(0, 1)
MEANS = "annotations/dynamic_annotations.csv"
DEVIATIONS = "annotations/dynamic_annotations_std.csv"
# The test songs that the notebook of PMEmo's authors prints (dynamic_MER).
AUTHORS = """
63 490 34 743 104 177 79 894 14 668 683 151 504 516 355 98 97 579 892 837 152 169 388 391 561 850 985 958 572 514 625
791 517 507 501 1000 803 457 403 670 51 798 59 531 466 503 794 568 279 103 350 917 428 417 393 571 354 283 906 149 56
128 742 993 94 754 199 57 576 463 284 126 488 253 227 730 861
"""


def all_items(folder: Path, options: pmemo.Config = OPTIONS) -> tuple[Located, list[Item]]:
    located = pmemo.locate(folder, options)
    return located, pmemo.items(located, options)


class TestRealData:
    def test_labels_are_the_official_table(self, shared_data: Path) -> None:
        with (shared_data / "pmemo" / MEANS).open(newline="") as file:
            official = list(csv.DictReader(file))
        located, items = all_items(shared_data / "pmemo")
        read = [pmemo.read_labels(located, item, OPTIONS, LIMITS) for item in items]
        assert len(read) == 767 and len(official) == 36_434
        for column, target in (("Valence(mean)", "valence"), ("Arousal(mean)", "arousal")):
            ours = np.concatenate([labelled.labels[target] for labelled in read])
            np.testing.assert_array_equal(ours, [float(row[column]) for row in official])
        times = np.concatenate([labelled.times for labelled in read])
        np.testing.assert_array_equal(times, [float(row["frameTime"]) for row in official])
        assert all(labelled.times[0] == 15.5 for labelled in read)

    def test_the_card_lists_the_songs_of_the_table_and_27_without(self, shared_data: Path) -> None:
        with (shared_data / "pmemo" / "metadata.csv").open(newline="") as file:
            metadata = {row["musicId"]: row for row in csv.DictReader(file)}
        listed = [item.key for item in _card.card("pmemo").items]
        without = [key for key in metadata if key not in listed]
        assert len(metadata) == 794 and len(without) == 27 and set(listed) < set(metadata)
        assert max(float(metadata[key]["duration"]) for key in without) < 15.5
        assert any(", ".join(without) in note for note in _card.card("pmemo").notes)

    def test_twins_are_those_of_one_title_and_artist(self, shared_data: Path) -> None:
        with (shared_data / "pmemo" / "metadata.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        same: dict[tuple[str, str], set[str]] = {}
        for row in rows:
            same.setdefault((row["title"], row["artist"]), set()).add(f"song_{row['musicId']}")
        known = {
            frozenset((defect.id, defect.other))
            for defect in _card.card("pmemo").known_defects
            if defect.kind == "same_recording"
        }
        assert known == {frozenset(songs) for songs in same.values() if len(songs) > 1} and len(known) == 10

    def test_labels_that_outlast_their_song_are_the_known_ones(self, shared_data: Path) -> None:
        located, items = all_items(shared_data / "pmemo")
        facts = {item.id: pmemo.describe(located, item, OPTIONS) for item in items}
        late = {song for song, fact in facts.items() if fact["last"] > fact["duration_s"]}
        few = {song for song, fact in facts.items() if fact["rows"] <= 2}
        defects = _card.card("pmemo").known_defects
        assert late == {defect.id for defect in defects if defect.kind == "late_labels"}
        assert few == {defect.id for defect in defects if defect.kind == "few_labels"}
        item = next(item for item in items if item.id == "song_126")
        told = pmemo.read_labels(located, replace(item, facts=facts[item.id]), OPTIONS, LIMITS)
        assert told.notes == ["its last label stands 0.35 s after the end of the sound: a known defect"]

    def test_deviations_are_on_another_scale_than_the_means(self, shared_data: Path) -> None:
        _, items = all_items(shared_data / "pmemo")
        above = rows = 0
        for item in items:
            _, means, _ = pmemo.read_series(item.files["annotations"], item, pmemo.columns_of("mean"))
            _, deviations, _ = pmemo.read_series(item.files["deviations"], item, pmemo.columns_of("std"))
            # Votes in [0, 1] have at most this variance, and the sample variance of ten of them 10/9 of it.
            above += int((deviations**2 > means * (1 - means) * 10 / 9).sum())
            rows += means.size
            assert np.isfinite(deviations).all() and (deviations <= 1).all()
        assert above / rows > 0.02

    def test_the_default_fold_is_the_authors_own(self, shared_data: Path) -> None:
        located, items = all_items(shared_data / "pmemo")
        (fold,) = pmemo.folds(located, [item.id for item in items], OPTIONS)
        assert set(fold["test"]) == {f"song_{key}" for key in AUTHORS.split()} and len(fold["test"]) == 77
        # None of them has a twin, so that nothing is left out.
        assert len(fold["train"]) == 690

    def test_the_split_files_are_followed_and_their_twins_left_out(self, shared_data: Path) -> None:
        options = pmemo.Config(split="files")
        located, items = all_items(shared_data / "pmemo", options)
        ids = [item.id for item in items]
        (fold,) = pmemo.folds(located, ids, options)
        listed = (shared_data / "pmemo" / "split" / "test.txt").read_text().split()
        assert sorted(fold["test"]) == sorted(f"song_{key}" for key in listed) and len(fold["test"]) == 115
        assert set(ids) - set(fold["train"]) - set(fold["test"]) == {"song_90", "song_758"}
        (kept,) = pmemo.folds(located, ids, pmemo.Config(split="files", twins="keep"))
        assert len(kept["train"]) == 536 + 116

    def test_from_the_real_tables_to_the_labels_file(self, shared_data: Path, tmp_path: Path) -> None:
        manifest, output = tmp_path / "pmemo.json", tmp_path / "labels.safetensors"
        folder = shared_data / "pmemo"
        list_inputs(dataset="pmemo", folder=folder, options={}, output=manifest)
        bounds = {"low": 0.0, "high": 1.0}
        build_labels(dataset="pmemo", manifest=manifest, folder=folder, options={}, distribution=bounds, output=output)
        labels = Labels(output)
        assert len(labels.items) == 767 and not labels.absent
        assert sum(len(labels.times(item)) for item in labels.items) == 36_434
        assert labels.votes("song_1", "valence") is None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pmemo")
    size = {"seconds": 8.0, "width": 32, "height": 32, "fps": 5, "annotators": 6, "label_annotators": 2}
    generate(dataset="pmemo", count=6, settings=size, seed=5, folder=folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """The tables of a generated PMEmo, to spoil."""
    import shutil

    return Path(shutil.copytree(made, tmp_path / "pmemo"))


Edit = Callable[[list[str]], list[str]]


def edit(folder: Path, name: str, change: Edit) -> None:
    path = folder / name
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


def read(folder: Path, number: int = 1, options: pmemo.Config = OPTIONS, **facts: float) -> LabelledItem:
    located, items = all_items(folder, options)
    return pmemo.read_labels(located, replace(items[number - 1], facts=facts), options, LIMITS)


def replaced(line: int, text: str) -> Edit:
    """A change of one line, counted from 1."""
    return lambda lines: [*lines[: line - 1], text, *lines[line:]]


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (replaced(3, "1,16.0,nan,0.5"), 3, "arousal label is not a number"),
        (replaced(3, "1,16.0,0.5,1.2"), 3, "valence label 1.2 lies outside [0, 1]"),
        (replaced(3, "1,16.0,high,0.5"), 3, "expected numbers, found '16.0, 0.5, high'"),
        (replaced(3, "1,16.0,0.5"), 3, "expected numbers, found '16.0, , 0.5'"),
        (replaced(3, "1,15.5,0.5,0.5"), 3, "15.5 s and 15.5 s repeat or go back"),
        (lambda lines: [*lines[:2], *lines[4:]], 3, "rows are missing: 15.5 s is followed by 17 s"),
        (lambda lines: ["id,time,a,b", *lines[1:]], 1, "the header names id, time, a, b; expected musicId"),
    ],
)
def test_a_bad_row_is_refused_with_file_and_line(folder: Path, change: Edit, line: int, words: str) -> None:
    edit(folder, MEANS, change)
    with pytest.raises(InputError) as caught:
        read(folder)
    assert caught.value.where.endswith(f"dynamic_annotations.csv:{line}")
    assert words in caught.value.what and caught.value.remedy
    if line > 1:
        assert read(folder, 2).labels, "the other songs stay"


def test_a_song_without_rows_is_named(folder: Path) -> None:
    edit(folder, MEANS, lambda lines: [line for line in lines if not line.startswith("4,")])
    with pytest.raises(InputError, match="has no row of song 4"):
        read(folder, 4)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00binary", b"\n\n"])
def test_a_file_without_rows_or_text_is_refused(folder: Path, content: bytes) -> None:
    (folder / MEANS).write_bytes(content)
    with pytest.raises(InputError, match=r"the header names|cannot be read as a table"):
        read(folder)


def test_labels_of_the_first_seconds_are_dropped(folder: Path) -> None:
    whole = read(folder)
    later = read(folder, options=pmemo.Config(settle_s=16.5))
    assert whole.times[0] == 15.5 and later.times[0] == 17.0
    np.testing.assert_array_equal(later.labels["valence"], whole.labels["valence"][3:])
    with pytest.raises(InputError, match="are in its first 300 s"):
        read(folder, options=pmemo.Config(settle_s=300))


def test_labels_must_end_with_the_song(folder: Path) -> None:
    last = float(read(folder).times[-1])
    for duration in (last - 1.4, last, last + 1.4):
        assert read(folder, duration_s=duration).labels
    for duration in (last - 1.6, last + 1.6):
        with pytest.raises(InputError, match=rf"stands at {last:g} s, but its sound lasts {duration:.1f} s"):
            read(folder, duration_s=duration)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (replaced(2, "1,15.5,-0.1,0.2"), "one is negative"),
        (lambda lines: [lines[0], *lines[2:]], "rows at other times"),
        (replaced(2, "1,15.5,,0.2"), "expected numbers"),
    ],
)
def test_bad_deviations_are_told_and_change_no_label(folder: Path, change: Edit, words: str) -> None:
    before = read(folder)
    edit(folder, DEVIATIONS, change)
    after = read(folder)
    np.testing.assert_array_equal(after.labels["arousal"], before.labels["arousal"])
    assert not before.notes and words in after.notes[0]


def test_without_songs_deviations_and_metadata_labels_are_there(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder / "chorus")
    (folder / DEVIATIONS).unlink()
    (folder / "metadata.csv").unlink()
    located, items = all_items(folder)
    assert "songs" in located.missing and "annotations" not in located.missing
    assert set(items[0].files) == {"annotations"}
    assert set(pmemo.describe(located, items[0], OPTIONS)) == {"rows", "first", "last", "step"}
    assert read(folder).labels


def test_the_manifest_knows_songs_as_sound(folder: Path, tmp_path: Path) -> None:
    from utopia.files import read_json

    (folder / "chorus" / "2.mp3").unlink()
    list_inputs(dataset="pmemo", folder=folder, options={}, output=tmp_path / "m.json")
    manifest = read_json(tmp_path / "m.json")
    entries = {entry["key"]: entry for entry in manifest["items"]}
    assert manifest["medium"] == "audio" and all(entry["present"] for entry in entries.values())
    assert entries["1"]["files"]["audio"]["path"] == "chorus/1.mp3" and entries["1"]["facts"]["audio_codec"]
    assert entries["2"]["video_reason"] == f"no song 2 below {folder}" and "audio" not in entries["2"]["files"]
    assert "breaks off" in entries["5"]["video_reason"] and entries["5"]["damaged"]["audio"]["sha256"]
    assert manifest["coverage"]["songs"]["present"] == 4


def test_other_annotations_than_the_published_are_refused_unless_recorded(made: Path, tmp_path: Path) -> None:
    (tmp_path / "pmemo" / "annotations").mkdir(parents=True)
    (tmp_path / "pmemo" / MEANS).write_bytes((made / MEANS).read_bytes())
    with pytest.raises(ChecksumError, match="but the card names"):
        list_inputs(dataset="pmemo", folder=tmp_path / "pmemo", options={}, output=tmp_path / "m.json")
    list_inputs(dataset="pmemo", folder=tmp_path / "pmemo", options={"checksums": "record"}, output=tmp_path / "m.json")


def official(tmp_path: Path, **files: str) -> Located:
    """A folder that counts as the real one, with split files."""
    for name, text in files.items():
        path = tmp_path / "split" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return pmemo.locate(tmp_path, pmemo.Config(split="files"))


def test_missing_split_files_are_refused(tmp_path: Path) -> None:
    located = official(tmp_path, train="1\n", test="4\n")
    with pytest.raises(InputError, match=r"split/validation.txt is not below"):
        pmemo.folds(located, ["song_1", "song_4"], pmemo.Config(split="files"))


@pytest.mark.parametrize(("test", "words"), [("4\n1\n", "song '1' is in train.txt too"), ("11\n", "no song '11'")])
def test_contradicting_split_files_are_refused_with_the_line(tmp_path: Path, test: str, words: str) -> None:
    located = official(tmp_path, train="1\n", validation="5\n", test=test)
    with pytest.raises(InputError, match=words) as caught:
        pmemo.folds(located, ["song_1", "song_4", "song_5"], pmemo.Config(split="files"))
    assert caught.value.where.endswith(f"test.txt:{len(test.split())}")


@pytest.mark.parametrize(("share", "seed"), [(0.1, 1), (0.3, 7), (0.5, 0)])
def test_no_recording_is_both_trained_on_and_tested(tmp_path: Path, share: float, seed: int) -> None:
    options = pmemo.Config(test_share=share, split_seed=seed)
    located, items = all_items(tmp_path, options)
    ids = [item.id for item in items]
    (fold,) = pmemo.folds(located, ids, options)
    twin = {}
    for defect in _card.card("pmemo").known_defects:
        if defect.kind == "same_recording":
            twin |= {defect.id: defect.other, defect.other: defect.id}
    assert len(fold["test"]) == round(767 * share)
    assert not {twin.get(song) for song in fold["test"]} & set(fold["train"])
    left = set(ids) - set(fold["train"]) - set(fold["test"])
    assert left == {twin[song] for song in fold["test"] if song in twin} - set(fold["test"])
