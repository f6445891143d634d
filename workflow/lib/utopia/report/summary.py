"""What a study came to, in words and one picture: published values against measured ones, a dot for each cell."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from utopia.evaluation import verdict
from utopia.report.cells import kind_of
from utopia.tables.cells import Cell

TRUTH = "planted_truth"
"""The table that says whether what was planted in generated data was found."""
METRICS = {
    "pcc": "Correlation (PCC)",
    "mse": "Squared error (MSE)",
    "rmse_item": "Error (RMSE)",
    "f_score": "F-score",
    "correlation": "Correlation on EEV",
}
"""The picture's parts, each with a scale of its own; measures that are not here are not drawn."""


@dataclass(frozen=True)
class Dot:
    """A cell with a published value."""

    cell: str
    kind: str
    published: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """From one value to another."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Iterable[float]) -> Axis:
        """An axis on which all values are, with a margin."""
        every = list(values)
        margin = 0.06 * (max(every) - min(every)) or 0.1
        return cls(min(every) - margin, max(every) + margin)

    def place(self, value: float, size: float) -> float:
        """Where a value is on so many units; what lies beyond is at the end."""
        return round(size * min(1.0, max(0.0, (value - self.low) / (self.high - self.low))), 1)

    def ticks(self, most: int) -> list[float]:
        """Round numbers on it, at most so many and two at least."""
        width = self.high - self.low
        power = 10.0 ** math.floor(math.log10(width))
        step = next(step * power for step in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if width / (step * power) < most)
        first = math.ceil(self.low / step)
        return [round((first + n) * step, 9) for n in range(most) if (first + n) * step <= self.high]


@dataclass(frozen=True)
class MeasurePart:
    """The cells of one measure."""

    title: str
    x: Axis
    """Of published values."""
    y: Axis
    """Of measured values, and so wide that the line of equal ones fits; intervals are cut."""
    dots: tuple[Dot, ...]


def picture(tables: Mapping[str, tuple[Mapping[str, Any], Sequence[Cell]]]) -> list[MeasurePart]:
    """The parts of the picture that have a dot.

    Args:
        tables: settings and cells of each table.
    """
    dots: dict[str, list[Dot]] = {}
    for table, cells in tables.values():
        rows = {row["id"]: row for row in table["rows"]}
        columns = {column["id"]: column for column in table["columns"]}
        for cell in cells:
            row, column = rows[cell.row], columns[cell.column]
            is_derived = any((row.get(kind) or {}).get(cell.column) for kind in ("changes", "claims"))
            if cell.value is None or cell.published is None or is_derived or column["metric"] not in METRICS:
                continue
            low = cell.value if cell.low is None else cell.low
            high = cell.value if cell.high is None else cell.high
            dot = Dot(cell.cell, kind_of(cell), cell.published, cell.value, low, high)
            dots.setdefault(column["metric"], []).append(dot)
    return [_part(title, dots[metric]) for metric, title in METRICS.items() if metric in dots]


def _part(title: str, dots: Sequence[Dot]) -> MeasurePart:
    x = Axis.around(dot.published for dot in dots)
    y = Axis.around([x.low, x.high, *(dot.value for dot in dots)])
    # What is drawn last is on top.
    order = ("apart", "inside", "same", "outside")
    return MeasurePart(
        title, x, y, tuple(sorted(dots, key=lambda dot: order.index(dot.kind) if dot.kind in order else -1))
    )


def in_words(cells: Iterable[Cell], truth: Sequence[Cell], *, generated: bool) -> list[str]:
    """What came out, in a few sentences.

    Args:
        cells: of all tables.
        truth: of the table of the planted truth; empty where the study has none.
        generated: whether the study makes its own data.
    """
    every = list(cells)
    said = []
    if generated:
        said.append(
            "Generated data: these numbers test the machinery. They say nothing about the papers, and no published "
            "value can be expected here."
        )
    if truth:
        kinds = Counter(kind_of(cell) for cell in truth)
        passed, failed = kinds["holds"], kinds["fails"]
        said.append(
            f"The planted truth: {passed} of {passed + failed} expectations are met."
            if failed
            else f"The planted truth was found: all {passed} expectations are met."
        )
    published = [kind_of(cell) for cell in every if cell.published is not None and cell.status != "quoted"]
    kinds = Counter(published)
    measured = len(published) - kinds["absent"]
    compared = measured - kinds["apart"]
    missing = f" {kinds['absent']} are missing; each says why." if kinds["absent"] else ""
    said.append(f"{measured} of {len(published)} cells with a published value are measured.{missing}")
    claims = Counter(kind_of(cell) for cell in every if cell not in truth)
    if compared:
        said.append(
            f"Of {compared} that can be compared, {kinds['same']} round to the published value, in {kinds['inside']} "
            f"it is inside our interval, in {kinds['outside']} outside; {kinds['unclear']} gains cannot be told from "
            f"none. Of the claims of the texts {claims['holds']} hold and {claims['fails']} do not."
        )
    elif not generated and measured:
        said.append("None of them can be compared with the published one: each cell says why.")
    return said


def is_generated(cells: Iterable[Cell]) -> bool:
    """Whether measured cells stand on generated data."""
    return any(cell.verdict == verdict.NOT_COMPARABLE and "generated" in cell.verdict_reason for cell in cells)


def in_order(names: Iterable[str]) -> list[str]:
    """What checks the study itself, then the papers' tables and figures, ULDA's first, then the others."""
    first = (TRUTH, "ulda_table", "ulda_figure", "ulda", "eev", "paper")
    return sorted(names, key=lambda name: next((n for n, start in enumerate(first) if name.startswith(start)), 9))
