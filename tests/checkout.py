"""A copy of the checkout, to run, edit and damage."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def copy_tracked(repository: Path, folder: Path) -> None:
    """Copy what git tracks (and what it does not ignore), without the results that it keeps: a copy has its own.

    What Python compiled of the package, and what fingerprints parsed of it, come along: a copy would do so again.
    """
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if name and not name.startswith("results/") and (repository / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, target)
    for compiled in (repository / "workflow" / "lib").rglob("__pycache__/*.*"):
        target = folder / compiled.relative_to(repository)
        target.parent.mkdir(exist_ok=True)
        shutil.copy2(compiled, target)


def environment(folder: Path) -> dict[str, str]:
    """What commands in a copy are given: its package comes before the installed one, and its bytecode is kept."""
    return {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PYTHONPATH": str(folder / "workflow" / "lib"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` fills once for all processes that test side by side: who asks first makes it."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    made = folder / ".made"
    with folder.with_name(f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            made.touch()
    return folder
