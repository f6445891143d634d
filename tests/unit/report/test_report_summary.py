"""What the page says first, its picture, and its curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import page_study
import pytest

from utopia.report import curves as page_curves
from utopia.report.cells import headline
from utopia.report.data import gather
from utopia.report.page import html
from utopia.report.summary import Axis, in_order, in_words, is_generated
from utopia.tables.cells import Cell


def test_curves_are_those_of_the_files(study: Path) -> None:
    """Levels of losses and of predictions, decoded, are the numbers in training.json and in the predictions."""
    page = gather(page_study.graph(), "tiny", ["verdicts", "quoting"], [])
    (run,) = (run for run in page.data["runs"] if run[0] == "films.et.cwl")
    low_high, other, curves = run[6]["valence"]
    assert low_high == [0.05, 1.0] and other == [0.5, 1.0] and len(curves) == 6
    for training, validation in curves:
        assert levels(training, *low_high) == pytest.approx([1 / (1 + epoch) for epoch in range(20)], abs=0.01)
        assert levels(validation, *other) == pytest.approx([0.5 + abs(n - 10) / 20 for n in range(20)], abs=0.01)
    low, high, items, labels, seconds = page.data["videos"]["films valence"]
    assert items == ["item 0", "item 1", "item 2"] and seconds == [99] * 3
    assert low == pytest.approx(-0.2475) and high == pytest.approx(1.2375, rel=1e-3)
    rising = np.linspace(0, 0.99, len(labels[0]))
    assert levels(labels[0], low, high) == pytest.approx(list(rising[::-1]), abs=0.02)
    assert levels(labels[1], low, high) == pytest.approx(list(rising), abs=0.02)
    assert [n for n, _ in run[7]["valence"]] == [0, 1, 2]
    assert all(levels(curve, low, high) == pytest.approx(list(rising), abs=0.02) for _, curve in run[7]["valence"])


def levels(curve: str, low: float, high: float) -> list[float]:
    return [low + (high - low) * page_curves.LEVELS.index(letter) / 63 for letter in curve]


def test_a_curve_is_thinned_with_both_ends_cut_at_the_frame_and_has_gaps() -> None:
    assert page_curves.coded([0, 1, 2, 3, 4], 0, 4, 3) == "Ag_"
    assert page_curves.coded([-5.0, 9.0, float("nan")], 0, 4, 9) == "A_ "
    assert page_curves.coded([2.0, 2.0], 2, 2, 9) == "AA" and page_curves.coded([], 0, 1, 9) == ""
    assert [page_curves.points_for(count) for count in (0, 100, 10_000, 10**9)] == [32, 32, 15, 10]


def test_the_picture_has_a_dot_for_each_published_value_that_was_measured(study: Path) -> None:
    found = gather(page_study.graph(), "tiny", ["verdicts", "quoting"], [])
    (part,) = found.parts
    assert {(dot.cell, dot.kind) for dot in part.dots} == {
        ("verdicts/base/films", "same"), ("verdicts/base/songs", "apart"), ("verdicts/cwl/films", "inside"),
        ("verdicts/rmn/films", "outside"), ("quoting/ours/films", "same"),
    }  # fmt: skip
    assert part.dots[-1].kind == "outside", "what disagrees is drawn on top"
    for dot in part.dots:
        assert 0 < part.x.place(dot.published, 1) < 1 and 0 < part.y.place(dot.value, 1) < 1
    text = html(found)
    assert text.count("<circle") == 5 and 'href="#=verdicts/rmn/films" data-k="outside"' in text
    assert "Generated data" not in text and found.said[0].startswith("5 of 6 cells with a published value are measured")


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.07, 0.093), (-0.4, 0.9), (41.0, 66.0), (0.0, 0.001)])
@pytest.mark.parametrize("most", [4, 6])
def test_ticks_are_few_round_and_on_the_axis(low: float, high: float, most: int) -> None:
    ticks = Axis(low, high).ticks(most)
    assert 2 <= len(ticks) <= most and all(low <= tick <= high for tick in ticks)
    assert all(len(f"{tick:g}".replace("-", "").replace(".", "").strip("0")) <= 2 for tick in ticks)


def test_what_came_out_in_words() -> None:
    def cell(number: int, verdict: str, **more: Any) -> Cell:
        return Cell("t", f"r{number}", "c", 1.0, None, 1, "measured", "", 1.0, 2, verdict, **more)

    compared = [cell(1, "rounds to the same"), cell(2, "outside by 0.1"), cell(3, "inside our interval")]
    (first, second) = in_words(compared, [], generated=False)
    assert first == "3 of 3 cells with a published value are measured."
    assert "Of 3 that can be compared, 1 round to the published value, in 1 it is inside our interval" in second
    apart = [cell(4, "not comparable", verdict_reason="generated miniature data")]
    assert is_generated(apart) and not is_generated(compared)
    truth = [cell(5, "holds"), cell(6, "holds")]
    assert in_words(apart, truth, generated=True)[:2] == [
        "Generated data: these numbers test the machinery. They say nothing about the papers, and no published value "
        "can be expected here.",
        "The planted truth was found: all 2 expectations are met.",
    ]
    assert "1 of 2 expectations are met" in in_words(apart, [truth[0], cell(7, "does not hold")], generated=True)[1]


def test_the_papers_come_first_by_their_numbers() -> None:
    names = ["eev_table_1", "beyond_table_1", "paper_claims", "ulda_claims", "ulda_table_2", "ulda_table_1"]
    assert in_order(["planted_truth", *names]) == [
        "planted_truth", "ulda_table_2", "ulda_table_1", "ulda_claims", "eev_table_1", "paper_claims", "beyond_table_1",
    ]  # fmt: skip
    assert headline("ULDA, Table 1", "Valence") == "ULDA Table 1: Valence"
    assert headline("EEV 2021 report, Fig. 1", "A network") == "EEV Fig. 1: A network"
    assert headline("beyond the paper; drawn as ULDA, Fig. 2", "Another") == "Another"
