"""The whole catalogue on the smallest data of every kind, in a copy of the checkout: what tests end to end run."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkout import copy_tracked, environment

CONFIG = "tiny.yaml"
TINY = """\
repeats: 2
engine: {strategy: sequential}  # the same to the bit whatever else is in a pack; the miniature stacks
generated:
  seconds: 20
  seconds_of: {eev: 20, pmemo: 8, tvsum: 20}
  items: {eev: 7, liris: 6, planted_effects: 9, planted_reactions: 6, pmemo: 6, summe: 6, tvsum: 6}
datasets: {liris: {shard: 2}, summe: {shard: 3}}
features: {googlenet: {options: {size: 64}}}
models:
  et: {training: {epochs: 3}}
  pgl_sum: {training: {epochs: 3, selection: last}}
  rmn: {training: {epochs: 2}}
  bi_gru: {training: {epochs: 4, validate_every: 2, whole_epochs: 2}}
"""


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout with its own results."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The copy's package comes before the installed one."""
        return environment(self.folder)

    def snakemake(self, *arguments: str, check: bool = True, tiny: bool = True) -> str:
        """Run Snakemake on the tiny study; returns what it said."""
        extra = ["--configfile", CONFIG] if tiny else []
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *extra, *arguments]
        result = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900
        )
        said = result.stdout + result.stderr
        if check and result.returncode != 0:
            pytest.fail(f"snakemake {' '.join(arguments)} ended with {result.returncode}:\n{said}")
        return said

    def utopia(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `utopia` command of the copy."""
        command = [sys.executable, "-m", "utopia.cli.main", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=900
        )

    @property
    def results(self) -> Path:
        """The miniature's results."""
        return self.folder / "results" / "miniature"

    def tables(self) -> dict[str, bytes]:
        """The bytes of every table."""
        return {path.name: path.read_bytes() for path in sorted((self.results / "tables").glob("*.csv"))}


def copy_checkout(repository: Path, folder: Path) -> Checkout:
    """Copy what git tracks (and what it does not ignore)."""
    copy_tracked(repository, folder)
    (folder / CONFIG).write_text(TINY, encoding="utf-8")
    return Checkout(folder)
