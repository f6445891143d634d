"""The drill as a script: what it prints of rows that are found, are not, or raise a false alarm."""

from __future__ import annotations

from pathlib import Path

import audit_drill
import pytest
from drill_rows import Row, after, compared, rows
from forgeries import CSV
from studies import flip

pytestmark = pytest.mark.workflow


def test_the_drill_tells_what_is_found_from_what_is_not(small_checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script itself, on a few of its rows and on a row that nothing finds."""
    monkeypatch.chdir(small_checkout)
    chosen = [Row("-", "nothing", "compare", compared, is_quiet=True)]
    chosen += [row for row in rows() if row.change == "a value typed, record agrees"]
    chosen += [
        Row("A", "nothing at all", "compare", compared),
        Row("A", "a row that breaks", "compare", lambda study: [study.path("nothing").read_text()]),
        Row("A", "a bit of a table", "compare", after(lambda s: flip(s.path(CSV)), compared), is_quiet=True),
    ]
    monkeypatch.setattr(audit_drill, "rows", lambda: chosen)
    monkeypatch.setattr(audit_drill, "refused", lambda source: [("a word", "plan", "yes (exit 2: no)")])
    said = [line[-1].split(" (")[0].split(":")[0] for line in audit_drill.tried(small_checkout, [], whole=False)]
    assert said == ["nothing found, as it must be", "yes", "yes", "NOT FOUND", "NOT FOUND", "FALSE ALARM", "yes"]
    items = {row.item for row in rows()}
    assert items >= {"A1", "A2", "A3", "A4", "A5", "A6", "A7", "B9", "B10", "B11", "B12", "B13", "E"}
