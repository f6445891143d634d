"""A table as Markdown (GitHub's tables)."""

from __future__ import annotations

import re

from utopia.tables.layout import Shown, TableLayout


def text(layout: TableLayout) -> str:
    """The whole document: title, caption, table, legend, numbered notes."""
    head = ["", *layout.keys, *layout.heads]
    body = []
    for line in layout.lines:
        if line.heading:
            body.append([f"**{escape(line.heading)}**", *[""] * (len(head) - 1)])
        body.append([*(escape(text) + _marks(notes) for text, notes in line.heads), *map(_cell, line.cells)])
    parts = [f"# {escape(layout.title)}"]
    caption = " ".join(part for part in (layout.caption, layout.source) if part)
    if caption:
        parts.append(escape(caption))
    rule = [":---", *["---:"] * (len(head) - 1)]
    lines = ([escape(name) for name in head], rule, *body)
    parts.append("\n".join("| " + " | ".join(cells) + " |" for cells in lines))
    if layout.legend:
        parts.append(escape("; ".join(layout.legend) + "."))
    if layout.notes:
        parts.append("\n".join(f"{number}. {escape(note)}" for number, note in enumerate(layout.notes, start=1)))
    return "\n\n".join(parts) + "\n"


def _cell(shown: Shown) -> str:
    words = [escape(shown.main) + ("†" if shown.status == "quoted" else "")]
    if shown.unit:
        words.append(shown.unit)
    if shown.spread:
        words.append(f"± {shown.spread}")
    if shown.published:
        words.append(f"({shown.published})")
    words += [sign for sign in (shown.sign, shown.mark) if sign]
    below = [shown.interval, f"Δ {shown.change}" if shown.change else ""]
    return "<br>".join([" ".join(words) + _marks(shown.notes), *(line for line in below if line)])


def _marks(notes: tuple[int, ...]) -> str:
    return f"<sup>{','.join(map(str, notes))}</sup>" if notes else ""


def escape(words: str) -> str:
    """Text with Markdown's and HTML's special characters made literal, on one line."""
    words = re.sub(r"\s+", " ", words).strip()
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", words).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
