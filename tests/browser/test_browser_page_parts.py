"""Parts of the page in a real Chromium: what came out, tables, figures, and the drawings behind a number."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
from page_study import HOSTILE
from visits import TREATED, Visit, shown


def opened(page: Any, title: str) -> Any:
    """A part of the panel, unfolded, when what is in it has been made."""
    part = page.locator("#panel details", has=page.locator("summary", has_text=title)).first
    part.locator("summary").first.click()
    part.locator(".fold > *").first.wait_for()
    return part


def test_curves_of_each_replica_and_of_each_video(visit: Visit) -> None:
    page = visit(f"#={TREATED}")
    losses = opened(page, "Losses by epoch")
    assert losses.locator("svg path.training").count() == losses.locator("svg path.validation").count() == 6
    assert "fold 0, repeat 0: epoch 11 of 20" in losses.inner_text()
    line = losses.locator("svg line.chosen").first
    assert float(line.get_attribute("x1")) == pytest.approx(180 * 10 / 19, abs=0.01)
    falling = losses.locator("svg path.training").first.get_attribute("d")
    heights = [float(height) for height in re.findall(r"[ML][0-9.]+ ([0-9.]+)", falling)]
    assert heights[0] == 0 and heights[-1] == 56 and heights == sorted(heights) and len(heights) == 20
    videos = opened(page, "Predictions and labels")
    assert videos.locator("figure").count() == 3 and "item 2 (99 s)" in videos.inner_text()
    paths = [videos.locator("figure").nth(1).locator(f"path.{kind}").get_attribute("d") for kind in
             ("label-curve", "prediction")]  # fmt: skip
    assert paths[0] == paths[1], "this item's labels are what was predicted"


def test_the_ancestry_as_a_picture_and_the_logs(visit: Visit) -> None:
    page = visit(f"#={TREATED}")
    part = opened(page, "Its ancestry as a picture")
    words = part.locator("svg text").all_text_contents()
    assert words[0] == "raw files" and words[-1] == "render table"
    assert words[1:-1] == ["list inputs", "build labels", "train", "evaluate"]
    assert part.locator("svg path.edge").count() == 5
    steps = opened(page, "Steps, from here to the raw files")
    steps.locator("summary", has_text="render_table").click()
    link = steps.locator('a[href^="../logs/"]').first
    link.wait_for()
    assert link.get_attribute("href") == "../logs/render_table.log"


def test_the_interval_stands_apart_from_the_dots(visit: Visit) -> None:
    page = visit(f"#={TREATED}")
    strip = page.locator("#panel .strip")
    dots = {strip.locator("circle").nth(n).get_attribute("cy") for n in range(6)}
    box = strip.locator("rect.interval")
    assert dots == {"14"} and float(box.get_attribute("y")) > 14 + 4
    assert "95 % interval of their mean, over test items and seeds" in shown(page)
    assert [strip.locator("text").nth(n).text_content() for n in range(3)] == ["repeats", "mean", "published"]


def column(page: Any, table: str, number: int) -> list[str]:
    return page.evaluate(
        """([table, n]) => [...document.querySelectorAll(`#${table} tbody tr:not(.group)`)]
        .map(row => row.cells[n].querySelector('button.n b')?.textContent ?? '')""",
        [table, number],
    )


def test_columns_sort_within_their_groups_and_back(visit: Visit) -> None:
    page = visit()
    before = column(page, "verdicts", 1)
    head = page.locator("#verdicts thead th").first
    head.locator("button").click()
    assert column(page, "verdicts", 1) == ["0.500", "0.540", "0.540", "0.700", "—"]
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    assert column(page, "verdicts", 1) == ["0.700", "0.540", "0.540", "0.500", "—"]
    head.locator("button").click()
    assert column(page, "verdicts", 1) == before and head.get_attribute("aria-sort") is None
    page.locator("#quoting thead th").nth(1).locator("button").click()
    groups = page.locator("#quoting tbody tr.group th").all_inner_texts()
    assert [text.split(" ")[0] for text in groups] == ["Theirs", "Ours"]
    assert column(page, "quoting", 2) == ["0.610", "", "", "0 of 1", "0.540"]


def test_heads_and_titles_stay_in_sight(visit: Visit) -> None:
    page = visit(viewport={"width": 320, "height": 300})
    moved = page.evaluate(
        """() => { const wide = document.querySelector('#verdicts .wide');
        const at = (element) => { const box = element.getBoundingClientRect(), frame = wide.getBoundingClientRect();
          return [box.left - frame.left, box.top - frame.top]; };
        wide.scrollTo({left: 60, top: 80, behavior: 'instant'});
        return [wide.scrollLeft, wide.scrollTop, at(wide.querySelector('tbody tr:nth-child(3) th'))[0],
          at(wide.querySelector('thead th'))[1]]; }"""
    )
    assert moved[0] > 0 and moved[1] > 0 and moved[2:] == [0, 0]


def test_contents_are_searched_and_all_cells_are_one_csv(visit: Visit, tmp_path: Path) -> None:
    page = visit()
    entries = page.locator(".contents li")
    assert entries.count() == 4
    page.fill("#seek", "their other")
    assert [entries.nth(n).is_visible() for n in range(4)] == [False, True, False, False]
    assert page.locator("#seek-found").inner_text() == "1 entry"
    page.fill("#seek", "")
    assert all(entries.nth(n).is_visible() for n in range(4))
    with page.expect_download() as download:
        page.click("#all-cells")
    assert download.value.suggested_filename == "tiny-cells.csv"
    with Path(download.value.path()).open(newline="", encoding="utf-8") as file:
        cells = {row["cell"]: row for row in csv.DictReader(file)}
    assert len(cells) == 9 and float(cells[TREATED]["value"]) == pytest.approx(0.54)
    assert cells[TREATED]["verdict"] == "inside our interval" and cells["quoting/others/films"]["value"] == ""
    assert HOSTILE in cells["verdicts/gone/films"]["reason"]


def test_what_came_out_is_said_first_and_its_dots_open_cells(visit: Visit) -> None:
    page = visit()
    head = page.locator("header").inner_text()
    assert head.index("cells with a published value are measured") < head.index("Select any number")
    assert page.locator(".against circle").count() == 5
    page.locator('.against a[href="#=verdicts/rmn/films"]').click()
    assert page.locator("#panel-title").inner_text() == "Another model, films <PCC>"


def test_a_broad_table_is_not_cut_in_print(visit: Visit) -> None:
    page = visit()
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 990})
    assert page.evaluate("[...document.querySelectorAll('.wide')].every(e => e.scrollWidth <= e.clientWidth + 1)")
    assert page.evaluate("[...document.querySelectorAll('.wide')].every(e => e.scrollHeight <= e.clientHeight + 1)")
