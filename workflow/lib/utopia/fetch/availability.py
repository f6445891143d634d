"""The log beside the web videos of a data set: one line per try of fetching one, and the last line of an id holds."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from utopia.errors import InputError

LOG = "availability.jsonl"
Status = Literal["ok", "gone", "private", "region", "age", "throttled", "error"]
PERMANENT: tuple[Status, ...] = ("gone", "private", "region", "age")


@dataclass(frozen=True)
class Try:
    """What came of asking for a video."""

    id: str
    status: Status
    message: str
    time: str
    attempts: int
    """How often it was asked for, over all runs."""
    sha256: str = ""
    bytes: int = 0
    format: str = ""
    """yt-dlp's name of the format that was chosen."""


class Log:
    """The availability log of a folder of videos."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def last(self) -> dict[str, Try]:
        """The last try of each id.

        Raises:
            InputError: a line other than the last (which a kill may have cut) cannot be read.
        """
        if not self.path.exists():
            return {}
        lines = self.path.read_text(encoding="utf-8").split("\n")
        last_of = {}
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                entry = Try(**json.loads(line))
            except (ValueError, TypeError) as error:
                if number == len(lines):
                    break
                raise InputError(
                    "not an entry of an availability log",
                    where=f"{self.path}:{number}",
                    why="it says which videos are gone, and which bytes were fetched",
                    remedy="delete the line: the video is asked for again",
                ) from error
            last_of[entry.id] = entry
        return last_of

    def add(self, entry: Try) -> None:
        """Append a line."""
        line = json.dumps(asdict(entry), ensure_ascii=False)
        with self.path.open("ab+") as file:
            end = file.tell()
            if end:
                file.seek(end - 1)
                if file.read(1) != b"\n":  # a kill has cut the last line
                    file.write(b"\n")
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
