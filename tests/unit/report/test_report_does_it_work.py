"""The page that answers whether the method works: what it says follows from the tables, whatever they say."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from utopia.report.does_it_work import CHOICES, CONTROL, LABELS, MODELS, answer, page
from utopia.tables.columns import COLUMNS

GAIN, LOSS, NONE = (0.05, 0.0001, "better"), (0.05, 0.0001, "worse"), (0.001, 0.8, "not distinguishable")


def write(folder: Path, name: str, rows: list[tuple[str, str, str, str, tuple[float, float, str] | None]]) -> None:
    """Rows of `row`, `column`, run, `against` and what the difference came to."""
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    with (folder / "tables" / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for row, column, run, against, came in rows:
            line: dict[str, Any] = {"table": name, "row": row, "name": f"G: {row}", "column": column, "runs": run}
            line |= {"cell": f"{name}/{row}/{column}", "status": "measured", "value": 0.4, "low": 0.3, "high": 0.5}
            line |= {"n": 3, "decimals": 3, "keys": "", "against": against}
            if name == CHOICES and against:
                line |= {"name": f"G: {row}, question = 24", "keys": json.dumps({"question": "24"})}
            if came is not None:
                change, p, verdict = came
                line |= {"difference": change, "difference_p": p, "difference_verdict": verdict}
                line |= {"difference_low": change - 0.01, "difference_high": change + 0.01}
            writer.writerow(line)


def study(folder: Path, came: tuple[float, float, str]) -> Path:
    labels = "studyforrest.reference.label_study"
    estimates = [(f"b10.k3.{name}", "studyforrest.valence.pcc", labels) for name in ("ulda", "calibrated")]
    write(
        folder,
        LABELS,
        [("b10.k3.as_is", "studyforrest.valence.pcc", labels, "", None)]
        + [(row, column, run, "b10.k3.as_is", came) for row, column, run in estimates],
    )
    write(
        folder,
        MODELS,
        [
            ("ridge", "valence.mse", "s.reference.ridge", "", None),
            ("et.baseline", "valence.mse", "s.et.baseline", "ridge", NONE),
            ("et.cwl", "valence.mse", "s.et.cwl", "et.baseline", came),
        ],
    )
    write(
        folder,
        CONTROL,
        [
            ("et.baseline", "valence.mse", "s.et.baseline", "", None),
            ("et.cwl", "valence.mse", "s.et.cwl", "et.baseline", came),
            ("et.cwl.oracle", "valence.mse", "s.et.cwl@estimator=oracle", "et.baseline", NONE),
        ],
    )
    rows = [("configured", "valence.mse", "s.et.tns_cwl", "", None)]
    for number in range(12):
        change = (0.001 * number, 0.9, "not distinguishable")
        rows.append((f"c{number}", "valence.mse", f"s.et.tns_cwl@T={number}", "configured", change))
    write(folder, CHOICES, rows)
    return folder


def test_what_counts_come_to() -> None:
    assert answer(0, 0, 8) == "Not measurably: none of 8 comparisons can be told from no difference."
    assert answer(2, 0, 8).startswith("Yes, in 2 of 8") and answer(0, 3, 8).startswith("No: 3 of 8")
    assert answer(2, 1, 8) == "It depends: 2 of 8 comparisons are better and 1 worse." and "Nothing" in answer(0, 0, 0)


@pytest.mark.parametrize(
    ("came", "said"), [(GAIN, "**Yes, in 1 of 3"), (LOSS, "**No: 1 of 3"), (NONE, "**Not measurably: none of 3")]
)
def test_the_answer_follows_from_the_tables(tmp_path: Path, came: tuple[float, float, str], said: str) -> None:
    """Three comparisons: baseline against ridge, CWL against the baseline (in two tables), and the oracle."""
    text = page(study(tmp_path, came))
    assert said in text.split("\n\n")[1].replace("\n", " ")
    assert all(len(line) <= 120 for line in text.splitlines()) and len(text.splitlines()) < 70
    sections = text.split("\n## ")
    assert len(sections) == 5
    assert f"| 0.400 [0.300, 0.500] {'▲' if came is GAIN else '▼' if came is LOSS else '○'} |" in sections[1]
    assert "+0.050 ± 0.010" in sections[2] or came is NONE
    said_of_oracle = "the estimate: Not measurably: none of 1 comparisons"
    assert said_of_oracle in " ".join(sections[3].split()), "the oracle alone is counted"
    counts = {GAIN: "1 ▲ 0 ▼", LOSS: "0 ▲ 1 ▼", NONE: "0 ▲ 0 ▼"}[came]
    assert f"| valence | {counts} of 1 | — | 0 ▲ 0 ▼ of 1 |" in sections[3]
    named = [line for line in sections[4].splitlines() if "(24)" in line]
    assert [line.split("|")[1].strip() for line in named] == [f"G: c{number} (24)" for number in range(11, 1, -1)]
    assert "The 10 of 12 that change most" in " ".join(sections[4].split())


def test_what_a_study_does_not_have_is_left_out(tmp_path: Path) -> None:
    study(tmp_path, GAIN)
    for name in (CONTROL, LABELS):
        (tmp_path / "tables" / f"{name}.csv").unlink()
    assert page(tmp_path).count("\n## ") == 2
    assert "make results STUDY=open" in page(tmp_path / "nothing")
