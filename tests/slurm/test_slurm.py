"""The study on a real SLURM, and tables that do not depend on where, in what order or in what pieces they are made."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, UnavailableError, new_folder, obstacle
from harness import Study, copy_checkout

pytestmark = pytest.mark.workflow

SOON = ("--slurm-init-seconds-before-status-checks", "4")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A SLURM of our own."""
    reason = obstacle()
    if reason:
        pytest.skip(reason)
    found = Cluster(new_folder())
    try:
        found.start()
    except UnavailableError as error:
        found.stop()
        pytest.skip(str(error))
    yield found
    found.stop()
    shutil.rmtree(found.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study, run here from nothing on two cores."""
    study = copy_checkout(tmp_path_factory.mktemp("undisturbed"))
    run = study.here()
    assert run.end() == 0, run.said()
    assert len(study.tables()) == 3 and any(name.startswith("tables/") for name in study.tables())
    return study


def test_other_cores_shards_packs_and_order_give_identical_tables(undisturbed: Study, tmp_path: Path) -> None:
    study = copy_checkout(tmp_path / "checkout")
    study.settings = ["datasets={'summe': {'shard': 1}}", "engine={'runs': 1}"]
    features = "results/miniature/features/summe"
    for target in (f"{features}/shard-0004.json", "results/miniature/runs/summe.et.cwl/metrics.csv"):
        run = study.here("--", target, cores=1)
        assert run.end() == 0, run.said()
    assert not (study.results / "runs" / "summe.et.baseline" / "metrics.csv").exists()
    run = study.here(cores=1)
    assert run.end() == 0, run.said()
    assert study.tables() == undisturbed.tables()


def test_on_slurm_with_a_killed_job_and_a_killed_snakemake_it_is_the_same_study(
    cluster: Cluster, undisturbed: Study, tmp_path: Path
) -> None:
    study = copy_checkout(tmp_path / "checkout")
    run = study.on_slurm(*SOON)
    os.kill(study.until("extraction", lambda: study.script_of("extract_features"), run), signal.SIGKILL)
    second = study.on_slurm(*SOON)
    assert second.end() == 1 and "a run of this study is going on" in second.said()
    study.until("training", lambda: study.script_of("train_runs"), run)
    run.kill()
    assert "failed extract_features" in run.said() and "SIGKILL" in run.said(), run.said()
    assert _status(study)["state"] == "interrupted"
    again = study.start("resume")
    assert again.end() == 0, again.said()
    assert "waiting for 1 on SLURM" in again.said()
    assert study.tables() == undisturbed.tables()
    assert _status(study)["state"] == "done"
    states = [state for _, state, rule in study.jobs() if "extract" not in rule]
    assert set(states) == {"COMPLETED"} and len(states) == 4, study.jobs()
    assert study.completed_twice() == []
    asked = cluster.slurm("sacct", "-X", "-n", "-P", "--format=Comment,AllocTRES,WorkDir").splitlines()
    gpus = {line.split("|")[0] for line in asked if str(study.folder) in line and "gres/gpu=1" in line}
    assert {rule.split("_wildcards")[0] for rule in gpus} == {"rule_extract_features", "rule_train_summe_et_1"}
    submissions = {rule for _, _, rule in study.jobs()}
    assert len([rule for rule in submissions if "build_labels" in rule]) == 1
    records = [json.loads(path.read_text()) for path in study.results.rglob("*.record.json")]
    as_many = len(list(undisturbed.results.rglob("*.record.json")))
    assert len(records) == as_many and all(record["status"] == "done" for record in records)


def _status(study: Study) -> dict[str, str]:
    said = subprocess.run(
        [*study.utopia, "status", "--json"], cwd=study.folder, env=study.environment, capture_output=True, text=True
    )
    return json.loads(said.stdout)
