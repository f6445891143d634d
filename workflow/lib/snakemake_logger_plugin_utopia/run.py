"""What is known about a run of the workflow: its jobs, how far it is and how long the rest will take."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from utopia.errors import UtopiaError
from utopia.plan.jobs import family
from utopia.provenance import cluster, failures
from utopia.provenance.failures import Failure

_CLOCK_SECONDS = 0.02  # by which a file system's clock may be behind
_PRIOR = 5.0
"""Seconds of work that what was expected counts for, beside what is seen."""
_HALF_LIFE = 180.0
"""Seconds after which what a job has told of the machine's speed counts half."""
_SETTLED = 30.0
"""Seconds after which the jobs that have run at once tell how many will."""
TARGET = "all"
"""The rule that only asks for the others' outputs."""


@dataclass
class Expectation:
    """What is expected of a run before it begins."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Of a job by rule, as the plan prices it."""
    cores: int = 0
    """Jobs that can run at once; 0: not known."""


EXPECTED = Expectation()
"""Of this process's run: the Snakefile, which runs in this process too, fills it."""


@dataclass
class JobState:
    """A job that has started."""

    jobid: int
    rule: str
    wildcards: dict[str, str]
    outputs: list[str]
    log: str | None
    started: float
    """Seconds since the epoch."""
    seconds: float | None = None
    """How long it took; None while it runs."""
    stamps: dict[str, int] = field(default_factory=dict)
    """Times of its log and failure file when it started: what was there before is not about this start."""

    def has_written(self, path: str) -> bool:
        """Whether a file is there and is not from before the job started."""
        time_ns = _time(path)
        return time_ns > 0 and (time_ns != self.stamps.get(path, 0) or time_ns / 1e9 >= self.started - _CLOCK_SECONDS)


class RunState:
    """The state of a run, brought up to date by the events that Snakemake logs."""

    def __init__(self) -> None:
        self.started = time.time()
        self.total = 0
        self.planned: dict[str, int] = {}
        self.running: dict[int, JobState] = {}
        self.finished: list[JobState] = []
        self.failed: dict[int, Failure] = {}
        self.former_seconds: dict[str, float] = {}
        """Mean seconds by rule in an earlier run: what is known best before the first job of a rule has ended."""
        self.expected = EXPECTED
        self.stopped_by = ""
        """Who ended it before its end: `you` (Ctrl-C) or `SIGTERM`; empty where nobody did."""
        self.slurm = ""
        """The name of its jobs on SLURM; empty where it has none."""
        self._said: list[str] = []
        self._targets = 0
        self._group_logs: dict[int, list[str]] = {}
        self._innocent: set[int] = set()
        self._retried: dict[int, Failure] = {}

    def plan(self, stats: Mapping[str, Any]) -> None:
        """Take over the number of jobs by rule. The target rule, which makes nothing, is not counted."""
        self.planned = {rule: int(count) for rule, count in stats.items() if rule not in ("total", TARGET)}
        self.total = sum(self.planned.values())
        self._targets = int(stats.get(TARGET, 0))

    def start(self, event: Mapping[str, Any]) -> JobState:
        """A job starts (again)."""
        logs = [str(path) for path in event.get("log") or ()]
        job = JobState(
            jobid=int(event["jobid"]),
            rule=str(event["rule_name"]),
            wildcards={str(name): str(value) for name, value in dict(event.get("wildcards") or {}).items()},
            outputs=[_plain(path) for path in event.get("output") or ()],
            log=_plain(logs[0]) if logs else None,
            started=float(event.get("created") or time.time()),
        )
        if job.log:
            job.stamps = {path: _time(path) for path in (job.log, f"{job.log}{failures.SUFFIX}")}
        self.running[job.jobid] = job
        self.failed.pop(job.jobid, None)
        return job

    def finish(self, jobid: int) -> JobState | None:
        """A job has succeeded."""
        job = self.running.pop(jobid, None)
        if job is not None and job.rule != TARGET:
            job.seconds = time.time() - job.started
            self.finished.append(job)
        return job

    @property
    def done(self) -> int:
        """Jobs that have succeeded."""
        return len(self.finished)

    def progress(self, total: int) -> None:
        """Take over Snakemake's count of all jobs, which checkpoints change."""
        self.total = total - self._targets

    def hear(self, text: str) -> None:
        """Keep what Snakemake says about an exception until it says which job failed."""
        self._said.append(text)

    def fail_group(self, event: Mapping[str, Any]) -> None:
        """A submission with several jobs has failed: each of them is told of next, without the cluster's log."""
        logs = [str(log) for log in event.get("aux_logs") or () if log]
        members = [int(job["jobid"]) for job in event.get("job_error_info") or ()]
        guilty = {jobid for jobid in members if jobid in self.running and self._own(self.running[jobid])}
        for jobid in members:
            self._group_logs[jobid] = logs
        if guilty:
            self._innocent |= {*members} - guilty

    def fail(self, event: Mapping[str, Any]) -> Failure:
        """A job has failed."""
        jobid = int(event["jobid"])
        job = self.running.pop(jobid, None) or self.start(event)
        self.running.pop(jobid, None)
        group = self._group_logs.pop(jobid, [])
        said = str(event.get("rule_msg") or "") or (self._said.pop(0) if self._said else "")
        failure = self._failure(job, [*(event.get("log") or ()), *group], said)
        if self.stopped_by and self._own(job) is None:
            # it was ended while it began, before it could say so itself
            failure = replace(failure, what="ended with the run", message="ended with the run", status="interrupted")
        self.failed[jobid] = failure
        return failure

    def fail_without_event(self, text: str) -> Failure | None:
        """A failure that Snakemake tells only in words, such as an output that a job has not made."""
        match = re.search(r"^Job (\d+)\b", text, re.MULTILINE)
        job = self.running.pop(int(match[1]), None) if match else None
        if job is None:
            return None
        failure = failures.silent(job.rule, job.wildcards, None, job.outputs, text)
        self.failed[job.jobid] = Failure(**{**vars(failure), "log": job.log})
        return self.failed[job.jobid]

    def retry(self, jobid: int) -> Failure | None:
        """A job that failed will be tried again: it has not failed yet."""
        failure = self.failed.pop(jobid, None)
        if failure is not None:
            self._retried[jobid] = failure
        return failure

    def finish_all(self) -> None:
        """The run has succeeded: what still counts as running has ended without being announced (`--quiet`)."""
        for jobid in list(self.running):
            self.finish(jobid)

    def unclaimed(self) -> list[str]:
        """What Snakemake said about exceptions of no job in particular."""
        return self._said

    def _own(self, job: JobState) -> Failure | None:
        """What a job has said of its own end since it started."""
        record = f"{job.log}{failures.SUFFIX}"
        if job.log and job.has_written(record):
            with suppress(UtopiaError):  # damaged: the log tells more
                return failures.read(record)
        return None

    def _failure(self, job: JobState, logs: list[str], said: str) -> Failure:
        own = self._own(job)
        if own is not None and own.status == "failed":
            return own
        log = next((log for log in map(_plain, logs) if job.has_written(log)), None)
        ended = cluster.cause(said, [_plain(each) for each in logs if each != job.log])
        former = self._retried.get(job.jobid)
        if ended is not None and ended.refused and former is not None:
            return replace(former, why=f"and another attempt, for which more is asked for, was refused: {ended.what}")
        if ended is None and own is not None:
            return own
        failure = failures.silent(job.rule, job.wildcards, log, job.outputs, said)
        if job.jobid in self._innocent:
            self._innocent.discard(job.jobid)
            return replace(failure, what="ended with its group, in which another job failed", status="interrupted")
        if ended is None:
            return failure
        remedy = ended.remedy.replace("RULE", job.rule)
        what = ended.what + failures.at_work(log)
        return replace(failure, what=what, message=what, remedy=remedy)

    @property
    def elapsed(self) -> float:
        """Seconds since the run started."""
        return time.time() - self.started

    def seconds_by_rule(self) -> dict[str, float]:
        """Mean seconds of a job by rule, from this run where it has any, else from an earlier one."""
        return {**self.former_seconds, **self._means()}

    def _means(self) -> dict[str, float]:
        taken: dict[str, list[float]] = {}
        for job in self.finished:
            taken.setdefault(job.rule, []).append(job.seconds or 0.0)
        return {rule: sum(each) / len(each) for rule, each in taken.items()}

    def _known(self) -> dict[str, float]:
        return {**self.expected.seconds, **self.former_seconds}

    def _weights(self) -> dict[str, float]:
        """Seconds of a job of each planned rule, as far as they are known before it has run: by an earlier run, else by
        the plan's price; of a rule that neither knows, like the others."""
        known = self._known()
        named = [known[rule] for rule in self.planned if rule in known]
        typical = sum(named) / len(named) if named else 0.0
        return {rule: known.get(rule, typical) for rule in self.planned}

    def _estimates(self, now: float) -> dict[str, float]:
        """Seconds of a job of each planned rule: its own mean, else its weight times how much longer than their weights
        the jobs of its kind, or else all jobs, have taken so far. A job at work counts once it has overrun its weight.
        """
        means, weights, known = self._means(), self._weights(), self._known()
        seen = [(job.rule, job.seconds or 0.0, job.started + (job.seconds or 0.0)) for job in self.finished]
        seen += [
            (job.rule, now - job.started, now)
            for job in self.running.values()
            if now - job.started > known.get(job.rule, math.inf)
        ]
        # other load on the machine comes and goes: what ended lately tells more
        pairs = [
            (family(rule), taken * (weight := 0.5 ** ((now - ended) / _HALF_LIFE)), known[rule] * weight)
            for rule, taken, ended in seen
            if rule in known
        ]
        usual = _factor([pair[1:] for pair in pairs], 1.0)
        found = {}
        for rule in self.planned:
            same = [pair[1:] for pair in pairs if pair[0] == family(rule)]
            found[rule] = means[rule] if rule in means else weights[rule] * _factor(same, usual)
        if not any(weights.values()):
            typical = sum(means.values()) / len(means) if means else 0.0
            found = {rule: means.get(rule, typical) for rule in self.planned}
        return found

    def remaining_seconds(self) -> float | None:
        """An estimate of the time left: the work left by rule, over how many jobs have run at once so far.

        None while nothing is known: before the first job of all has ended, where no earlier run and no price tells.
        """
        if not self.total or not (self.finished or any(self._weights().values())):
            return None
        now = time.time()
        estimates = self._estimates(now)
        known = [*self.finished, *self.running.values()]
        busy = sum(job.seconds or now - job.started for job in known)
        span = now - min((job.started for job in known), default=now)
        settled = Counter([job.rule for job in self.finished] + [failure.rule for failure in self.failed.values()])
        left = 0.0
        longest = 0.0
        for rule, count in self.planned.items():
            left += max(0, count - settled[rule]) * estimates[rule]
        for job in self.running.values():
            mean = estimates.get(job.rule, 0.0)
            rest = max(mean - (now - job.started), 0.1 * mean)
            left -= mean - rest
            longest = max(longest, rest)
        at_once = max(1.0, busy / span if span > 0 else 1.0)
        if span < _SETTLED and self.expected.cores:  # too short to tell how many run at once
            at_once = max(at_once, float(min(self.expected.cores, self.total - self.done)))
        return max(longest, left / at_once, 0.0)


def _factor(pairs: Sequence[tuple[float, float]], before: float) -> float:
    """How much longer than expected jobs have taken, drawn towards `before` while little has been seen."""
    taken, expected = (sum(each) for each in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
    return (taken + _PRIOR * before) / (expected + _PRIOR)


def _plain(path: Any) -> str:
    """A path without what Snakemake adds for display: `x.csv (send to storage)`."""
    return re.sub(r" \((?:send to|retrieve from) storage\)$", "", str(path))


def _time(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0
