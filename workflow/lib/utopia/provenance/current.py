"""The jobs that today's configuration asks for, to compare with those that records describe.

What a job is given is in one place, `utopia.plan.rules`: the rules in workflow/rules ask there too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from utopia.config.load import REPOSITORY
from utopia.errors import shortened
from utopia.plan.jobs import BY_BATCH, PlannedJob, flat, starts_of_code
from utopia.plan.plan import Plan
from utopia.provenance.ledger import Record
from utopia.provenance.lineage import BY_RUN, Graph
from utopia.provenance.values import jsonable


class Current:
    """Today's jobs, by what they make.

    Args:
        plan: what today's configuration asks for, on today's data.
        graph: the lineage of what is stored.
    """

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self.plan, self.graph, self.portable = plan, graph, graph.ledger.portable
        self._settings: dict[int, dict[str, Any]] = {}

    @cached_property
    def makers(self) -> dict[str, PlannedJob]:
        """Today's job behind each file, by the file's path as records write it; upstream first."""
        return {self.portable.write(path): job for job in self.plan.jobs for path in job.made()}

    def jobs(self, record: Record) -> list[PlannedJob]:
        """Today's jobs that would make what a record's job has made."""
        planned = (self.makers.get(entry["path"]) for entry in record.outputs)
        return list({id(job): job for job in planned if job is not None}.values())

    def records(self, job: PlannedJob) -> list[Record]:
        """The records of the jobs that made what one of today's jobs would make; none where that was never made."""
        makers = (self.graph.makers.get(self.portable.write(path)) for path in job.made())
        return list({id(maker): maker for maker in makers if maker is not None}.values())

    def upstream(self, *paths: str) -> list[PlannedJob]:
        """Today's jobs that files would be made by, upstream first; none where the study does not ask for the files."""
        wanted, chosen = {*paths}, []
        for job in reversed(self.plan.jobs):
            if not wanted.isdisjoint(map(self.portable.write, job.made())):
                chosen.append(job)
                wanted.update(map(self.portable.write, job.read()))
        return chosen[::-1]

    def targets(self) -> list[str]:
        """What the study is asked for, as records write paths."""
        return [self.portable.write(path) for path in self.plan.targets()]

    def changes(self, record: Record) -> list[ChangedSetting]:
        """What differs between the parameters and inputs of a record's job and today's.

        Nothing where today's study has no job that makes any of the record's outputs.
        """
        return [change for job in self.jobs(record) for change in self.changes_of(job, record)]

    def changes_of(self, job: PlannedJob, record: Record) -> list[ChangedSetting]:
        """What differs between one of today's jobs and the one that a record describes."""
        key = (id(job), id(record))
        if key not in self._changes:
            then = without_code(record.facts["params"])
            changes = [*_changes(then, self.settings(job), job), *self._other_inputs(job, record)]
            # Other settings may bring other code with them; alone, it is a record or a rule that was edited.
            changes += [] if changes else self._other_code(job, record)
            self._changes[key] = list({(change.name, str(change)): change for change in changes}.values())
        return self._changes[key]

    @cached_property
    def _changes(self) -> dict[tuple[int, int], list[ChangedSetting]]:
        return {}

    def settings(self, job: PlannedJob) -> dict[str, Any]:
        """The parameters of one of today's jobs as records write them, without fingerprints of code."""
        if id(job) not in self._settings:
            given = self.plan.settings(job.rule, job.names)
            self._settings[id(job)] = self.portable.redact(jsonable(given))
        return self._settings[id(job)]

    def _other_code(self, job: PlannedJob, record: Record) -> Iterator[ChangedSetting]:
        """Where today's job would begin with another script or other modules than those that the record names.

        The code behind these is compared by `staleness.code_change`, which begins with what the record names.
        """
        modules, script = starts_of_code(self.plan, job.rule, job.names)
        then = {name: record.facts["code"].get(name, []) for name in ("roots", "files")}
        yield from differences({"code": then}, {"code": {"roots": sorted(modules), "files": [script]}})

    def _write(self, path: str) -> str:
        """A path as records write it; of a file of the checkout, the one inside it, wherever the checkout lies."""
        absolute = Path(os.path.normpath(Path.cwd() / path))
        inside = absolute.is_relative_to(REPOSITORY / "workflow")
        return absolute.relative_to(REPOSITORY).as_posix() if inside else self.portable.write(path)

    def _other_inputs(self, job: PlannedJob, record: Record) -> Iterator[ChangedSetting]:
        """Inputs that today's job would read in the place of those that the record names.

        A setting that is part of a file's name shows here only: the change is told of what the two files are made from.
        """
        for role, old, fresh in self._pairs(job, record):
            yield from self._replaced(role, old, fresh)

    def _pairs(self, job: PlannedJob, record: Record) -> Iterator[tuple[str, str, str]]:
        """(role, then, now) of inputs that differ; a role of one file per run names the run."""
        now = {role: list(map(self._write, flat({role: paths}))) for role, paths in job.inputs.items()}
        then = record.roles("inputs")
        if sorted(flat(now)) == sorted(flat(then)):
            return
        for role in sorted(now.keys() | then.keys()):
            before, after = then.get(role, []), now.get(role, [])
            if before == after:
                continue
            if len(before) == len(after):
                pairs = list(zip(before, after, strict=True))
            else:
                gone, new = ([path for path in a if path not in b] for a, b in ((before, after), (after, before)))
                pairs = list(zip_longest(gone, new, fillvalue=ABSENT))
            runs = [run["id"] for run in record.facts["params"].get("runs", []) if isinstance(run, Mapping)]
            one_by_one = role in BY_RUN and len(runs) == len(pairs)
            for number, (old, fresh) in enumerate(pairs):
                if old != fresh:
                    yield (f"runs[{runs[number]}].{role}" if one_by_one else role), old, fresh

    @cached_property
    def instead(self) -> dict[str, str]:
        """Stored file -> the file that today's study reads in its place."""
        jobs = ((record, job) for record in self.graph.ledger.records for job in self.jobs(record))
        pairs = (pair for record, job in jobs for pair in self._pairs(job, record))
        return {old: fresh for _, old, fresh in pairs if ABSENT not in (old, fresh)}

    @cached_property
    def former(self) -> dict[str, str]:
        """The other way round: a file of today's study -> the stored file whose place it takes."""
        return {fresh: old for old, fresh in self.instead.items()}

    def _replaced(self, role: str, old: str, fresh: str) -> Iterator[ChangedSetting]:
        changes = self.apart(old, fresh)
        if not changes:
            yield ChangedSetting(role, old, fresh)
        for change in changes:
            yield ChangedSetting(f"{role}.{change.name}", change.then, change.now)

    def apart(self, old: str, fresh: str) -> list[ChangedSetting]:
        """The settings that set apart a stored file and the one that takes its place; none where no setting does."""
        maker, job = self.graph.makers.get(old), self.makers.get(fresh)
        if maker is None or job is None or not (maker.rule == job.name or job.rule in BY_BATCH):
            return []
        return list(_changes(without_code(maker.facts["params"]), self.settings(job), job))

    def is_planned(self, record: Record) -> bool:
        """Whether today's study has this job."""
        return bool(self.jobs(record))


def _changes(then: dict[str, Any], now: dict[str, Any], job: PlannedJob) -> Iterator[ChangedSetting]:
    if job.rule not in BY_BATCH:
        yield from differences(then, now)
        return
    # Each run of a batch by itself: which runs share a job changes no number, although Snakemake would do it again.
    runs_then, runs_now = ({run["id"]: run for run in given.get("runs", [])} for given in (then, now))
    for run in sorted(runs_then.keys() & runs_now.keys()):
        yield from differences(runs_then[run], runs_now[run], f"runs[{run}]")
    if list(runs_then) != list(runs_now):
        yield ChangedSetting("batch", list(runs_then), list(runs_now))
    yield from differences(then.get("mode"), now.get("mode"), "mode")


def without_code(value: Any) -> Any:
    """A parameter without the fingerprints inside it: code is compared module by module."""
    if isinstance(value, Mapping):
        return {name: without_code(item) for name, item in value.items() if name != "code"}
    return [without_code(item) for item in value] if isinstance(value, list) else value


class ChangedSetting(NamedTuple):
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


def differences(then: Any, now: Any, name: str = "") -> Iterator[ChangedSetting]:
    """The leaves in which two JSON values differ."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        for key in sorted(then.keys() | now.keys()):
            inner = f"{name}.{key}" if name else str(key)
            yield from differences(then.get(key, ABSENT), now.get(key, ABSENT), inner)
    elif isinstance(then, list) and isinstance(now, list) and _have_ids(then) and _have_ids(now):
        ids = dict.fromkeys(item["id"] for item in (*then, *now))
        before, after = ({item["id"]: item for item in side} for side in (then, now))
        for name_of in ids:
            yield from differences(before.get(name_of, ABSENT), after.get(name_of, ABSENT), f"{name}[{name_of}]")
        if list(before) != list(after) and before.keys() == after.keys():
            yield ChangedSetting(name, list(before), list(after))
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (a, b) in enumerate(zip(then, now, strict=True)):
            yield from differences(a, b, f"{name}[{number}]")
    elif then != now:
        yield ChangedSetting(name, then, now)


def _have_ids(values: list[Any]) -> bool:
    return bool(values) and all(isinstance(value, Mapping) and "id" in value for value in values)


def _short(value: Any) -> str:
    return shortened(value if isinstance(value, str) else repr(value), 80)
