"""What the profile for SLURM makes the executor ask: without accounting, around midnight, and for how many cores."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest
import warm
import yaml

from utopia.cli import run

PROFILE = Path(__file__).parents[3] / "profiles" / "slurm" / "config.yaml"
query = pytest.importorskip("snakemake_executor_plugin_slurm.job_status_query")


def test_the_state_of_jobs_is_asked_for_by_the_runs_name_and_no_date() -> None:
    """A question that starts at a date (as sacct's does, by default at midnight) loses jobs of the day before."""
    profile = yaml.safe_load(PROFILE.read_text())
    assert profile["slurm-status-command"] == "squeue"  # answers without accounting, too
    words = shlex.split(query.query_job_status_squeue("a-run"))
    assert words[0] == "squeue" and "a-run" in " ".join(words)
    assert not any(word.startswith(("--start", "-S", "--end", "-E")) for word in words), words


def test_a_training_job_asks_slurm_for_the_cores_of_all_its_workers(repository: Path, tmp_path: Path) -> None:
    """As Snakemake plans it: the executor asks for `--cpus-per-task` of a job's threads, which `--cores` bounds."""
    profile = yaml.safe_load(PROFILE.read_text())
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({k: v for k, v in profile.items() if k != "logger"}))
    _, _, *cores = run.where("slurm", None, repository, 16)
    words = ["--dry-run", "--nolock", "--workflow-profile", str(tmp_path), *cores]
    config = ["--config", "engine={strategy: sequential, workers: 16}", "tables=[ulda_table_2]", "figures=[]"]
    words += [*config, f"results={tmp_path}", "--quiet", "host"]
    done = warm.run("snakemake", *words, cwd=repository, env=os.environ)
    assert done.returncode == 0, done.stderr[-2000:]
    jobs = re.findall(r"^rule (\w+):\n((?:    .*\n)+)", done.stderr + done.stdout, re.MULTILINE)
    asked = {name: re.search(r"threads: (\d+)", text) for name, text in jobs}
    training = {name: found and found[1] for name, found in asked.items() if name.startswith("train_")}
    assert len(training) > 1 and set(training.values()) == {"16"}, training
