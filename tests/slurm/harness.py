"""A small study in a copy of the checkout, run here or on SLURM, and what is asked about it afterwards."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from checkout import copy_tracked, environment, made_once

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
ACCOUNTING = ("sacct", "sacctmgr", "sshare", "sreport")
"""The programs that need a cluster's accounting, and that a machine without it may not have."""
ONLY_TABLE = ("--", "results/miniature/tables/drill.csv")
"""What is asked for where the audit and the page, which other tests read, would only take time."""
_PATIENCE = 1800.0
_OFTEN = """

# As long as no job has ended, the plugin asks ten seconds later each time; a test would do little but wait.
from asyncio import sleep
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

RemoteExecutor.sleep = lambda executor: sleep(1.0)
"""


@dataclass
class Run:
    """A run that was started: its process and what it says."""

    process: subprocess.Popen[str]
    log: Path

    def said(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """End Snakemake with SIGKILL, as a machine that is switched off does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> int:
        """Wait for its end; its exit status.

        Raises:
            AssertionError: it takes too long; it is then ended.
        """
        try:
            return self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(60)
            self.kill()
            raise AssertionError(f"no end after {_PATIENCE:.0f} s:\n{self.said()}") from None


@dataclass
class Study:
    """A copy of the checkout."""

    folder: Path
    settings: list[str] = field(default_factory=list)
    """More `--config` values."""
    configfile: str = "drill.yaml"
    variables: dict[str, str] = field(default_factory=dict)
    """More environment variables."""
    _runs: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """The copy's package comes before the installed one."""
        return environment(self.folder) | self.variables

    def hide(self, programs: Iterable[str]) -> None:
        """Let the study's commands, and the jobs that they submit, run where there are no such programs."""
        shown = self.folder / "programs"
        shown.mkdir()
        for folder in os.environ["PATH"].split(os.pathsep):
            for path in Path(folder).glob("*"):
                if path.name not in programs and not (shown / path.name).is_symlink():
                    (shown / path.name).symlink_to(path)
        self.variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{shown}"

    def ask_often(self) -> None:
        """Let the study's runs on SLURM ask each second which jobs have ended."""
        with (self.folder / "Snakefile").open("a", encoding="utf-8") as file:
            file.write(_OFTEN)

    @property
    def results(self) -> Path:
        """The study's results."""
        return self.folder / "results" / "miniature"

    @property
    def utopia(self) -> list[str]:
        """The `utopia` command of the copy."""
        return [sys.executable, "-m", "utopia.cli.main"]

    def start(self, *words: str, options: tuple[str, ...] = ()) -> Run:
        """Start a `utopia` command; `options` are for Snakemake."""
        after = [] if words[0] == "resume" else ["--", *self._configured, *options]
        return self._start([*self.utopia, *words, *after])

    @property
    def _configured(self) -> list[str]:
        values = ["--config", *self.settings] if self.settings else []
        return ["--configfile", self.configfile, *values]

    def _start(self, command: list[str]) -> Run:
        self._runs += 1
        log = self.folder / f"run-{self._runs}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=file, stderr=file, stdin=subprocess.DEVNULL,
                start_new_session=True, text=True,
            )  # fmt: skip
        return Run(process, log)

    def on_slurm(self, *options: str) -> Run:
        """Start the study on SLURM."""
        return self.start("run", "--profile", "slurm", options=options)

    def here(self, *options: str, cores: int = 2) -> Run:
        """Start the study on this machine, by plain Snakemake: a process less."""
        return self._start([sys.executable, "-m", "snakemake", "--cores", str(cores), *self._configured, *options])

    def status(self) -> dict[str, Any]:
        """What `utopia status --json` says."""
        said = subprocess.run(
            [*self.utopia, "status", "--json"], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        return json.loads(said.stdout)

    def tables(self) -> dict[str, str]:
        """SHA-256 of every table and of the metrics behind them."""
        paths = sorted([*self.results.glob("tables/*.csv"), *self.results.glob("runs/*/metrics.csv")])
        return {str(path.relative_to(self.results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}

    def jobs(self, name: str = "") -> list[tuple[str, str, str]]:
        """(id, state, rule) of the SLURM jobs that this copy has submitted, by the accounting; none without it."""
        said = subprocess.run(
            ["sacct", "-X", "-n", "-P", "--format=JobIDRaw,State,Comment,WorkDir", "--starttime=now-1days"],
            capture_output=True, text=True,
        ).stdout  # fmt: skip
        rows = [line.split("|") for line in said.splitlines()]
        return [(row[0], row[1].split()[0], row[2]) for row in rows if row[3] == str(self.folder) and name in row[2]]

    def completed_twice(self, datasets: int = 1) -> list[str]:
        """The jobs that were completed more than once; what prepares a data set has one name for all data sets."""
        count = Counter(rule for _, state, rule in self.jobs() if state == "COMPLETED")
        return [rule for rule, times in count.items() if times > (datasets if "_prepare_" in rule else 1)]

    def until(self, what: str, is_so: Callable[[], Any], run: Run) -> Any:
        """Wait until something is so while a run goes on, and give it.

        Raises:
            AssertionError: the run has ended before, or it takes too long.
        """
        stop = time.monotonic() + _PATIENCE
        while not (found := is_so()):
            assert run.process.poll() is None, f"the run ended before {what}:\n{run.said()}"
            assert time.monotonic() < stop, f"no {what} for {_PATIENCE:.0f} s:\n{run.said()}"
            time.sleep(0.3)
        return found

    def script_of(self, rule: str) -> int | None:
        """The process id of a job's script, below this copy, if one is at work."""
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
                there = (path / "cwd").readlink() == self.folder
                if there and any(word.endswith(f".{rule}.py") for word in words) and words[0].endswith("python"):
                    return int(path.name)
        return None

    def running(self, name: str) -> str | None:
        """The id of a SLURM job of this copy that is running."""
        said = subprocess.run(
            ["squeue", "-h", "-t", "R", "--format=%i|%k|%Z"], capture_output=True, text=True
        ).stdout  # fmt: skip
        rows = [line.split("|") for line in said.splitlines() if line.count("|") == 2]
        return next((row[0] for row in rows if name in row[1] and row[2] == str(self.folder)), None)


def copy_checkout(folder: Path, name: str = "drill") -> Study:
    """A copy of what git tracks (and does not ignore), with one of the small studies in it."""
    copy_tracked(REPOSITORY, folder)
    for table in (HERE / "tables").glob("*.yaml"):
        shutil.copy2(table, folder / "workflow" / "resources" / "tables" / table.name)
    shutil.copy2(HERE / "studies" / f"{name}.yaml", folder / f"{name}.yaml")
    return Study(folder.resolve(), configfile=f"{name}.yaml")


def made_here(folder: Path, name: str = "drill", *options: str) -> Study:
    """A small study, made on this machine from nothing on two cores."""
    study = copy_checkout(folder, name)
    run = study.here(*options)
    assert run.end() == 0, run.said()
    return study


def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The small study that others are held against, made once for all processes that test side by side."""

    def make(folder: Path) -> None:
        made_here(folder, "drill", *ONLY_TABLE)

    return Study(made_once(tmp_path_factory, "an undisturbed study", make).resolve())


def copy_prepared(source: Study, folder: Path, *, features: bool = True) -> Study:
    """A copy of a finished study in which training and what follows it is still to be done; or even its features."""
    shutil.copytree(source.folder, folder, symlinks=True)
    study = Study(folder.resolve(), list(source.settings), source.configfile)
    for name in ("runs", "tables", "audit", "logs/train", *(() if features else ("features",))):
        shutil.rmtree(study.results / name)
    (study.results / ".run.lock").unlink(missing_ok=True)
    return study


def causes(study: Study) -> str:
    """What `utopia status` says has failed."""
    return "; ".join(cause["cause"] for cause in study.status()["failed"])
