"""`envs/setup.sh`: what it says where it cannot work, and that it does nothing where nothing has changed.

A whole set-up is what `.ci/run` begins with.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENVS = Path(__file__).resolve().parents[2] / "envs"
INPUTS = ("envs/bootstrap.txt", "envs/requirements.txt", "pyproject.toml", "envs/setup.sh")
NAMES = ("python3.13", "python3.12", "python3.11", "python3")
OLD = '#!/bin/sh\ncase "$*" in --version) echo "Python 3.9.2";; *) exit 1;; esac\n'
WITHOUT_VENV = f"""#!/bin/sh
case "$*" in
*ensurepip*) exit 1 ;;
*_base_executable*) echo "$0" ;;
*) exec "{sys.executable}" "$@" ;;
esac
"""


class Copy:
    """A repository with nothing but what a set-up reads; every Python in PATH is `python`."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder / "it's a copy"
        self.programs = folder / "bin"
        (self.folder / "envs").mkdir(parents=True)
        self.programs.mkdir()
        for name in INPUTS:
            shutil.copy(ENVS.parent / name, self.folder / name)
        for name in NAMES:
            self.put(name, python)

    def put(self, name: str, program: str) -> Path:
        path = self.programs / name
        path.write_text(program)
        path.chmod(0o755)
        return path

    def set_up(self, **variables: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.programs}{os.pathsep}{os.environ['PATH']}"
        words = ["bash", str(self.folder / "envs" / "setup.sh")]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHON"} | {"PATH": path} | variables
        return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)


def test_no_python_that_is_new_enough(tmp_path: Path) -> None:
    copy = Copy(tmp_path, OLD)
    done = copy.set_up()
    assert done.returncode == 1
    assert "no Python 3.11 or newer was found" in done.stderr
    assert "python3 is Python 3.9.2" in done.stderr
    assert "PYTHON=" in done.stderr
    assert not (copy.folder / ".venv").exists()


def test_a_python_that_is_named_must_be_there_and_new_enough(tmp_path: Path) -> None:
    copy = Copy(tmp_path, OLD)
    assert "PYTHON=no-such-python is not a program" in copy.set_up(PYTHON="no-such-python").stderr
    old = copy.put("mine", OLD)
    done = copy.set_up(PYTHON=str(old))
    assert done.returncode == 1
    assert "is Python 3.9.2, and Python 3.11 or newer is needed" in done.stderr


def test_a_python_without_venv(tmp_path: Path) -> None:
    copy = Copy(tmp_path, WITHOUT_VENV)
    done = copy.set_up()
    assert done.returncode == 1
    assert "cannot make virtual environments" in done.stderr
    assert "apt install python3-venv" in done.stderr
    assert "conda env create -f envs/environment.yaml" in done.stderr
    assert not (copy.folder / ".venv").exists()


@pytest.fixture
def finished(tmp_path: Path) -> Copy:
    """A copy whose set-up looks finished, and whose Python cannot make another."""
    copy = Copy(tmp_path, WITHOUT_VENV)
    (copy.folder / ".venv" / "bin").mkdir(parents=True)
    (copy.folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    hashes = [f"{hashlib.sha256((copy.folder / name).read_bytes()).hexdigest()}  {name}" for name in INPUTS]
    (copy.folder / ".venv" / ".complete").write_text("\n".join([str(copy.folder.resolve()), *hashes]) + "\n")
    return copy


def test_nothing_changed_nothing_done(finished: Copy) -> None:
    """Counted in the processor's time, which a busy machine does not stretch."""
    seconds = []
    for _ in range(5):
        start = os.times()
        done = finished.set_up()
        end = os.times()
        seconds.append(end.children_user + end.children_system - start.children_user - start.children_system)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert min(seconds) < 0.1


@pytest.mark.parametrize("change", [*INPUTS, "moved", "killed", "its Python is gone"])
def test_what_makes_a_set_up_begin_again(finished: Copy, change: str) -> None:
    if change == "moved":
        finished.folder = finished.folder.rename(finished.folder.with_name("moved"))
    elif change == "killed":
        (finished.folder / ".venv" / ".complete").unlink()
    elif change == "its Python is gone":
        (finished.folder / ".venv" / "bin" / "python").unlink()
    else:
        with (finished.folder / change).open("a") as file:
            file.write("# changed\n")
    done = finished.set_up()
    assert done.returncode == 1
    assert "cannot make virtual environments" in done.stderr, "it tried"


def test_locks_are_of_one_resolution() -> None:
    """Both ways to an environment read the same lock."""
    assert "-r requirements.txt" in (ENVS / "environment.yaml").read_text()
    recipe = (ENVS / "Containerfile").read_text()
    assert "envs/requirements.txt" in recipe
    for line in recipe.splitlines():
        if line.startswith("COPY"):
            assert all((ENVS.parent / name).exists() for name in line.split()[1:-1]), line


SPYING = f"""#!/bin/sh
case "$*" in
*"-m venv"*) env > "$0.seen"; exit 1 ;;
*_base_executable*) echo "$0" ;;
*) exec "{sys.executable}" "$@" ;;
esac
"""


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"HOME": "/proc", "TMPDIR": "/no/such/folder"}, "TMPDIR=/no/such/folder is no folder"),
        ({"HOME": "", "CDPATH": "/"}, ""),
        ({"HOME": "/no/such/folder", "LC_ALL": "C"}, ""),
    ],
)
def test_accounts_and_shells_that_are_not_like_ours(tmp_path: Path, variables: dict[str, str], said: str) -> None:
    """What pip and uv are started with: a cache and a folder for temporary files that can be written."""
    copy = Copy(tmp_path, SPYING)
    done = copy.set_up(**{"XDG_CACHE_HOME": "", "UV_CACHE_DIR": "", "PIP_CACHE_DIR": "", **variables})
    assert said in done.stderr
    seen = dict(
        line.split("=", 1) for line in (copy.programs / "python3.13.seen").read_text().splitlines() if "=" in line
    )
    own = copy.folder / ".venv" / ".set-up"
    for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR"):
        assert Path(seen[name]).is_relative_to(own), name
    assert "CDPATH" not in seen
    assert "TMPDIR" not in seen or Path(seen["TMPDIR"]).is_dir()
    assert seen["HOME"]


def test_the_environment_names_the_package_in_ascii() -> None:
    """Python reads this file in the locale's encoding, and ended under LC_ALL=C where a folder has an umlaut."""
    stamp = ENVS.parent / ".venv" / ".complete"
    if not stamp.is_file() or hashlib.sha256((ENVS / "setup.sh").read_bytes()).hexdigest() not in stamp.read_text():
        pytest.skip("the environment was not made by this set-up: make setup")
    (link,) = (ENVS.parent / ".venv").glob("lib/python*/site-packages/*utopia*.pth")
    assert not Path(link.read_text(encoding="ascii").strip()).is_absolute()
    assert (link.parent / link.read_text().strip() / "utopia" / "__init__.py").is_file()
