"""Published against measured, from tables written by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from utopia.cli import compare as command
from utopia.cli.compare import compare
from utopia.config.load import load
from utopia.errors import UtopiaError
from utopia.evaluation import verdict
from utopia.plan import catalog
from utopia.plan.plan import Plan
from utopia.tables import render

COLUMNS = list(render.COLUMNS)


def cell(row: str, **facts: object) -> dict[str, object]:
    usual = {"table": "t1", "row": row, "column": "c", "cell": f"t1/{row}/c", "runs": "x.y.z", "status": "measured"}
    numbers = {"value": 0.1234, "std": 0.01, "n": 3, "published": 0.12, "decimals": 2}
    return dict.fromkeys(COLUMNS, "") | usual | numbers | facts


NOTHING = {"value": "", "std": "", "n": 0, "verdict": ""}
CELLS = [
    cell("same", verdict=verdict.SAME),
    cell("inside", verdict=verdict.INSIDE, published=0.13),
    cell("outside", verdict=f"{verdict.OUTSIDE} 0.10", published=0.3),
    cell("other data", verdict=verdict.NOT_COMPARABLE, verdict_reason="other | features"),
    cell("unknown", verdict=verdict.NOT_PRINTED, published=""),
    cell("gain", verdict=verdict.NOT_DISTINGUISHABLE, verdict_reason="it covers 0", std="", n=1),
    cell("statement", verdict=verdict.HOLDS, published="", unit="of 4", value=3, std="", decimals=0),
    cell("no", verdict=verdict.FAILS, published="", unit="of 4", value=2, std="", decimals=0),
    cell("treated", verdict=verdict.NOT_PRINTED, published="", difference=-0.0213, difference_verdict="better"),
    cell("hole 1", status="absent", reason="no videos", **NOTHING),
    cell("hole 2", status="absent", reason="no videos", **NOTHING),
    cell("theirs", status="quoted", **NOTHING),
    cell("dash", status="dash", **NOTHING | {"published": ""}),
    cell("nothing", status="blank", **NOTHING | {"published": ""}),
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
        "same": 1, "inside": 1, "outside": 1, "not distinguishable": 1, "holds": 1, "does not hold": 1,
        "not comparable": 1, "not printed": 2, "passes": 0, "fails": 0,
        "absent": 2, "quoted": 1, "dash": 1, "blank": 1,
    }  # fmt: skip
    assert sum(found["summary"].values()) == len(CELLS)
    assert set(found) == {"study", "tables", "summary", "published", "rows", "comparisons", "planted"}
    assert found["published"] == {"values": 8, "dashes": 1, "text": 0, "measured": 5}
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
    hole = compare(folder, "tiny")["tables"][0]["cells"][9]
    assert (hole["value"], hole["std"], hole["reason"]) == (None, None, "no videos")


def test_what_people_read(folder: Path) -> None:
    text = "\n".join(command.as_text(compare(folder, "tiny")))
    assert "0.12 ± 0.01 (n=3)" in text and "3 of 4 (n=3)" in text
    assert "not comparable: other | features" in text
    assert "absent: no videos" in text and "only quoted: no run of ours" in text, "published, so a line of their own"
    assert "not distinguishable: it covers 0" in text and "−0.021 better" in text
    last = text.splitlines()[-1]
    assert last.startswith(
        "9 cells measured (1 round to the same, 1 inside our interval, 1 outside it, 1 not distinguishable"
    )
    assert last.endswith(
        "2 absent, 1 only quoted; the papers' tables print 8 values and 1 dashes, the text 0 values derived from them; "
        "5 of these are beside one of ours; 2 of 7 rows agree in every published value"
    )


def test_markdown(folder: Path) -> None:
    lines = command.as_markdown(compare(folder, "tiny"))
    assert "### t1" in lines
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + 13, "a head, a rule and every cell that is measured or printed"
    assert all(row.replace("\\|", "").count("|") == 8 for row in rows), "text with a bar stays in its cell"


def test_differences_are_judged_together(tmp_path: Path) -> None:
    """Of three comparisons the first stands among all, and the second only by itself; the fourth cell is the second."""

    def difference(row: str, p: float, text: str = "better", **facts: object) -> dict[str, object]:
        return cell(row, published="", difference=p, difference_p=p, difference_verdict=text, runs=f"x.{row}") | facts

    rows = [
        difference("clear", 0.001),
        difference("vague", 0.03),
        difference("none", 0.4, "not distinguishable"),
        difference("labels", 0.03, runs="tvsum.reference.label_study"),  # no treatment: of a family of its own
    ]
    write(tmp_path / "t1.csv", rows)
    write(tmp_path / "t2.csv", [rows[1] | {"table": "t2", "cell": "t2/vague/c"}])
    found = compare(tmp_path, "tiny")
    told = {one["cell"]: one for table in found["tables"] for one in table["cells"]}
    assert told["t1/clear/c"]["difference_verdict"] == "better"
    assert told["t1/clear/c"]["difference_p_adjusted"] == pytest.approx(0.003)
    for name in ("t1/vague/c", "t2/vague/c"):
        assert told[name]["difference_p"] == 0.03 and told[name]["difference_p_adjusted"] == pytest.approx(0.06)
        assert told[name]["difference_verdict"] == "better only by itself"
    assert told["t1/labels/c"]["difference_verdict"] == "better"
    assert found["comparisons"] == {
        "tests": 3, "better": 1, "worse": 0, "better_alone": 1, "worse_alone": 0, "by_chance": pytest.approx(0.075)
    }  # fmt: skip
    assert (
        "3 comparisons of treatments: 1 better and 0 worse among all of them (Holm), 1 better and 0 worse only by "
        "themselves; by themselves, chance alone would give up to 0.1 of each"
    ) in command.as_text(found)


def test_statements_are_listed_with_what_the_text_and_the_printed_tables_say(tmp_path: Path) -> None:
    said = {"section": "4.6.3", "said": "all", "print": "14 of 16", "agrees": "no"}
    tried = json.dumps(said | {"print": "0.06", "agrees": "yes"})
    measured = {"verdict": verdict.HOLDS, "value": 16, "std": "", "published": "", "unit": "of 16", "decimals": 0}
    rows = [
        cell("all", name="ULDA: all improve", keys=json.dumps(said), **measured),
        cell("tried", name="ULDA: values of δ", keys=tried, status="blank", **NOTHING | {"published": ""}),
    ]
    write(tmp_path / "t1.csv", rows)
    found = compare(tmp_path, "tiny")
    assert found["tables"][0]["cells"][0]["keys"] == said
    lines = [line for line in command.as_markdown(found) if line.startswith("|")]
    assert lines[0].startswith("| row | in words | the text | the printed tables | ours | verdict |")
    assert "| all | 14 of 16 (does not agree) | 16 of 16 (n=3) | holds |" in lines[2]
    assert "| all | 0.06 | - | nothing of ours to compare |" in lines[3], "every row is there"


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
    from utopia.tables import cells as ours

    made = [
        ours.Cell("t1", "r", "c", 0.5, 0.1, 3, "measured", "", 0.5, 2, verdict.SAME, "", ["a.b.c"]),
        ours.Cell("t1", "r", "d", None, None, 0, "absent", 'no "videos", none', None, 2),
    ]
    (tmp_path / "t1.csv").write_text(render.long_csv(made))
    found = compare(tmp_path, "tiny")
    assert (found["summary"]["same"], found["summary"]["absent"]) == (1, 1)
    assert found["tables"][0]["cells"][1]["reason"] == 'no "videos", none'


def test_every_published_number_is_listed_even_of_tables_that_are_not_made(folder: Path) -> None:
    known = catalog.tables()
    found = compare(folder, "tiny", known)
    listed = {cell["cell"]: cell for table in found["tables"] for cell in table["cells"]}
    printed = {
        f"{name}/{row.id}/{column}": value
        for name, table in known.items()
        for row in table.rows
        for column, value in row.published.items()
        if value not in (None, "-")
    }
    ours, theirs = compare(folder, "tiny")["published"], found["published"]
    assert [theirs[kind] - ours[kind] for kind in ("values", "dashes", "text")] == [415, 2, 11]
    assert len(printed) == 415 + 10
    assert {name: listed[name]["published"] for name in printed} == printed
    for name in printed:
        assert listed[name]["status"] in ("absent", "quoted")
        assert listed[name]["status"] == "quoted" or "make results STUDY=tiny" in listed[name]["reason"]
    text = "\n".join(command.as_text(found))
    for name in ("ulda_table_4: ", "ulda_claims: "):
        assert name in text
    json.dumps(found, allow_nan=False)


def test_a_part_of_a_study_is_compared(folder: Path) -> None:
    """Only the tables and data sets that are asked about; verdicts that stand among all differences stay the same."""
    known = {name: catalog.tables()[name] for name in ("ulda_table_2", "ulda_table_7")}
    whole = compare(folder, "tiny", known)
    assert {table["table"] for table in whole["tables"]} >= {*known, "t1"}, "what is there, and what the study has"
    part = compare(folder, "tiny", known, {"ulda_table_2"}, lambda name: name == "summe")
    (table,) = part["tables"]
    assert {cell["column"] for cell in table["cells"]} == {"summe.f_score"}
    assert part["comparisons"] == whole["comparisons"]


def test_a_study_is_compared_in_its_own_tables() -> None:
    """The study `open` has seven tables; those of EEV are none of its business."""
    plan = Plan(load({"study": "open"}))
    assert set(plan.tables) < set(catalog.tables()) and not [name for name in plan.tables if name.startswith("eev_")]


def test_a_row_with_one_value_out_is_not_reproduced(tmp_path: Path) -> None:
    def row(name: str, *verdicts: str, **facts: object) -> list[dict[str, object]]:
        return [
            cell(name, column=str(number), cell=f"t1/{name}/{number}", verdict=said, **facts)
            for number, said in enumerate(verdicts)
        ]

    rows = [
        *row("agrees", verdict.SAME, verdict.INSIDE),
        *row("one out", verdict.SAME, verdict.INSIDE, f"{verdict.OUTSIDE} 0.10"),
        *row("other data", verdict.NOT_COMPARABLE),
        *row("one missing", verdict.SAME),
        cell("one missing", cell="t1/one missing/1", status="absent", reason="no videos", **NOTHING),
        *row("not printed", verdict.NOT_PRINTED, published=""),
        cell("theirs", status="quoted", **NOTHING),
    ]
    write(tmp_path / "t1.csv", rows)
    assert compare(tmp_path, "tiny")["rows"] == {"published": 4, "reproduced": 1}
