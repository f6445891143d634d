"""Each check sees what it is there to see."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from utopia import files
from utopia.cli import doctor, fitness, slurm
from utopia.config.load import REPOSITORY, load
from utopia.plan.plan import Plan
from utopia.provenance import environment

UTOPIA = str(Path(sys.executable).parent / "utopia")


def test_this_machine(capsys) -> None:
    done = subprocess.run([UTOPIA, "doctor", "--json"], capture_output=True, text=True, timeout=120)
    found = json.loads(done.stdout)
    assert set(found) == {"study", "state", "checks"}
    assert found["study"] == "miniature"
    assert all(set(check) == {"check", "state", "found", "remedy"} for check in found["checks"])
    names = {check["check"] for check in found["checks"]}
    assert {"python", "environment", "snakemake", "decoders", "git", "configuration", "gpu", "results", "disk"} <= names
    failed = [check for check in found["checks"] if check["state"] == "fail"]
    assert done.returncode == (1 if failed else 0)
    assert failed == []


def test_pins_of_other_platforms_do_not_count() -> None:
    lock = (
        "a-b==1.0 \\\n    --hash=sha256:00\n    # via c\n"
        "win==2 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
        "old==1 ; python_full_version < '3' \\\n    --hash=sha256:00\n"
        "old==2 ; python_full_version >= '3' \\\n    --hash=sha256:00\n"
        "Upper_Case==3\n"
    )
    expected = {"a-b": "1.0", "old": "2", "upper-case": "3"} | ({"win": "2"} if sys.platform == "win32" else {})
    assert environment.pins(lock) == expected


def test_an_environment_that_differs_from_the_lock_fails(monkeypatch) -> None:
    assert doctor.environment().state == "ok"
    there = dict(environment.packages())
    there["numpy"] = "1.0"
    del there["rich"]
    monkeypatch.setattr(environment, "packages", lambda: there)
    found = doctor.environment()
    assert found.state == "fail"
    assert "numpy 1.0, not " in found.found
    assert "rich is missing" in found.found
    assert found.remedy == "make setup"


def test_a_gpu_that_is_asked_for_must_be_there(monkeypatch) -> None:
    monkeypatch.setattr(environment, "gpus", lambda: None)
    assert doctor.gpu("auto").state == "ok"
    assert doctor.gpu("cuda").state == "fail"
    card = {"index": 0, "name": "H100", "uuid": "GPU-1", "driver": "580.1", "used": None}
    monkeypatch.setattr(environment, "gpus", lambda: [card])
    assert doctor.gpu("cuda") == doctor.Check("gpu", "ok", "H100 (driver 580.1)")


@pytest.mark.parametrize(("free", "state"), [(10**8, "fail"), (8 * 10**8, "warn"), (10**11, "ok")])
def test_room_on_the_disk(tmp_path: Path, monkeypatch, free: int, state: str) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, free))
    assert fitness.disk(tmp_path / "not" / "yet" / "there").state == state


@pytest.mark.parametrize(("names", "state"), [(0, "fail"), (5000, "warn"), (10**7, "ok"), (None, "ok")])
def test_room_for_names_of_files(tmp_path: Path, monkeypatch, names: int | None, state: str) -> None:
    monkeypatch.setattr(files, "free_names", lambda folder: names)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("usage", "total used free")(10**12, 0, 10**11))
    found = fitness.disk(tmp_path)
    assert found.state == state
    assert ("df -i" in found.found) == (state != "ok")


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    assert {check.state for check in fitness.folder(tmp_path / "new" / "study")} == {"ok"}
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind"


def test_results_on_a_file_system_that_takes_nothing() -> None:
    (found,) = fitness.folder(Path("/proc/1/study"))
    assert found.state == "fail" and found.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_closed_folder(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    assert [check.state for check in fitness.folder(tmp_path / "closed" / "study")] == ["fail"]


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "try_lock", lambda descriptor: None)
    (locks,) = [check for check in fitness.folder(tmp_path) if check.check == "locks"]
    assert locks.state == "warn" and "lockd" in locks.remedy


@pytest.mark.parametrize(("ahead", "state"), [(0.5, "ok"), (-10, "warn"), (3600, "fail")])
def test_the_clock_of_a_file_system(tmp_path: Path, monkeypatch, ahead: float, state: str) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - ahead)
    (clock,) = [check for check in fitness.folder(tmp_path) if check.check == "clock"]
    assert clock.state == state
    assert bool(clock.remedy) == (state != "ok")


def program(folder: Path, name: str, text: str) -> None:
    """A program of SLURM that says what we want."""
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_a_profile_for_a_cluster(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("PATH", str(tmp_path))  # a machine that tests SLURM for real has its programs beside all others
    (missing,) = fitness.profile("slurm", REPOSITORY)
    assert missing.state == "fail" and "sbatch, squeue, scancel" in missing.found and missing.remedy
    for name in slurm.PROGRAMS:
        program(tmp_path, name, "echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1")
    (silent,) = fitness.profile("slurm", REPOSITORY)
    assert silent.state == "fail" and "Unable to contact" in silent.found and "scontrol ping" in silent.remedy
    program(tmp_path, "squeue", "echo 12 RUNNING")
    *_, refused, _ = fitness.profile("slurm", REPOSITORY)
    assert refused.check == "submission" and refused.state == "fail" and "SBATCH_ACCOUNT" in refused.remedy
    program(tmp_path, "sbatch", "echo sbatch: Job 1 to start at noon >&2")
    program(tmp_path, "sacct", "true")
    assert {check.state for check in fitness.profile("slurm", REPOSITORY)} == {"ok"}


def test_a_cluster_that_does_not_answer(tmp_path: Path, monkeypatch) -> None:
    program(tmp_path, "squeue", "exec sleep 60")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = slurm.ask("squeue", seconds=0.5)
    assert found.returncode and "has not answered" in found.stderr


def test_profiles_that_need_nothing_and_that_are_not_there() -> None:
    assert [check.state for check in fitness.profile("default", REPOSITORY)] == ["ok"]
    (unknown,) = fitness.profile("slrum", REPOSITORY)
    assert unknown.state == "fail" and "slurm" in unknown.remedy


def test_no_repository_is_a_warning(monkeypatch) -> None:
    monkeypatch.setattr(environment, "git", lambda: None)
    assert doctor.git().state == "warn"
    monkeypatch.setattr(environment, "git", lambda: {"commit": "0" * 40, "dirty": True, "changed": ["a", "b"]})
    assert "2 files changed" in doctor.git().found
    monkeypatch.setattr(environment, "git", lambda: {"commit": "0" * 40, "dirty": False, "changed": []})
    assert doctor.git().state == "ok"


def test_the_published_study_without_data_is_absences_not_failures(monkeypatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    checks = list(doctor.data(Plan(load({"study": "paper"}))))
    # What comes with the project is there all the same.
    sets = [check for check in checks if check.check.startswith("data ") and check.check != "data studyforrest"]
    assert sets
    assert {check.state for check in sets} == {"warn"}
    assert all("no data folder was given" in check.found for check in sets)
    assert all(check.remedy for check in sets)


def test_weights_that_are_there_and_not(tmp_path: Path, shared_data: Path, monkeypatch) -> None:
    """Those that the study extracts with are looked at; of a data set that cannot be extracted, its line says why."""
    from utopia.features.weights import card

    monkeypatch.chdir(REPOSITORY)
    shutil.copytree(shared_data / "summe" / "GT", tmp_path / "summe" / "GT")
    (tmp_path / "summe" / "videos").mkdir()
    for path in (tmp_path / "summe" / "GT").glob("*.mat"):
        (tmp_path / "summe" / "videos" / f"{path.stem}.mp4").write_bytes(b"x")
    (tmp_path / "weights").mkdir()
    settings = tmp_path / "settings.yaml"
    settings.write_text("datasets: {summe: {features: [[googlenet]]}}\n")

    def checks() -> dict[str, doctor.Check]:
        plan = Plan(load({"study": "paper", "data": str(tmp_path)}, [settings]))
        return {check.check: check for check in doctor.data(plan)}

    assert not [name for name in checks() if name.startswith("weights")]
    assert checks()["data summe"].state == "warn" and card("googlenet_imagenet").file in checks()["data summe"].found
    (tmp_path / "weights" / card("googlenet_imagenet").file).write_bytes(b"x")
    assert checks()["weights googlenet"].state == "ok"
    assert [name for name in checks() if name.startswith("weights")] == ["weights googlenet"], "and no other's"


def test_only_what_the_study_needs_is_warned_of(monkeypatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    for overrides in ({"study": "open"}, {"study": "miniature"}, {"study": "paper", "only_datasets": ["studyforrest"]}):
        checks = [*doctor.data(Plan(load(overrides)))]
        assert {check.state for check in checks} <= {"ok"}, (overrides, checks)
    names = {check.check for check in doctor.data(Plan(load({"study": "open"})))}
    assert "data studyforrest" in names and "data eev" not in names


def test_the_disk_must_hold_what_the_study_is_expected_to_write(tmp_path: Path, monkeypatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, 2 * 10**9))
    assert fitness.disk(tmp_path, 0.5e9).state == "ok"
    found = fitness.disk(tmp_path, 5e9)
    assert found.state == "warn" and "the study needs about 5.0 GB" in found.found


def test_words_for_people() -> None:
    checks = [doctor.Check("a", "ok", "fine"), doctor.Check("longer", "fail", "two\nlines", "do this")]
    assert doctor.in_words(checks) == [
        "ok    a       fine",
        "fail  longer  two",
        "              lines",
        "              -> do this",
        "1 ok, 0 warnings, 1 failures",
    ]
