"""The smallest run of the whole catalogue against what it gave when its values were last looked at."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from whole import Checkout

KEPT = Path(__file__).resolve().parents[1] / "data" / "smallest_run.csv"
COLUMNS = ("cell", "status", "value", "decimals", "verdict", "difference_verdict")
TOLERANCE = 0.05
"""Share by which a value may differ, besides half of its last decimal: another processor rounds sums otherwise, and a
network that was trained for a few epochs carries that on. On one machine the values are the same to the bit."""

Cells = Mapping[str, Mapping[str, str]]


def read(paths: list[Path]) -> dict[str, dict[str, str]]:
    """The rows of tables by their cells; of each what is kept."""
    found = {}
    for path in paths:
        with path.open(newline="", encoding="utf-8") as file:
            found.update({row["cell"]: {name: row[name] for name in COLUMNS} for row in csv.DictReader(file)})
    return found


def differences(kept: Cells, now: Cells) -> Iterator[str]:
    """What cells say that they did not say before. A cell that is new is none; one that is gone is."""
    for cell, before in kept.items():
        if cell not in now:
            yield f"{cell}: is gone"
            continue
        for name in ("status", "verdict", "difference_verdict"):
            if before[name] != now[cell][name]:
                yield f"{cell}: {name} was {before[name] or 'empty'}, is {now[cell][name] or 'empty'}"
        values = [row["value"] for row in (before, now[cell])]
        if all(values):
            first, second = map(float, values)
            room = TOLERANCE * max(abs(first), abs(second)) + 0.5 * 10.0 ** -int(before["decimals"])
            if not abs(first - second) <= room:
                yield f"{cell}: the value was {first:g}, is {second:g}"


@pytest.mark.workflow
def test_values_and_verdicts_are_those_that_were_looked_at(finished: Checkout, tmp_path: Path) -> None:
    now = read(sorted((finished.results / "tables").glob("*.csv")))
    fresh = tmp_path / KEPT.name
    with fresh.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(now.values())
    if not KEPT.is_file():
        pytest.skip(f"no values are kept yet; to keep those of this run: cp {fresh} {KEPT}")
    faults = list(differences(read([KEPT]), now))
    if faults:
        listed = "\n  ".join(faults[:20])
        pytest.fail(f"{len(faults)} differences:\n  {listed}\nif that is meant: cp {fresh} {KEPT}")


def cell(value: str, verdict: str = "same", change: str = "", status: str = "measured") -> dict[str, str]:
    return {"status": status, "value": value, "decimals": "2", "verdict": verdict, "difference_verdict": change}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (cell("1.00"), cell("1.05"), ""),
        (cell("1.00"), cell("1.07"), "the value was 1, is 1.07"),
        (cell("-0.02"), cell("-0.024"), ""),
        (cell("0.30"), cell("nan"), "the value was 0.3, is nan"),
        (cell("0.30", change="better"), cell("0.30", change="worse"), "difference_verdict was better, is worse"),
        (cell("0.30"), cell("0.30", "outside by 0.1"), "verdict was same, is outside by 0.1"),
        (cell("0.30"), cell("", status="absent"), "status was measured, is absent"),
    ],
)
def test_a_difference_is_seen(before: dict[str, str], after: dict[str, str], told: str) -> None:
    found = list(differences({"a/b/c": before}, {"a/b/c": after, "new/cell/here": cell("1")}))
    assert found == ([f"a/b/c: {told}"] if told else [])


def test_a_cell_that_is_gone_is_seen() -> None:
    assert list(differences({"a/b/c": cell("1")}, {})) == ["a/b/c: is gone"]
