"""How Snakemake is called: as a program beside this Python, its arguments as a list, never through a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from utopia.config import yaml_file
from utopia.errors import UtopiaError, counted

PROFILE = Path("profiles") / "default" / "config.yaml"


@dataclass
class RuleJobs:
    """The jobs of one rule that a run would do."""

    rule: str
    count: int
    reasons: list[str] = field(default_factory=list)
    """Why, in Snakemake's words, for each job."""

    def kinds(self) -> dict[str, int]:
        """How many of the jobs there are for each kind of reason (names of files left out); a job may have several."""
        kinds = ({part.split(":")[0].strip().lower() for part in text.split("; ")} for text in self.reasons)
        return dict(sorted(Counter(kind for kinds_of_job in kinds for kind in kinds_of_job).items()))


def executable() -> str:
    """The Snakemake program of this environment.

    Raises:
        UtopiaError: it is not there.
    """
    path = Path(sys.executable).parent / "snakemake"
    if not path.is_file():
        raise UtopiaError("Snakemake is not installed beside this Python", where=path, remedy="run: make setup")
    return str(path)


def command(settings: Mapping[str, Any], *more: str, extra: Sequence[str] = ()) -> list[str]:
    """The command line of Snakemake.

    Args:
        settings: values for `--config`: texts, and lists of names.
        more: our own options.
        extra: options of the user; the values of a `--config` among them are joined to ours, because Snakemake heeds
            the last one only.
    """
    more_values, rest = _take_config(extra)
    every = [*values(settings), *more_values]
    # An option must follow: `--config` takes every word up to the next one, targets too.
    return [executable(), *(["--config", *every] if every else []), *more, *rest]


def values(settings: Mapping[str, Any]) -> list[str]:
    """Settings as the words that follow `--config`."""
    return [f"{name}={_written(value)}" for name, value in settings.items()]


def _written(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else json.dumps(value)


def quoted(text: str) -> str:
    """Text as a value of `--config`, which Snakemake reads as YAML after taking quotes off both ends.

    Quotes make any text a YAML string, `12` and `a: b` too; blanks around them guard them.
    """
    doubled = text.replace("'", "''")
    return f" '{doubled}' "


def _take_config(extra: Sequence[str]) -> tuple[list[str], list[str]]:
    settings: list[str] = []
    rest: list[str] = []
    taking = False
    for word in extra:
        if word in ("--config", "-C"):
            taking = True
        elif word.startswith("--config="):
            settings.append(word.removeprefix("--config="))
        elif taking and not word.startswith("-") and "=" in word:
            settings.append(word)
        else:
            taking = False
            rest.append(word)
    return settings, rest


def dry_run(settings: Mapping[str, Any], repository: Path, files: Sequence[str] = ()) -> list[RuleJobs]:
    """The jobs that a run would do, by rule; the rule `all` is left out.

    They are what Snakemake tells the logger plugin, which writes them down: nothing is read from printed text.

    Args:
        settings: values for `--config`.
        repository: where the Snakefile is.
        files: configuration files for `--configfile`.

    Raises:
        UtopiaError: Snakemake refuses the workflow, in its own words; or it does not tell why each job would run.
    """
    from snakemake_logger_plugin_utopia.summary import PLANNED_JOBS

    with tempfile.TemporaryDirectory() as folder:
        profile = yaml_file.read(repository / PROFILE).data if (repository / PROFILE).is_file() else {}
        profile = {key: value for key, value in (profile or {}).items() if key not in ("logger", "quiet")}
        Path(folder, "config.yaml").write_text(yaml.safe_dump({"cores": "all"} | profile))
        told = Path(folder, "jobs.json")
        options = ["--dry-run", "--nocolor", "--workflow-profile", folder, "--logger", "utopia"]
        options += ["--configfile", *files, "--"] if files else []
        done = subprocess.run(
            command(settings, *options),
            cwd=repository,
            env={**os.environ, PLANNED_JOBS: str(told)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode or not told.is_file():
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise UtopiaError("Snakemake cannot plan the run:\n" + "\n".join(f"    {line}" for line in said[-12:]))
        return planned_jobs(json.loads(told.read_text(encoding="utf-8")))


def planned_jobs(told: Mapping[str, Any]) -> list[RuleJobs]:
    """The jobs by rule, of what the logger plugin has written: `{counts: {rule: n}, reasons: {rule: [text]}}`.

    Raises:
        UtopiaError: a job has no reason.
    """
    jobs = [RuleJobs(rule, count, told["reasons"].get(rule, [])) for rule, count in told["counts"].items()]
    for job in jobs:
        if len(job.reasons) != job.count or not all(job.reasons):
            raise UtopiaError(
                f"Snakemake would run {counted(job.count, 'job')} of"
                f" {job.rule} and gave {counted(len(job.reasons), 'reason')}",
                why="the plan would not say why a job runs",
                remedy="see what it says itself: snakemake --dry-run",
            )
    return jobs
