"""Twice as many records and files are twice the work of the audit, counted: seconds depend on what else a machine does.

Work is every call of a function, of Python or C, and every comparison of a path: a search through a list is one call
and as many comparisons as it has entries.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from forgeries import CELL
from studies import ROOT, Small

from utopia.cli import audit, touched
from utopia.config.load import load
from utopia.provenance import ledger as reading
from utopia.provenance.explain import explain
from utopia.provenance.ledger import Ledger, Record
from utopia.provenance.lineage import Graph
from utopia.provenance.paths import Portable
from utopia.provenance.subject import find
from utopia.provenance.verify import verify

SIZES = (60, 120, 240)


class Compared(str):
    """A path that counts how often it is compared."""

    __slots__ = ()
    count = 0

    def __eq__(self, other: object) -> bool:
        Compared.count += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


@pytest.fixture(scope="module")
def benchmark_of_audit(repository: Path) -> Iterator[ModuleType]:
    """The benchmark, which makes a study larger."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(repository / "benchmarks"))
        yield _benchmark(repository)


def _benchmark(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit_benchmark", repository / "benchmarks" / "audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def larger(
    small_checkout: Path, tmp_path_factory: pytest.TempPathFactory, benchmark_of_audit: ModuleType
) -> list[Small]:
    """The small study with more and more records, and as many times as many files; nobody writes there."""
    studies, scratch = [], tmp_path_factory.mktemp("larger")
    for count in SIZES:
        base = scratch / f"{count}"
        base.mkdir()
        for name in ("workflow", "envs", "config.yaml", "tiny.yaml"):
            (base / name).symlink_to(small_checkout / name)
        made = benchmark_of_audit.enlarged(small_checkout / ROOT, base / ROOT, count, 6 * count)
        assert made[0] == count
        studies.append(Small(base))
    return studies


def counted(graph: Graph) -> Graph:
    """The same lineage; its paths count how often they are compared."""
    for record in graph.ledger.records:
        for entry in (*record.inputs, *record.outputs):
            for each in (entry, *entry.get("files", ())):
                each["path"] = Compared(each["path"])
    return graph


def work(action: Callable[[], Any]) -> int:
    """How many calls and comparisons something takes."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before, former = Compared.count, sys.getprofile()
    sys.setprofile(count)
    try:
        action()
    finally:
        sys.setprofile(former)
    return calls + Compared.count - before


def hashed(study: Small, graph: Graph) -> Any:
    return verify(graph, study.folder / ROOT, "miniature", recompute=False, partial=True)


def forged(study: Small, graph: Graph) -> Any:
    """Every record edited: as many findings as records."""
    for record in graph.ledger.records:
        record.facts["code"]["modules"]["utopia.files"] = "0" * 64
    return hashed(study, graph)


def on_a_host(study: Small, graph: Graph) -> Any:
    return touched.select(graph, "host", graph.ledger.records[0].facts["host"])


def explained(study: Small, graph: Graph) -> Any:
    return explain(graph, find(graph, CELL), "miniature")


@pytest.mark.parametrize("ask", [hashed, forged, on_a_host, explained])
def test_the_work_grows_as_the_study(larger: list[Small], ask: Callable[[Small, Graph], Any]) -> None:
    ask(larger[0], larger[0].graph())  # what is read once per process
    first, second, third = (
        work(lambda study=study: ask(study, counted(study.graph())))  # type: ignore[misc]
        for study in larger
    )
    assert second > first
    assert third - second < 2.2 * (second - first), (first, second, third)


def wide(count: int) -> Graph:
    """One job of two runs that reads, declares and writes beside these as many files of each run."""
    kinds = {
        kind: [f"{ROOT}/runs/{run}/{number}.{kind}" for run in "ab" for number in range(count)]
        for kind in ("read", "declared", "beside")
    }
    read, declared, beside = ([{"path": path, "sha256": "0" * 64} for path in paths] for paths in kinds.values())
    facts = {
        "rule": "train", "wildcards": {}, "ended": "2026-01-01T00:00:00Z", "params": {"runs": ["a", "b"]},
        "inputs": read, "outputs": declared + beside,
        "roles": {"inputs": {"x": kinds["read"]}, "outputs": {"x": kinds["declared"]}},
    }  # fmt: skip
    return Graph(Ledger([Record("x.record.json", facts)], [], Portable(Path.cwd())), ROOT)


def test_the_work_grows_as_the_files_of_a_job() -> None:
    """A file that a job reads is not compared with each one that it makes."""
    first, second = (work(partial(graph.touched, [*graph.readers])) for graph in (wide(50), wide(100)))
    assert second < 2.2 * first, (first, second)


def test_what_was_made_of_a_file_is_what_names_it_as_a_source(small: Small) -> None:
    for graph in (wide(3), small.graph()):
        assert len(graph.makers) > 5
        for path in {*graph.makers, *graph.readers}:
            assert {*graph.derived(path)} == {made for made in graph.makers if path in graph.sources(made)}


def test_each_record_is_parsed_once(larger: list[Small], monkeypatch: pytest.MonkeyPatch) -> None:
    parsed, parse = [], reading.from_json
    monkeypatch.setattr(reading, "from_json", lambda text: parsed.append(text) or parse(text))
    assert hashed(larger[-1], larger[-1].graph()).is_sound
    blocks = [text for text in parsed if b'"rule"' not in text]
    assert len(parsed) - len(blocks) == SIZES[-1]
    assert len(blocks) <= 2 * 15, "code and environment are parsed once for all records that share them"


def test_an_answer_about_a_cell_parses_the_records_that_it_stands_on(
    larger: list[Small], monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[list[bytes]] = []
    parse = reading.from_json
    monkeypatch.setattr(reading, "from_json", lambda text: parsed[-1].append(text) or parse(text))
    for study in larger:
        parsed.append([])
        monkeypatch.chdir(study.folder)
        graph = audit.graph(load(), CELL)
        assert explain(graph, find(graph, CELL), "miniature")["value"]["n"] == 2
    assert len(parsed[0]) == len(parsed[1]) == len(parsed[2]) < SIZES[0]
