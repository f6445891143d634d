"""What must come out where an effect was planted: bounds on a value, on a gain over another run, or on a spread."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from utopia.config.base import Strict
from utopia.evaluation.verdict import PASSES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from utopia.plan.catalog import RunChoice

KEYS = {"expected": "Expected"}
"""Columns of a table of expectations that are not measured."""


class Expectation(Strict):
    """What a row's run must show. `over` is a field of the row, because it names a run."""

    dataset: str
    """A file of `datasets/`."""
    target: str
    metric: str
    better: Literal["lower", "higher"]
    """Which way of the metric is a gain."""
    of: Literal["value", "spread"] = "value"
    """`spread`: the deviation over the seeds, which is 0 where they are not different trainings."""
    decimals: int = Field(3, ge=0, le=6)
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Expectation:
        if self.at_least is None and self.at_most is None:
            raise ValueError("an expectation that nothing can fail: give `at_least` or `at_most`")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError("`at_least` is above `at_most`")
        return self

    def sure(self, is_gain: bool) -> bool:
        """Whether more than chance is asked for: a gain (or loss) whose least size is not 0 on the other side."""
        return is_gain and ((self.at_least or 0) > 0 or (self.at_most or 0) < 0)

    def text(self, is_gain: bool) -> str:
        """The bounds in words."""
        what = "gain " if is_gain else "spread over seeds " if self.of == "spread" else ""
        low, high = ("" if end is None else f"{end:g}".replace("-", "−") for end in (self.at_least, self.at_most))
        return what + (f"{low} to {high}" if low and high else f"≥ {low}" if low else f"≤ {high}")


def row_settings(expectation: Expectation, over: RunChoice | None, columns: Iterable[str]) -> dict[str, Any]:
    """What `cells.build` needs of a row that states an expectation, besides what every row has.

    Returns:
        "keys" (see `KEYS`); "as": what each column measures in this row; "expected": by column {"of", "at_least",
        "at_most", "sure": whether the gain must be more than chance}.
    """
    gain = over is not None
    facts = expectation.model_dump(mode="json", include={"dataset", "target", "metric", "better", "decimals"})
    bounds = expectation.model_dump(mode="json", include={"of", "at_least", "at_most"})
    names = list(columns)
    return {
        "keys": {"expected": expectation.text(gain)},
        "as": {name: {**facts, "change": "points"} for name in names},
        "expected": {name: {**bounds, "sure": expectation.sure(gain)} for name in names},
    }


class Outcome(NamedTuple):
    """What came of the expectations of a study: cells that pass, and those that do not with the reason."""

    passed: list[str]
    missed: dict[str, str]

    @property
    def total(self) -> int:
        """How many expectations there are."""
        return len(self.passed) + len(self.missed)

    def lines(self) -> list[str]:
        """In words; nothing where nothing was expected."""
        if not self.total:
            return []
        first = f"planted effects: {len(self.passed)} of {self.total} found"
        return [first, *(f"not found: {cell}: {why}" for cell, why in self.missed.items())]


def outcome(tables: Path) -> Outcome:
    """Read what the tables of expectations below a folder came to. A cell without a value is not found."""
    result = Outcome([], {})
    for path in sorted(tables.glob("*.csv")):
        text = path.read_text(encoding="utf-8", errors="replace")
        for line in csv.DictReader(text.splitlines()) if '""expected""' in text else ():
            if "expected" not in json.loads(line["keys"] or "{}"):
                continue
            if line["verdict"] == PASSES:
                result.passed.append(line["cell"])
            else:
                result.missed[line["cell"]] = line["verdict_reason"] or line["reason"] or "it has no value"
    return result
