"""The table of what was expected, obtained and missing by reason: `fetched.csv`, beside `fetched.json`.

Its columns are those of the study's own coverage table, `audit/coverage.csv`.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utopia.fetch.record import locked
from utopia.files import atomic

NAME = "fetched.csv"
COLUMNS = ("dataset", "subject", "expected", "obtained", "missing", "reason", "items")


@dataclass(frozen=True)
class FileOutcome:
    """What became of one kind of file of a data set."""

    dataset: str
    subject: str
    expected: int
    obtained: int
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Why it is missing -> what is missing for this reason."""
    came: int = 0
    """Bytes that were transferred now."""
    failed: bool = False
    """Whether another try, or the user, could repair it (a video that is gone is no failure)."""

    def rows(self) -> list[dict[str, Any]]:
        """One row per reason; one row if nothing is missing."""
        fixed = {
            "dataset": self.dataset,
            "subject": self.subject,
            "expected": self.expected,
            "obtained": self.obtained,
        }
        if not self.reasons:
            return [fixed | {"missing": self.expected - self.obtained, "reason": "", "items": ""}]
        lacking = self.expected - self.obtained
        single = len(self.reasons) == 1
        return [
            fixed | {"missing": lacking if single else len(items), "reason": reason, "items": " ".join(items)}
            for reason, items in self.reasons.items()
        ]


def write(outcomes: Sequence[FileOutcome], data: Path) -> Path:
    """Write the table of a data folder; rows of data sets that were not looked at now stay."""
    path = data / NAME
    now = {outcome.dataset for outcome in outcomes}
    with locked(path):
        kept = [row for row in _read(path) if row["dataset"] not in now]
        rows = [*kept, *(_published(row, data) for outcome in outcomes for row in outcome.rows())]
        rows.sort(key=lambda row: row["dataset"])
        with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return path


def _read(path: Path) -> Iterable[dict[str, Any]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return list(rows) if tuple(rows.fieldnames or ()) == COLUMNS else []


def _published(row: dict[str, Any], data: Path) -> dict[str, Any]:
    return row | {"reason": row["reason"].replace(str(data), "<data>")}
