"""`audit/run.json`: how a run stands, for whoever looks while it is going on or after it was killed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snakemake_logger_plugin_utopia.run import RunState
from utopia import files
from utopia.errors import UtopiaError
from utopia.provenance.failures import SUFFIX

SCHEMA = 1
STUDY_FOLDER = "UTOPIA_STUDY_FOLDER"
_SECONDS = 1.0
_SECONDS_BETWEEN_SIGNS = 10.0


class StatusFile:
    """Writes `<study>/audit/run.json`, at most once a second.

    The study's folder is what `UTOPIA_STUDY_FOLDER` says (the Snakefile sets it), or what lies above `logs/` in the
    path of a job's log. Until one of them is known, nothing is written.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._written = 0.0
        self._news = False

    def find(self, logs: Iterable[str] = ()) -> None:
        """Look for the study's folder."""
        if self.folder is not None:
            return
        if os.environ.get(STUDY_FOLDER):
            self.folder = Path.cwd() / os.environ[STUDY_FOLDER]
        for log in logs:
            above = [parent.parent for parent in Path(log).parents if parent.name == "logs"]
            if above and self.folder is None:
                self.folder = Path.cwd() / above[-1]

    @property
    def path(self) -> Path | None:
        """The file; None while the study is not known."""
        return None if self.folder is None else self.folder / "audit" / "run.json"

    @property
    def page(self) -> Path | None:
        """The page with all results, which need not be there; None while the study is not known."""
        return None if self.folder is None else self.folder / "report" / "index.html"

    def former(self) -> dict[str, Any]:
        """What the run before this one has left; nothing where it left nothing that can be read."""
        try:
            found = {} if self.path is None or not self.path.is_file() else files.read_json(self.path)
        except UtopiaError:
            return {}  # it is rewritten
        return found if isinstance(found, dict) else {}

    def former_seconds(self) -> dict[str, float]:
        """Mean seconds by rule that the run before this one took."""
        try:
            return {str(rule): float(seconds) for rule, seconds in self.former().get("seconds_by_rule", {}).items()}
        except (AttributeError, TypeError, ValueError):
            return {}  # only an estimate depends on it

    def write(self, run: RunState, state: str, now: bool = False) -> None:
        """Write how the run stands.

        Args:
            run: the run.
            state: `running`, `done`, `failed` or `interrupted`.
            now: write even within a second of the last time.
        """
        self._news = True
        if self.path is None or (not now and time.monotonic() - self._written < _SECONDS):
            return
        self._written, self._news = time.monotonic(), False
        files.write_json(self.path, _facts(run, state))

    def beat(self, run: RunState) -> None:
        """Write what was too early to write, and every 10 s a sign that the run is alive."""
        if self._news or time.monotonic() - self._written >= _SECONDS_BETWEEN_SIGNS:
            self.write(run, "running")

    def nothing_to_do(self, run: RunState) -> None:
        """A run that found everything done: good news, but not about failures of jobs that it was not asked for."""
        if (
            self.path is None
            or self.former().get("state") == "done"
            or any((self.path.parents[1] / "logs").rglob(f"*{SUFFIX}"))
        ):
            return
        self.write(run, "done", now=True)


def _facts(run: RunState, state: str) -> dict[str, Any]:
    left = run.remaining_seconds() if state == "running" else None
    return {
        "schema": SCHEMA,
        "state": state,
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "slurm": run.slurm,
        "started": _text(run.started),
        "updated": _text(time.time()),
        "stopped_by": run.stopped_by or None,
        "ended": None if state == "running" else _text(time.time()),
        "total": run.total,
        "done": run.done,
        "remaining_seconds": None if left is None else round(left, 1),
        "planned": run.planned,
        "running": [
            {"rule": job.rule, "wildcards": job.wildcards, "log": job.log, "started": _text(job.started)}
            for job in run.running.values()
        ],
        "failed": [
            {
                "rule": failure.rule,
                "wildcards": failure.wildcards,
                "log": failure.log,
                "status": failure.status,
                "message": failure.message,
            }
            for failure in run.failed.values()
        ],
        "seconds_by_rule": {rule: round(seconds, 3) for rule, seconds in run.seconds_by_rule().items()},
    }


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
