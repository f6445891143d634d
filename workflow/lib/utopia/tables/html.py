"""A table as one self-contained HTML page, readable in light and dark, on paper and by a screen reader."""

from __future__ import annotations

from html import escape

from utopia.tables.layout import Shown, TableLayout

_CSS = """\
:root { color-scheme: light dark; --ink: #1b1b1b; --soft: #5c5c5c; --line: #b8b8b8; --page: #ffffff; --band: #f3f3f3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --soft: #a8a8a8; --line: #555555; --page: #161616; --band: #222222; }
}
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: var(--ink); background: var(--page);
  font: 16px/1.45 system-ui, sans-serif; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .8rem; }
caption strong { display: block; font-size: 1.15rem; }
th, td { padding: .35rem .7rem; text-align: right; white-space: nowrap; vertical-align: top; }
th[scope=row]:not(.key), thead td { text-align: left; font-weight: normal; }
th.key { font-weight: normal; }
th[scope=row]:not(.key) { white-space: normal; max-width: 30rem; }
thead { border-top: 2px solid var(--ink); border-bottom: 1px solid var(--ink); }
tbody { border-bottom: 2px solid var(--ink); }
tbody tr:nth-child(even) { background: var(--band); }
tbody tr.group { background: none; }
tr.group th { text-align: left; font-weight: 600; padding-top: .9rem; border-bottom: 1px solid var(--line); }
.quoted, .dash, .absent, .published, .interval, .change, .verdict { color: var(--soft); }
.interval, .change, .verdict { display: block; font-size: .8rem; }
sup { line-height: 0; }
.legend, .notes { font-size: .9rem; color: var(--soft); }
@media print { body { margin: 0; max-width: none; } }
"""


def text(layout: TableLayout) -> str:
    """The page."""
    source = f" {escape(layout.source)}" if layout.source else ""
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in layout.keys + layout.heads)
    width = 1 + len(layout.keys) + len(layout.heads)
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(layout.title)}</title>",
        f"<style>\n{_CSS}</style>",
        "</head>",
        "<body>",
        '<div class="wide">',
        f'<table id="{escape(layout.id)}">',
        f"<caption><strong>{escape(layout.title)}</strong>{escape(layout.caption)}{source}</caption>",
        f"<thead><tr><td></td>{heads}</tr></thead>",
        "<tbody>",
    ]
    for line in layout.lines:
        if line.heading:
            group = f'<th scope="rowgroup" colspan="{width}">{escape(line.heading)}</th>'
            lines.append(f'<tr class="group">{group}</tr>')
        heads = _head(layout, line.title, line.notes) + "".join(_head(layout, key) for key in line.keys)
        cells = "".join(_cell(layout, shown) for shown in line.cells)
        lines.append(f"<tr>{heads}{cells}</tr>")
    lines += ["</tbody>", "</table>", "</div>"]
    if layout.legend:
        lines.append(f'<p class="legend">{escape("; ".join(layout.legend))}.</p>')
    if layout.notes:
        notes = "".join(
            f'<li id="{_anchor(layout, n)}">{escape(note)}</li>' for n, note in enumerate(layout.notes, start=1)
        )
        lines.append(f'<ol class="notes">{notes}</ol>')
    lines += ["</body>", "</html>"]
    return "\n".join(lines) + "\n"


def _head(layout: TableLayout, text: str, notes: tuple[int, ...] | None = None) -> str:
    """A title with its notes, or a key."""
    marks = _marks(layout, notes or ())
    if not text:
        return f"<td>{marks}</td>"
    kind = ' class="key"' if notes is None else ""
    return f'<th scope="row"{kind}>{escape(text)}{marks}</th>'


def _cell(layout: TableLayout, shown: Shown) -> str:
    if shown.status == "quoted":
        return f'<td class="quoted">{escape(shown.main)}<sup>†</sup></td>'
    words = [" ".join(escape(part) for part in (shown.main, shown.unit, shown.spread and f"± {shown.spread}") if part)]
    if shown.published:
        words.append(f'<span class="published">({escape(shown.published)})</span>')
    words += [escape(sign) for sign in (shown.sign, shown.mark) if sign]
    below = (("interval", shown.interval), ("change", shown.change and f"Δ {shown.change}"), ("verdict", shown.verdict))
    spans = "".join(f'<span class="{kind}">{escape(text)}</span>' for kind, text in below if text)
    return f'<td class="{shown.status}">{" ".join(words)}{_marks(layout, shown.notes)}{spans}</td>'


def _marks(layout: TableLayout, notes: tuple[int, ...]) -> str:
    links = ",".join(f'<a href="#{_anchor(layout, n)}">{n}</a>' for n in notes)
    return f"<sup>{links}</sup>" if links else ""


def _anchor(layout: TableLayout, note: int) -> str:
    return escape(f"{layout.id}-note-{note}")
