"""The columns of a table's csv. Apart from what writes them, so that whoever reads one needs no NumPy."""

from __future__ import annotations

import csv
from pathlib import Path

COLUMNS = (
    "table",
    "row",
    "name",
    "keys",
    "column",
    "value",
    "unit",
    "std",
    "n",
    "low",
    "high",
    "interval",
    "status",
    "reason",
    "against",
    "difference",
    "difference_low",
    "difference_high",
    "difference_p",
    "difference_verdict",
    "published",
    "decimals",
    "verdict",
    "verdict_reason",
    "note",
    "cell",
    "runs",
)
NUMBERS = (
    "value",
    "std",
    "low",
    "high",
    "difference",
    "difference_low",
    "difference_high",
    "difference_p",
    "published",
)
"""Of these, those that hold a number with decimals, or nothing."""


def rows_by_cell(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a table's csv, by the ids of their cells.

    Raises:
        OSError, UnicodeDecodeError, csv.Error: it cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return {row["cell"]: row for row in csv.DictReader(file) if row.get("cell")}
