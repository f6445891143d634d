"""The jobs that today's configuration asks for, to compare with those that records describe.

What a job is given stands in one place, `utopia.outputs.rules`: the rules in workflow/rules ask there too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from utopia.outputs.jobs import BY_BATCH, Job
from utopia.outputs.plan import Plan
from utopia.provenance.ledger import Record
from utopia.provenance.paths import Portable
from utopia.provenance.values import jsonable


class Current:
    """Today's jobs, by what they make.

    Args:
        plan: what today's configuration asks for, on today's data.
        portable: how records write paths.
    """

    def __init__(self, plan: Plan, portable: Portable) -> None:
        self.plan, self.portable = plan, portable

    @cached_property
    def makers(self) -> dict[str, Job]:
        """Today's job behind each file, by the file's path as records write it; upstream first."""
        return {self.portable.write(path): job for job in self.plan.jobs for path in job.made()}

    def jobs(self, record: Record) -> list[Job]:
        """Today's jobs that would make what a record's job has made."""
        found = (self.makers.get(path) for path in declared(record, "outputs"))
        return list({id(job): job for job in found if job is not None}.values())

    def targets(self) -> list[str]:
        """What the study is asked for, as records write paths."""
        return [self.portable.write(path) for path in self.plan.targets()]

    def changes(self, record: Record) -> list[Change]:
        """What differs between a record's parameters and today's; nothing where today's study has no such job."""
        then = _without_code(record.facts["params"])
        found = (change for job in self.jobs(record) for change in _changes(then, self.settings(job), job))
        return list({str(change): change for change in found}.values())

    def settings(self, job: Job) -> dict[str, Any]:
        """The parameters of one of today's jobs as records write them, without fingerprints of code."""
        if id(job) not in self._settings:
            given = self.plan.settings(job.rule, job.names)
            self._settings[id(job)] = self.portable.redact(jsonable(given))
        return self._settings[id(job)]

    @cached_property
    def _settings(self) -> dict[int, dict[str, Any]]:
        return {}

    def is_planned(self, record: Record) -> bool:
        """Whether today's study has this job."""
        return bool(self.jobs(record))


def declared(record: Record, side: str) -> list[str]:
    """The paths that the rule of a record's job declares as `inputs` or `outputs`."""
    by_role = record.facts.get("roles", {}).get(side, {})
    return [path for value in by_role.values() for path in ([value] if isinstance(value, str) else value)]


def _changes(then: dict[str, Any], now: dict[str, Any], job: Job) -> Iterator[Change]:
    if job.rule not in BY_BATCH:
        yield from differences(then, now)
        return
    # Each run of a batch by itself: which runs share a job changes no number, although Snakemake would do it again.
    runs_then, runs_now = ({run["id"]: run for run in given.get("runs", [])} for given in (then, now))
    for run in sorted(runs_then.keys() & runs_now.keys()):
        yield from differences(runs_then[run], runs_now[run], f"runs[{run}]")
    if list(runs_then) != list(runs_now):
        yield Change("batch", list(runs_then), list(runs_now))
    yield from differences(then.get("way"), now.get("way"), "way")


def _without_code(value: Any) -> Any:
    """A parameter without the fingerprints inside it: code is compared module by module."""
    if isinstance(value, Mapping):
        return {name: _without_code(each) for name, each in value.items() if name != "code"}
    return [_without_code(each) for each in value] if isinstance(value, list) else value


class Change(NamedTuple):
    """A setting that differs; `ABSENT` stands where there is none."""

    name: str
    """Dotted name."""
    then: Any
    now: Any

    @property
    def run(self) -> str:
        """The run that alone it concerns; empty where there is none."""
        match = re.match(r"runs\[([^\]]+)\]\.", self.name)
        return match[1] if match else ""

    def __str__(self) -> str:
        return f"{self.name}: {_short(self.then)} -> {_short(self.now)}"


ABSENT = "(absent)"


def differences(then: Any, now: Any, name: str = "") -> Iterator[Change]:
    """The leaves in which two JSON values differ."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in sorted(then.keys() | now.keys()):
            inner = f"{name}.{key}" if name else str(key)
            yield from differences(then.get(key, ABSENT), now.get(key, ABSENT), inner)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (a, b) in enumerate(zip(then, now, strict=True)):
            label = next((each["id"] for each in (a, b) if isinstance(each, Mapping) and "id" in each), number)
            yield from differences(a, b, f"{name}[{label}]")
    elif then != now:
        yield Change(name, then, now)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
