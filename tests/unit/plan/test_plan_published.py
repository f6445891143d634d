"""What the papers print: the catalogue against a transcription of its own, both ways, and its own claims from it."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from utopia.config.load import RESOURCES, load
from utopia.plan import catalog
from utopia.plan.catalog import Table
from utopia.plan.plan import Plan

TRANSCRIBED = sorted(path.stem for path in (RESOURCES / "published").glob("*_table_*.csv"))
PRINTED = {name: table for name, table in catalog.tables().items() if not table.is_of_text}
TABLES = {name: table for name, table in PRINTED.items() if name.startswith(("ulda_", "eev_"))}


class Printed(NamedTuple):
    """One printed cell: a measured value or a key, as it is in the paper."""

    row: str
    group: str
    title: str
    column: str
    text: str


def transcription(name: str) -> list[Printed]:
    with (RESOURCES / "published" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [Printed(*line.values()) for line in csv.DictReader(file)]


def in_catalogue(table: Table) -> list[Printed]:
    """The printed cells of a catalogue entry, row by row, keys first."""
    found = []
    for row in (row for row in table.rows if row.is_printed):
        # A printed row has no title of its own where its keys say which it is.
        title = row.title or table.name(row)
        texts = {f"setting.{key.id}": table.key_text(row, key).removesuffix(key.unit or "\0") for key in table.keys}
        for column in table.columns:
            value = row.published.get(column.id)
            texts[column.id] = f"{value:.{column.decimals}f}" if isinstance(value, float) else value or ""
        found += [Printed(row.id, row.group, title, place, text) for place, text in texts.items() if text]
    return found


def test_every_printed_table_is_in_the_catalogue() -> None:
    assert set(TABLES) == set(TRANSCRIBED) and len(TRANSCRIBED) == 13


@pytest.mark.parametrize("name", TRANSCRIBED)
def test_the_catalogue_has_what_is_printed_and_nothing_else(name: str) -> None:
    """Cell by cell, with rows, groups, titles and their order."""
    assert in_catalogue(TABLES[name]) == transcription(name)


def test_tables_of_our_own_have_no_printed_row() -> None:
    for name in set(PRINTED) - set(TABLES):
        assert not any(row.is_printed for row in PRINTED[name].rows) and "Table" not in PRINTED[name].source, name


def test_how_much_the_papers_print() -> None:
    cells = [cell for name in TRANSCRIBED for cell in transcription(name)]
    kinds = Counter("key" if cell.column.startswith("setting.") else cell.text == "-" for cell in cells)
    assert kinds == {False: 415, True: 2, "key": 68}
    assert len({(name, cell.row) for name in TRANSCRIBED for cell in transcription(name)}) == 125


def test_no_row_of_the_papers_is_marked_as_not_printed() -> None:
    for name, table in TABLES.items():
        printed = {cell.row for cell in transcription(name)}
        assert {row.id for row in table.rows if row.is_printed} == printed
        assert all(row.printed is False for row in table.rows if row.id not in printed)


def test_runs_are_made_with_the_printed_settings() -> None:
    """The runs' real settings, whatever gives them: the key columns, a row's `set` or the configuration."""
    plan = Plan(load({"study": "paper"}))
    checked = 0
    for cell in plan.cells:
        if not cell.row.keys or cell.run is None:
            continue
        keys, settings = cell.row.keys, cell.run.settings
        if "delta" in keys:
            assert (cell.run.distribution["delta"], cell.run.distribution["sigma"]) == (keys["delta"], keys["sigma"])
        if "T" in keys:
            assert cell.run.window == settings["sampler_config"]["window"] == keys["T"]
        if "clip_frames" in keys:
            clips = settings["model_config"]["training"]["clips"]
            assert (clips["steps"], clips["steps"] / clips["rate"]) == (keys["clip_frames"], keys["clip_seconds"])
        checked += 1
    assert checked == 4 * (9 + 18 + 4 + 4) + 3


def test_only_tables_1_and_2_of_ulda_say_how_many_repeats() -> None:
    """ULDA sec. 4.4: "Each test was performed three times" and reported in these two; EEV says nothing of it."""
    assert {name: table.repeats for name, table in TABLES.items() if table.repeats} == {
        "ulda_table_1": 3,
        "ulda_table_2": 3,
    }


def test_what_the_project_adds_is_marked() -> None:
    added = {(name, column.id) for name, table in TABLES.items() for column in table.columns if not column.printed}
    assert added == {("eev_table_2", "all"), ("eev_table_4", "validation")}


def test_the_words_of_a_hole_in_the_transcription_are_gone() -> None:
    for path in (RESOURCES / "tables").glob("*.yaml"):
        assert "transcribed" not in Path(path).read_text(encoding="utf-8")
