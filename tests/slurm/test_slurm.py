"""The study on a real SLURM: every rule, with kills on the way, and a cluster that keeps no accounts."""

from __future__ import annotations

import contextlib
import hashlib
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
from harness import ACCOUNTING, Study, copy_catalogue, copy_checkout, copy_prepared
from whole import Checkout

pytestmark = pytest.mark.workflow

SOON = ("--slurm-init-seconds-before-status-checks", "4")
TRAIN = "train_summe_et"
TABLES = ("eev_table_4", "planted_truth", "ulda_table_7")
FIGURES = ("beyond_slices_summe", "eev_figure_1")
"""They need every rule and every protocol. A job on SLURM is two starts of Snakemake, and what the other tables add are
more jobs of the same rules: 55 jobs instead of 146."""


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


def test_every_rule_with_a_killed_job_and_a_killed_snakemake_is_the_same_study(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with running(accounting=True) as cluster:
        study = copy_catalogue(tmp_path / "checkout")
        study.settings = [f"tables={list(TABLES)}", f"figures={list(FIGURES)}", "engine={'runs': 24}"]
        # one rule asks for more than its usual one GPU: what is asked for must be what SLURM gives
        run = study.on_slurm(*SOON, "--set-resources", "extract_features:gpu=2", "extract_features:nodes=1")
        os.kill(study.until("extraction", lambda: study.script_of("extract_features"), run), signal.SIGKILL)
        second = study.on_slurm(*SOON)
        assert second.end() == 1 and "a run of this study is going on" in second.said()
        study.until("failure", lambda: "SIGKILL" in run.said(), run)
        study.until("training", lambda: study.script_of("train_runs"), run)
        run.kill()
        assert "SIGKILL" in run.said(), run.said()
        assert study.status()["state"] == "interrupted"
        again = study.start("resume")
        assert again.end() == 0, again.said()
        assert "waiting for " in again.said() and "on SLURM" in again.said()
        assert study.status()["state"] == "done"
        finished = request.getfixturevalue("finished")  # now: it may have been made elsewhere meanwhile
        _same_tables(study, finished)
        rules, all_rules = ({path.name for path in (one.results / "logs").iterdir()} for one in (study, finished))
        assert rules == all_rules
        jobs = study.jobs()
        assert study.completed_twice(datasets=5) == [], jobs
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
    assert told and len(records) == int(told[1]) > 50 and all(record["status"] == "done" for record in records)


def test_on_a_cluster_without_accounting_and_its_programs_a_cancelled_job_is_named_and_made_again(
    tmp_path: Path,
) -> None:
    with running(accounting=False) as cluster:
        undisturbed = copy_checkout(tmp_path / "undisturbed")
        here = undisturbed.here()
        assert here.end() == 0, here.said()
        study = copy_prepared(undisturbed, tmp_path / "checkout")
        study.hide(ACCOUNTING)
        run = study.on_slurm(*SOON)
        study.until("training", lambda: study.script_of("train_runs"), run)
        cluster.slurm("scancel", study.running(TRAIN) or "")
        assert run.end() == 0, run.said()
    assert f"failed {TRAIN}: cancelled on the cluster" in run.said()
    assert len(study.tables()) == 3 and study.tables() == undisturbed.tables()


def _same_tables(study: Study, finished: Checkout) -> None:
    """The tables of a study on SLURM are byte by byte those that were made here."""
    ours = {name: digest for name, digest in study.tables().items() if name.startswith("tables/")}
    here = {f"tables/{name}": hashlib.sha256(text).hexdigest() for name, text in finished.tables().items()}
    assert {Path(name).stem for name in ours} >= set(TABLES)
    assert ours == {name: here[name] for name in ours}
