"""What is kept of a finished study in the repository, and how another run is compared with it."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from studies import ROOT, Small

from utopia.cli.main import main
from utopia.errors import UtopiaError
from utopia.provenance.comparison import CellDifference, Tree, beyond_tolerance, compare
from utopia.provenance.keep import keep, write_readme
from utopia.provenance.ledger import Ledger

KEPT = "results/reference/miniature"


@pytest.fixture
def kept(small: Small) -> Path:
    target = small.folder / KEPT
    keep(small.graph(), small.folder / ROOT, target)
    return target


def test_it_holds_what_is_shown_and_the_records_of_all_jobs_behind_it(small: Small, kept: Path) -> None:
    study = small.folder / ROOT
    files = {path.relative_to(kept).as_posix() for path in kept.rglob("*") if path.is_file()}
    assert {"tables/ulda_table_7.csv", "tables/ulda_table_7.md", "figures/beyond_distribution_pmemo.png"} < files
    assert {name for name in files if not name.endswith((".csv", ".md", ".png", ".record.json"))} == set()
    for name in files - {name for name in files if name.endswith(".record.json")}:
        assert (kept / name).read_bytes() == (study / name).read_bytes()
    records = {path.relative_to(study).as_posix() for path in study.rglob("*.record.json")}
    assert {name for name in files if name.endswith(".record.json")} == records
    ledger = Ledger.read(kept)
    assert not ledger.damaged and all(record.is_intact for record in ledger.records)
    # the hash of every table is in a record that is kept
    stated = {entry["path"]: entry["sha256"] for record in ledger.records for entry in record.outputs}
    table = (kept / "tables" / "ulda_table_7.csv").read_bytes()
    assert stated[f"{ROOT}/tables/ulda_table_7.csv"] == hashlib.sha256(table).hexdigest()


def test_it_says_nothing_of_the_machine(small: Small, kept: Path) -> None:
    path = small.path("tables/ulda_table_7.csv.record.json")
    facts = json.loads(path.read_text())
    assert facts["host"] == socket.gethostname()
    folders = re.compile(rf"{re.escape(str(small.folder))}|{re.escape(str(Path.home()))}/|/(work|home|tmp)/")
    for record in kept.rglob("*.record.json"):
        text = record.read_text(encoding="utf-8")
        assert json.loads(text)["host"] == "host-1"
        assert not folders.search(text), record


def test_another_run_is_compared_with_it_although_it_lies_elsewhere(
    small: Small, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {one.verdict for one in compare(Tree(kept), Tree(small.folder / ROOT))} == {"identical"}
    assert main(["diff", str(kept)]) == 0
    assert "every verdict is the same" in capsys.readouterr().out
    path = small.path("tables/ulda_table_7.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    changed = next(row for row in rows if row["status"] == "measured")
    changed["value"] = "9.5"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    assert main(["diff", str(kept)]) == 1
    said = capsys.readouterr().out
    assert changed["cell"] in said and "1 different" in said
    assert "a file was changed after it was made" in said


def test_a_folder_that_is_no_such_copy_needs_a_second_one(small: Small, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(small.folder / ROOT)]) != 0
    assert "name a second folder" in capsys.readouterr().err


def test_only_what_records_prove_is_kept(small: Small) -> None:
    target = small.folder / KEPT
    keep(small.graph(), small.folder / ROOT, target)
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    figure = small.path("figures/beyond_distribution_pmemo.csv")
    figure.write_text(figure.read_text() + "\n")
    with pytest.raises(UtopiaError, match=r"beyond_distribution_pmemo.csv: is no longer what its record says"):
        keep(small.graph(), small.folder / ROOT, target)
    small.path("tables/of_mine.csv").write_text("cell\n")
    figure.unlink()
    with pytest.raises(UtopiaError, match=r"of_mine.csv: has no record"):
        keep(small.graph(), small.folder / ROOT, target)
    small.path("tables/of_mine.csv").unlink()
    small.path("tables/ulda_table_7.csv.record.json").write_text("{")
    with pytest.raises(UtopiaError, match="not a record"):
        keep(small.graph(), small.folder / ROOT, target)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before


def test_of_a_study_that_shows_nothing_nothing_is_kept(small: Small) -> None:
    for part in ("tables", "figures", "audit"):
        shutil.rmtree(small.path(part), ignore_errors=True)
    with pytest.raises(UtopiaError, match="no table, no figure"):
        keep(small.graph(), small.folder / ROOT, small.folder / KEPT)
    assert not (small.folder / KEPT).exists()


def test_what_is_no_longer_made_is_no_longer_kept(small: Small, kept: Path) -> None:
    (kept / "tables" / "of_before.csv").write_text("cell\n")
    keep(small.graph(), small.folder / ROOT, kept)
    assert not (kept / "tables" / "of_before.csv").exists()
    assert [path.name for path in kept.parent.iterdir()] == ["miniature"]


def test_the_page_says_how_it_was_made(small: Small, kept: Path) -> None:
    text = write_readme(kept.parent).read_text(encoding="utf-8")
    facts = [record.facts for record in Ledger.read(kept).records]
    assert f"by {len(facts)} jobs" in text and "## miniature" in text
    assert f"torch {facts[0]['environment']['packages']['torch']}" in text
    assert "[ulda_table_7](reference/miniature/tables/ulda_table_7.md)" in text
    with (kept / "tables" / "ulda_table_7.csv").open(newline="") as file:
        measured = sum(row["status"] == "measured" for row in csv.DictReader(file))
    assert f"{measured} measured" in text
    assert all(len(line) <= 120 for line in text.splitlines())
    assert socket.gethostname() not in text.split()


def test_a_study_made_in_part_is_refused_unless_it_is_asked_for(whole: Small) -> None:
    command = [sys.executable, "-m", "utopia.cli.main", "keep", "--study", "miniature", "--configfile", "tiny.yaml"]
    refused = subprocess.run(command, capture_output=True, text=True, env=whole.environment, cwd=whole.folder)
    assert refused.returncode != 0 and "tables and figures are not made" in refused.stderr, refused.stderr
    done = subprocess.run(
        [*command, "--partial"], capture_output=True, text=True, env=whole.environment, cwd=whole.folder
    )
    assert done.returncode == 0, done.stderr
    assert (whole.folder / KEPT / "tables" / "ulda_table_7.md").is_file()
    assert (whole.folder / "results" / "README.md").is_file()


def cells(count: int, *, trained: bool = True, **more: Any) -> list[CellDifference]:
    given = {"a": "0.5", "b": "0.5", "verdict": "identical", **more}
    return [CellDifference(f"t/r{n}/c", trained=trained, spread=trained, **given) for n in range(count)]


@pytest.mark.parametrize(
    ("odd", "told"),
    [
        (cells(5, verdict="different", b="0.9"), ""),
        (cells(6, verdict="different", b="0.9"), "6 of 100 trained cells lie outside the interval over seeds"),
        (cells(10, claim="better; same -> not distinguishable; same"), ""),
        (cells(11, claim="not distinguishable -> worse"), "11 of 100 trained cells say something else, more than 10%"),
        (cells(1, claim="better -> worse only by itself"), "t/r0/c: better -> worse only by itself"),
        (cells(1, trained=False, verdict="different", b="0.51", units=0.9), ""),
        (cells(1, trained=False, verdict="different", b="0.52", units=1.9), "no training is behind it"),
        (cells(1, trained=False, claim="better -> not distinguishable"), "no training is behind it"),
        (cells(1, verdict="only in A", b=""), "t/r0/c: only in A"),
        (cells(1, verdict="different", b="absent"), "t/r0/c: 0.5 -> absent"),
        (cells(1, verdict="different", b="nan"), "t/r0/c: 0.5 -> nan"),
    ],
)
def test_what_another_processor_does_not_explain(odd: list[CellDifference], told: str) -> None:
    """Of 100 trained cells; the limits are 5 and 10 of a hundred, and none for what nobody trained."""
    same = [CellDifference(f"u/{n}/c", "1", "1", "identical", trained=True, spread=True) for n in range(100)]
    filled = same[: 100 - sum(each.trained for each in odd)]
    faults = beyond_tolerance([*filled, *odd])
    assert len(faults) == bool(told) and told in "".join(faults)


def test_p_values_without_a_spread_are_held_by_what_follows_from_them() -> None:
    moved = [CellDifference(f"t/{n}/p", "0.01", "0.04", "different", trained=True) for n in range(50)]
    assert beyond_tolerance(moved) == []


def test_the_command_lists_what_is_beyond(small: Small, kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "--other-processor", str(kept)]) == 0
    assert "within what another processor explains" in capsys.readouterr().out
    small.path("tables/ulda_table_7.csv").unlink()
    assert main(["diff", "--other-processor", str(kept)]) == 1
    assert "ulda_table_7" in capsys.readouterr().out
    assert main(["diff", "--other-processor", "--json", str(kept)]) == 1
    assert json.loads(capsys.readouterr().out)["faults"]
