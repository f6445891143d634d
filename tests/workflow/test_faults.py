"""Bad input and bad machines, met by the whole pipeline: a clear error or a declared absence, nothing half-written."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from whole import Checkout

pytestmark = pytest.mark.workflow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 kB."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"cannot mount a small file system here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def summe(fresh: Checkout, shared_data: Path, tmp_path: Path) -> Path:
    """A data folder with a copy of the real SumMe annotations and shots."""
    folder = tmp_path / "my data"
    shutil.copytree(shared_data / "summe" / "GT", folder / "summe" / "GT")
    shutil.copy2(shared_data / "summe" / "summe_labels.h5", folder / "summe" / "summe_labels.h5")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def paper(checkout: Checkout, data: Path, *arguments: str) -> tuple[str, Path]:
    """Run part of the paper study on a data folder."""
    said = checkout.snakemake("--config", "study=paper", f"data='{data}'", *arguments, check=False, tiny=False)
    return said, checkout.folder / "results" / "paper"


def test_a_full_disk_is_named_with_the_remedy_and_leaves_nothing_half_written(
    fresh: Checkout, small_disk: Path
) -> None:
    wanted = f"{small_disk}/miniature/inputs/liris.json"
    said = fresh.snakemake("--config", f"results='{small_disk}'", "--", wanted, check=False)
    assert "No space left" in said, said
    assert "failed" in said
    assert not list(small_disk.rglob("*.json.record.json"))
    left = list(small_disk.rglob("*.mp4"))
    assert not left, "the half-made data set was left behind"


def test_a_truncated_annotation_file_is_a_declared_absence_and_the_rest_goes_on(fresh: Checkout, summe: Path) -> None:
    damaged = summe / "summe" / "GT" / "Jumps.mat"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    table = "results/paper/tables/ulda_table_2.csv"
    said, results = paper(fresh, summe, "--", table, "results/paper/audit/coverage.csv")
    assert (results / "tables" / "ulda_table_2.csv").is_file(), said
    coverage = list(csv.DictReader((results / "audit" / "coverage.csv").open(encoding="utf-8")))
    lost = [row for row in coverage if row["dataset"] == "summe" and row["subject"] == "annotations"]
    assert [row["missing"] for row in lost] == ["1"] and lost[0]["reason"], coverage
    table_rows = csv.DictReader((results / "tables" / "ulda_table_2.csv").open(encoding="utf-8"))
    cells = {row["cell"].removeprefix("ulda_table_2/"): row for row in table_rows}
    assert cells["human/summe.f_score"]["status"] == "measured"
    trained = cells["et.baseline/summe.f_score"]
    assert trained["status"] == "absent" and "is not in summe/" in trained["reason"]
    published = (results / "tables" / "ulda_table_2.csv").read_text() + (results / "audit" / "coverage.csv").read_text()
    assert str(summe) not in published, "what is published must not name the user's folders"


def test_features_with_another_checksum_are_refused_by_name(fresh: Checkout, summe: Path, shared_data: Path) -> None:
    wrong = summe / "summe" / "eccv16_dataset_summe_google_pool5.h5"
    shutil.copy2(summe / "summe" / "summe_labels.h5", wrong)
    said, results = paper(fresh, summe, "--", "results/paper/inputs/summe.json")
    assert wrong.name in said and "sha256" in said.lower(), said
    assert not (results / "inputs" / "summe.json").exists()


def test_a_data_folder_that_is_not_there_is_said_before_anything_runs(fresh: Checkout, tmp_path: Path) -> None:
    said, results = paper(fresh, tmp_path / "nowhere", "--dry-run")
    assert "nowhere" in said, said
    assert not results.exists()


@pytest.mark.skipif(shutil.which("sbatch") is not None, reason="this machine has SLURM")
def test_a_plain_snakemake_on_a_cluster_that_is_not_there_ends_at_once(fresh: Checkout) -> None:
    """The executor would take jobs that nothing runs, and Snakemake wait for them, SIGTERM or not."""
    said = fresh.snakemake("--workflow-profile", "profiles/slurm", check=False)
    assert "there is no SLURM on this machine: sbatch, squeue, scancel" in said, said
    assert "Traceback" not in said
    assert "utopia doctor --profile slurm" in said
