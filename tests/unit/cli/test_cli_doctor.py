"""Each check sees what it is there to see."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from utopia.cli import doctor
from utopia.config.load import REPOSITORY, load
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


def test_a_faulty_configuration_is_one_failure_among_the_checks() -> None:
    done = subprocess.run([UTOPIA, "doctor", "--study", "papper"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("fail")]
    assert "configuration" in line
    assert "did you mean 'paper'?" in done.stdout
    assert "ok    python" in done.stdout


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


@pytest.mark.parametrize(("free", "state"), [(10**8, "fail"), (2 * 10**9, "warn"), (10**11, "ok")])
def test_room_on_the_disk(tmp_path: Path, monkeypatch, free: int, state: str) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 0, free))
    assert doctor.disk(tmp_path / "not" / "yet" / "there").state == state


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    assert doctor.writable(tmp_path / "new" / "study").state == "ok"
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind"
    (tmp_path / "file").write_text("")
    assert doctor.writable(tmp_path / "file" / "study").state == "fail"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_closed_folder(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    assert doctor.writable(tmp_path / "closed" / "study").state == "fail"


def test_no_repository_is_a_warning(monkeypatch) -> None:
    monkeypatch.setattr(environment, "git", lambda: None)
    assert doctor.git().state == "warn"
    monkeypatch.setattr(environment, "git", lambda: {"commit": "0" * 40, "dirty": True, "changed": ["a", "b"]})
    assert "2 files changed" in doctor.git().found
    monkeypatch.setattr(environment, "git", lambda: {"commit": "0" * 40, "dirty": False, "changed": []})
    assert doctor.git().state == "ok"


def test_the_published_study_without_data_is_absences_not_failures(monkeypatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    checks = list(doctor.data(load({"study": "paper"})))
    sets = [check for check in checks if check.check.startswith("data ")]
    assert sets
    assert {check.state for check in sets} == {"warn"}
    assert all("no data folder was given" in check.found for check in sets)
    assert all(check.remedy for check in sets)


def test_weights_that_are_there_and_not(tmp_path: Path, monkeypatch) -> None:
    from utopia.features.weights import card

    monkeypatch.chdir(REPOSITORY)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / card("googlenet_imagenet").file).write_bytes(b"x")
    checks = {check.check: check for check in doctor.data(load({"study": "paper", "data": str(tmp_path)}))}
    assert checks["weights googlenet"].state == "ok"
    assert checks["weights vggish"].state == "warn"
    assert card("vggish_audioset").file in checks["weights vggish"].found


def test_words_for_people() -> None:
    checks = [doctor.Check("a", "ok", "fine"), doctor.Check("longer", "fail", "two\nlines", "do this")]
    assert doctor.in_words(checks) == [
        "ok    a       fine",
        "fail  longer  two",
        "              lines",
        "              -> do this",
        "1 ok, 0 warnings, 1 failures",
    ]
