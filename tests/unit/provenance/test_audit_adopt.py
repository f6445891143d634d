"""Results whose times were lost or lie in the future are taken as done where records prove it, and only there."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

import pytest
import warm
from studies import ROOT, TARGETS, Small, flip

TABLE = f"{ROOT}/tables/ulda_table_7.csv"
METRICS = "runs/pmemo.et.baseline/metrics.csv"


@pytest.fixture
def copied(whole: Small) -> Small:
    """The study as somebody has copied it, without Snakemake's notes: the youngest files are those made first."""
    now = time.time()
    for number, record in enumerate(reversed(whole.graph().ledger.records)):
        for path in whole.graph().made(record):
            os.utime(whole.folder / path, (now - 1000 + number, now - 1000 + number))
    for stamp in (whole.folder / ROOT).rglob(".snakemake_timestamp"):
        os.utime(stamp, (now, now))
    return whole


def to_run(whole: Small, *files: str) -> int:
    """How many jobs Snakemake would do for what was made, from the same configuration."""
    words = ["-n", "--configfile", "tiny.yaml", *files, "--", *TARGETS]
    done = warm.run("snakemake", *words, cwd=whole.folder, env=whole.environment, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    count = re.search(r"(\d+) jobs? would run", done.stdout + done.stderr)
    return int(count[1]) if count else 0


def adopt(whole: Small, *more: str) -> dict[str, Any]:
    done = whole.utopia("adopt", "--configfile", "tiny.yaml", *more, "--json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_a_copy_is_taken_as_done_a_file_from_the_future_is_mended_and_nothing_else_changes(copied: Small) -> None:
    before = {path: path.read_bytes() for path in (copied.folder / ROOT).rglob("*.*") if path.is_file()}
    assert to_run(copied) > 10
    # One of its files, besides, is from the future.
    later = time.time() + 86400
    os.utime(copied.path(METRICS), (later, later))
    status = json.loads(copied.command("status", "--configfile", "tiny.yaml", "--json").stdout)
    assert status["times"]["future"] == [f"{ROOT}/{METRICS}"] and status["next"].startswith("utopia adopt")
    run = copied.command("run", "--dry-run")
    assert run.returncode != 0 and METRICS in run.stderr and "utopia adopt" in run.stderr
    answer = adopt(copied)
    assert TABLE in answer["adopted"] and f"{ROOT}/audit/coverage.csv" in answer["adopted"]
    # What the study asks for and nobody has made is named; it follows from no loss of time.
    assert all("no record" in why for why in answer["refused"].values())
    assert copied.path(METRICS).stat().st_mtime < later - 80000
    assert to_run(copied) == 0
    assert before == {path: path.read_bytes() for path in before}


def test_what_records_do_not_prove_is_made_again_and_nothing_else(copied: Small) -> None:
    (copied.folder / "more.yaml").write_text("models: {rmn: {training: {epochs: 3}}}")
    flip(copied.path(METRICS))
    answer = adopt(copied, "--configfile", "more.yaml")
    refused = {path: why for path, why in answer["refused"].items() if "no record" not in why}
    rmn = next(path for path in refused if ".rmn." in path and path.endswith("predictions.safetensors"))
    # older than anything: also where nothing that they are made from was touched
    assert {(copied.folder / path).stat().st_mtime for path in refused} == {1}
    assert "epochs: 2 -> 3" in refused.pop(rmn)
    assert refused and all(METRICS in why for why in refused.values())
    # The training and evaluation of RMN, the evaluation of ET, the table; and each figure that reads a damaged file.
    assert 4 <= to_run(copied, "more.yaml") <= 6
