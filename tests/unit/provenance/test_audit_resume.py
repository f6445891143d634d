"""A run is killed and another one goes on: `explain` says which jobs, trainings and features were there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from studies import ROOT, TINY, Small

pytestmark = pytest.mark.workflow

RUNS = ("pmemo.et.baseline", "pmemo.et.cwl", "pmemo.et.tns_cwl")
SLOW = TINY.replace("et: {training: {epochs: 3}}", "et: {training: {epochs: 24}}")
"""Long enough that a job is killed between its first replica and its last one."""


def start(study: Small) -> subprocess.Popen[str]:
    metrics = [f"{ROOT}/runs/{run}/metrics.csv" for run in RUNS]
    command = [sys.executable, "-m", "utopia.cli.main", "run", "--cores", "1", "--", *metrics]
    return subprocess.Popen(
        [*command, "--configfile", "tiny.yaml"],
        cwd=study.folder,
        env=study.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_what_a_killed_run_had_done_is_shown_as_reused(whole: Small) -> None:
    assert "epochs: 24" in SLOW
    (whole.folder / "tiny.yaml").write_text(SLOW, encoding="utf-8")
    for table in whole.path("tables").glob("*"):
        table.unlink()
    for run in whole.path("runs").glob("pmemo.et.*"):
        for file in [*run.glob("*.*"), *run.glob("replicas/*")]:
            file.unlink()
    for index in whole.path("features/pmemo").glob("shard-*.json"):  # and their records
        index.unlink()

    first = start(whole)
    deadline = time.monotonic() + 300
    while not (stored := list(whole.path("runs").glob("pmemo.et.*/replicas/*[0-9].safetensors"))):
        assert first.poll() is None and time.monotonic() < deadline, first.communicate()[0]
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    stored = list(whole.path("runs").glob("pmemo.et.*/replicas/*[0-9].safetensors"))
    second = start(whole)
    said = second.communicate(timeout=600)[0]
    assert second.returncode == 0, said

    def explained(*more: str, of: str) -> str:
        done = whole.command("explain", of, "--configfile", "tiny.yaml", *more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    # the replica that was stored first belongs to this run
    run = stored[0].parents[1].name
    answer = json.loads(explained("--json", of=run))
    began = json.loads(whole.path("audit/run.json").read_text())["started"]
    assert answer["last_run"] == began
    done_before = {job["job"] for job in answer["jobs"] if job["ended"] < began}
    assert {job["job"] for job in answer["jobs"] if job["reused"]} == done_before
    reused = {job["rule"] for job in answer["jobs"] if job["reused"]}
    assert reused >= {"generate_miniature", "list_inputs", "build_labels"}
    assert not any(rule.startswith(("train_", "evaluate_")) for rule in reused)

    own = [f"{ROOT}/runs/{run}/replicas/{path.name}" for path in stored if path.parents[1].name == run]
    trainings = [training for replica in answer["replicas"] for training in replica["trainings"]]
    assert sorted(t["checkpoint"] for t in trainings if t["seconds"] is None) == sorted(own)
    assert 0 < len(own) < len(trainings)
    (job,) = (job for job in answer["jobs"] if job["rule"].startswith("train_"))
    everywhere = sorted(path.relative_to(whole.folder).as_posix() for path in stored)
    assert sorted(job["found_stored"]) == everywhere

    text = explained(of=run)
    assert f"{len(own)} of {len(trainings)} were found stored and reused: an earlier run had trained them" in text
    assert f"{len(done_before)} of {len(answer['jobs'])} jobs were done before the last run began ({began})" in text
    assert all(rule in text.split("which reused their results:")[1] for rule in reused)
    features = sum("/features/store/" in file["path"] for file in answer["files"])
    assert features and f"{features} stored features" in text
    found = {path for job in answer["jobs"] if job["rule"] == "extract_features" for path in job["found_stored"]}
    assert len(found) >= features, "the indexes were made once more, of features that were there"
    assert f"{features} were found stored and reused" in text
    assert "reused: true" in explained("--full", of=run)
    assert "which reused their results" in explained("--hardware", of=run)
