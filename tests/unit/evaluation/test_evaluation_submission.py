"""The submission has a row for each row of test.csv, and what it says is what was predicted."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from utopia import arrays, files
from utopia.config.load import load
from utopia.datasets._eev_index import EXPRESSIONS
from utopia.datasets.eev import GRID
from utopia.errors import ComputeError, InputError
from utopia.evaluation.submission import check_submission, write_submission
from utopia.inputs.manifest import list_inputs
from utopia.labels.build import build_labels
from utopia.labels.read import Labels
from utopia.plan.plan import Plan

HEADER = "YouTube ID,Timestamp (microseconds)"
FULL = f"{HEADER},{','.join(EXPRESSIONS)}"
SEEDS = 3
PLAIN = [("x-1", 0, 14), ("gone", 0, 7), ("_y", 0, 9)]


def time(row: int) -> int:
    return row // 6 * 1_000_000 + GRID[row % 6]


def asked(layout: list[tuple[str, int, int]]) -> list[tuple[str, str]]:
    """The rows (id, time) of runs of rows [first, last) of videos."""
    return [(video, str(time(row))) for video, first, last in layout for row in range(first, last)]


class Study:
    """A data set with the rows that test.csv is to have, its manifest, labels and a run's predictions."""

    def __init__(self, folder: Path, layout: list[tuple[str, int, int]], absent: tuple[str, ...] = ("gone",)) -> None:
        self.folder, self.raw = folder, folder / "eev"
        self.raw.mkdir(parents=True)
        of = {"train": ("t1", "t2"), "val": ("v1",)}
        for name, videos in of.items():
            rows = [f"{video},{time(row)}," + ",".join(["0.5"] * 15) for video in videos for row in range(6)]
            (self.raw / f"{name}.csv").write_text("\n".join([FULL, *rows]) + "\n")
        self.table = self.raw / "test.csv"
        self.table.write_text("\n".join([HEADER, *map(",".join, asked(layout))]) + "\n")
        self.prepare()
        rng = np.random.default_rng(1)
        self.stored = {
            f"reactions/official/{seed}/{video}": rng.random((len(self.labels.times(video)), 15), np.float32)
            for seed in range(SEEDS)
            for video in [*self.labels.unlabelled, "v1"]
            if video not in absent
        }
        self.save()
        summary = {"run": "eev.bi_gru.l1_ensemble", "left_out": dict.fromkeys(absent, "swin_l: no video")}
        summary |= {"folds": {"official": {}}, "dropped_folds": {}}
        files.write_json(
            folder / "training.json", summary | {"replicas": [{}] * 5 + [{"averaged": True}, {"averaged": False}]}
        )

    def prepare(self) -> None:
        files_of = {"dataset": "eev", "folder": self.raw, "options": {"checksums": "record"}}
        list_inputs(**files_of, output=self.folder / "manifest.json")
        build_labels(
            **files_of,
            manifest=self.folder / "manifest.json",
            distribution={},
            output=self.folder / "labels.safetensors",
        )
        self.labels = Labels(self.folder / "labels.safetensors")

    def save(self) -> None:
        arrays.save(self.folder / "predictions.safetensors", self.stored, {"run": "r"})

    def write(self) -> Path:
        used = write_submission(
            dataset="eev",
            folder=self.raw,
            options={"checksums": "record"},
            manifest=self.folder / "manifest.json",
            labels=self.folder / "labels.safetensors",
            predictions=self.folder / "predictions.safetensors",
            summary=self.folder / "training.json",
            output=self.folder / "submission.csv",
            report=self.folder / "submission.json",
        )
        assert used == self.table
        return self.folder / "submission.csv"

    def mean(self, video: str) -> np.ndarray:
        """The mean over seeds, with columns as the labels file has them."""
        return np.mean(
            [self.stored[f"reactions/official/{seed}/{video}"].astype(float) for seed in range(SEEDS)], axis=0
        )


def read(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def values(rows: list[list[str]], video: str) -> np.ndarray:
    return np.array([row[2:] for row in rows if row[0] == video], float)


def test_every_row_of_the_table_in_its_order_with_the_mean_of_the_seeds(tmp_path: Path) -> None:
    study = Study(tmp_path, PLAIN)
    header, *rows = read(study.write())
    assert header == FULL.split(",")
    assert [(row[0], row[1]) for row in rows] == asked(PLAIN)
    for video in ("x-1", "_y"):
        np.testing.assert_allclose(values(rows, video), study.mean(video), rtol=0, atol=5.01e-9)
    assert (values(rows, "gone") == 0).all() and len(values(rows, "gone")) == 7
    assert {len(cell) for row in rows for cell in row[2:]} == {10}, "numbers are written alike"
    report = files.read_json(tmp_path / "submission.json")
    assert report["rows"] == 30 and report["predicted"] == 2 and report["networks"] == 6
    assert report["averaged"] == [f"reactions/official/{seed}" for seed in range(SEEDS)]
    reason = "no <id>.mp4 below eev: the videos have to be fetched one by one"
    assert report["filled"] == {"gone": {"rows": 7, "reason": reason}}
    first = (tmp_path / "submission.csv").read_bytes()
    assert study.write().read_bytes() == first


def test_without_a_fold_that_could_be_trained_the_report_says_why(tmp_path: Path) -> None:
    study = Study(tmp_path, PLAIN)
    study.stored = {}
    study.save()
    manifest = files.read_json(tmp_path / "manifest.json")
    for item in manifest["items"]:
        item["video_reason"] = ""  # as if all videos were there, and damaged
    files.write_json(tmp_path / "manifest.json", manifest)
    files.write_json(
        tmp_path / "training.json",
        {"run": "eev.bi_gru.l1_ensemble", "left_out": {}, "folds": {}, "replicas": [],
         "dropped_folds": {"official": "0 of 9 training items are there"}},
    )  # fmt: skip
    _, *rows = read(study.write())
    assert [(row[0], row[1]) for row in rows] == asked(PLAIN)
    assert not any(float(cell) for row in rows for cell in row[2:])
    report = files.read_json(tmp_path / "submission.json")
    assert report["predicted"] == 0 and report["averaged"] == [] and set(report["filled"]) == {"x-1", "_y", "gone"}
    expected = "no fold can be trained (fold official: 0 of 9 training items are there)"
    assert [report["filled"][video]["reason"] for video in ("x-1", "_y")] == [expected] * 2


def test_columns_of_the_labels_may_stand_in_another_order(tmp_path: Path) -> None:
    study = Study(tmp_path, PLAIN)
    expected = study.write().read_bytes()
    order = np.random.default_rng(0).permutation(15)
    study.stored = {name: one[:, order] for name, one in study.stored.items()}
    study.save()
    meta = dict(study.labels.meta) | {"columns": {"reactions": [EXPRESSIONS[c] for c in order]}}
    contents = {name: study.labels.arrays[name] for name in study.labels.arrays}
    arrays.save(tmp_path / "labels.safetensors", contents, meta)
    assert study.write().read_bytes() == expected


@pytest.mark.parametrize(
    "written",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: "\n".join(",".join(reversed(line.split(","))) for line in text.splitlines()) + "\n",
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("gone,0\n", "gone,0\n\n"),
        lambda text: text.replace("_y,", '"_y",'),
    ],
    ids=["windows line ends", "byte order mark", "time first", "no last line end", "an empty line", "quotes"],
)
def test_how_the_table_is_written_does_not_matter(tmp_path: Path, written: Callable[[str], str]) -> None:
    study = Study(tmp_path, PLAIN)
    expected = study.write().read_bytes()
    study.table.write_bytes(written(study.table.read_text()).encode())
    study.prepare()
    assert study.write().read_bytes() == expected


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "gone"]), st.integers(1, 9)), min_size=1, max_size=8))
def test_videos_may_stand_in_several_places(tmp_path_factory: pytest.TempPathFactory, pieces: list[Any]) -> None:
    layout, last = [], dict.fromkeys(("a", "b", "gone"), 0)
    for video, rows in pieces:
        layout.append((video, last[video], last[video] + rows))
        last[video] += rows
    study = Study(tmp_path_factory.mktemp("layout"), layout)
    _, *rows = read(study.write())
    assert [(row[0], row[1]) for row in rows] == asked(layout)
    for video in {video for video, _, _ in layout} - {"gone"}:
        np.testing.assert_allclose(values(rows, video), study.mean(video), rtol=0, atol=5.01e-9)


def test_a_video_that_is_listed_without_a_time_is_named(tmp_path: Path) -> None:
    study = Study(tmp_path, PLAIN)
    before = study.write().read_text()
    study.table.write_text(study.table.read_text().replace("_y,0\n", "empty,\n_y,0\n"))
    study.prepare()
    assert study.write().read_text() == before
    assert files.read_json(tmp_path / "submission.json")["without_rows"] == ["empty"]


@pytest.mark.parametrize(
    ("manifest_says", "said"), [("gone from its site", "gone from its site"), ("", "swin_l: no video")]
)
def test_the_reason_is_the_manifests_or_else_the_trainings(tmp_path: Path, manifest_says: str, said: str) -> None:
    study = Study(tmp_path, PLAIN)
    manifest = files.read_json(tmp_path / "manifest.json")
    next(item for item in manifest["items"] if item["id"] == "gone")["video_reason"] = manifest_says
    files.write_json(tmp_path / "manifest.json", manifest)
    study.write()
    assert files.read_json(tmp_path / "submission.json")["filled"]["gone"]["reason"] == said


# -- what is refused


def _drop_a_seed(study: Study) -> None:
    del study.stored["reactions/official/1/_y"]
    study.save()


def _other_times(study: Study) -> None:
    text = study.table.read_text().replace("_y,1333333\n", "_y,1500000\n")
    study.table.write_text(text)


def _more_rows(study: Study) -> None:
    study.table.write_text(study.table.read_text() + f"_y,{time(9)}\n")


def _fewer_rows(study: Study) -> None:
    study.table.write_text(study.table.read_text().replace("_y,1333333\n", ""))


def _no_table(study: Study) -> None:
    study.table.unlink()


def _damaged(study: Study) -> None:
    study.table.write_text(study.table.read_text().replace("gone,333333\n", "gone,later\n"))


def _no_id(study: Study) -> None:
    study.table.write_text(study.table.read_text() + ",0\n")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_drop_a_seed, "reactions/official/1 does not predict _y"),
        (_other_times, "_y do not stand at the times that test.csv lists"),
        (_more_rows, "_y do not stand at the times"),
        (_fewer_rows, "_y do not stand at the times"),
        (_no_table, "no test.csv below"),
        (_damaged, "'later' is not a whole number of microseconds"),
        (_no_id, "a row names no video"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_stored(
    tmp_path: Path, spoil: Callable[[Study], None], said: str
) -> None:
    study = Study(tmp_path, PLAIN)
    spoil(study)
    with pytest.raises(InputError, match=said):
        study.write()
    assert not (tmp_path / "submission.csv").exists() and not list(tmp_path.glob(".*tmp*"))


def _changed(line: int, cell: int, value: str) -> Callable[[list[list[str]]], list[list[str]]]:
    def change(rows: list[list[str]]) -> list[list[str]]:
        return [[*row[:cell], value, *row[cell + 1 :]] if number == line else row for number, row in enumerate(rows)]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:-1], "times of _y"),
        (lambda rows: rows[:22], "fewer rows"),
        (lambda rows: [*rows, ["zz", "0", *["0.0"] * 15]], "rows too many"),
        (lambda rows: [*rows, rows[-1]], "times of _y"),
        (lambda rows: [*rows[:3], rows[4], rows[3], *rows[5:]], "times of x-1"),
        (lambda rows: [rows[0], *rows[15:22], *rows[1:15], *rows[22:]], "rows of gone where test.csv has x-1"),
        (lambda rows: [["id", "time", *rows[0][:1:-1]], *rows[1:]], "its columns are not"),
        (_changed(5, 1, "1"), "times of x-1"),
        (_changed(5, 4, "nan"), ":6: .*number of x-1 is missing"),
        (_changed(5, 4, ""), "number of x-1 is missing"),
        (_changed(5, 4, "1.0000001"), "outside"),
        (_changed(5, 4, "-0.1"), "outside"),
        (_changed(17, 4, "0.1"), "gone was not predicted, and is not 0"),
    ],
)
def test_the_check_finds_every_fault(
    tmp_path: Path, change: Callable[[list[list[str]]], list[list[str]]], said: str
) -> None:
    study = Study(tmp_path, PLAIN)
    path = study.write()
    assert check_submission(path, study.table, {"gone"}) == 30
    path.write_text("\n".join(map(",".join, change(read(path)))) + "\n")
    with pytest.raises(ComputeError) as failure:
        check_submission(path, study.table, {"gone"})
    assert re.search(said, " ".join(str(failure.value).split()))


def test_the_plan_asks_for_the_submissions_of_runs_that_learn_from_all_labels() -> None:
    plan = Plan(load({"study": "miniature"}))
    assert plan.submissions() == ["eev.bi_gru.l1_ensemble"]
    inputs = plan.submission_inputs("eev.bi_gru.l1_ensemble")
    assert inputs["table"] == [str(plan.datasets["eev"].folder)] and inputs["labels"] == plan.labels("eev")
    for suffix in ("csv", "json"):
        assert plan.run_file("eev.bi_gru.l1_ensemble", f"submission.{suffix}") in plan.targets()
    with pytest.raises(KeyError):
        plan.submission_inputs("eev.bi_gru.l1")


def test_of_real_data_the_table_alone_is_an_input(tmp_path: Path) -> None:
    study, id = Study(tmp_path / "data", PLAIN), "eev.bi_gru.l1_ensemble"

    def planned() -> Plan:
        """With the run, although the folder has no videos to make its features of."""
        plan = Plan(load({"study": "paper", "data": str(tmp_path / "data")}))
        plan.runs[id] = next(run for cell in plan.cells for run in cell.runs if run.id == id)
        return plan

    assert planned().submission_inputs(id)["table"] == [str(study.table)]
    study.table.unlink()
    assert planned().submissions() == []
