"""Verdicts on the page: differences of all tables are judged together."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import page_study
import pytest

from utopia.evaluation.verdict import judge_family
from utopia.report.ancestry import ranges
from utopia.report.cells import adjusted_verdicts
from utopia.report.data import gather
from utopia.report.page import html
from utopia.tables.cells import Cell


def test_differences_of_all_tables_are_judged_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """△ of a gain that would be one by itself; the head says how many there are and what chance alone would give."""
    tables = {
        name: [Cell(name, f"r{n}", "c", 0.5, 0.1, 3, "measured", "", None, 2, runs=[f"{name}{n}"], difference=p,
                    difference_p=p, difference_verdict=text) for n, (p, text) in enumerate(given)]
        for name, given in {"a": [(0.001, "better"), (0.03, "worse")], "b": [(0.04, "better"), (None, "")]}.items()
    }  # fmt: skip
    cells, family = adjusted_verdicts(tables)
    assert [cell.difference_verdict for own in cells.values() for cell in own] == [
        "better", "worse only by itself", "better only by itself", ""
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    page_study.make(tmp_path)
    page = gather(page_study.graph(), "tiny", ["verdicts", "quoting"], ["curve"])
    text = html(replace(page, facts=page.facts | {"family": family}))
    assert "3 comparisons of treatments, judged together (Holm)" in text
    assert re.search(r"1 ▲ better, 0 ▼ worse.\s+△ 1 and ▽ 1 more would be so only by themselves", text)
    assert "chance alone would give up to 0.1 of each" in text
    assert "comparisons of treatments" not in html(replace(page, facts=page.facts | {"family": judge_family({})}))


def test_ranges() -> None:
    assert ranges([]) == []
    assert ranges([5, 1, 2, 3, 7, 8]) == [[1, 3], [5, 5], [7, 8]]
