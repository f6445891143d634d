"""The columns of a table's csv. Apart from what writes them, so that whoever reads one needs no NumPy."""

from __future__ import annotations

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
