"""A table in four forms: csv (long, complete, full precision), Markdown, LaTeX and HTML (rounded once, for reading)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utopia.errors import UtopiaError
from utopia.files import write_text
from utopia.tables import html as render_html
from utopia.tables import markdown as render_markdown
from utopia.tables import tex as render_tex
from utopia.tables.cells import Cell, build
from utopia.tables.columns import COLUMNS
from utopia.tables.layout import lay_out
from utopia.tables.results import Results


def render_table(
    *,
    table: Mapping[str, Any],
    runs: Mapping[str, Path | str],
    absent: Mapping[str, str],
    not_comparable: str | Mapping[str, str] = "",
    outputs: Mapping[str, Path | str],
    promised: Mapping[str, int] | None = None,
    frames: Mapping[str, Mapping[str, int]] | None = None,
) -> list[Cell]:
    """Write a table; the same inputs give the same bytes.

    Args:
        table: {"id", "title", "source", "caption", "columns": [{"id", "title", "dataset", "target", "metric",
            "decimals", "better": "lower" | "higher", "change": "relative" | "points", "printed": whether the
            paper has it}], "keys": printed columns that are not measured, [{"id", "title"}], "rows": [{"id", "title",
            "name": the row in words, "group": the heading above it, "keys": {key: text}, "runs": {column: run id},
            "changes": {column: [[run id, run id compared with] for each model]}, "against": id of the row without the
            treatment, "published": {column: number | "-" | None}, "note"}], "published_repeats": how many repeats
            published values are means of}. A row without runs is quoted; `-` is a
            printed dash, None (or nothing) a value that the paper has not.
        runs: run id -> its metrics.csv. absent: run id -> why it was not made. not_comparable: why our values cannot be
        compared with published values: one reason for all, or run id -> reason. outputs: "csv", "md", "tex", "html"
        (any of them) -> path. promised: run id -> number of replicas of each target, to refuse a mean over fewer.
        frames: run id -> frames of each item, for intervals of metrics over all frames.

    Raises:
        ComputeError: see `utopia.tables.cells.build`.
        UtopiaError: an output of another kind is asked for.
    """
    made = {run: Path(path) for run, path in runs.items()}
    cells = build(table, Results(made, absent, not_comparable, promised or {}, frames or {}))
    layout = lay_out(table, cells)
    texts = {"csv": lambda: long_csv(cells)} | {
        kind: lambda form=form: form(layout)
        for kind, form in (("md", render_markdown.text), ("tex", render_tex.text), ("html", render_html.text))
    }
    for kind, path in outputs.items():
        if kind not in texts:
            raise UtopiaError(f"a table has no form {kind!r}", where=path, remedy=f"ask for one of {', '.join(texts)}")
        write_text(path, texts[kind]())
    return cells


def long_csv(cells: Sequence[Cell]) -> str:
    """One line per cell; numbers keep every digit (repr of float64), what is not there is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell in cells:
        line = {name: getattr(cell, name) for name in COLUMNS} | {"runs": " ".join(cell.runs)}
        writer.writerow([_csv_text(line[name]) for name in COLUMNS])
    return text.getvalue()


def _csv_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else ""
    return repr(value) if isinstance(value, float) else str(value)
