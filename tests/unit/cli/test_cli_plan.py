"""The plan of real studies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from utopia.cli import engine
from utopia.cli.plan import describe, in_words
from utopia.config.load import REPOSITORY, load
from utopia.plan.plan import Plan

UTOPIA = str(Path(sys.executable).parent / "utopia")
KEYS = {"study", "jobs", "runs", "datasets", "tables", "figures", "absent_runs", "left_out", "asked", "price"}


@pytest.fixture
def without_data(monkeypatch) -> Plan:
    monkeypatch.chdir(REPOSITORY)
    return Plan(load({"study": "paper"}))


def test_without_data_everything_is_absent_with_its_reason(without_data: Plan) -> None:
    found = describe(without_data, [])
    assert set(found) == KEYS
    assert list(without_data.runs) == ["studyforrest.reference.label_study"], "its labels come with the project"
    assert found["runs"] == 1
    assert found["absent_runs"]
    assert all(found["absent_runs"].values())
    for table in found["tables"]:
        layout = without_data.tables[table["table"]]
        assert (table["measured"] > 0) == (table["table"] in ("beyond_table_1", "beyond_table_1_pooled"))
        if table["measured"]:
            continue
        printed = sum(value is not None for row in layout.rows for value in row.published.values())
        assert table["quoted"] <= printed <= table["quoted"] + table["absent"] <= len(layout.rows) * len(layout.columns)
    drawn = {figure["figure"] for figure in found["figures"] if not figure["reason"]}
    assert drawn == {"beyond_figure_1", "beyond_figure_2"}
    text = "\n".join(in_words(found, []))
    assert text.count("no data folder was given") == 1, "a reason is said once"
    assert "nothing to do" in text
    json.dumps(found, allow_nan=False)


def test_jobs_are_shown_with_their_reasons(without_data: Plan) -> None:
    jobs = [engine.RuleJobs("build_labels", 2, ["Missing output files: a", "Forced execution"])]
    found = describe(without_data, jobs)
    assert found["jobs"] == {
        "total": 2,
        "rules": [{"rule": "build_labels", "count": 2, "reasons": {"missing output files": 1, "forced execution": 1}}],
    }
    assert any("build_labels" in line and " 2 " in line for line in in_words(found, jobs))


def test_batches_of_runs_share_a_line(without_data: Plan) -> None:
    jobs = [engine.RuleJobs(f"train_liris_et_{number}", 1, ["Missing output files: a"]) for number in range(1, 4)]
    lines = [line.split() for line in in_words(describe(without_data, jobs), jobs)]
    assert ["train_*", "3", "output", "is", "missing"] in lines


def test_the_command_on_the_miniature() -> None:
    done = subprocess.run([UTOPIA, "plan", "--json"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == KEYS
    assert found["study"] == "miniature"
    assert found["jobs"]["total"] == sum(rule["count"] for rule in found["jobs"]["rules"])
    assert sum(table["measured"] for table in found["tables"]) > 0
    assert all(figure["reason"] is None for figure in found["figures"])
