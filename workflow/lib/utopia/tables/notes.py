"""Notes said once: one that holds for all values of a table, a column or a row stands there, and not at every cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from utopia.tables.layout import Line, Shown, TableLayout


def said_once(layout: TableLayout) -> TableLayout:
    """The layout with every note in the widest place where it is true, and numbers in the order of their places.

    A note at every measured cell (or at every absent one) becomes a sentence below the table, in `Layout.general`. One
    at every such cell of a column goes to the column's head, of a row to the row's title. The others stay.
    """
    every = {(r, c): shown for r, line in enumerate(layout.lines) for c, shown in enumerate(line.cells)}
    notes_of = {place: list(shown.notes) for place, shown in every.items()}
    general: list[str] = []
    heads: list[list[int]] = [[] for _ in layout.heads]
    titles = [list(line.notes) for line in layout.lines]
    for number, text in enumerate(layout.notes, start=1):
        kinds = {every[place].status for place, notes in notes_of.items() if number in notes}
        if len(kinds) != 1:
            continue
        alike = {place for place, shown in every.items() if {shown.status} == kinds}
        noted = {place for place in alike if number in notes_of[place]}
        if noted == alike and len(alike) > 1 and not any(number in title for title in titles):
            general.append(f"—: {text}" if kinds == {"absent"} else text)
            _drop(notes_of, noted, number)
            continue
        for axis, places in ((1, heads), (0, titles)):
            for at, target in enumerate(places):
                across = {place for place in alike if place[axis] == at}
                if len(across) > 1 and all(number in notes_of[place] for place in across):
                    target.append(number)
                    _drop(notes_of, across, number)
    return _renumbered(
        replace(layout, general=layout.general + tuple(general), head_notes=tuple(map(tuple, heads))),
        [(tuple(title), [tuple(notes_of[r, c]) for c in range(len(layout.heads))]) for r, title in enumerate(titles)],
    )


def without_empty_columns(layout: TableLayout) -> TableLayout:
    """The layout less the columns whose every cell is absent or blank, each named once below the table with the reason.

    A table without any value keeps its columns.
    """
    columns = list(zip(*(line.cells for line in layout.lines), strict=True))
    empty = [
        number for number, cells in enumerate(columns) if all(shown.status in ("absent", "blank") for shown in cells)
    ]
    if not empty or len(empty) == len(columns):
        return layout
    why: dict[tuple[int, ...], list[str]] = {}
    for number in empty:
        notes = tuple(sorted({note for shown in columns[number] for note in shown.notes}))
        why.setdefault(notes, []).append(layout.heads[number].rstrip(" ↑↓"))
    kept = [number for number in range(len(columns)) if number not in empty]
    lines = tuple(replace(line, cells=tuple(line.cells[number] for number in kept)) for line in layout.lines)
    sentences = tuple(
        f"Without values, and not shown: {', '.join(heads)}"
        + (f" ({'; '.join(layout.notes[note - 1] for note in notes)})" if notes else "")
        for notes, heads in why.items()
    )
    shown = replace(
        layout, heads=tuple(layout.heads[number] for number in kept), lines=lines, general=layout.general + sentences
    )
    if not any(cell.status == "absent" for line in lines for cell in line.cells):
        shown = replace(shown, legend=tuple(text for text in shown.legend if not text.startswith("—")))
    return shown


def _drop(notes_of: dict[tuple[int, int], list[int]], places: Iterable[tuple[int, int]], number: int) -> None:
    for place in places:
        notes_of[place].remove(number)


def _renumbered(layout: TableLayout, rows: list[tuple[tuple[int, ...], list[tuple[int, ...]]]]) -> TableLayout:
    """With new numbers, in reading order: heads, then each row's title and cells."""
    used = [*layout.head_notes, *(notes for title, cells in rows for notes in (title, *cells))]
    order = list(dict.fromkeys(number for notes in used for number in notes))
    new = {old: number for number, old in enumerate(order, start=1)}

    def numbers(notes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(new[old] for old in notes))

    def cell(shown: Shown, notes: tuple[int, ...]) -> Shown:
        return replace(shown, notes=numbers(notes))

    def row(line: Line, title: tuple[int, ...], cells: list[tuple[int, ...]]) -> Line:
        return replace(line, notes=numbers(title), cells=tuple(map(cell, line.cells, cells)))

    lines = tuple(row(line, title, cells) for line, (title, cells) in zip(layout.lines, rows, strict=True))
    notes = tuple(layout.notes[old - 1] for old in order)
    return replace(layout, lines=lines, notes=notes, head_notes=tuple(map(numbers, layout.head_notes)))
