"""Extraction on workers that stay alive (`--profile dask`): the same files as Snakemake's own jobs make, also when a
worker is killed with a shard in work, and nothing left to do for Snakemake afterwards.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from whole import CONFIG, Checkout

pytestmark = pytest.mark.workflow

STUDY = """\
repeats: 2
generated: {seconds: 20, items: {summe: 6, liris: 0, pmemo: 0, tvsum: 0, eev: 0}}
datasets: {summe: {shard: 1}}
features: {googlenet: {options: {size: 64}}}
tables: [drill]
figures: []
"""
TABLE = """\
title: One model on generated videos
source: the project's tests
caption: What needs the features of a data set.
columns:
  - {id: f, title: F-score, dataset: summe, target: importance, metric: f_score, decimals: 1, better: higher}
rows:
  - {id: et.baseline, title: ET, run: {model: et, treatment: baseline}}
"""
TIMES = {"seconds", "cpu_seconds", "peak_memory_bytes", "started", "ended", "digest", "environment", "determinism"}
"""What a record says of the process that did the job, not of the job."""
EXTRACTION = ("--until", "extract_features")


@pytest.fixture
def checkout(fresh: Checkout) -> Checkout:
    """A checkout whose data set has six shards of one video."""
    (fresh.folder / "workflow/resources/tables/drill.yaml").write_text(TABLE, encoding="utf-8")
    (fresh.folder / CONFIG).write_text(STUDY, encoding="utf-8")
    return fresh


def features(checkout: Checkout) -> dict[str, bytes]:
    """The bytes of the indexes and of everything in the store."""
    folder = checkout.results / "features"
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".record.json"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if ".snakemake" not in path.name}


def records(checkout: Checkout) -> dict[str, dict[str, Any]]:
    """The shards' records, without times and what else belongs to a process."""
    found = {
        path.name: json.loads(path.read_text(encoding="utf-8"))
        for path in (checkout.results / "features").rglob("shard-*.record.json")
    }
    return {
        name: {key: value for key, value in record.items() if key not in TIMES}
        | {"packages": record["environment"]["packages"]}
        for name, record in found.items()
    }


def run_and_kill_a_worker(checkout: Checkout) -> tuple[str, str]:
    """Extract with two workers; SIGKILL to the one that had begun first. Returns its process id and its shard."""
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", "profiles/dask", "--cores", "4"]
    command += ["--dask-workers", "2", "--configfile", CONFIG, *EXTRACTION]
    said = checkout.folder / "said.txt"
    with said.open("w") as out:
        run = subprocess.Popen(command, cwd=checkout.folder, env=checkout.environment, stdout=out, stderr=out)
        killed = shard = ""
        while run.poll() is None and not killed:
            for log in (checkout.results / "logs/extract_features").glob("*.log"):
                index = checkout.results / "features/summe" / f"shard-{log.stem.rpartition('-')[2]}.json"
                begun = re.search(r"process (\d+), started", log.read_text(encoding="utf-8"))
                if begun and "at work on" in log.read_text(encoding="utf-8") and not index.exists():
                    os.kill(int(begun[1]), signal.SIGKILL)
                    killed, shard = begun[1], index.name
                    assert not index.exists(), "it had its shard in work"
                    break
            time.sleep(0.02)
        assert run.wait(timeout=600) == 0, said.read_text(encoding="utf-8")
    assert killed, said.read_text(encoding="utf-8")
    return killed, shard


def test_shards_on_workers_that_stay_are_those_of_snakemakes_own_jobs_also_if_one_is_killed(
    checkout: Checkout, tmp_path: Path
) -> None:
    pytest.importorskip("distributed")
    killed, shard = run_and_kill_a_worker(checkout)
    # held against these: the one that was killed at, an ordinary one, and that of the damaged video
    shards = sorted({shard, "shard-0001.json", "shard-0005.json"})
    plain = Checkout(tmp_path / "plain")
    shutil.copytree(checkout.folder, plain.folder, symlinks=True)
    shutil.rmtree(plain.results / "features/store")
    for name in shards:
        (plain.results / "features/summe" / name).unlink()
        (plain.results / "features/summe" / f"{name}.record.json").unlink()
    said = plain.snakemake(*EXTRACTION)
    assert f"{len(shards)} jobs to run" in said, "to Snakemake's own jobs the other shards are not done"
    assert features(checkout).items() >= features(plain).items() and len(features(checkout)) > len(features(plain))
    assert len(features(plain)) == 6 + len(shards) - 1, "six indexes, and the features of each but the damaged video"
    assert len(records(checkout)) == 6 and records(checkout) == records(plain)
    logs = sorted((checkout.results / "logs/extract_features").glob("*.log"))
    made_by = [re.findall(r"process (\d+), started", path.read_text(encoding="utf-8"))[0] for path in logs]
    assert len(set(made_by)) < len(made_by) == 6, "a worker takes several shards"
    assert made_by[int(shard.removeprefix("shard-").removesuffix(".json"))] != killed
    assert "nothing to do" in checkout.snakemake("--workflow-profile", "profiles/dask", *EXTRACTION)
    measured = (checkout.results / "benchmarks/extract_features/summe-0000.jsonl").read_text(encoding="utf-8")
    assert json.loads(measured)["cpu_time"] > 0
