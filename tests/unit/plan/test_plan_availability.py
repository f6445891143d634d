"""What can be trained on the videos that are there, by fold, before anything runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from utopia.cli.plan import describe, in_words
from utopia.config.load import load
from utopia.datasets.eev import PARTS
from utopia.features import weights
from utopia.files import read_json
from utopia.inputs.miniature import generate
from utopia.plan.plan import Plan

SIZE = {"seconds": 12.0, "width": 32, "height": 32, "fps": 10, "annotators": 5, "label_annotators": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SumMe's layout with six videos, and the weights that their features need."""
    root = tmp_path_factory.mktemp("data")
    generate(dataset="summe", count=6, settings=SIZE, seed=5, folder=root / "summe")
    (root / "weights").mkdir()
    (root / "weights" / weights.card("googlenet_imagenet").file).write_bytes(b"")
    return root


def planned(data: Path, kept: set[str]) -> Plan:
    """The plan with the videos of these items only."""
    for path in (data / "summe").rglob("*.mp4*"):
        shown = path.name.removesuffix(".away")
        path.rename(path.with_name(shown if Path(shown).stem in kept else f"{shown}.away"))
    return Plan(load({"study": "paper", "data": str(data), "tables": ["ulda_table_2"], "figures": []}))


def folds_of(data: Path) -> dict[str, set[str]]:
    """Fold -> names of its test videos."""
    expected = read_json(data / "summe" / "expected.json")
    key = {item["id"]: item["key"] for item in expected["items"]}
    return {fold["name"]: {key[item] for item in fold["test"]} for fold in expected["folds"]}


def names(data: Path) -> set[str]:
    return {item["key"] for item in read_json(data / "summe" / "expected.json")["items"]}


def summe(plan: Plan, kind: dict) -> dict:
    return {name: value for name, value in kind.items() if name.startswith("summe.")}


def test_with_all_videos_every_fold_can_be_trained(data: Path) -> None:
    plan = planned(data, names(data))
    assert not summe(plan, plan.absent_runs)
    for fold in plan.datasets["summe"].folds:
        assert (fold.train, fold.test) == (fold.train_listed, fold.test_listed) and not fold.obstacle(2)


@pytest.mark.parametrize("count", [0, 1])
def test_with_hardly_a_video_the_rows_without_training_are_made(data: Path, count: int) -> None:
    """The others are declared holes, fold by fold, and no job of theirs is planned."""
    plan = planned(data, set(sorted(names(data))[:count]))
    made, absent = summe(plan, plan.runs), summe(plan, plan.absent_runs)
    assert made and all(run.reference is not None for run in made.values())
    assert absent and not any(".reference." in name for name in absent)
    if count:
        for fold in folds_of(data):
            assert all(f"fold {fold}: " in reason for reason in absent.values())
        assert all("test items are there, it needs" in reason for reason in absent.values())
    assert f"{plan.root}/tables/ulda_table_2.csv" in plan.targets()
    assert set(plan.table_runs("ulda_table_2")) == set(made)
    told = plan.table_settings("ulda_table_2")["absent"]
    assert {name: told[name] for name in absent} == absent


def test_a_fold_without_its_test_videos_is_named_and_the_others_are_trained(data: Path) -> None:
    tested = folds_of(data)
    lost = next(fold for fold, test in tested.items() if names(data) - test)
    plan = planned(data, names(data) - tested[lost])
    obstacles = {fold.name: fold.obstacle(1) for fold in plan.datasets["summe"].folds}
    assert obstacles[lost].startswith(f"fold {lost}: ") and f"0 of {len(tested[lost])} test items" in obstacles[lost]
    can = [fold for fold, test in tested.items() if not test <= tested[lost]]
    assert can and not any(obstacles[fold] for fold in can)
    assert not summe(plan, plan.absent_runs)
    found = describe(plan, [])
    (entry,) = [entry for entry in found["datasets"] if entry["name"] == "summe"]
    assert {fold["name"]: fold["test"] for fold in entry["folds"]}[lost] == 0
    assert f"cannot be trained: {obstacles[lost]}" in "\n".join(in_words(found, []))


def test_a_data_set_with_one_file_of_labels_is_a_declared_hole(data: Path, tmp_path: Path) -> None:
    """The job that builds the labels would fail, and with it every table that shows another data set too."""
    folder = tmp_path / "summe"
    shutil.copytree(data / "summe", folder, ignore=shutil.ignore_patterns("*.h5", "*.mp4*"))
    files = sorted(folder.rglob("*.mat"))
    for path in files[1:]:
        path.unlink()
    plan = Plan(load({"study": "paper", "data": str(tmp_path), "tables": ["ulda_table_2"], "figures": []}))
    assert plan.datasets["summe"].reason.startswith(f"only 1 of {len(files)} items have a file of labels")
    assert not summe(plan, plan.runs) and not plan.datasets["summe"].available


@pytest.mark.parametrize(("part", "why"), [("train", "official: 0 of "), ("validation", " and 0 of ")])
def test_reactions_whose_videos_leave_no_fold_are_a_hole_before_anything_runs(
    tmp_path: Path, part: str, why: str
) -> None:
    """EEV has one fold, of train.csv and val.csv; without it neither a training nor a submission is planned."""
    generate(dataset="eev", count=7, settings=SIZE, seed=5, folder=tmp_path / "eev")
    parts = eev_parts(tmp_path / "eev")
    assert parts["train"] and parts["validation"]
    random = {"vggish_raw": {"options": {"weights": "random"}}, "swin_l": {"options": {"weights": "random"}}}
    tables = ["eev_table_3", "eev_table_4"]
    study = {"study": "paper", "data": str(tmp_path), "tables": tables, "figures": [], "features": random}
    assert not Plan(load(study)).absent_runs and Plan(load(study)).submissions()
    for video in parts[part]:
        next((tmp_path / "eev" / "videos").glob(f"{video}.*")).unlink()
    plan = Plan(load(study))
    assert not plan.runs and not plan.submissions()
    assert all("no fold can be trained (fold official: " in text and why in text for text in plan.absent_runs.values())
    assert {f"{plan.root}/tables/{table}.csv" for table in tables} <= set(plan.targets())


def eev_parts(folder: Path) -> dict[str, set[str]]:
    """Part -> ids of its videos that have a file."""
    there = {path.stem for path in (folder / "videos").iterdir()}
    tables = {part: folder / name for part, name in PARTS.items()}
    listed = {part: {line.split(",")[0] for line in path.read_text().splitlines()[1:]} for part, path in tables.items()}
    return {part: ids & there for part, ids in listed.items()}


def test_tables_and_figures_of_data_that_are_not_there_are_left_out_if_the_study_says_so(data: Path) -> None:
    both = {"tables": ["ulda_table_2", "ulda_table_7", "beyond_studyforrest"]}
    both["figures"] = ["beyond_votes_summe", "beyond_distribution_pmemo"]
    given = {"study": "paper", "without_data": "leave_out", **both}
    without = Plan(load(given))
    assert (list(without.tables), list(without.figures)) == (["beyond_studyforrest"], [])
    assert without.left_out == ["ulda_table_2", "ulda_table_7", *sorted(both["figures"])]
    shown = {name for part in (without.tables, without.figures) for each in part.values() for name in each.datasets}
    assert set(without.asked) == shown, "data sets of what is left out are nobody's concern"
    # one of a table's two data sets is enough
    with_summe = Plan(load({**given, "data": str(data)}))
    assert list(with_summe.tables) == ["ulda_table_2", "beyond_studyforrest"]
    assert list(with_summe.figures) == ["beyond_votes_summe"]
    assert not any("/tables/ulda_table_7" in path for path in with_summe.targets())
    assert Plan(load({**given, "without_data": "hole"})).left_out == []
