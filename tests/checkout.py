"""A copy of the checkout, to run, edit and damage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


def copy_tracked(repository: Path, folder: Path) -> None:
    """Copy what git tracks (and what it does not ignore)."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (repository / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, target)


def environment(folder: Path) -> dict[str, str]:
    """What commands in a copy are given: its package comes before the installed one."""
    return {
        **os.environ,
        "PYTHONPATH": str(folder / "workflow" / "lib"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
