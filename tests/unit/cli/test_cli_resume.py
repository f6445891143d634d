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
    # the profile's `cores: 4` bounds submissions of several small jobs; it must not bound a training with 16 workers
    assert run.where("slurm", None, repository, 16) == ["--workflow-profile", "profiles/slurm", "--cores", "16"]
    assert run.where("slurm", None, repository, 3) == run.where("slurm", None, repository)
    assert run.where("slurm", "2", repository, 16)[-2:] == ["--cores", "2"]
    assert run.where("default", None, repository, 16) == ["--cores", "all"]
    with pytest.raises(UtopiaError, match="no profile 'slrum'") as error:
        run.where("slrum", None, repository)
    assert "default, slurm" in error.value.remedy


def program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("words", [["--workflow-profile", "profiles/slurm"], ["--executor", "slurm"]])
def test_a_run_on_slurm_where_there_is_none_is_refused_before_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    from utopia.config.load import REPOSITORY

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UtopiaError, match="no SLURM on this machine: sbatch, squeue, scancel") as error:
        run.execute(REPOSITORY, tmp_path / "study", {}, words)
    assert "doctor --profile slurm" in error.value.remedy
    assert not (tmp_path / "study").exists()
    assert run.executor(["--cores", "1"], REPOSITORY) == ""
    assert run.executor(["--workflow-profile", "profiles/default"], REPOSITORY) == ""


@pytest.mark.parametrize(
    ("squeue", "said"),
    [
        (
            "echo 'squeue: fatal: Could not establish a configuration source' >&2; exit 1",
            "Could not establish a config",
        ),
        ("exec sleep 60", "squeue has not answered for 0 s"),
    ],
)
def test_programs_of_slurm_without_a_cluster_behind_them_are_refused_before_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, squeue: str, said: str
) -> None:
    """Installed, but not configured, or the controller is down: every submission would fail, again and again."""
    from utopia.config.load import REPOSITORY

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(slurm, "PATIENCE_S", 0.3)
    for name in slurm.PROGRAMS:
        program(tmp_path, name, squeue if name == "squeue" else "exit 1")
    with pytest.raises(UtopiaError, match=f"no cluster answers them: .*{said}") as error:
        run.execute(REPOSITORY, tmp_path / "study", {}, ["--executor", "slurm"])
    assert "scontrol ping" in error.value.remedy
    assert not (tmp_path / "study").exists()


def test_waiting_says_for_what_and_says_it_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = folder / "count"
    program(
        folder,
        "squeue",
        f'echo x >> "{count}"; if [ "$(wc -l < "{count}")" -lt 6 ]; then echo "7|PENDING|rule_train"; fi',
    )
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    said: list[str] = []
    slurm.wait(folder, said.append, poll=0.0, remind=3600.0)
    assert said == ["waiting for 1 on SLURM (pending): 7 (train); Ctrl-C ends the wait, not the jobs"]
    count.unlink()
    said.clear()
    slurm.wait(folder, said.append, poll=0.0, remind=0.0)
    assert len(said) == 5


def test_sigterm_ends_a_run_that_only_waits_for_its_cluster(tmp_path: Path) -> None:
    """Snakemake itself would wait until the jobs have ended, for days perhaps."""
    import signal
    import subprocess
    import sys

    for name in slurm.PROGRAMS:
        program(tmp_path, name, "true")
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "from utopia.cli import slurm\n"
        "slurm.watch_over('slurm')\n"
        "print('waiting', flush=True)\n"
        "time.sleep(60)\n"
    )
    waiting = subprocess.Popen(
        [sys.executable, "-c", code],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdout is not None and waiting.stdout.readline() == "waiting\n"
    waiting.send_signal(signal.SIGTERM)
    _, said = waiting.communicate(timeout=30)
    assert waiting.returncode == -signal.SIGTERM
    assert "utopia resume" in said
