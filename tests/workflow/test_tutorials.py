"""docs/tutorials, to the letter: files are written, commands run, and the numbers are there."""

from __future__ import annotations

import csv
import re
import shutil
from pathlib import Path

import pytest
from pages import Block, blocks, follow
from whole import Checkout, give_trained

pytestmark = pytest.mark.workflow
TUTORIALS = "docs/tutorials"


def page(checkout: Checkout, name: str) -> list[Block]:
    return blocks((checkout.folder / TUTORIALS / f"{name}.md").read_text(encoding="utf-8"))


def cells(checkout: Checkout, study: str, table: str) -> dict[str, dict[str, str]]:
    path = checkout.folder / "results" / study / "tables" / f"{table}.csv"
    return {row["cell"]: row for row in csv.DictReader(path.open(encoding="utf-8"))}


def test_every_block_is_a_file_or_commands(repository: Path) -> None:
    pages = sorted((repository / TUTORIALS).glob("*.md"))
    assert [path.stem for path in pages] == ["cluster", "features", "loss", "review", "summe"]
    for path in pages:
        found = blocks(path.read_text(encoding="utf-8"))
        assert any(block.language == "sh" for block in found), f"{path.name} has no command that a test runs"
        assert all(block.path or block.language in ("sh", "bash") for block in found), path.name
        assert len(path.read_text(encoding="utf-8").splitlines()) < 120, f"{path.name} is long for a tutorial"


def test_a_loss_of_ones_own_reaches_its_cell_and_a_number_is_reviewed(finished: Checkout, fresh: Checkout) -> None:
    """The others are there already: only the new row is trained, as the page says."""
    give_trained(finished, fresh, "ulda_table_3")
    former = (fresh.results / "runs").glob("*/replicas/*.safetensors")
    kept = {path: path.stat().st_mtime_ns for path in former}
    said = follow(page(fresh, "loss"), fresh)
    assert len(kept) > 50 and kept == {path: path.stat().st_mtime_ns for path in kept}, "a row was trained again"
    passed = re.search(r"(\d+) passed", said)
    assert passed and int(passed[1]) >= 3 and not re.search(r"\d+ (?:failed|error)", said), said
    table = cells(fresh, "miniature", "ulda_table_3")
    mine, base = (table[f"ulda_table_3/et.{name}/valence.pcc"] for name in ("soft_edges", "baseline"))
    assert mine["status"] == "measured" and mine["n"] == "3" and mine["value"] != base["value"]
    assert mine["against"] == "et.baseline" and mine["difference"]
    assert "losses/soft_edges.py" in said or "soft_edges" in said.rpartition("$ utopia explain")[2]

    said = follow(page(fresh, "review"), fresh)
    assert "nothing to do" in said, "the table is the one that the other tutorial made"
    assert "NOT SOUND" not in said and "warning" not in said


def test_features_of_ones_own_are_compared(fresh: Checkout) -> None:
    said = follow(page(fresh, "features"), fresh)
    table = cells(fresh, "my_features", "my_features")
    assert set(table) == {"my_features/ridge/pcc", "my_features/et/pcc"}
    assert all(row["status"] == "measured" for row in table.values()), table
    assert float(table["my_features/et/pcc"]["std"]) > 0
    assert "smooth.csv" in said.rpartition("$ utopia explain")[2]


def test_summe_alone_fills_its_column(fresh: Checkout, shared_data: Path) -> None:
    for name in ("GT", "summe_labels.h5", "summe_dino_vitb16_cls.h5"):
        source, target = shared_data / "summe" / name, fresh.folder / "mydata" / "summe" / name
        if not source.exists():
            pytest.skip(f"needs {name} of SumMe in the shared data")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    found = page(fresh, "summe")
    files, commands = [block for block in found if block.path], [block for block in found if not block.path]
    said = follow([*files, *commands], fresh, " --configfile first_look.yaml")
    table = cells(fresh, "paper_cpu", "ulda_table_2")
    measured = [cell for cell, row in table.items() if row["status"] == "measured"]
    assert "ulda_table_2/pgl_sum.tns_cwl/summe.f_score" in measured and not any("tvsum" in cell for cell in measured)
    told = said.rpartition("$ utopia explain")[2]
    assert "dino_vitb16_summe" in told and "14 stored features" in told, told


def test_the_bill_for_a_cluster(fresh: Checkout) -> None:
    said = follow(page(fresh, "cluster"), fresh)
    assert "core" in said, said
