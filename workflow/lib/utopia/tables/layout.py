"""What a table shows, before any markup: texts of cells, numbered notes and a legend of the marks that occur."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from utopia.evaluation.comparisons import P_VALUES
from utopia.evaluation.verdict import (
    ALONE,
    BETTER,
    FAILS,
    HOLDS,
    LEVEL,
    MARKS,
    MISSES,
    NOT_COMPARABLE,
    NOT_DISTINGUISHABLE,
    NOT_PRINTED,
    PASSES,
    WORSE,
    Verdict,
    rounded,
)
from utopia.tables.cells import Cell

_ARROWS = {"lower": "↓", "higher": "↑"}
_LEGEND = {
    "=": "rounds to the published value",
    "≈": "the published value lies inside our 95 % interval",
    "≠": "it lies outside",
    "✓": "what the text says holds of our values",
    "✗": "it does not",
    MARKS[BETTER]: "better than {against}: the 95 % intervals of Δ (items and seeds; seeds alone) exclude 0",
    MARKS[WORSE]: "worse than {against}",
    MARKS[ALONE[BETTER]]: "better than {against} if it were the only comparison: not among all of this study (Holm)",
    MARKS[ALONE[WORSE]]: "worse than {against} if it were the only comparison",
    MARKS[NOT_DISTINGUISHABLE]: "not distinguishable from {against}",
}


@dataclass(frozen=True)
class Shown:
    """A cell as texts. `main` is a value (ours or quoted), a printed dash, an em dash (absent) or nothing (blank)."""

    status: str
    main: str
    unit: str = ""
    """Behind the value."""
    spread: str = ""
    published: str = ""
    """Beside a measured value or a hole."""
    sign: str = ""
    interval: str = ""
    """95 % over the test items and the seeds, `[low, high]`."""
    change: str = ""
    """Difference to the row without the treatment, with its paired interval."""
    mark: str = ""
    """Whether that is a gain, a loss or neither."""
    verdict: str = ""
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    title: str
    notes: tuple[int, ...]
    cells: tuple[Shown, ...]
    keys: tuple[str, ...] = ()
    """Left of the cells: printed settings, which are not measured."""
    heading: str = ""
    """The heading above this row: its group, where the row begins one."""

    @property
    def heads(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Title and keys, with their notes; those of the row stand at the title, even where it is empty."""
        return ((self.title, self.notes), *((key, ()) for key in self.keys))


@dataclass(frozen=True)
class TableLayout:
    """A table, ready for any markup."""

    id: str
    title: str
    source: str
    """Where it is published, as a sentence; empty where nothing is said."""
    caption: str
    keys: tuple[str, ...]
    """Heads of the key columns."""
    heads: tuple[str, ...]
    """Heads of the other columns."""
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    """Numbered from 1."""
    legend: tuple[str, ...] = field(default=())
    general: tuple[str, ...] = ()
    """Notes on all values, without a number; see `utopia.tables.notes`."""
    head_notes: tuple[tuple[int, ...], ...] = ()
    """Notes on all values of a column, by column; empty where notes stand at cells only."""


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


def lay_out(table: Mapping[str, Any], cells: Sequence[Cell]) -> TableLayout:
    """Arrange the cells (row by row, as `cells.build` gives them) into lines, notes and a legend."""
    notes, by_place = _Notes(), {(cell.row, cell.column): cell for cell in cells}
    keys = table.get("keys") or []
    lines, group = [], ""
    for row in table["rows"]:
        note_number = notes.number(row.get("note") or "")
        shown = tuple(
            _show(by_place[row["id"], column["id"]], notes, is_p=column.get("statistic") in P_VALUES)
            for column in table["columns"]
        )
        values = tuple((row.get("keys") or {}).get(key["id"], "") for key in keys)
        before, group = group, row.get("group") or ""
        lines.append(Line(row["title"], note_number, shown, values, heading="" if group == before else group))
    every = [shown for line in lines for shown in line.cells]
    return TableLayout(
        id=table["id"],
        title=table["title"],
        source=_where(table.get("source", "")),
        caption=table.get("caption", ""),
        keys=tuple(key["title"] for key in keys),
        heads=tuple(f"{column['title']} {_arrow(table, column)}".strip() for column in table["columns"]),
        lines=tuple(lines),
        notes=tuple(notes.texts),
        legend=tuple(_legend(every, _against(table, cells), any(_is_fixed(cell) for cell in cells))),
    )


def _where(source: str) -> str:
    """Where a table is published, as a sentence."""
    if source.startswith("beyond"):
        return "In neither paper."
    return f"Published: {source}." if source else ""


def _arrow(table: Mapping[str, Any], column: Mapping[str, Any]) -> str:
    """Which way is better: as the column says, but upwards for gains of anything; not of claims, expectations and
    p-values."""
    if (
        any(row.get("claims") is not None or row.get("expected") for row in table["rows"])
        or column.get("statistic") in P_VALUES
    ):
        return ""
    gains = any(row.get("changes") for row in table["rows"])
    return _ARROWS.get("higher" if gains else column.get("better", ""), "")


def _show(cell: Cell, notes: _Notes, *, is_p: bool = False) -> Shown:
    published = "" if cell.published is None else minus(rounded(cell.published, cell.decimals))
    if cell.status == "quoted":
        return Shown("quoted", published)
    if cell.status in ("dash", "blank"):
        return Shown(cell.status, "–" if cell.status == "dash" else "")
    if cell.status == "absent":
        return Shown("absent", "—", published=published, notes=notes.number(cell.reason))
    assert cell.value is not None
    verdict = Verdict(cell.verdict, cell.verdict_reason)
    return Shown(
        "measured",
        p_value(cell.value, cell.decimals) if is_p else minus(rounded(cell.value, cell.decimals)),
        unit=cell.unit,
        spread="" if cell.std is None or _is_fixed(cell) else rounded(cell.std, cell.decimals),
        published=published,
        sign=verdict.sign,
        interval="" if cell.low is None or cell.high is None else _ends(cell.low, cell.high, cell.decimals),
        change=_change(cell),
        mark=MARKS.get(cell.difference_verdict, ""),
        verdict="" if verdict.text in (NOT_COMPARABLE, NOT_PRINTED, HOLDS, FAILS, PASSES, MISSES) else cell.verdict,
        notes=tuple(number for text in _remarks(cell) for number in notes.number(text)),
    )


def _is_fixed(cell: Cell) -> bool:
    """Whether all repeats gave the same value: nothing in them is drawn, so ± 0.00 would mislead."""
    return cell.n > 1 and cell.value is not None and cell.std is not None and cell.std <= 1e-12 * (1 + abs(cell.value))


def _remarks(cell: Cell) -> Iterator[str]:
    if cell.verdict == NOT_COMPARABLE:
        yield f"Not comparable with the published value: {cell.verdict_reason}"
    if cell.verdict == MISSES:
        yield f"Fails: {cell.verdict_reason}"
    if cell.low is None and cell.interval:
        yield f"No interval: {cell.interval}"


def _change(cell: Cell) -> str:
    """The difference, to one more decimal than the value; empty where the cell's own value is one."""
    if cell.difference is None or len(cell.runs) > 1:
        return ""
    decimals = cell.decimals + 1
    text = signed(cell.difference, decimals)
    if cell.difference_low is None or cell.difference_high is None:
        return text
    return f"{text} {_ends(cell.difference_low, cell.difference_high, decimals, signed)}"


def _ends(low: float, high: float, decimals: int, show: Callable[[float, int], str] = rounded) -> str:
    return f"[{minus(show(low, decimals))}, {minus(show(high, decimals))}]"


def signed(value: float, decimals: int) -> str:
    """A rounded number with its sign, which 0 has not."""
    text = rounded(value, decimals)
    return minus(text) if text.startswith("-") or not float(text) else f"+{text}"


def p_value(value: float, decimals: int) -> str:
    """A rounded p-value; one that would print as 0, which none is, as below the least that has these decimals."""
    least = 10.0**-decimals
    return f"< {least:.{decimals}f}" if value < least / 2 else rounded(value, decimals)


def minus(text: str) -> str:
    """With a minus sign for the hyphen."""
    return text.replace("-", "−")


def _against(table: Mapping[str, Any], cells: Sequence[Cell]) -> str:
    """What differences are taken to, in words."""
    titles = {row["id"]: row.get("name") or row["title"] for row in table["rows"]}
    compared_with = list(dict.fromkeys(titles.get(cell.against, cell.against) for cell in cells if cell.against))
    if len(compared_with) == 1:
        return compared_with[0]
    runs = {row["id"]: next(iter((row.get("runs") or {}).values()), "") for row in table["rows"]}
    models = [(_model(runs.get(cell.row, "")), _model(runs.get(cell.against, ""))) for cell in cells if cell.against]
    same = all(model == other for model, other in models)
    return "the same model without the treatment" if same else "the row that it is compared with"


def _model(run: str) -> str:
    """The part of a run's id that names its model; `reference` where it has none."""
    return run.partition(".")[2].partition(".")[0]


def _legend(every: Sequence[Shown], against: str, any_fixed: bool) -> list[str]:
    legend = []
    if any(shown.spread for shown in every):
        legend.append("value ± standard deviation over the seeds")
    if any_fixed:
        legend.append("without ±: every repeat gives the same value")
    if any(shown.interval for shown in every):
        legend.append("[95 % interval over the test items and the seeds]")
    if any(shown.published for shown in every):
        legend.append("(published value)")
    if any(shown.status == "quoted" for shown in every):
        legend.append("† quoted from the publication, not measured here")
    if any(shown.status == "dash" for shown in every):
        legend.append("– the paper prints a dash")
    if any(shown.status == "absent" for shown in every):
        legend.append("— absent, the note says why")
    signs = {sign for shown in every for sign in (shown.sign, shown.mark)}
    legend += [f"{sign} {meaning.format(against=against)}" for sign, meaning in _LEGEND.items() if sign in signs]
    if (count := sum(shown.mark != "" for shown in every)) > 1:
        chance = rounded(count * LEVEL / 2, 1)
        legend.append(f"of {count} comparisons by themselves, chance gives up to {chance} better and {chance} worse")
    return legend
