"""What the profile for SLURM makes the executor ask: without accounting, and on either side of midnight."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

PROFILE = Path(__file__).parents[3] / "profiles" / "slurm" / "config.yaml"
query = pytest.importorskip("snakemake_executor_plugin_slurm.job_status_query")


def test_the_state_of_jobs_is_asked_for_by_the_runs_name_and_no_date() -> None:
    """A question that starts at a date (as sacct's does, by default at midnight) loses jobs of the day before."""
    profile = yaml.safe_load(PROFILE.read_text())
    assert profile["slurm-status-command"] == "squeue"  # answers without accounting, too
    words = shlex.split(query.query_job_status_squeue("a-run"))
    assert words[0] == "squeue" and "a-run" in " ".join(words)
    assert not any(word.startswith(("--start", "-S", "--end", "-E")) for word in words), words
