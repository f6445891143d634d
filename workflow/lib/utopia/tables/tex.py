"""A table as LaTeX (booktabs), to be `\\input` into a document: a compact form, and a full one that breaks over pages.

The compact form has value, deviation and verdict. It is as wide as a column or a page at most: what is wider is cut
into panels, and what is higher than a page into several floats. The full form (`\\def\\utopiafull{}` before
`\\input`) adds the published value, interval and difference: one line per value, in a `longtable`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from utopia.tables.layout import Line, TableLayout
from utopia.tables.notes import said_once, without_empty_columns
from utopia.tables.tex_text import (
    COLUMN,
    LINE,
    PAGE,
    Piece,
    TypeSize,
    escape,
    height,
    joined,
    longest_word,
    marked,
    notes_piece,
    number_piece,
    spread_piece,
    value_piece,
    verdict_piece,
    width,
    wrapped,
)

_GAP = 3.0
"""Points on each side of a column (`\tabcolsep`)."""
_TITLE = 60.0
"""Points that titles of rows get at least, where they need them."""
_KEY = 46.0
"""Points from which on printed settings are wrapped."""
_RULE = 4.0
"""Points that a rule takes, with the space around it."""


def text(layout: TableLayout) -> str:
    """Both forms in one file; a document takes one (packages: booktabs; the full form also longtable)."""
    shown = said_once(without_empty_columns(layout))
    lines = [
        f"% Table {layout.id}. Needs \\usepackage{{booktabs}}.",
        r"% The full form: \usepackage{longtable} in the preamble, and \def\utopiafull{} before this file.",
        r"\ifdefined\utopiafull",
        *_full(shown),
        r"\else",
        *_compact(shown),
        r"\fi",
    ]
    return "\n".join(lines) + "\n"


def _label(layout: TableLayout) -> str:
    return f"\\label{{tab:{re.sub(r'[^A-Za-z0-9:-]', '-', layout.id)}}}"


def _caption(layout: TableLayout) -> str:
    return " ".join(part for part in (f"{layout.title}.", layout.caption, layout.source) if part)


def _below(layout: TableLayout) -> list[tuple[str, str]]:
    """Paragraphs under the table as `(mark, text)`: the legend, notes on all values, numbered notes."""
    # Interval and published value have columns with heads of their own, or none.
    legend = [text for text in layout.legend if not text.startswith(("[", "("))]
    notes = [("", "; ".join(legend) + ".")] if legend else []
    notes += [("", text) for text in layout.general]
    return notes + [(str(number), text) for number, text in enumerate(layout.notes, start=1)]


def _paragraph(mark: str, words: str) -> str:
    number = f"$^{{{mark}}}$~" if mark else ""
    return rf"{{\footnotesize\raggedright {number}{escape(words)}\par}}"


# -- the compact form

_SMALL = TypeSize.FOOTNOTE


@dataclass(frozen=True)
class _Column:
    """A column as LaTeX sets it: the value on the right of one column, what follows on the left of the next."""

    head: Piece
    """In as many lines as its width takes."""
    head_lines: int
    cells: tuple[tuple[Piece, Piece], ...]
    points: float


@dataclass(frozen=True)
class _Part:
    """What may have a page of its own: a part of a panel, or the paragraphs below the table."""

    lines: tuple[str, ...]
    points: float


def _column(layout: TableLayout, number: int) -> _Column:
    cells = []
    for line in layout.lines:
        shown = line.cells[number]
        rest = joined([spread_piece(shown, _SMALL), verdict_piece(shown, _SMALL)], _SMALL)
        cells.append((value_piece(shown, _SMALL), marked(rest, notes_piece(shown.notes))))
    inner = max((left.points for left, _ in cells), default=0.0) + max(
        (right.points for _, right in cells), default=0.0
    )
    words = layout.heads[number]
    lines = wrapped(re.sub(" ([↓↑])$", "\u00a0\\1", words), max(inner, 30.0), _SMALL)
    marks = notes_piece(layout.head_notes[number]) if layout.head_notes else Piece()
    stacked = escape(lines[0]) if len(lines) == 1 else r"\shortstack{" + r"\\".join(map(escape, lines)) + "}"
    head = Piece(stacked + marks.tex, max(width(each, _SMALL) for each in lines) + marks.points)
    # the thin space between value and deviation, and the space on both sides
    return _Column(head, len(lines), tuple(cells), max(inner, head.points) + 2 * _GAP)


def _compact(layout: TableLayout) -> list[str]:
    columns = [_column(layout, number) for number in range(len(layout.heads))]
    keys = [_key(layout, number) for number in range(len(layout.keys))]
    taken = sum(key.points for key in keys)
    title = _title_width(layout, LINE - taken - max((column.points for column in columns), default=0.0))
    panels = _panels(columns, LINE - title - taken)
    widest = max((sum(column.points for column in panel) for panel in panels), default=0.0) + title + taken
    parts = [part for panel in panels for part in _panel(layout, panel, keys, title)] + _foot(
        layout, max(widest, COLUMN)
    )
    caption = _caption(layout)
    kind, line = ("table", COLUMN) if widest <= COLUMN else ("table*", LINE)
    pages = _pages(parts, PAGE - height(caption, line, TypeSize.NORMAL) - 2 * TypeSize.NORMAL.leading)
    lines = []
    for number, page in enumerate(pages):
        again = [r"  \addtocounter{table}{-1}", rf"  \caption[]{{{escape(f'{layout.title} (continued).')}}}"]
        first = [rf"  \caption{{{escape(caption)}}}", f"  {_label(layout)}"]
        lines += [
            rf"\begin{{{kind}}}[tbp]",
            r"  \centering\footnotesize",
            rf"  \setlength{{\tabcolsep}}{{{_GAP:g}pt}}",
            *(again if number else first),
            *(f"  {line}" for part in page for line in part.lines),
            rf"\end{{{kind}}}",
        ]
    return lines


@dataclass(frozen=True)
class _Key:
    """A column of printed settings: on one line each, or wrapped where they are words."""

    kind: str
    head: str
    cells: tuple[str, ...]
    points: float
    lines: tuple[int, ...]
    """How many each row takes."""


def _key(layout: TableLayout, number: int) -> _Key:
    texts = [layout.keys[number], *(line.keys[number] for line in layout.lines)]
    inner = max(width(text, _SMALL) for text in texts)
    if inner <= _KEY:
        return _Key("r", escape(texts[0]), tuple(map(escape, texts[1:])), inner + 2 * _GAP, (1,) * len(layout.lines))
    inner = max(_KEY, *(longest_word(text, _SMALL) + 1.0 for text in texts))
    head, *cells = (rf"\raggedright {escape(text)}" if text else "" for text in texts)
    lines = tuple(round(height(text, inner, _SMALL) / _SMALL.leading) for text in texts[1:])
    return _Key(f"p{{{inner:.1f}pt}}", head, tuple(cells), inner + 2 * _GAP, lines)


def _title_width(layout: TableLayout, most: float) -> float:
    """Points of the column of titles: as wide as they are, or what remains beside the widest other column."""
    texts = [(line.title, line.notes) for line in layout.lines]
    needed = max((width(title, _SMALL) + notes_piece(notes).points for title, notes in texts), default=0.0) + 2.0
    # titles that are sentences leave room for two columns at least
    allowed = max(_TITLE, min(most, 0.62 * LINE)) - _GAP
    words = max((longest_word(title, _SMALL) for title, _ in texts), default=0.0) + 6.0
    return min(needed, max(allowed, words)) + _GAP


def _panels(columns: Sequence[_Column], room: float) -> list[list[_Column]]:
    """The columns in as few panels as the line allows, of about as many columns each."""
    for count in range(1, len(columns) + 1):
        size = math.ceil(len(columns) / count)
        panels = [list(columns[start : start + size]) for start in range(0, len(columns), size)]
        if all(sum(column.points for column in panel) <= room for panel in panels):
            return panels
    return [[column] for column in columns]


def _panel(layout: TableLayout, columns: Sequence[_Column], keys: Sequence[_Key], title: float) -> Iterator[_Part]:
    """A panel, in parts of at most a page."""
    inside, across = title - _GAP, 1 + len(keys) + 2 * len(columns)
    rows = [_compact_row(layout, place, columns, keys, inside, across) for place in range(len(layout.lines))]
    heads = [*(key.head for key in keys), *(rf"\multicolumn{{2}}{{c}}{{{column.head.tex}}}" for column in columns)]
    kinds = "".join(key.kind for key in keys) + "r@{}l" * len(columns)
    start = [
        rf"\begin{{tabular}}{{@{{}}p{{{inside:.1f}pt}}{kinds}@{{}}}}",
        r"  \toprule",
        f"  {' & '.join(['', *heads]).strip()} \\\\",
        r"  \midrule",
    ]
    end = [r"  \bottomrule", r"\end{tabular}\par\medskip"]
    taken = 3 * _RULE + max((column.head_lines for column in columns), default=1) * _SMALL.leading + 10.0
    taken += _SMALL.leading * any(key.kind != "r" for key in keys)
    for page in _pages(_kept_together(layout, rows), PAGE - taken - 4 * TypeSize.NORMAL.leading):
        lines = [line for part in page for line in part.lines]
        space = lines[:1] == [r"\addlinespace"]
        yield _Part((*start, *(f"  {line}" for line in lines[space:]), *end), taken + sum(part.points for part in page))


def _kept_together(layout: TableLayout, rows: Sequence[_Part]) -> list[_Part]:
    """The rows of each group as one part, where they are few: a heading does not stay behind alone."""
    groups: list[list[_Part]] = []
    for line, row in zip(layout.lines, rows, strict=True):
        if line.heading or not groups:
            groups.append([])
        groups[-1].append(row)
    parts = []
    for group in groups:
        points = sum(row.points for row in group)
        whole = _Part(tuple(line for row in group for line in row.lines), points)
        parts += [whole] if points < 0.25 * PAGE else group
    return parts


def _compact_row(
    layout: TableLayout, place: int, columns: Sequence[_Column], keys: Sequence[_Key], inside: float, across: int
) -> _Part:
    line = layout.lines[place]
    title = rf"\raggedright {escape(line.title)}{notes_piece(line.notes).tex}" if line.title or line.notes else ""
    texts = [title, *(key.cells[place] for key in keys)]
    texts += [piece.tex for column in columns for piece in column.cells[place]]
    lines = max((key.lines[place] for key in keys), default=1)
    points = max(height(line.title, inside, _SMALL), lines * _SMALL.leading) + 0.5
    above: list[str] = []
    if line.heading:
        points += _SMALL.leading + 5.0
        heading = rf"\textit{{{escape(line.heading)}}}"
        above = [r"\addlinespace", _across(across, heading, line.heading, _SMALL)]
    return _Part((*above, " & ".join(texts) + r" \\"), points)


def _across(columns: int, tex: str, words: str, size: TypeSize) -> str:
    """A row that is one cell; words that are wider than a line break."""
    kind = "l" if width(words, size) <= 0.9 * LINE else r"p{\linewidth}"
    return rf"\multicolumn{{{columns}}}{{@{{}}{kind}@{{}}}}{{{tex}}} \\"


def _foot(layout: TableLayout, line: float) -> list[_Part]:
    """The paragraphs below the table, each a part."""
    return [
        _Part((_paragraph(mark, words),), height(f"{mark} {words}", line, _SMALL) + 1.0)
        for mark, words in _below(layout)
    ]


def _pages(parts: Sequence[_Part], room: float) -> list[list[_Part]]:
    """The parts in order on as few pages as hold them."""
    pages: list[list[_Part]] = [[]]
    for part in parts:
        if pages[-1] and sum(earlier.points for earlier in pages[-1]) + part.points > room:
            pages.append([])
        pages[-1].append(part)
    return pages


# -- the full form


@dataclass(frozen=True)
class _Fact:
    """A column of the full form."""

    head: str
    kind: str
    """Its letter in a `tabular`; the deviation stands close to its value and has no head of its own."""
    pieces: tuple[Piece, ...]
    points: float


def _full(layout: TableLayout) -> list[str]:
    """One line per value, under its row's title where a table has more than one column."""
    names = [_titled(layout, line) for line in layout.lines] if len(layout.heads) == 1 else list(layout.heads)
    for size, broken in ((TypeSize.FOOTNOTE, False), (TypeSize.SCRIPT, False), (TypeSize.SCRIPT, True)):
        facts = _facts(layout, size, broken=broken)
        room = LINE - sum(fact.points + 2 * _GAP * (fact.kind != "@{}l") for fact in facts)
        needed = max((width(name, size) + 14.0 for name in names), default=0.0)
        if room >= min(needed, 100.0):
            break
    words = max((longest_word(name, size) + 14.0 for name in names), default=0.0)
    return _longtable(layout, size, min(needed, max(room, words)), facts)


def _titled(layout: TableLayout, line: Line) -> str:
    keys = ", ".join(f"{key} = {text}" for key, text in zip(layout.keys, line.keys, strict=False) if text)
    return f"{line.title} ({keys})" if keys and line.title else line.title or keys


def _facts(layout: TableLayout, size: TypeSize, *, broken: bool) -> list[_Fact]:
    """The columns right of the names; `broken`: differences have their interval on a second line."""
    every = [shown for line in layout.lines for shown in line.cells]

    def fact(head: str, kind: str, pieces: Sequence[Piece]) -> _Fact:
        points = max((piece.points for piece in pieces), default=0.0)
        return _Fact(escape(head), kind, tuple(pieces), max(points, width(head, size)))

    facts = [
        fact("", "r", [value_piece(shown, size) for shown in every]),
        fact("", "@{}l", [marked(spread_piece(shown, size), notes_piece(shown.notes)) for shown in every]),
    ]
    if any(shown.published for shown in every):
        facts.append(fact("paper", "r", [number_piece(shown.published, size) for shown in every]))
    if any(shown.interval for shown in every):
        whole = [_unbroken(shown.interval) for shown in every]
        facts.append(fact("95 % interval", "l", [Piece(escape(text), width(text, size)) for text in whole]))
    if any(shown.change for shown in every):
        whole = [_unbroken(shown.change) for shown in every]
        changes = fact("Δ", "l", [Piece(escape(text), width(text, size)) for text in whole])
        if broken:
            points = max(longest_word(text.replace("\u00a0", "_"), size) for text in whole) + 2.0
            ragged = tuple(replace(piece, tex=piece.tex and rf"\raggedright {piece.tex}") for piece in changes.pieces)
            changes = replace(changes, kind=f"p{{{points:.1f}pt}}", pieces=ragged, points=points)
        facts.append(changes)
    if any(shown.sign or shown.mark or shown.change for shown in every):  # also last, behind what may break
        facts.append(fact("", "l", [verdict_piece(shown, size) for shown in every]))
    return facts


def _unbroken(words: str) -> str:
    """A difference or interval, whose brackets stay on one line."""
    return words.replace(", ", ",\u00a0")


def _longtable(layout: TableLayout, size: TypeSize, title: float, facts: Sequence[_Fact]) -> list[str]:
    alone = len(layout.heads) == 1
    head = " & ".join(["", r"\multicolumn{2}{c}{value}", *(fact.head for fact in facts[2:])])
    kinds = "".join(fact.kind for fact in facts)
    lines = [
        rf"\begingroup\{size.command}\setlength{{\tabcolsep}}{{{_GAP:g}pt}}\setlength{{\LTcapwidth}}{{\linewidth}}",
        rf"\begin{{longtable}}{{@{{}}p{{{title:.1f}pt}}{kinds}@{{}}}}",
        rf"  \caption{{{escape(_caption(layout))}}}{_label(layout)} \\",
        rf"  \toprule {head} \\ \midrule \endfirsthead",
        rf"  \toprule {head} \\ \midrule \endhead",
        r"  \bottomrule \endfoot",
    ]
    place = itertools.count()
    for number, line in enumerate(layout.lines):
        if line.heading:
            lines += [r"  \addlinespace"] if number else []
            heading = rf"\textit{{{escape(line.heading)}}}"
            lines.append("  " + _across(1 + len(facts), heading, line.heading, size) + "*")
        rows = [(name, shown, next(place)) for name, shown in enumerate(line.cells)]
        rows = [row for row in rows if alone or row[1].status != "blank"]
        name = _titled(layout, line)
        marks = notes_piece(line.notes).tex
        if not alone:
            lines.append("  " + _across(1 + len(facts), escape(name) + marks, name, size) + "*" * bool(rows))
        for at, (column, _, cell) in enumerate(rows, start=1):
            column_name = rf"\hspace*{{1em}}{escape(layout.heads[column])}{_head_marks(layout, column)}"
            texts = [escape(name) + marks if alone else column_name, *(fact.pieces[cell].tex for fact in facts)]
            lines.append(rf"  \raggedright {' & '.join(texts)} \\" + "*" * (at < len(rows)))
    return [*lines, r"\end{longtable}", *(_paragraph(*note) for note in _below(layout)), r"\endgroup"]


def _head_marks(layout: TableLayout, column: int) -> str:
    return notes_piece(layout.head_notes[column]).tex if layout.head_notes else ""
