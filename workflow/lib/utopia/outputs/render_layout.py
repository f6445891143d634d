"""What a table shows, before any markup: texts of cells, numbered notes and a legend of the marks that occur."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from utopia.outputs.cells import Cell
from utopia.outputs.verdict import NOT_COMPARABLE, Verdict, rounded

_ARROWS = {"lower": "↓", "higher": "↑"}
_LEGEND = {
    "=": "rounds to the published value",
    "≈": "the published value lies inside our 95 % interval",
    "≠": "it lies outside",
}


@dataclass(frozen=True)
class Shown:
    """A cell as texts. `main` is the value, the quoted value or an em dash."""

    status: str
    main: str
    spread: str = ""
    published: str = ""
    """Beside a measured value or a hole."""
    sign: str = ""
    verdict: str = ""
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    title: str
    notes: tuple[int, ...]
    cells: tuple[Shown, ...]


@dataclass(frozen=True)
class Layout:
    """A table, ready for any markup."""

    id: str
    title: str
    source: str
    caption: str
    heads: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    """Numbered from 1."""
    legend: tuple[str, ...] = field(default=())


class _Notes:
    """Notes numbered in the order in which they are first needed; equal texts share a number."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def number(self, text: str) -> tuple[int, ...]:
        if not text:
            return ()
        if text not in self.texts:
            self.texts.append(text)
        return (self.texts.index(text) + 1,)


def lay_out(table: Mapping[str, Any], cells: Sequence[Cell]) -> Layout:
    """Arrange the cells (row by row, as `cells.build` gives them) into lines, notes and a legend."""
    notes, found = _Notes(), {(cell.row, cell.column): cell for cell in cells}
    lines = []
    for row in table["rows"]:
        own = notes.number(row.get("note") or "")
        shown = tuple(_show(found[row["id"], column["id"]], notes) for column in table["columns"])
        lines.append(Line(row["title"], own, shown))
    every = [shown for line in lines for shown in line.cells]
    return Layout(
        id=table["id"],
        title=table["title"],
        source=table.get("source", ""),
        caption=table.get("caption", ""),
        heads=tuple(
            f"{column['title']} {_ARROWS.get(column.get('better', ''), '')}".strip() for column in table["columns"]
        ),
        lines=tuple(lines),
        notes=tuple(notes.texts),
        legend=tuple(_legend(every)),
    )


def _show(cell: Cell, notes: _Notes) -> Shown:
    published = "" if cell.published is None else rounded(cell.published, cell.decimals)
    if cell.status == "quoted":
        return Shown("quoted", published)
    if cell.status == "absent":
        return Shown("absent", "—", published=published, notes=notes.number(cell.reason))
    assert cell.value is not None
    verdict = Verdict(cell.verdict, cell.verdict_reason)
    return Shown(
        "measured",
        rounded(cell.value, cell.decimals),
        spread="" if cell.std is None else rounded(cell.std, cell.decimals),
        published=published,
        sign=verdict.sign,
        verdict=cell.verdict,
        notes=notes.number(
            f"Not comparable with print: {cell.verdict_reason}" if cell.verdict == NOT_COMPARABLE else ""
        ),
    )


def _legend(every: Sequence[Shown]) -> list[str]:
    legend = []
    if any(shown.spread for shown in every):
        legend.append("value ± standard deviation over the seeds")
    if any(shown.published for shown in every):
        legend.append("(published value)")
    if any(shown.status == "quoted" for shown in every):
        legend.append("† quoted from the publication, not measured here")
    if any(shown.status == "absent" for shown in every):
        legend.append("— absent, the note says why")
    legend += [f"{sign} {meaning}" for sign, meaning in _LEGEND.items() if any(shown.sign == sign for shown in every)]
    return legend
