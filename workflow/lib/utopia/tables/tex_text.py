"""Pieces of text in LaTeX: their markup, and how wide and high they become, estimated without LaTeX.

Widths are those of Computer Modern, which is wider than most other families.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from utopia.tables.layout import Shown

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "†": r"$^\dagger$",
    "—": "---",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≈": r"$\approx$",
    "≠": r"$\neq$",
    "✓": r"$\surd$",
    "✗": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\rightarrow$",
    "▲": r"$\bigtriangleup$",
    "▼": r"$\bigtriangledown$",
    "△": r"$(\bigtriangleup)$",
    "▽": r"$(\bigtriangledown)$",
    "○": r"$\circ$",
    "Δ": r"$\Delta$",
    "σ": r"$\sigma$",
    "δ": r"$\delta$",
    "τ": r"$\tau$",
    "ρ": r"$\rho$",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "²": r"$^2$",
    "\u00a0": "~",
    "\u202f": r"\,",
}
LINE = 340.0
"""Points of a line of LaTeX's `article` on A4 paper at 10 pt (345), less what an estimate may be wrong by."""
COLUMN = 240.0
"""Points of a column that is common in journals and proceedings of two columns."""
PAGE = 540.0
"""Points of height that a table may take: a page of `article` less a margin, on A4 or letter paper."""

# Thousandths of the size, of cmr10; what is not named is as wide as a capital.
_WIDTHS = {
    **dict.fromkeys("!',.:;[]_`il\u00a0", 278),
    **dict.fromkeys("fj", 306),
    "\u202f": 167,
    **dict.fromkeys("-()t ", 389),
    **dict.fromkeys("rs", 394),
    **dict.fromkeys("cez", 445),
    **dict.fromkeys('0123456789ago$*/\\^{}~"†–', 500),
    **dict.fromkeys("kqvxybdhnpuS", 556),
    **dict.fromkeys("LPEFZJI", 681),
    **dict.fromkeys("=≈≠<>+−×±✗✓≤≥&mO%#", 834),
    **dict.fromkeys("↓↑", 500),
    **dict.fromkeys("▲▼—→MWΔ", 1028),
    **dict.fromkeys("△▽", 1950),
}
_CAPITAL = 765


class TypeSize(Enum):
    """A size of type: its command, points, points between lines, and how much wider its letters are than cmr10's."""

    NORMAL = ("normalsize", 10.0, 12.0, 1.0)
    FOOTNOTE = ("footnotesize", 8.0, 9.5, 1.063)
    SCRIPT = ("scriptsize", 7.0, 8.0, 1.139)
    TINY = ("tiny", 5.0, 6.0, 1.363)

    def __init__(self, command: str, points: float, leading: float, wider: float) -> None:
        self.command, self.points, self.leading, self.wider = command, points, leading, wider


def width(text: str, size: TypeSize) -> float:
    """Points of a text on one line; `text` is what is read, not its markup."""
    return sum(_WIDTHS.get(character, _CAPITAL) for character in text) * size.points * size.wider / 1000


def longest_word(text: str, size: TypeSize) -> float:
    """Points of its widest piece that has no blank inside."""
    return max((width(word, size) for word in re.split("[ \t\n]+", text)), default=0.0)


def height(text: str, line: float, size: TypeSize) -> float:
    """Points that a text takes in lines of `line` points; ragged margins waste some of them."""
    return size.leading * max(1, math.ceil(width(text, size) / (0.9 * line)))


def wrapped(text: str, line: float, size: TypeSize) -> list[str]:
    """The words in lines of at most `line` points, or as wide as a word that is wider."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else ""
        if longer and width(longer, size) <= max(line, longest_word(longer, size)):
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def escape(words: str) -> str:
    """Text with LaTeX's special characters made literal, symbols as mathematics, and LaTeX's quotes."""
    words = re.sub('"([^"]*)"', r"``\1''", re.sub(r"[ \t\r\n]+", " ", words)).replace('"', "''")
    return "".join(_SPECIAL.get(character, character) for character in words)


_NUMERIC = r"[−+]?[0-9]+([.][0-9]+)?"


@dataclass(frozen=True)
class Piece:
    """A part of a cell."""

    tex: str = ""
    points: float = 0.0


def number_piece(value: str, size: TypeSize) -> Piece:
    """A number as mathematics; words as they are."""
    if re.fullmatch(_NUMERIC, value):
        return Piece(f"${value.replace('−', '-')}$", width(value, size))
    return Piece(escape(value), width(value, size))


def notes_piece(numbers: tuple[int, ...]) -> Piece:
    marks = ",".join(map(str, numbers))
    return Piece(f"$^{{{marks}}}$", width(marks, TypeSize.SCRIPT)) if numbers else Piece()


def joined(pieces: Sequence[Piece], size: TypeSize) -> Piece:
    """Pieces that are there, with thin blanks between them that do not break."""
    written = [piece for piece in pieces if piece.tex]
    blanks = max(0, len(written) - 1) * width("\u202f", size)
    return Piece(r"\,".join(piece.tex for piece in written), sum(piece.points for piece in written) + blanks)


def value_piece(shown: Shown, size: TypeSize) -> Piece:
    if shown.status in ("absent", "dash"):
        return Piece(escape(shown.main), width(shown.main, size))
    return number_piece(shown.main, size) if shown.main else Piece()


def spread_piece(shown: Shown, size: TypeSize) -> Piece:
    """Deviation and unit, in small type but for the unit; the dagger of what is quoted."""
    if shown.status == "quoted":
        return Piece(r"$^\dagger$", width("†", TypeSize.SCRIPT))
    deviation = Piece(
        rf"{{\scriptsize$\,\pm\,${shown.spread}}}", width(f"\u202f\u202f±{shown.spread}", TypeSize.SCRIPT)
    )
    unit = Piece(escape(shown.unit), width(shown.unit, size))
    return joined([deviation if shown.spread else Piece(), unit], size)


def verdict_piece(shown: Shown, size: TypeSize) -> Piece:
    return joined([Piece(escape(sign), width(sign, size)) for sign in (shown.sign, shown.mark) if sign], size)


def marked(piece: Piece, notes: Piece) -> Piece:
    return Piece(piece.tex + notes.tex, piece.points + notes.points)
