"""From Snakemake's log records to what is shown."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent

from snakemake_logger_plugin_utopia import summary
from snakemake_logger_plugin_utopia.run import RunState
from snakemake_logger_plugin_utopia.screen import Screen
from snakemake_logger_plugin_utopia.status import StatusFile
from utopia.files import write_json
from utopia.provenance.failures import SHOWN_BY_LOGGER, Failure, cause_of, group

_NOISE_WITHOUT_RUN = ("Assuming unrestricted", "Building DAG", "host:", "Complete log(s)", "Multiple includes")
_NOTHING = "Nothing to be done"
_SLURM = "SLURM run ID:"
_INTERRUPTS = ("Terminating processes on user request", "Will exit after finishing currently running jobs")
_LAST_WORDS = ("Exiting because a job execution failed", "At least one job did not complete successfully")
_WORTH_SAYING = ("Unlocked", "Waiting at most")


class Show:
    """One invocation of Snakemake: takes its records, shows a run, a dry run or plain messages.

    Args:
        settings: Snakemake's output settings.
    """

    def __init__(self, settings: Any) -> None:
        self._settings = settings
        os.environ[SHOWN_BY_LOGGER] = "1"  # the jobs inherit it
        self._screen = Screen(sys.stdout if settings.stdout else sys.stderr, color=not settings.nocolor)
        self._run = RunState()
        self._status = StatusFile()
        self._started = False
        self._planned = False
        self._nothing = False
        self._interrupted = False
        self._error = False
        self._causes: set[tuple[str, ...]] = set()
        self._reasons: dict[str, list[str]] = {}
        self._everything = bool(settings.verbose or settings.debug_dag)
        self._formatter: logging.Formatter | None = None

    def take(self, record: logging.LogRecord) -> None:
        """Take note of a record and show what it calls for."""
        event = getattr(record, "event", None)
        facts = record.__dict__
        if event == LogEvent.WORKFLOW_STARTED:
            self._started = True
        elif event == LogEvent.RUN_INFO:
            self._plan(facts.get("stats") or {})
        elif event == LogEvent.JOB_INFO:
            self._job_starts(facts)
        elif event == LogEvent.JOB_FINISHED:
            self._run.finish(int(facts["job_id"]))
        elif event == LogEvent.PROGRESS:
            self._run.progress(int(facts["total"]))
            self._progress(finished=True)
        elif event == LogEvent.GROUP_ERROR:
            self._run.fail_group(facts)
        elif event == LogEvent.JOB_ERROR:
            self._job_fails(facts)
        elif event == LogEvent.ERROR:
            self._exception(record.getMessage(), str(facts.get("exception", "")))
        elif event == LogEvent.SHELLCMD:
            command = facts.get("shellcmd") or facts.get("cmd")
            if self._settings.printshellcmds and command:
                self._screen.line(str(command))
        elif event is None:
            self._message(record)
        if self._everything and (event is not None or record.levelno <= logging.INFO):
            self._verbatim(record)

    def tick(self) -> None:
        """A second has passed."""
        if self._planned and not self._settings.dryrun:
            self._screen.progress(summary.progress_line(self._run, bar=self._screen.terminal))
            self._status.beat(self._run)

    def end(self) -> None:
        """Snakemake has ended: show what came out of it."""
        self._screen.end()
        if self._settings.dryrun:
            if os.environ.get(summary.PLANNED_JOBS):
                self._write_planned(Path(os.environ[summary.PLANNED_JOBS]))
            elif self._planned:
                self._lines(summary.dry_run(self._run.planned, self._reasons))
            return
        for text in self._run.unclaimed():
            self._screen.line(self._screen.style(text, "red"))
        if not self._planned:
            return
        run = self._run
        if not run.failed and not self._error and not self._interrupted:
            run.finish_all()
            self._lines(summary.made(run, self._screen.style, self._status.page))
            self._status.write(run, "done", now=True)
            return
        lines = 200 if self._settings.show_failed_logs else 6
        self._lines(summary.failed(run, self._screen.style, self._interrupted, lines))
        self._status.write(run, "interrupted" if self._interrupted else "failed", now=True)

    def _write_planned(self, path: Path) -> None:
        """Write the jobs of a dry run for whoever has asked; nothing where Snakemake has refused the workflow."""
        if self._planned or self._nothing:
            write_json(path, {"counts": self._run.planned, "reasons": self._reasons})

    def _plan(self, stats: dict[str, Any]) -> None:
        self._run.plan(stats)
        if not self._run.total:
            self._nothing_to_do()
            return
        self._planned = True
        if self._settings.dryrun:
            return
        self._status.find()
        self._run.former_seconds = self._status.former_seconds()
        folder = "" if self._status.folder is None else f" for {os.path.relpath(self._status.folder)}"
        self._screen.line(f"{summary.jobs(self._run.total)} to run{folder}")
        self._screen.began()
        self._status.write(self._run, "running", now=True)
        self._progress()

    def _job_starts(self, facts: dict[str, Any]) -> None:
        if self._settings.dryrun:
            self._reasons.setdefault(str(facts["rule_name"]), []).append(str(facts.get("reason", "")))
            return
        job = self._run.start(facts)
        if self._status.folder is None and job.log:
            self._status.find([job.log])
            self._run.former_seconds = self._status.former_seconds()
        self._progress()

    def _job_fails(self, facts: dict[str, Any]) -> None:
        failure = self._run.fail(facts)
        self._announce(failure)

    def _announce(self, failure: Failure) -> None:
        """Show the first failure of each cause when it happens; the others are counted."""
        cause = cause_of(failure)
        if failure.status != "interrupted" and cause not in self._causes:
            self._causes.add(cause)
            self._screen.line(f"{self._screen.style('failed', 'red')} {failure.name}: {group([failure])[0].headline}")
        self._progress()

    def _exception(self, text: str, kind: str) -> None:
        if any(words in text for words in _LAST_WORDS):
            self._error = True
        elif kind == "RuleException" and self._planned:
            self._run.hear(text)
        else:
            failure = self._run.fail_without_event(text) if self._planned else None
            if failure is not None:
                self._announce(failure)
            else:
                self._error = True
                self._screen.line(self._screen.style(_ours(text.strip()), "red"))

    def _message(self, record: logging.LogRecord) -> None:
        """A message without an event: warnings and errors, and a few that people wait for."""
        text = record.getMessage()
        if text in ("None", ""):
            return
        if record.levelno >= logging.WARNING:
            if any(words in text for words in _LAST_WORDS):
                self._error = True
                return
            color = "red" if record.levelno >= logging.ERROR else "yellow"
            self._screen.line(self._screen.style(text.strip(), color))
        elif record.levelno < logging.INFO:
            return
        elif text.startswith(_SLURM):
            self._run.slurm = text.removeprefix(_SLURM).strip()
        elif text.startswith(_NOTHING):
            self._nothing_to_do()
        elif restart := re.match(r"Trying to restart job (\d+)", text):
            failure = self._run.retry(int(restart[1]))
            if failure is not None:
                self._screen.line(f"trying again: {failure.name}")
        elif text.startswith(_INTERRUPTS):
            # Snakemake repeats it whenever a job ends.
            self._run.stopped_by = self._run.stopped_by or ("you" if text.startswith(_INTERRUPTS[0]) else "SIGTERM")
            if not self._interrupted:
                self._screen.line(text.strip())
            self._interrupted = True
        elif text.startswith(_WORTH_SAYING) or not (self._started or text.startswith(_NOISE_WITHOUT_RUN)):
            self._screen.line(text.strip())
        self._progress()

    def _nothing_to_do(self) -> None:
        if self._nothing:
            return
        self._nothing = True
        self._screen.line("nothing to do: everything asked for is there and up to date")
        if self._settings.dryrun:
            return
        self._status.find()
        self._lines(summary.page_line(self._status.page))
        self._run.former_seconds = self._status.former_seconds()
        self._status.nothing_to_do(self._run)

    def _progress(self, finished: bool = False) -> None:
        if self._planned and not self._settings.dryrun:
            self._screen.progress(summary.progress_line(self._run, bar=self._screen.terminal), finished)
            self._status.write(self._run, "running")

    def _lines(self, lines: list[str]) -> None:
        for line in lines:
            self._screen.line(line)

    def _verbatim(self, record: logging.LogRecord) -> None:
        """With --verbose or --debug-dag: everything that Snakemake says, as it says it."""
        if self._formatter is None:
            from snakemake.logging import DefaultFormatter

            self._formatter = DefaultFormatter(self._settings.quiet, self._settings.show_failed_logs)
        text = self._formatter.format(record)
        if text and text != "None":
            self._screen.line(text)


def _ours(text: str) -> str:
    """An error of this project that was raised in a Snakefile, without where in our rules it was raised."""
    if "what to do:" not in text:
        return text
    lines = [line for line in text.splitlines() if not re.match(r'  File ".*", line \d+, in ', line)]
    return "\n".join(lines[1:] if re.match(r"\w+ in file .*:$", lines[0]) else lines)
