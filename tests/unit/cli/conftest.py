"""A tiny repository with a workflow of its own, run by the real Snakemake through our own code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

_SNAKEFILE = """\
rule all:
    input:
        "results/tiny/end.txt",


rule first:
    output:
        "results/tiny/first.txt",
    params:
        data=repr(config.get("data")),
        wait=config.get("wait", 0),
    shell:
        "sleep {params.wait}; printf '%s' {params.data:q} > {output}"


rule second:
    input:
        "results/tiny/first.txt",
    output:
        "results/tiny/{name}.txt",
    shell:
        "test {config[fail]} = no && cp {input} {output}"
"""

_PROGRAM = """\
import sys
from pathlib import Path
from utopia.cli.run import execute
from utopia.errors import UtopiaError
repository, data, *more = sys.argv[1:]
settings = {"data": data} if data else {}
folder = Path(repository, "results", "tiny")
try:
    execute(Path(repository), folder, settings, ["--cores", "1", *(["--dry-run"] if "--dry-run" in more else [])],
            [word for word in more if word != "--dry-run"])
except UtopiaError as error:
    sys.exit(str(error))
"""


class Tiny:
    """The tiny repository; its folder's name holds a blank and a quote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results" / "tiny"
        folder.mkdir()
        (folder / "Snakefile").write_text('config.setdefault("fail", "no")\n\n\n' + _SNAKEFILE)

    def _words(self, data: str, more: Sequence[str]) -> list[str]:
        return [sys.executable, "-c", _PROGRAM, str(self.folder), data, *more]

    def run(self, *more: str, data: str = "") -> subprocess.CompletedProcess[str]:
        """Run it as `utopia run -- MORE` would."""
        return subprocess.run(self._words(data, more), capture_output=True, text=True, timeout=120)

    def start(self, *more: str, data: str = "") -> subprocess.Popen[str]:
        """Start it, in a process group of its own, as a terminal would."""
        return subprocess.Popen(
            self._words(data, more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    """The tiny repository."""
    return Tiny(tmp_path / "it's a repository")
