"""A table as LaTeX (booktabs), to be `\\input` into a document."""

from __future__ import annotations

import re

from utopia.outputs.render_layout import Layout, Line, Shown

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
    '"': r"\textquotedbl{}",
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


LONG = 48
"""Characters of a title that is a sentence."""


def text(layout: Layout) -> str:
    """A `table` environment. The document needs `\\usepackage{booktabs}`."""
    heads = layout.keys + layout.heads
    head = " & ".join(["", *map(escape, heads)])
    # Sentences must break; the titles of models need not.
    first = r"p{0.38\linewidth}" if any(len(line.title) > LONG for line in layout.lines) else "l"
    body = [row for number, line in enumerate(layout.lines) for row in _rows(line, 1 + len(heads), number == 0)]
    source = f" {layout.source}" if layout.source else ""
    notes = [f"$^{{{number}}}$~{escape(note)}" for number, note in enumerate(layout.notes, start=1)]
    under = ([escape("; ".join(layout.legend) + ".")] if layout.legend else []) + notes
    lines = [
        f"% Table {layout.id}. Needs \\usepackage{{booktabs}}.",
        r"\begin{table}[tbp]",
        r"  \centering",
        f"  \\caption{{{escape(f'{layout.title}. {layout.caption}{source}'.strip())}}}",
        f"  \\label{{tab:{re.sub(r'[^A-Za-z0-9:-]', '-', layout.id)}}}",
        f"  \\begin{{tabular}}{{@{{}}{first}{'r' * len(heads)}@{{}}}}",
        r"    \toprule",
        f"    {head.strip()} \\\\",
        r"    \midrule",
        *[f"    {row}" for row in body],
        r"    \bottomrule",
        r"  \end{tabular}",
        *[rf"  \par\smallskip{{\footnotesize {note}}}" for note in under],
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _rows(line: Line, width: int, is_first: bool) -> list[str]:
    """A row, above it the heading that it begins, and below it in small type intervals and differences, if any."""
    rows = [" & ".join([*(escape(text) + _marks(notes) for text, notes in line.heads), *map(_cell, line.cells)])]
    for texts in (
        [shown.interval for shown in line.cells],
        [shown.change and f"Δ {shown.change}" for shown in line.cells],
    ):
        if any(texts):
            small = (f"{{\\scriptsize {escape(text)}}}" if text else "" for text in texts)
            rows.append(" & ".join(["", *("" for _ in line.keys), *small]).strip())
    ended = [f"{row} \\\\" for row in rows]
    if not line.heading:
        return ended
    heading = f"\\multicolumn{{{width}}}{{@{{}}l}}{{\\textit{{{escape(line.heading)}}}}} \\\\"
    return [*([] if is_first else [r"\addlinespace"]), heading, *ended]


def _cell(shown: Shown) -> str:
    if shown.status == "quoted":
        return f"${shown.main.replace('−', '-')}^\\dagger$"
    words = [_number(shown.main, shown.spread) if shown.status == "measured" else escape(shown.main)]
    if shown.unit:
        words.append(escape(shown.unit))
    if shown.published:
        words.append(f"({_number(shown.published)})")
    words += [escape(sign) for sign in (shown.sign, shown.mark) if sign]
    return "~".join(words) + _marks(shown.notes)


def _number(value: str, spread: str = "") -> str:
    value = value.replace("−", "-")  # in mathematics a hyphen is a minus sign
    return f"${value} \\pm {spread}$" if spread else f"${value}$"


def _marks(notes: tuple[int, ...]) -> str:
    return f"$^{{{','.join(map(str, notes))}}}$" if notes else ""


def escape(words: str) -> str:
    """Text with LaTeX's special characters made literal and the few symbols used here as mathematics."""
    return "".join(_SPECIAL.get(character, character) for character in re.sub(r"[ \t\r\n]+", " ", words))
