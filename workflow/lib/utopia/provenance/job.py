"""The record of a job: what it read, what it made, with which code, software and hardware, and how it ended.

Every script is

    with record(snakemake) as job:
        build_labels(...)

A job that succeeds leaves `<first output>.record.json`; one that fails leaves `<log>.failed.json` and no half-written
output.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import shlex
import shutil
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from utopia import files, tally
from utopia.errors import UtopiaError
from utopia.provenance import entries, environment, failures, watch
from utopia.provenance.capture import Capture, LogError, Terminated, captured, termination_raises
from utopia.provenance.code import JobCode
from utopia.provenance.paths import Portable, roots_of
from utopia.provenance.values import flat, jsonable, named

SCHEMA = 1
SUFFIX = ".record.json"


@contextmanager
def record(snakemake: Any) -> Iterator[RunningJob]:
    """Run the block as the job that `snakemake` describes, and record it.

    Everything that the block prints or logs goes to `snakemake.log[0]` where the rule has a log.

    Args:
        snakemake: the object that Snakemake gives to a script, or anything with the same attributes. Its `params` are
            kept in the record; two of them have a meaning here, and may be missing: `code` (what `fingerprint.code`
            gives) and `roots` (named folders outside the working directory).

    Raises:
        SystemExit: the block raised (status 1; 130 or 143 where it was interrupted); why is in the log, in
            `<log>.failed.json` and, unless the logger plugin shows it, on standard error.
    """
    job = RunningJob(snakemake)
    status = 1
    try:
        with captured(job.log) as capture, termination_raises(), tally.counting(job.log) as counted:
            try:
                if job.log:
                    capture.write(job.header())
                job.start()
                with watch.watching() as opened:
                    yield job
                job.work = counted.total()
                job.succeed(opened)
                return
            except (KeyboardInterrupt, Terminated) as error:
                status = 130 if isinstance(error, KeyboardInterrupt) else 143
                job.fail(error, capture)
            except BaseException as error:
                job.fail(error, capture)
    except LogError as error:
        job.fail(error, Capture(None, 2))
    raise SystemExit(status)


class RunningJob:
    """A job that is running. `used`, `made` and `note` add to its record what its rule cannot declare."""

    def __init__(self, snakemake: Any) -> None:
        self.rule: str = snakemake.rule
        self.wildcards = {name: str(value) for name, value in named(snakemake.wildcards).items()}
        self.params = jsonable(named(snakemake.params))
        self.config = named(getattr(snakemake, "config", {}))
        self.threads = int(getattr(snakemake, "threads", 1))
        self.attempt = int(named(getattr(snakemake, "resources", {})).get("attempt", 1))
        self.inputs = [Path(path) for path in flat(snakemake.input)]
        self.outputs = [Path(path) for path in flat(snakemake.output)]
        self._roles = {"inputs": _by_role(snakemake.input), "outputs": _by_role(snakemake.output)}
        log = flat(getattr(snakemake, "log", ()))
        self.log = Path(log[0]) if log else None
        self._portable = Portable(Path.cwd(), roots_of(self.params, self.config))
        self._code: JobCode | None = None
        self._notes: dict[str, Any] = {}
        self.work: dict[str, float] = {}
        """How much it has done, by unit (`tally.count`)."""
        self._before: dict[Path, entries.Signature | None] = {}
        self._outputs_before: dict[Path, entries.Signature | None] = {}
        self._made: list[Path] = []
        self._begun_ns = 0
        self._started = datetime.now(UTC)
        self._clock, self._cpu = time.perf_counter(), _cpu_seconds()

    def used(self, *paths: str | Path) -> None:
        """Say that the job has read these files, which its rule does not name among its inputs."""
        for path in map(Path, paths):
            self._before.setdefault(path, entries.signature(path))

    def made(self, *paths: str | Path) -> None:
        """Say that the job has made these files, which its rule does not name among its outputs."""
        self._made += map(Path, paths)

    def note(self, name: str, value: Any) -> None:
        """Keep a fact that only the job knows (which weights it took, on which device it ran) under `notes`."""
        self._notes[name] = jsonable(value)

    @property
    def name(self) -> str:
        """The job as people name it: `train_run (run=summe.et.cwl)`."""
        return failures.job_name(self.rule, self.wildcards)

    @property
    def record_path(self) -> Path | None:
        """Where the record goes: beside the first output; None for a job without outputs, which needs no record."""
        return Path(f"{self.outputs[0]}{SUFFIX}") if self.outputs else None

    @property
    def failed_path(self) -> Path:
        """Where a failure is written: beside the log, or the first output where there is no log."""
        return Path(f"{self.log or (self.outputs[0] if self.outputs else self.rule)}{failures.SUFFIX}")

    def header(self) -> str:
        """The lines that each log begins with."""
        return (
            f"{self.name}\n"
            f"on {environment.host()}, process {os.getpid()}, started {_text(self._started)}\n"
            f"to run it again: {self.command()}\n"
            f"{failures.HEADER_END}"
        )

    def command(self, portable: bool = False) -> str:
        """The command that makes just this job's outputs again, to be given in the working directory.

        A portable one names a data folder outside the working directory `<data>`, unless it was given relative to it.
        """
        settings = [f"{key}={self.config[key]}" for key in ("study", "data") if self.config.get(key)]
        words = ["snakemake", "--cores", "1", "--force"]
        words += ["--config", *settings] if settings else []
        words += ["--", *(str(path) for path in self.outputs[:1])]
        return shlex.join(self._portable.redact(words) if portable else words)

    def start(self) -> None:
        """Note what is there before the work begins.

        Raises:
            FailedBeforeError: the attempt before this one failed, and this one would fail the same way.
        """
        former = failures.hopeless(self.failed_path, self.attempt)
        if former is not None:
            raise FailedBeforeError(former)
        for path in self.inputs:
            self._before.setdefault(path, entries.signature(path))
        self._begun_ns = entries.moment(self.log)
        self._outputs_before = {path: entries.signature(path) for path in self.outputs}
        if self.record_path and self._outputs_before[self.outputs[0]] is None:
            # The output that it describes is gone.
            self.record_path.unlink(missing_ok=True)
        self._code = JobCode(self.params.get("code"))
        if self._code.edited_since_planned:
            print("warning: the code was edited after this job was planned; the next run will run it again")

    def succeed(self, opened: Iterable[Any] = ()) -> None:
        """Check that all outputs are there, and write the record.

        Args:
            opened: the files that the job has opened for reading.

        Raises:
            UtopiaError: an output is missing.
        """
        missing = [str(path) for path in self.outputs if not path.exists()]
        if missing:
            raise UtopiaError(
                f"the job ended without making {', '.join(missing)}",
                where=f"rule {self.rule}",
                why="the jobs that need it cannot run",
                remedy="this is a fault of the program: report it with the log",
            )
        if self.record_path:
            files.write_json(self.record_path, sealed(self._facts(opened)))
        self.failed_path.unlink(missing_ok=True)

    def fail(self, error: BaseException, capture: Capture) -> None:
        """Say why the job failed (log, `failed_path`, terminal), and remove the outputs that it had begun."""
        facts = self._failed_facts(error)
        # The first frame is the `yield` in `record`.
        below = error.__traceback__ if error.__traceback__ is None else error.__traceback__.tb_next
        trace = facts["traceback"] = (
            error.former.traceback
            if isinstance(error, FailedBeforeError)
            else "".join(traceback.format_exception(type(error), error, below or error.__traceback__)).rstrip()
        )
        capture.write(f"{trace}\n\n{facts['message']}\n")
        problem = self._remove_unfinished()
        try:
            files.write_json(self.failed_path, facts)
        except Exception as second:
            problem += f"{self.failed_path}: cannot be written either ({second})\n"
        capture.write(problem)
        if failures.SHOWN_BY_LOGGER not in os.environ:
            capture.tell(f"{self.name}: {facts['message']}\n{problem}")

    def _facts(self, opened: Iterable[Any]) -> dict[str, Any]:
        assert self._code is not None  # `start` has run
        read, made = entries.top_level(self._before), entries.top_level([*self.outputs, *self._made])
        described = entries.describe([*read, *made], self._portable)
        for path in read:
            if entries.signature(path) != self._before[path]:
                described[path]["changed_during_job"] = True
                print(f"warning: the input {path} changed while the job was running")
        code = self._code.facts()
        if code["undeclared"]:
            print(f"warning: loaded, but not covered by the code fingerprint: {', '.join(code['undeclared'])}")
        return {
            "schema": SCHEMA,
            "status": "done",
            "rule": self.rule,
            "wildcards": self._portable.redact(self.wildcards),
            "params": self._portable.redact(self.params),
            "threads": self.threads,
            "inputs": [described[path] for path in read],
            "outputs": [described[path] for path in made],
            "roles": self._portable_roles(),
            "reused": [self._portable.write(path) for path in entries.older(self._made, self._begun_ns)],
            "opened": self._opened(opened),
            "notes": self._portable.redact(self._notes),
            "work": self.work,
            "code": code,
            "git": environment.git(),
            "lock": environment.lock(),
            "environment": {
                "python": platform.python_version(),
                "packages": environment.packages(),
                "variables": environment.variables(),
            },
            "snakemake": environment.snakemake_version(),
            "host": environment.host(),
            "cpu": environment.cpu(),
            "gpu": environment.gpus(),
            "determinism": environment.determinism(),
            "started": _text(self._started),
            "ended": _text(datetime.now(UTC)),
            "seconds": round(time.perf_counter() - self._clock, 3),
            "cpu_seconds": round(_cpu_seconds() - self._cpu, 3),
            "peak_memory_bytes": _peak_memory(),
            "command": self.command(portable=True),
            "log": None if self.log is None else self._portable.write(self.log),
        }

    def _opened(self, seen: Iterable[Any]) -> dict[str, list[str]]:
        """`{undeclared, never_read}`: how what the job opened differs from what its rule declares."""
        made = [*self.outputs, *self._made, *([self.log] if self.log else [])]
        lock, checkout = environment.lock(), environment.checkout()
        extra, unread = watch.undeclared_and_unread(
            seen,
            declared=self.inputs,
            used=[*self._before, *([checkout / lock["path"]] if lock and checkout else [])],
            own_files=made,
            base=self._portable.base,
            known=self._portable.roots.values(),
        )
        for path in unread:
            print(f"note: the rule declares the input {path}, and the job never opened it")
        return {
            name: [self._portable.write(path) for path in paths]
            for name, paths in (("undeclared", extra), ("never_read", unread))
        }

    def _portable_roles(self) -> dict[str, dict[str, str | list[str]]]:
        """`{inputs, outputs}`: the declared paths as the rule names them."""
        write = self._portable.write
        return {
            side: {
                role: write(of) if isinstance(of, str) else [write(path) for path in of] for role, of in roles.items()
            }
            for side, roles in self._roles.items()
        }

    def _failed_facts(self, error: BaseException) -> dict[str, Any]:
        if isinstance(error, FailedBeforeError):
            same = {**vars(error.former), "outputs": list(error.former.outputs)}
            return {**same, "schema": failures.SCHEMA, "attempt": self.attempt, "ended": _text(datetime.now(UTC))}
        interrupted = isinstance(error, KeyboardInterrupt | Terminated)
        expected = isinstance(error, UtopiaError)
        what = str(error).strip() or "no message"
        if isinstance(error, UtopiaError):
            message, what = str(error), error.what
        elif interrupted:
            message = what = "interrupted" if isinstance(error, KeyboardInterrupt) else "interrupted (SIGTERM)"
        else:
            message = f"unexpected {type(error).__name__}: {what.splitlines()[0]} (see {self.log or 'above'})"
        return {
            "schema": failures.SCHEMA,
            "status": "interrupted" if interrupted else "failed",
            "attempt": self.attempt,
            "rule": self.rule,
            "wildcards": self.wildcards,
            "error": type(error).__name__,
            "expected": expected,
            "message": message,
            "what": what,
            "where": getattr(error, "where", "") if expected else "",
            "why": getattr(error, "why", "") if expected else "",
            "remedy": failures.remedy_for(error),
            "log": None if self.log is None else str(self.log),
            "outputs": [str(path) for path in self.outputs],
            "host": environment.host(),
            "pid": os.getpid(),
            "started": _text(self._started),
            "ended": _text(datetime.now(UTC)),
            "seconds": round(time.perf_counter() - self._clock, 3),
            "command": self.command(),
        }

    def _remove_unfinished(self) -> str:
        """Remove the outputs that this job has begun, not what it has not touched; returns what it cannot remove."""
        problem = ""
        for path in self.outputs:
            if entries.signature(path) in (None, self._outputs_before.get(path)):
                continue
            try:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            except OSError as error:
                problem += f"{path}: half-written, and cannot be removed ({error})\n"
        if self.record_path and not self.outputs[0].exists():
            self.record_path.unlink(missing_ok=True)
        return problem


class FailedBeforeError(Exception):
    """Says of a retry that it is not worth the work."""

    def __init__(self, former: failures.Failure) -> None:
        super().__init__(former.message)
        self.former = former


def sealed(facts: dict[str, Any]) -> dict[str, Any]:
    """The facts with `digest`, the SHA-256 of all the others: a record that was edited no longer agrees with itself."""
    return {**facts, "digest": digest_of(facts)}


def _canonical(value: Any) -> str:
    """The text that `files.digest` takes of a value. That module is part of every job's code, so it stays as it is."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class SharedBlock(dict[str, Any]):
    """A part of a record that many records share, and that nobody changes: its canonical text is made once."""

    @cached_property
    def text(self) -> str:
        """The part as the digest of a record takes it."""
        return _canonical(self)


def digest_of(facts: Mapping[str, Any]) -> str:
    """What the digest of a record with these facts must be: `files.digest` of all but `digest`, put together."""
    pieces: list[str] = []
    unshared: dict[str, Any] = {}
    for name in sorted(facts.keys() - {"digest"}):
        if isinstance(value := facts[name], SharedBlock):
            pieces += [_canonical(unshared)[1:-1], f'"{name}":{value.text}']
            unshared = {}
        else:
            unshared[name] = value
    text = ",".join(piece for piece in (*pieces, _canonical(unshared)[1:-1]) if piece)
    return hashlib.sha256(f"{{{text}}}".encode()).hexdigest()


def _by_role(value: Any) -> dict[str, str | list[str]]:
    """The paths that a rule declares, under the names that it gives them (`""`: none)."""
    by_role = named([value] if isinstance(value, str | Path) else value)
    return {role: str(paths) if isinstance(paths, str | Path) else flat(paths) for role, paths in by_role.items()}


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(times.ru_utime + times.ru_stime for times in usage)


def _peak_memory() -> int:
    """The most memory (bytes) that this process, or the largest of its children that have ended, has held at once."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
