"""The study on a real SLURM: every rule, with kills on the way, and a cluster that keeps no accounts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, UnavailableError, new_folder, obstacle
from harness import ACCOUNTING, copy_checkout, copy_prepared, undisturbed

from utopia.plan.rules import RULES

pytestmark = pytest.mark.workflow

SOON = ("--slurm-init-seconds-before-status-checks", "1")
TRAIN, PREDICTIONS = "train_summe_et", "runs/summe.et.cwl/predictions.safetensors"
ELSEWHERE = {"choose_annotators", "fine_tune"}
"""The rules that only some settings need; none of generated data."""


@contextlib.contextmanager
def running(*, accounting: bool) -> Iterator[Cluster]:
    """A SLURM of our own; skips where there can be none."""
    reason = obstacle()
    if reason:
        pytest.skip(reason)
    cluster = Cluster(new_folder(), accounting=accounting)
    try:
        cluster.start()
    except UnavailableError as error:
        cluster.stop()
        pytest.skip(str(error))
    try:
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(cluster.folder, ignore_errors=True)


def test_every_rule_with_a_killed_job_and_a_killed_snakemake_is_the_same_study(tmp_path: Path) -> None:
    here = copy_checkout(tmp_path / "here", "rules")
    with running(accounting=True) as cluster:
        study = copy_checkout(tmp_path / "checkout", "rules")
        study.ask_often()
        # one rule asks for more than its usual one GPU: what is asked for must be what SLURM gives
        run = study.on_slurm(*SOON, "--set-resources", "extract_features:gpu=2", "extract_features:nodes=1")
        beside = here.here("--", "results/miniature/tables/rules.csv")
        os.kill(study.until("extraction", lambda: study.script_of("extract_features"), run), signal.SIGKILL)
        second = study.on_slurm(*SOON)
        assert second.end() == 1 and "a run of this study is going on" in second.said()
        study.until("failure", lambda: "SIGKILL" in run.said(), run)
        training = study.until("training", lambda: study.script_of("train_runs"), run)
        os.kill(training, signal.SIGSTOP)  # so that it is at work for as long as this test needs
        run.kill()
        assert "SIGKILL" in run.said(), run.said()
        assert study.status()["state"] == "interrupted"
        again = study.start("resume")
        study.until("a job to wait for", lambda: "waiting for " in again.said() and "on SLURM" in again.said(), again)
        os.kill(training, signal.SIGCONT)
        assert again.end() == 0, again.said()
        assert study.status()["state"] == "done"
        assert beside.end() == 0, beside.said()
        assert study.tables() == here.tables() and len(here.tables()) == 5
        assert {path.name for path in (study.results / "logs").iterdir()} == RULES.keys() - ELSEWHERE
        jobs = study.jobs()
        assert study.completed_twice(datasets=2) == [], jobs
        assert Counter(state for _, state, _ in jobs if state not in ("COMPLETED", "CANCELLED")) == {"FAILED": 1}, jobs
        asked = cluster.slurm("sacct", "-X", "-n", "-P", "--format=Comment,AllocTRES,WorkDir").splitlines()
    lines = [line for line in asked if str(study.folder) in line and "gres/gpu=" in line]
    gpus = {line.split("|")[0].split("_wildcards")[0] for line in lines}
    for line in lines:
        assert f"gres/gpu={2 if line.startswith('rule_extract_') else 1}" in line, line
    submitted = {rule.split("_wildcards")[0] for _, state, rule in jobs if state == "COMPLETED"}
    assert gpus == {rule for rule in submitted if rule.startswith(("rule_extract_", "rule_train_"))}
    records = [json.loads(path.read_text()) for path in study.results.rglob("*.record.json")]
    told = re.search(r"^(\d+) jobs to run", run.said(), re.MULTILINE)
    assert told and len(records) == int(told[1]) > 15 and all(record["status"] == "done" for record in records)


def test_on_a_cluster_without_accounting_and_its_programs_a_cancelled_job_is_named_and_made_again(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here = undisturbed(tmp_path_factory)
    with running(accounting=False) as cluster:
        study = copy_prepared(here, tmp_path / "checkout")
        study.ask_often()
        study.hide(ACCOUNTING)
        run = study.on_slurm(*SOON, "--config", "engine={workers: 2}", "--", f"results/miniature/{PREDICTIONS}")
        study.until("training", lambda: study.script_of("train_runs"), run)
        cluster.slurm("scancel", study.running(TRAIN) or "")
        assert run.end() == 0, run.said()
    assert f"failed {TRAIN}: cancelled on the cluster" in run.said()
    assert (study.results / PREDICTIONS).read_bytes() == (here.results / PREDICTIONS).read_bytes()
    # Two processes shared the replicas there, one trained them here.
    record = json.loads((study.results / "runs/summe.et.baseline/predictions.safetensors.record.json").read_text())
    log = (study.results / "logs/train/summe_et.log").read_text(encoding="utf-8")
    assert record["threads"] == 2 and "one process" not in log and "[20/20]" in log
