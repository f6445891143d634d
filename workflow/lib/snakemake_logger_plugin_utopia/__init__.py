"""Snakemake logger plugin (`--logger utopia`): one progress line, quiet jobs, failures grouped by cause.

It also keeps `<study>/audit/run.json` up to date, which `utopia status` reads while a run is going on. A fault in here
never ends a run: it is written to `.snakemake/log/utopia-logger.log` and named at the end.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import traceback
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase

FAULTS = Path(".snakemake") / "log" / "utopia-logger.log"
_FAULTS_WRITTEN = 20
_TICK_SECONDS = 1.0


class LogHandler(LogHandlerBase):
    """Receives every record that Snakemake logs, in a thread of its own, and shows what people need of it."""

    def __post_init__(self) -> None:
        self._faults = 0
        self._closed = False
        self._show = None
        self._stop = threading.Event()
        try:
            # Every start of Snakemake imports this module, also without this logger.
            from snakemake_logger_plugin_utopia.show import Show

            self._show = Show(self.common_settings)
            threading.Thread(target=self._tick, name="utopia-logger", daemon=True).start()
        except Exception:
            self._fault()

    @property
    def writes_to_stream(self) -> bool:
        """It takes the place of Snakemake's own messages."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """`audit/run.json` is not a log file."""
        return False

    @property
    def has_filter(self) -> bool:
        """What is shown is decided here."""
        return True

    @property
    def has_formatter(self) -> bool:
        """How it is shown too."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """The jobs are enough."""
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of a record. Warnings and errors are shown even where this handler has a fault."""
        try:
            if self._show is None:
                raise RuntimeError("the display did not start")
            self._show.take(record)
        except Exception:
            self._fault()
            if record.levelno >= logging.WARNING:
                print(record.getMessage(), file=sys.stderr)

    def close(self) -> None:
        """The end of the run: say what came out of it."""
        self._stop.set()
        self.acquire()
        try:
            if not self._closed and self._show is not None:
                self._closed = True
                self._show.end()
        except Exception:
            self._fault()
        finally:
            self.release()
        if self._faults:
            print(f"the progress display had {self._faults} faults; see {FAULTS}", file=sys.stderr)
            self._faults = 0
        super().close()

    def _tick(self) -> None:
        """Keep the clock of the progress line going."""
        while not self._stop.wait(_TICK_SECONDS):
            self.acquire()
            try:
                if self._show is not None and not self._closed:
                    self._show.tick()
            except Exception:
                self._fault()
            finally:
                self.release()

    def _fault(self) -> None:
        self._faults += 1
        if self._faults > _FAULTS_WRITTEN:
            return
        try:
            FAULTS.parent.mkdir(parents=True, exist_ok=True)
            with FAULTS.open("a", encoding="utf-8") as file:
                file.write(f"--- process {os.getpid()}\n{traceback.format_exc()}")
        except OSError:
            print(re.sub(r"\s+", " ", traceback.format_exc(limit=1)), file=sys.stderr)
