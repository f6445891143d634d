"""What git keeps of finished studies: whole, proved by its records, silent about machines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from utopia.files import sha256
from utopia.provenance.comparison import Tree, compare
from utopia.provenance.keep import FOLDER, README, SHOWN, readme
from utopia.provenance.ledger import Ledger
from utopia.report import does_it_work

RESULTS = Path(__file__).resolve().parents[2] / "results"
KEPT = sorted(path.parent for path in (RESULTS / FOLDER).glob("*/tables"))
_MOST = 12_000_000
"""Bytes of a kept study."""


@pytest.fixture(params=KEPT or [None], ids=[path.name for path in KEPT] or ["none"])
def kept(request: pytest.FixtureRequest) -> Path:
    if request.param is None:
        pytest.skip("no study is kept in results/reference")
    return Path(request.param)


def test_every_file_is_the_one_that_its_record_names(kept: Path) -> None:
    tree = Tree(kept)
    assert not tree.graph.ledger.damaged and tree.graph.ledger.records
    shown = [path for pattern in SHOWN for path in kept.glob(pattern)]
    assert shown
    for path in shown:
        assert tree.graph.sha256_of(f"{tree.graph.root}/{path.relative_to(kept).as_posix()}") == sha256(path), path
    made = {path for record in tree.graph.ledger.records for path in tree.graph.made(record)}
    lacking = [
        path
        for path in made
        if re.search(r"/(tables/[^/]+[.](csv|md)|figures/[^/]+[.](png|csv))$", path)
        and not (kept / path.removeprefix(f"{tree.graph.root}/")).is_file()
    ]
    assert not lacking


def test_records_are_intact_and_name_no_machine(kept: Path) -> None:
    for record in Ledger.read(kept).records:
        assert record.is_intact, record.path
        assert re.fullmatch(r"host-[0-9]+", str(record.facts["host"])), record.path


def test_it_agrees_with_itself_and_is_small(kept: Path) -> None:
    assert {one.verdict for one in compare(Tree(kept), Tree(kept))} == {"identical"}
    assert sum(path.stat().st_size for path in kept.rglob("*") if path.is_file()) < _MOST


def test_the_page_is_the_one_that_the_records_give() -> None:
    if not KEPT:
        pytest.skip("no study is kept in results/reference")
    assert (RESULTS / README).read_text(encoding="utf-8") == readme(RESULTS / FOLDER), "run: make reference"


def test_the_answer_is_the_one_that_the_results_give() -> None:
    """docs/does_it_work.md is what the kept tables of the study `open` give; without them it says so."""
    written = (RESULTS.parent / does_it_work.PAGE).read_text(encoding="utf-8")
    assert written == does_it_work.page(RESULTS / FOLDER / does_it_work.STUDY), "run: make reference STUDY=open"
    assert len(written.splitlines()) <= 70, "one screen"
