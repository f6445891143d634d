"""Copies of the checkout for tests end to end: with the whole miniature, or to make the smallest data of every kind."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import warm
from checkout import copy_tracked, environment

CONFIG = "tiny.yaml"
SECOND_RUN = "second run.txt"
"""What Snakemake said in a checkout with the whole miniature, where it had nothing to do; a test reads it."""
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
    configfile: str = CONFIG
    """What Snakemake is given; none for the miniature as it is."""

    @property
    def environment(self) -> dict[str, str]:
        """The copy's package comes before the installed one."""
        return environment(self.folder)

    def snakemake(self, *arguments: str, check: bool = True, tiny: bool = True) -> str:
        """Run Snakemake on the study; returns what it said."""
        extra = ["--configfile", self.configfile] if tiny and self.configfile else []
        result = warm.run(
            "snakemake", "--cores", "2", *extra, *arguments, cwd=self.folder, env=self.environment, timeout=1800
        )
        said = result.stdout + result.stderr
        if check and result.returncode != 0:
            pytest.fail(f"snakemake {' '.join(arguments)} ended with {result.returncode}:\n{said}")
        return said

    def utopia(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the `utopia` command of the copy."""
        return warm.run("utopia.cli.main", *arguments, cwd=self.folder, env=self.environment)

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


def give_trained(source: Checkout, checkout: Checkout, table: str) -> None:
    """Give a checkout what was done for a table of a finished study, up to the trained replicas of its runs."""
    with (source.results / "tables" / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        runs = {run for row in csv.DictReader(file) for run in row["runs"].split()}
    names = [source.folder / ".snakemake" / "metadata"]
    names += (source.results / "runs" / run / "replicas" for run in runs)
    for dataset in {run.split(".")[0] for run in runs}:
        names += (source.results / "inputs").glob(f"{dataset}.json*")
        names += (source.results / "inputs" / "raw").glob(f"{dataset}*")
        names += (source.results / folder / dataset for folder in ("labels", "features"))
        for index in (source.results / "features" / dataset).glob("shard-????.json"):
            for features in json.loads(index.read_text(encoding="utf-8"))["items"].values():
                names += (index.parents[1] / entry["file"] for entry in features.values() if "file" in entry)
    for path in names:
        target = checkout.folder / path.relative_to(source.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(path, target) if path.is_dir() else shutil.copy2(path, target)


def make_miniature(repository: Path, folder: Path) -> None:
    """A copy of the checkout with the whole miniature in it: made here, or copied from `$UTOPIA_MINIATURE`.

    That is the results folder of a checkout of the same code, where `.ci/run` has made it before.
    """
    copy_tracked(repository, folder)
    checkout = Checkout(folder, configfile="")
    if given := os.environ.get("UTOPIA_MINIATURE"):
        shutil.copytree(given, checkout.results, symlinks=True)
        metadata = Path(".snakemake") / "metadata"
        shutil.copytree(Path(given).parents[1] / metadata, folder / metadata)
    else:
        checkout.snakemake()
    said = checkout.snakemake()
    assert not given or "nothing to do" in said, f"$UTOPIA_MINIATURE was not made by this code:\n{said}"
    (folder / SECOND_RUN).write_text(said, encoding="utf-8")
