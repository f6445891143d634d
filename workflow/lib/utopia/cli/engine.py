"""How Snakemake is called: as a program beside this Python, its arguments as a list, never through a shell."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from utopia.config import yaml_file
from utopia.errors import UtopiaError

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
        return dict(sorted(Counter(kind for found in kinds for kind in found).items()))


def executable() -> str:
    """The Snakemake program of this environment.

    Raises:
        UtopiaError: it is not there.
    """
    path = Path(sys.executable).parent / "snakemake"
    if not path.is_file():
        raise UtopiaError("Snakemake is not installed beside this Python", where=path, remedy="run: make setup")
    return str(path)


def command(settings: Mapping[str, str], *more: str, extra: Sequence[str] = ()) -> list[str]:
    """The command line of Snakemake.

    Args:
        settings: values for `--config`.
        more: our own options.
        extra: options of the user; the values of a `--config` among them are joined to ours, because Snakemake heeds
            the last one only.
    """
    values, rest = _take_config(extra)
    values = [*(f"{name}={quoted(value)}" for name, value in settings.items()), *values]
    # An option must follow: `--config` takes every word up to the next one, targets too.
    return [executable(), *(["--config", *values] if values else []), *more, *rest]


def quoted(text: str) -> str:
    """Text as a value of `--config`, which Snakemake reads as YAML after taking quotes off both ends.

    Quotes make any text a YAML string, `12` and `a: b` too; blanks around them guard them.
    """
    doubled = text.replace("'", "''")
    return f" '{doubled}' "


def _take_config(extra: Sequence[str]) -> tuple[list[str], list[str]]:
    values: list[str] = []
    rest: list[str] = []
    taking = False
    for word in extra:
        if word in ("--config", "-C"):
            taking = True
        elif word.startswith("--config="):
            values.append(word.removeprefix("--config="))
        elif taking and not word.startswith("-") and "=" in word:
            values.append(word)
        else:
            taking = False
            rest.append(word)
    return values, rest


def dry_run(settings: Mapping[str, str], repository: Path) -> list[RuleJobs]:
    """The jobs that a run would do, by rule in the order of Snakemake's own table; the rule `all` is left out.

    Raises:
        UtopiaError: Snakemake refuses the workflow, in its own words.
    """
    with tempfile.TemporaryDirectory() as folder:
        # The default profile without its logger: that one shows a summary of its own.
        profile = yaml_file.read(repository / PROFILE).data if (repository / PROFILE).is_file() else {}
        profile = {key: value for key, value in profile.items() if key not in ("logger", "quiet")}
        Path(folder, "config.yaml").write_text(yaml.safe_dump({"cores": "all"} | profile))
        options = ("--dry-run", "--nocolor", "--workflow-profile", folder)
        done = subprocess.run(
            command(settings, *options), cwd=repository, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise UtopiaError("Snakemake cannot plan the run:\n" + "\n".join(f"    {line}" for line in said[-12:]))
    return parse_dry_run(done.stdout + done.stderr)


def parse_dry_run(text: str) -> list[RuleJobs]:
    """Read what `snakemake --dry-run` prints: the table of jobs, and the reason of each job.

    Raises:
        UtopiaError: the text is neither that nor the message that nothing is to be done.
    """
    table = re.search(r"^Job stats:\njob +count\n-+ +-+\n((?:\S+ +\d+\n)+)", text, re.MULTILINE)
    if table is None:
        if "Nothing to be done" in text:
            return []
        raise UtopiaError(
            "cannot read Snakemake's dry run: it printed no table of jobs",
            why="the number of jobs cannot be told",
            remedy="see what it prints: snakemake --dry-run --workflow-profile none --cores all",
        )
    counts = {rule: int(count) for rule, count in (line.split() for line in table[1].splitlines())}
    total = counts.pop("total")
    if sum(counts.values()) != total:
        raise UtopiaError(f"cannot read Snakemake's dry run: its table adds up to {sum(counts.values())}, not {total}")
    jobs = {rule: RuleJobs(rule, count) for rule, count in counts.items() if rule != "all"}
    rule = ""
    for line in text.splitlines():
        if start := re.match(r"(?:local)?(?:rule|checkpoint) (\w+):$", line):
            rule = start[1]
        elif (why := re.match(r"    reason: (.+)$", line)) and rule in jobs:
            jobs[rule].reasons.append(why[1])
    return list(jobs.values())
