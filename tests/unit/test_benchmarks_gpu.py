"""The script that tries everything a GPU must do runs on a CPU with small sizes, without the workflow's packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from utopia.config import registry

BLOCKED = ("snakemake", "snakemake_interface_common", "pulp", "av", "torchcodec", "matplotlib", "rocrate")
RUN = f"""
import runpy, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED!r}:
            raise ImportError(f"{{name}} is not carried to the GPU's machine")
sys.meta_path.insert(0, Blocked())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def tried(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], str, Path]:
    """The rows, what was printed, and the folder of what is kept."""
    folder = tmp_path_factory.mktemp("gpu")
    options = ["--device", "cpu", "--tiny", "--limit", "60", "--out", str(folder / "rows.jsonl"), "--keep", str(folder)]
    command = [sys.executable, "-c", RUN, str(repository / "benchmarks" / "gpu.py"), *options]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    return rows, done.stdout, folder


def of(rows: list[dict[str, Any]], stage: str) -> list[dict[str, Any]]:
    assert not [row for row in rows if "error" in row]
    own = [row for row in rows if row["stage"] == stage]
    assert own[-1]["what"] == "stage" and own[-1]["seconds"] > 0 and "cut_off_after_s" not in own[-1]
    return own[:-1]


def test_every_model_loss_and_sampler_is_compared(tried: tuple[list[dict[str, Any]], str, Path]) -> None:
    rows = of(tried[0], "agree")
    assert all(row["agrees"] and row["twice_the_same_bytes"] and row["difference"] <= 2e-4 for row in rows)
    words = {word for row in rows for word in row["what"].split()}
    assert set(registry.names("samplers")) <= words
    assert set(registry.names("losses")) - {"l1_kl", "kl", "ccc"} <= words
    assert {"ET", "PGL-SUM", "RMN", "bi-GRU"} <= words


def test_rates_and_extractors_have_their_numbers(tried: tuple[list[dict[str, Any]], str, Path]) -> None:
    rates = of(tried[0], "rates")
    assert {row["replicas"] for row in rates} == {1, 2}
    assert all(row["replica_epochs_per_second"] > 0 for row in rates)
    assert all(row["of_plain_loop"] > 0 for row in rates if row["what"] in ("ET", "PGL-SUM 128"))
    one, two = (row["kernels_of_a_round"] for row in rates if row["what"] == "ET")
    assert two < 1.2 * one
    extracted = of(tried[0], "extract")
    exact = [row for row in extracted if row.get("arithmetic") == "float32"]
    assert exact and all(row["relative_error"] < 1e-5 for row in exact)
    less = [row for row in extracted if row.get("arithmetic") == "bfloat16"]
    assert less and all(1e-4 < row["relative_error"] < 0.1 for row in less)
    assert [row["agrees"] for row in extracted if "agrees" in row] == [True]


def test_the_study_is_the_plan_s_own(tried: tuple[list[dict[str, Any]], str, Path]) -> None:
    """All packs of the nine tables, with three repeats, and five folds of the summaries."""
    *packs, whole = of(tried[0], "study")
    names = {row["what"]: row["replicas"] for row in packs}
    assert {name.split("_")[0] for name in names} == {"liris", "pmemo", "summe", "tvsum"}
    assert names["tvsum_et"] == 3 * 5 * 3 and names["pmemo_rmn"] == 2 * 2 * 3
    assert whole["projected_s"] == pytest.approx(sum(row["projected_s"] for row in packs), rel=1e-2)


def test_memory_that_runs_out_is_survived(tried: tuple[list[dict[str, Any]], str, Path]) -> None:
    assert [(row["refused"], row["trained"], row["agrees"]) for row in of(tried[0], "memory")[1:]] == [(1, 4, True)]


def test_what_is_missing_is_said_and_what_is_kept_names_no_machine(
    tried: tuple[list[dict[str, Any]], str, Path],
) -> None:
    rows, printed, folder = tried
    (row,) = of(rows, "decode")
    assert "not carried" in row["left_out"]
    for stage in ("agree", "rates", "extract", "study", "memory", "decode"):
        assert f"### {stage}" in printed
    (kept,) = folder.glob("gpu-*.json")
    text = kept.read_text(encoding="utf-8")
    assert json.loads(text)["rows"] == rows
    assert os.uname().nodename not in text and str(folder) not in text and str(Path.cwd()) not in text


@pytest.fixture
def script(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    import gpu

    return gpu


def test_a_stage_that_takes_too_long_or_fails_has_told_what_it_found(script: ModuleType, tmp_path: Path) -> None:
    rows = script.Rows(tmp_path / "rows.jsonl")

    def slow() -> Iterator[dict[str, Any]]:
        yield {"what": "first"}
        time.sleep(60)

    def broken() -> Iterator[dict[str, Any]]:
        yield {"what": "second"}
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    start = time.monotonic()
    script.run("slow", slow, rows, 0.2)
    assert time.monotonic() - start < 30 and script.failed(rows.rows) == 0
    script.run("broken", broken, rows, 60)
    assert script.failed(rows.rows) == 1
    written = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert written == rows.rows and [row["what"] for row in written] == ["first", "stage", "second", "stage"]
    assert written[1]["cut_off_after_s"] == 0.2 and "illegal memory access" in written[3]["error"]
    assert any(line.startswith("| first") for line in script.by_stage(rows.rows))
