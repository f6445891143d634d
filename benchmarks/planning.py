"""What planning costs with N videos: a paper study on a folder that has EEV's files by name alone, and their manifest.

    .venv/bin/python benchmarks/planning.py 10000 100000 1000000 [--profile]

A folder is generated for each N (empty files, two rows of labels per video), and planned by `Plan`, twice, because the
second start finds what the first has kept, and by a dry run of Snakemake. Printed: CPU and wall seconds, memory, jobs,
and the length of the longest list of inputs of a job (an argument of a program is 128 KiB at most on Linux).
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _results
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
LIBRARY = REPOSITORY / "workflow" / "lib"
SHARES = {"train.csv": 0.59, "val.csv": 0.145, "test.csv": 0.265}
"""EEV's own parts: 3,061, 755 and 1,377 of 5,193 videos."""
EXPRESSIONS = (
    "amusement,anger,awe,concentration,confusion,contempt,contentment,disappointment,doubt,elation,interest,pain,"
    "sadness,surprise,triumph"
)
_MEASURED = """
import json, resource, subprocess, sys, time
begun = time.monotonic()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "said": done.stdout[-20000:] + done.stderr[-20000:],
    "status": done.returncode,
    "wall_seconds": round(time.monotonic() - begun, 1),
    "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
    "megabytes": used.ru_maxrss // 1024,
}))
"""
_PLANNED = """
import json, sys
from utopia.config.load import load
from utopia.plan.plan import Plan
plan = Plan(load(overrides=json.loads(sys.argv[1])))
longest = max((sum(len(path) + 3 for path in job.read()), job.name) for job in plan.jobs)
print(json.dumps({"jobs": len(plan.jobs), "argument_bytes": longest[0], "argument_of": longest[1]}))
"""


def data_folder(videos: int, folder: Path) -> Path:
    """A data folder that names so many videos of EEV, and all weights; every file but the lists is empty."""
    (folder / "eev" / "videos").mkdir(parents=True)
    (folder / "weights").mkdir()
    for path in (REPOSITORY / "workflow" / "resources" / "weights").glob("*.yaml"):
        (folder / "weights" / yaml.safe_load(path.read_text())["file"]).touch()
    start = 0
    for name, share in SHARES.items():
        count = videos - start if name == "test.csv" else round(videos * share)
        labels, values = ("", "") if name == "test.csv" else (f",{EXPRESSIONS}", ",0.1" * 15)
        with (folder / "eev" / name).open("w") as file:
            file.write(f"YouTube ID,Timestamp (microseconds){labels}\n")
            for number in range(start, start + count):
                file.write(f"{number:011d},0{values}\n{number:011d},166666{values}\n")
                os.close(os.open(folder / "eev" / "videos" / f"{number:011d}.mp4", os.O_CREAT, 0o644))
        start += count
    return folder


def write_manifest(videos: int, path: Path) -> None:
    """A manifest of so many videos, as `list_inputs` writes it: what a start reads the lengths from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"audio_codec": "aac", "duration_s": 260.0, "fps": 30.0, "frames": 7800, "height": 360, "width": 640}
    with path.open("w") as file:
        file.write('{\n "dataset": "eev",\n "items": [\n')
        for number in range(videos):
            id = f"{number:011d}"
            video = {"bytes": 1, "path": f"videos/{id}.mp4", "sha256": "0" * 64}
            own = {"annotations": {"rows": 1560}, "facts": facts, "files": {"video": video}, "id": id, "present": True}
            text = json.dumps([own], indent=1).replace("\n", "\n ")
            file.write(text[2:-3].rstrip() + (",\n" if number + 1 < videos else "\n"))
        file.write(" ]\n}\n")


def measured(command: list[str]) -> dict[str, object]:
    """A command's output, status, time and memory (of its largest process)."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(LIBRARY)}
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, *command], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )
    found: dict[str, object] = json.loads(done.stdout)
    if found["status"]:
        raise SystemExit(str(found["said"]))
    return found


def measure(videos: int, scratch: Path, *, again: bool) -> dict[str, object]:
    """Planning so many videos: the plan alone, and a dry run.

    Args:
        again: plan once before, so that what a study keeps between starts is there.
    """
    data = scratch / str(videos)
    if not data.is_dir():
        data_folder(videos, data)
    chosen = {"study": "paper", "data": str(data), "results": f"{scratch}/results-{videos}"}
    write_manifest(videos, scratch / f"results-{videos}" / "paper" / "inputs" / "eev.json")
    plan = [sys.executable, "-c", _PLANNED, json.dumps(chosen)]
    first = measured(plan)
    second = measured(plan) if again else first
    config = [f"{name}={value}" for name, value in chosen.items()]
    options = ["--dry-run", "--quiet", "rules", "--cores", "all", "--nolock", "--workflow-profile", "none"]
    dry = measured([sys.executable, "-m", "snakemake", *options, "--config", *config])
    said = str(dry.pop("said"))
    total = re.search(r"^total +(\d+)$", said, re.M)
    facts = json.loads(str(second["said"]))
    return {
        "videos": videos,
        **facts,
        "jobs_of_the_dry_run": int(total[1]) if total else None,
        "plan_first": {name: first[name] for name in ("wall_seconds", "cpu_seconds", "megabytes")},
        "plan_again": {name: second[name] for name in ("wall_seconds", "cpu_seconds", "megabytes")},
        "dry_run": {name: dry[name] for name in ("wall_seconds", "cpu_seconds", "megabytes")},
    }


def profiled(videos: int, scratch: Path) -> None:
    """Print where the plan's time goes."""
    sys.path.insert(0, str(LIBRARY))
    from utopia.config.load import load
    from utopia.plan.plan import Plan

    os.chdir(REPOSITORY)
    config = {"study": "paper", "data": str(scratch / str(videos)), "results": f"{scratch}/results-{videos}"}
    profile = cProfile.Profile()
    begun = time.monotonic()
    profile.runcall(lambda: Plan(load(overrides=config)).jobs)
    print(f"{time.monotonic() - begun:.1f} s under the profiler")
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def main() -> None:
    """Measure each size asked for; one JSON line per size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--profile", action="store_true", help="also print where the plan's time goes")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/")
    parser.add_argument("--folder", type=Path, help="where generated folders stay; else they are removed")
    asked = parser.parse_args()
    rows = _results.Rows(None)
    with tempfile.TemporaryDirectory() as temporary:
        scratch = asked.folder.absolute() if asked.folder else Path(temporary)
        for videos in asked.videos:
            rows.add(**flat(measure(videos, scratch, again=True)))
            if asked.profile:
                profiled(videos, scratch)
    if asked.keep:
        import torch  # noqa: F401 - its version is part of the file's name

        print(_results.keep("planning", _results.machine(), rows.rows))


def flat(facts: dict[str, object]) -> dict[str, object]:
    """Facts of a part under its name: `dry_run_megabytes`."""
    found: dict[str, object] = {}
    for name, value in facts.items():
        found |= {f"{name}_{of}": each for of, each in value.items()} if isinstance(value, dict) else {name: value}
    return found


if __name__ == "__main__":
    main()
