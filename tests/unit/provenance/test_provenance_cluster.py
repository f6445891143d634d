"""What SLURM says of a job that it ended: words that Slurm 22.05 really wrote, in files as it wrote them."""

from __future__ import annotations

from pathlib import Path

import pytest

from utopia.provenance import cluster

FAILED = (
    "SLURM-job '14' failed, SLURM status is: '{}'. Detailed failure reason unavailable (status command is not 'sacct')."
)


@pytest.mark.parametrize(
    ("state", "log", "what"),
    [
        (
            "FAILED",
            "slurmstepd-n3: error: StepId=7.0 exceeded memory limit (625926144 > 471859200), being killed\n"
            "slurmstepd-n3: error: *** STEP 7.0 ON n3 CANCELLED AT 2026-11-22T03:51:27 ***\n",
            "killed by SLURM: over its memory (597 MB, and 450 were asked for)",
        ),
        (
            "OUT_OF_MEMORY",
            "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=9.batch.\n",
            "killed by SLURM: over its memory",
        ),
        (
            "TIMEOUT",
            "    resources: mem_mb=4000, runtime=60\n"
            "slurmstepd-n3: error: *** JOB 5 ON n3 CANCELLED AT 2026-11-22T04:00:01 DUE TO TIME LIMIT ***\n",
            "killed by SLURM: over its time (60 min)",
        ),
        ("NODE_FAIL", "", "lost with its node"),
        (
            "CANCELLED",
            "slurmstepd-n2: error: *** JOB 10 ON n2 CANCELLED AT 2026-11-22T04:15:27 ***\n",
            "cancelled on the cluster (scancel), by you or its operators",
        ),
        (
            "FAILED",
            "Command 'set -euo pipefail;  python x.train_runs.py' died with <Signals.SIGKILL: 9>.\n",
            "killed from outside (SIGKILL), most often because memory ran out",
        ),
    ],
)
def test_each_end_is_named(tmp_path: Path, state: str, log: str, what: str) -> None:
    path = tmp_path / "over_its_memory.log"
    path.write_text(log)
    found = cluster.cause(FAILED.format(state), [path])
    assert found is not None and found.what == what and found.remedy


def test_a_refused_submission_is_named() -> None:
    said = (
        "SLURM sbatch failed. The error message was 'sbatch: error: Batch job submission failed: Requested time limit "
        "is invalid (missing or exceeds some limit)'.\n    sbatch call:\n        sbatch --parsable -t 5760"
    )
    found = cluster.cause(said)
    assert found is not None
    assert found.what == "SLURM does not take the job: Requested time limit is invalid (missing or exceeds some limit)"
    assert "SBATCH_PARTITION" in found.remedy


def test_a_job_that_failed_by_itself_is_not_the_cluster_s_doing(tmp_path: Path) -> None:
    log = tmp_path / "1.log"
    log.write_text("Error in rule train: CalledProcessError ... returned non-zero exit status 1.\n")
    assert cluster.cause(FAILED.format("FAILED"), [log, tmp_path / "none.log"]) is None
    assert cluster.cause("") is None
