"""Failures on a cluster as the logger tells them: its reason before a mere interruption, of a group the one cause."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from snakemake_logger_plugin_utopia.run import RunState
from utopia.provenance import failures


def event(jobid: int, rule: str, **more: Any) -> dict[str, Any]:
    return {"jobid": jobid, "rule_name": rule, "log": [f"logs/{rule}.log"], "output": [f"{rule}.txt"], **more}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunState:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    return RunState()


def leave(rule: str, **facts: Any) -> None:
    time.sleep(0.01)
    Path(f"logs/{rule}.log{failures.SUFFIX}").write_text(json.dumps({"rule": rule, **facts}))


SAID = "SLURM-job '5' failed, SLURM status is: '{}'."


def test_the_cluster_s_reason_goes_before_an_interruption_but_not_before_an_error(run: RunState) -> None:
    run.start(event(1, "train"))
    leave("train", status="interrupted", what="interrupted (SIGTERM)")
    failure = run.fail(event(1, "train", rule_msg=SAID.format("TIMEOUT")))
    assert failure.status == "failed" and failure.what == "killed by SLURM: over its time"
    assert "train:runtime=MINUTES" in failure.remedy
    run.start(event(2, "train"))
    leave("train", status="failed", what="labels are damaged")
    assert run.fail(event(2, "train", rule_msg=SAID.format("FAILED"))).what == "labels are damaged"


def test_of_a_group_the_job_that_failed_is_the_cause(run: RunState) -> None:
    Path("group.log").write_text("nothing of interest\n")
    for number, rule in enumerate(("list", "build")):
        run.start(event(number, rule))
    leave("build", status="failed", what="labels are damaged")
    infos = [{"jobid": number} for number in (0, 1)]
    run.fail_group({"aux_logs": ["group.log"], "job_error_info": infos})
    found = [run.fail(event(number, rule)) for number, rule in enumerate(("list", "build"))]
    assert [failure.status for failure in found] == ["interrupted", "failed"]
    assert next(cause.headline for cause in failures.group(found)) == "labels are damaged"


def test_a_refused_retry_does_not_hide_why_the_first_attempt_failed(run: RunState) -> None:
    run.start(event(1, "train"))
    leave("train", status="failed", what="disk full", remedy="free it")
    run.fail(event(1, "train", rule_msg=SAID.format("FAILED")))
    run.retry(1)
    time.sleep(0.05)
    run.start(event(1, "train"))
    refused = "SLURM sbatch failed. The error message was 'sbatch: error: too much memory'."
    failure = run.fail(event(1, "train", rule_msg=refused))
    assert failure.what == "disk full" and "too much memory" in failure.why
