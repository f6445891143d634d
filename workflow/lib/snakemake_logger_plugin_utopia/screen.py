"""Where the run is shown: one line rewritten in place on a terminal, short lines elsewhere."""

from __future__ import annotations

import os
import shutil
import time
from typing import TextIO

_SECONDS_BETWEEN_LINES = 10.0
_SECONDS_OF_SILENCE = 60.0
_STYLES = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "faint": "2"}


class Screen:
    """A stream with at most one progress line, always the last one.

    Args:
        stream: standard output or standard error.
        color: whether a terminal may be given colours.
    """

    def __init__(self, stream: TextIO, color: bool = True) -> None:
        self._stream = stream
        self.terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._color = self.terminal and color and "NO_COLOR" not in os.environ
        self._shown = ""
        self._last_line = 0.0

    def line(self, text: str = "") -> None:
        """Write whole lines, above the progress line."""
        self._clear()
        self._write(text + "\n")

    def progress(self, text: str, finished: bool = False) -> None:
        """Show how far the run is.

        On a terminal the line is rewritten. Elsewhere it becomes a line of its own: when a job has `finished`, but not
        within 10 s of the one before, and after a minute of silence.
        """
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            clipped = text if len(text) <= width else text[: max(0, width - 1)] + "…"
            if clipped != self._shown:
                self._clear()
                self._write(self.style(clipped, "faint"))
                self._shown = clipped
            return
        silent = time.monotonic() - self._last_line
        if silent >= _SECONDS_OF_SILENCE or (finished and silent >= _SECONDS_BETWEEN_LINES):
            self._last_line = time.monotonic()
            self._write(text + "\n")

    def began(self) -> None:
        """Count the time between lines from now on."""
        self._last_line = time.monotonic()

    def end(self) -> None:
        """Take the progress line away."""
        self._clear()

    def style(self, text: str, *names: str) -> str:
        """`text` in colours, where there are any."""
        if not self._color or not text:
            return text
        return f"\x1b[{';'.join(_STYLES[name] for name in names)}m{text}\x1b[0m"

    def _clear(self) -> None:
        if self._shown:
            self._write("\r\x1b[2K")
            self._shown = ""

    def _write(self, text: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(text.encode(encoding, errors="replace").decode(encoding))
        self._stream.flush()
