"""The full paper study, planned on a data folder that has every file by name: small enough to plan on any machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.workflow

RESOURCES = Path("workflow") / "resources"
EEV = {"train.csv": 3061, "val.csv": 755, "test.csv": 1377}
EXPRESSIONS = (
    "amusement,anger,awe,concentration,confusion,contempt,contentment,disappointment,doubt,elation,interest,pain,"
    "sadness,surprise,triumph"
)


def data_folder(repository: Path, folder: Path) -> Path:
    """Every file of all five data sets and all weights, by its name; empty, but for EEV's lists of 5,193 videos."""
    cards = {path.stem: yaml.safe_load(path.read_text()) for path in (repository / RESOURCES / "datasets").glob("*")}

    def touch(name: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()

    for item in cards["liris"]["items"]:
        touch(f"liris/{item['key']}.mp4")
        touch(f"liris/{item['key']}_Valence-Arousal.txt")
    for item in cards["summe"]["items"]:
        touch(f"summe/videos/{item['key']}.mp4")
        touch(f"summe/GT/{item['key']}.mat")
    touch("summe/summe_labels.h5")
    for item in cards["tvsum"]["items"]:
        touch(f"tvsum/{item['key']}.mp4")
    for name in ("ydata-tvsum50.mat", "ydata-tvsum50-info.tsv", "tvsum_labels.h5"):
        touch(f"tvsum/{name}")
    for item in cards["pmemo"]["items"]:
        touch(f"pmemo/chorus/{item['key']}.mp3")
    touch("pmemo/annotations/dynamic_annotations.csv")
    for path in (repository / RESOURCES / "weights").glob("*.yaml"):
        touch(f"weights/{yaml.safe_load(path.read_text())['file']}")
    start = 0
    for name, videos in EEV.items():
        touch(f"eev/{name}")
        labels, values = ("", "") if name == "test.csv" else (f",{EXPRESSIONS}", ",0.1" * 15)
        ids = [f"{number:011d}" for number in range(start, start + videos)]
        rows = [f"{id},{time}{values}\n" for id in ids for time in (0, 166_666)]
        (folder / "eev" / name).write_text(f"YouTube ID,Timestamp (microseconds){labels}\n{''.join(rows)}")
        for id in ids:
            touch(f"eev/videos/{id}.mp4")
        start += videos
    return folder


def test_the_full_paper_study_is_under_3000_jobs_and_planned_in_20_s_and_500_mb(
    repository: Path, tmp_path: Path
) -> None:
    data = data_folder(repository, tmp_path / "data")
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(done.stdout + done.stderr)\n"
        "print('USED', done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss)\n"
    )
    config = ["study=paper", f"data={data}", f"results={tmp_path}/results"]
    options = ["--dry-run", "--cores", "all", "--nolock", "--workflow-profile", "none"]
    command = [sys.executable, "-m", "snakemake", *options, "--config", *config]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository / "workflow" / "lib")}
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=repository, env=environment, capture_output=True, text=True
    )
    said = done.stdout + done.stderr
    used = re.search(r"USED (\d+) ([\d.]+) (\d+)", said)
    assert used and used[1] == "0", said[-3000:]
    jobs = {rule: int(count) for rule, count in re.findall(r"^([a-z_0-9]+) +(\d+)$", said, re.M)}
    # the papers' five data sets, and studyforrest, whose labels come with the project
    assert jobs["list_inputs"] == 6 and jobs["extract_features"] > sum(EEV.values()) / 64, jobs
    assert jobs["total"] < 3_000, jobs
    assert float(used[2]) < 20, f"{used[2]} CPU seconds"
    assert int(used[3]) / 1024 < 500, f"{int(used[3]) / 1024:.0f} MB"
