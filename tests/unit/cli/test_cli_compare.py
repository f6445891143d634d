"""Published against measured, from tables written by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from utopia.cli import compare as command
from utopia.cli.compare import compare
from utopia.errors import UtopiaError
from utopia.outputs import verdict

NAMES = "table,row,column,value,std,n,status,reason,published,decimals,verdict,verdict_reason,cell,runs"
COLUMNS = NAMES.split(",")


def cell(row: str, **facts: object) -> dict[str, object]:
    usual = {"table": "t1", "row": row, "column": "c", "cell": f"t1/{row}/c", "runs": "x.y.z", "status": "measured"}
    numbers = {"value": 0.1234, "std": 0.01, "n": 3, "published": 0.12, "decimals": 2}
    return usual | numbers | {"reason": "", "verdict_reason": ""} | facts


NOTHING = {"value": "", "std": "", "n": 0, "verdict": ""}
CELLS = [
    cell("same", verdict=verdict.SAME),
    cell("inside", verdict=verdict.INSIDE, published=0.13),
    cell("outside", verdict=f"{verdict.OUTSIDE} 0.10", published=0.3),
    cell("other data", verdict=verdict.NOT_COMPARABLE, verdict_reason="other | features"),
    cell("unknown", verdict=verdict.NOTHING_PUBLISHED, published=""),
    cell("one seed", verdict=verdict.NOT_DISTINGUISHABLE, std="", n=1),
    cell("hole 1", status="absent", reason="no videos", **NOTHING),
    cell("hole 2", status="absent", reason="no videos", **NOTHING),
    cell("theirs", status="quoted", **NOTHING),
]


def write(path: Path, cells: list[dict[str, object]], columns: list[str] = COLUMNS) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(cells)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "t1.csv", CELLS)
    return tmp_path


def test_every_cell_is_counted_once(folder: Path) -> None:
    found = compare(folder, "tiny")
    assert found["summary"] == {
        "same": 1, "inside": 1, "outside": 1, "not comparable": 2, "not transcribed": 1, "absent": 2, "quoted": 1,
    }  # fmt: skip
    assert sum(found["summary"].values()) == len(CELLS)
    assert set(found) == {"study", "tables", "summary"}
    assert found["tables"][0]["table"] == "t1"
    json.dumps(found, allow_nan=False)


def test_numbers_come_through_unrounded(folder: Path) -> None:
    first = compare(folder, "tiny")["tables"][0]["cells"][0]
    assert (first["value"], first["std"], first["n"], first["published"], first["decimals"]) == (
        0.1234,
        0.01,
        3,
        0.12,
        2,
    )
    hole = compare(folder, "tiny")["tables"][0]["cells"][6]
    assert (hole["value"], hole["std"], hole["reason"]) == (None, None, "no videos")


def test_what_people_read(folder: Path) -> None:
    text = "\n".join(command._plain(compare(folder, "tiny")))
    assert "0.12 ± 0.01 (n=3)" in text
    assert "not comparable: other | features" in text
    assert "absent (2): no videos" in text
    last = text.splitlines()[-1]
    assert last.startswith(
        "6 cells measured (1 round to the same, 1 inside our interval, 1 outside it, 2 not comparable"
    )
    assert last.endswith("2 absent, 1 only quoted")


def test_markdown(folder: Path) -> None:
    lines = command._markdown(compare(folder, "tiny"))
    assert "### t1" in lines
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 6, "a head, a rule and the measured cells"
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows), "text with a bar stays in its cell"


def test_nothing_yet(tmp_path: Path) -> None:
    with pytest.raises(UtopiaError, match="make results STUDY=tiny"):
        compare(tmp_path / "tables", "tiny")


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    write(tmp_path / "t1.csv", CELLS, COLUMNS[:-1])
    with pytest.raises(UtopiaError, match=r"t1\.csv: .*without the columns runs"):
        compare(tmp_path, "tiny")
    write(tmp_path / "t1.csv", [CELLS[0], cell("bad", verdict="", value="many")])
    with pytest.raises(UtopiaError, match=r"t1\.csv:3: .*many"):
        compare(tmp_path, "tiny")


def test_tables_of_the_project_can_be_read(tmp_path: Path) -> None:
    """What the tables package writes is what this command reads."""
    from utopia.outputs import cells as ours
    from utopia.outputs import render

    made = [
        ours.Cell("t1", "r", "c", 0.5, 0.1, 3, "measured", "", 0.5, 2, verdict.SAME, "", ["a.b.c"]),
        ours.Cell("t1", "r", "d", None, None, 0, "absent", 'no "videos", none', None, 2),
    ]
    (tmp_path / "t1.csv").write_text(render.long_csv(made))
    found = compare(tmp_path, "tiny")
    assert (found["summary"]["same"], found["summary"]["absent"]) == (1, 1)
    assert found["tables"][0]["cells"][1]["reason"] == 'no "videos", none'
