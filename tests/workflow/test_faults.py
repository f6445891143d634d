"""Bad input and bad machines, met by the whole pipeline: a clear error or a declared absence, nothing half-written."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import warm
from whole import Checkout

from utopia.inputs.miniature import generate

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
    few = "evaluation={'random_draws': 2}"
    said, results = paper(fresh, summe, few, "--", table, "results/paper/audit/coverage.csv")
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


REACTIONS = """\
repeats: 2
datasets: {eev: {features: [[swin_l]]}}
features: {swin_l: {options: {weights: random, random: tiny, size: 64, fps: 2.0}}}
treatments: {l1_ensemble: {members: 2, best: null}}
"""


def test_reactions_whose_damaged_videos_leave_no_fold_are_holes_and_the_tables_are_made(
    fresh: Checkout, tmp_path: Path
) -> None:
    """The names of the files promise a fold; only decoding tells that each validation video is damaged."""
    size = {"seconds": 8.0, "width": 64, "height": 48, "fps": 10, "annotators": 1, "label_annotators": 1}
    data = tmp_path / "my data"
    generate(dataset="eev", count=7, settings=size, seed=5, folder=data / "eev")
    validated = {line.split(",")[0] for line in (data / "eev" / "val.csv").read_text().splitlines()[1:]}
    videos = [path for path in sorted((data / "eev" / "videos").iterdir()) if path.stem in validated]
    for path in videos:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (fresh.folder / "reactions.yaml").write_text(REACTIONS, encoding="utf-8")
    wanted = [f"results/paper/tables/eev_table_{number}.csv" for number in (3, 4)]
    wanted.append("results/paper/runs/eev.bi_gru.l1_ensemble/submission.json")
    said, results = paper(fresh, data, "--configfile", "reactions.yaml", "--", *wanted)
    rows = {
        row["cell"]: row
        for table in (3, 4)
        for row in csv.DictReader((results / "tables" / f"eev_table_{table}.csv").open(encoding="utf-8"))
    }
    trained = [row for row in rows.values() if row["runs"]]
    assert trained and {row["status"] for row in trained} == {"absent"}, said
    assert all(f"0 of {len(videos)} test items have features" in row["reason"] for row in trained)
    report = json.loads((results / "runs" / "eev.bi_gru.l1_ensemble" / "submission.json").read_text())
    assert report["predicted"] == 0 and report["rows"] > 0 and report["filled"]


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


def test_a_plain_snakemake_on_a_cluster_that_is_not_there_ends_at_once(fresh: Checkout, tmp_path: Path) -> None:
    """The executor would take jobs that nothing runs, and Snakemake wait for them, SIGTERM or not.

    The programs of this machine, but for SLURM's, which other tests may have installed by now.
    """
    for program in Path("/usr/bin").iterdir():
        if program.name not in ("sbatch", "squeue", "scancel"):
            (tmp_path / program.name).symlink_to(program)
    env = fresh.environment | {"PATH": str(tmp_path)}
    words = ["--cores", "2", "--configfile", fresh.configfile, "--workflow-profile", "profiles/slurm"]
    done = warm.run("snakemake", *words, cwd=fresh.folder, env=env)
    said = done.stdout + done.stderr
    assert done.returncode, said
    assert "there is no SLURM on this machine: sbatch, squeue, scancel" in said, said
    assert "Traceback" not in said
    assert "utopia doctor --profile slurm" in said
