"""Tables of measured numbers in docs are those of benchmarks/results; peers are compared with where they are there."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NOT_IN_FILES = {
    "planted_bugs": "says what is found, not how fast; --write puts its table into docs/planted_truth.md",
}
"""Benchmarks without a file of results, and why."""


@pytest.fixture
def benchmarks(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, in the search path."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return repository / "benchmarks"


@pytest.fixture
def tables(benchmarks: Path) -> ModuleType:
    """What writes the page."""
    import tables

    return tables


def test_every_page_is_what_the_files_say(tables: ModuleType) -> None:
    pages = tables.pages()
    assert {path.stem for path in pages} >= {"clusters", "rmn", "scaling", "speed"}
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert tables.page(text) == text, f"{path.name}: run `python benchmarks/tables.py --fix`"


def test_every_table_has_its_benchmark_and_its_results(tables: ModuleType, benchmarks: Path) -> None:
    shown = {found[1] for path in tables.pages() for found in tables.BLOCK.findall(path.read_text(encoding="utf-8"))}
    assert all((benchmarks / f"{name.removesuffix('-tiny')}.py").is_file() for name in shown), shown
    measured = {name for name in shown if list((benchmarks / "results").glob(f"{name}-x86*.json"))}
    assert shown - measured <= {"gpu"}, "numbers that are not there yet"  # no GPU has run it


def test_every_benchmark_has_its_results_on_a_page(tables: ModuleType, benchmarks: Path) -> None:
    scripts = {path.stem for path in benchmarks.glob("[a-z]*.py")} - {"tables"}
    shown = {found[1] for path in tables.pages() for found in tables.BLOCK.findall(path.read_text(encoding="utf-8"))}
    measured = {path.stem.partition("-")[0] for path in (benchmarks / "results").glob("*.json")}
    assert scripts - (shown & measured) == NOT_IN_FILES.keys()


def test_rows_are_one_table_where_they_measure_the_same(tables: ModuleType) -> None:
    cheap = {"model": "ET", "workers": 1, "CPU seconds": 2.5}
    dear = {"model": "ET", "workers": 2, "CPU seconds": 2.6, "ratio": [0.96, 0.9, 1.01]}
    other = {"model": "ET", "workers": 64, "gain": 50.0}
    assert tables.alike([cheap, dear, other, cheap]) == [[cheap, dear, cheap], [other]]
    assert tables.table([cheap, dear])[2:] == ["| ET | 1 | 2.5 |  |", "| ET | 2 | 2.6 | 0.96 (0.9 to 1.01) |"]


def test_a_changed_number_changes_the_page(tables: ModuleType, benchmarks: Path, tmp_path: Path) -> None:
    (source,) = (benchmarks / "results").glob("peers-*.json")
    body = json.loads(source.read_text(encoding="utf-8"))
    row = next(row for row in body["rows"] if "of_ours" in row)
    before = tables.block("peers")
    row["of_ours"] += 1
    (tmp_path / source.name).write_text(json.dumps(body), encoding="utf-8")
    after = tables.block("peers", tmp_path)
    changed = [pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1 and f"{row['of_ours']:.2f} (" in changed[0][1]
    assert "Nothing was measured yet" in tables.block("nothing", tmp_path)


def test_results_name_no_host_and_no_path(benchmarks: Path) -> None:
    paths = sorted((benchmarks / "results").glob("*.json"))
    assert paths
    for path in paths:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(^|[\s\"'(])(/|~/|[A-Z]:\\\\)\w", text), path.name
        body = json.loads(text)
        assert body["machine"] and body["versions"]["torch"] and body["rows"]
        assert f"torch{body['versions']['torch'].split('+')[0]}" in path.name


@pytest.mark.long
def test_peers_that_are_not_there_are_left_out_and_ours_has_its_numbers(
    benchmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import peers

    for name in ("cv2", "resampy", "imageio_ffmpeg", "torchcodec"):
        monkeypatch.setitem(sys.modules, name, None)
    options = ["--seconds", "2", "--rounds", "2", "--clips", "1", "--out", str(tmp_path / "rows.jsonl")]
    monkeypatch.setattr(sys, "argv", ["peers.py", *options, "--keep", str(tmp_path)])
    peers.main()
    rows: list[dict[str, Any]] = [
        json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [row["left_out"] for row in rows if "left_out" in row] == ["cv2", "resampy", "imageio_ffmpeg", "torchcodec"]
    measured = {(row["task"], row["way"]): row for row in rows if "cpu_s" in row}
    assert all(row["cpu_s"] > 0 for row in measured.values())
    every = measured["decode, 2 fps", "every frame"]
    assert every["same_frames"] and every["least"] <= every["of_ours"] <= every["largest"]
    assert "| decode, 2 fps | 360p H.264, 2 s | every frame |" in capsys.readouterr().out
    (kept,) = tmp_path.glob("peers-*.json")
    assert json.loads(kept.read_text(encoding="utf-8"))["rounds"] == 2


def test_log_mel_by_the_published_formula_is_ours(benchmarks: Path) -> None:
    """What is compared with us computes the same thing: one transform of the whole sound, in double precision."""
    import numpy as np
    import peers

    samples = np.random.default_rng(0).normal(0, 0.1, 4 * peers.RATE)
    theirs = peers.whole_log_mel(samples)
    assert np.allclose(theirs, peers.log_mel(samples), atol=1e-5) and theirs.shape == (4, 96, 64)


def test_the_gain_of_many_workers_is_bounded_by_the_serial_part_and_the_longest_replica(benchmarks: Path) -> None:
    import workers

    assert workers.makespan([3, 1, 1, 1], 2) == 3 and workers.makespan([1, 1, 3], 2) == 4
    assert workers.estimate(2.0, [1.0] * 8, 1) == {"faster": 1.0, "of_cores": 1.0}
    assert workers.estimate(2.0, [1.0] * 8, 4) == {"faster": 2.5, "of_cores": 0.625}
    assert workers.estimate(0.0, [5.0, 1.0], 64)["faster"] == 1.2


def test_what_scripts_import_of_the_package_is_there(benchmarks: Path) -> None:
    """Most of it within functions, and most scripts are run by hand: a name that went would be seen years later."""
    gone = []
    for path in sorted([*benchmarks.glob("*.py"), *(benchmarks.parent / "docs").glob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("utopia"):
                module = importlib.import_module(str(node.module))
                for name in (alias.name for alias in node.names):
                    if not hasattr(module, name) and importlib.util.find_spec(f"{node.module}.{name}") is None:
                        gone.append(f"{path.name}:{node.lineno}: {node.module}.{name}")
    assert not gone
