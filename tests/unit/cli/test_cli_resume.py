"""`utopia resume` where there is nothing to resume or nobody to ask; with a real SLURM it is tried in tests/slurm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from utopia.cli import run, runlock, slurm
from utopia.cli.main import main
from utopia.errors import UtopiaError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A study whose last run was on SLURM and was killed."""
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "run.json").write_text(json.dumps({"state": "running", "slurm": "1234-abcd"}))
    return tmp_path


def test_without_a_former_run_it_says_how_to_start_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    from utopia.config.load import REPOSITORY

    assert yaml.safe_load((REPOSITORY / "config.yaml").read_text())["results"] == "results"
    if (REPOSITORY / "results" / "paper_cpu" / ".run.lock").exists():
        pytest.skip("this checkout has run the study that the test takes for never run")
    assert main(["resume", "--study", "paper_cpu"]) == 1
    assert "make results STUDY=paper_cpu" in capsys.readouterr().err


def test_a_cluster_that_cannot_be_asked_is_an_error_and_not_a_guess(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(UtopiaError, match="no squeue") as error:
        slurm.left(folder)
    assert "1234-abcd" in error.value.remedy


def test_a_run_that_was_not_on_slurm_has_left_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert slurm.left(tmp_path) == []
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "run.json").write_text(json.dumps({"state": "running", "slurm": ""}))
    assert slurm.left(tmp_path) == []


def test_the_lock_remembers_how_the_run_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(runlock.VARIABLE, "")
    runlock.take(tmp_path, "/data", ["--workflow-profile", "profiles/slurm"])
    owner = runlock.owner(tmp_path)
    assert owner is not None and owner.arguments == ["--workflow-profile", "profiles/slurm"] and owner.data == "/data"
    text = json.loads((tmp_path / runlock.NAME).read_text())
    del text["arguments"]  # as an older version wrote it
    (tmp_path / runlock.NAME).write_text(json.dumps(text))
    former = runlock.owner(tmp_path)
    assert former is not None and former.arguments == []


def test_a_profile_is_chosen_by_name(repository: Path) -> None:
    assert run.where("default", None, repository) == ["--cores", "all"]
    assert run.where("default", "3", repository) == ["--cores", "3"]
    assert run.where("slurm", None, repository) == ["--workflow-profile", "profiles/slurm"]
    assert run.where("slurm", "4", repository) == ["--workflow-profile", "profiles/slurm", "--cores", "4"]
    with pytest.raises(UtopiaError, match="no profile 'slrum'") as error:
        run.where("slrum", None, repository)
    assert "default, slurm" in error.value.remedy
