"""What a job of a large study is submitted with: the text that SLURM's plugin gives to `sbatch`, of the largest job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from utopia.config.load import load
from utopia.plan.plan import Plan

pytestmark = pytest.mark.workflow

VIDEOS, SHARD = 900, 20
"""As many shards as 3,000 videos have in the published size."""
LIMIT = 64 << 10
"""Half of what Linux allows for an argument."""
SBATCH = """#!{python}
import json, sys
json.dump(sys.argv, open({noted!r}, "w"))
sys.exit(1)
"""


def test_a_training_on_many_shards_is_submitted_in_few_bytes(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its inputs are named in a file, whatever their number; `sbatch` here notes what it is given, and refuses."""
    monkeypatch.chdir(repository)
    monkeypatch.setattr(sys, "path", [str(repository / "benchmarks"), *sys.path])
    planning = import_module("planning")
    data = planning.data_folder(VIDEOS, tmp_path / "data")
    config = {"study": "paper", "data": str(data), "results": f"{tmp_path}/results", "only_datasets": ["eev"]}
    config["datasets"] = {"eev": {"shard": SHARD}}
    plan = Plan(load(overrides=config))
    training = max((job for job in plan.jobs if job.rule == "train"), key=lambda job: len(job.read()))
    assert len(training.read()) > 40
    named = len(str(next((data / "eev" / "videos").iterdir()))) + 3
    assert VIDEOS * named > LIMIT, "a job that names each video would not be told"
    stamp = time.time()
    for number, path in enumerate(Path(path) for job in plan.jobs if job.rule != "train" for path in job.made()):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        if path.name == "eev.json" and path.parent.name == "inputs":
            planning.write_manifest(VIDEOS, path)
        os.utime(path, (stamp + number / 1e5, stamp + number / 1e5))

    programs, noted = tmp_path / "bin", tmp_path / "submitted.json"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH.format(python=sys.executable, noted=str(noted)))
    for name in ("squeue", "sinfo", "scontrol", "sacct", "sacctmgr"):
        (programs / name).write_text("#!/bin/sh\nexit 0\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    command = [sys.executable, "-m", "snakemake", "--executor", "slurm", "--jobs", "1", "--rerun-triggers", "mtime"]
    command += ["--slurm-init-seconds-before-status-checks", "1"]  # for what it has not submitted it would wait 40 s
    command += ["--nolock", "--workflow-profile", "none", "--config", "study=paper", f"data={data}"]
    command += [f"results={tmp_path}/results", "only_datasets=['eev']", f"datasets={config['datasets']}"]
    command += ["--", training.made()[0]]
    surroundings = {
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository / "workflow" / "lib"),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(command, cwd=repository, env=surroundings, capture_output=True, text=True, timeout=300)
    assert noted.is_file(), (done.stdout + done.stderr)[-3000:]
    arguments = json.loads(noted.read_text())
    (wrapped,) = (argument for argument in arguments if argument.startswith("--wrap="))
    assert f"--target-jobs '{training.name}:'" in wrapped, "another job would be submitted first"
    assert "--wait-for-files-file" in wrapped and "shard-0007" not in wrapped
    assert max(len(argument.encode()) for argument in arguments) < LIMIT / 8
    # and were they named, even by another executor: of no job are they more than an argument holds
    assert max(sum(len(path) + 3 for path in job.read()) for job in plan.jobs) < LIMIT
