"""What a worker that stays alive saves of a shard: `python benchmarks/shards.py`.

A shard of one short generated clip, GoogLeNet at two frames per second: by a process of its own, as Snakemake starts
one for each job, and by a process that has done a shard before (`--profile dask`). CPU seconds of all that the shard
needs, in turns; the indexes and the stored features of both are compared byte by byte. Snakemake's own start for each
job on a cluster comes on top of the former.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _results import cpu_seconds, finish, in_turns, options, ratio, rows_of
from decode import make_clip

from utopia.files import sha256, write_json
from utopia.provenance.values import run_script

ROUNDS, SIZES = 5, (64, 224)
REPOSITORY = Path(__file__).resolve().parents[1]
ALONE = "import json, sys; from utopia.provenance.values import run_script; sys.exit(run_script(json.load(sys.stdin)))"


def asked(root: Path, name: str, size: int) -> dict[str, Any]:
    """A job of extraction, as the rule has it."""
    features = {"googlenet": {"extractor": "googlenet", "options": {"weights": "random", "size": size}}}
    code = {"fingerprint": "", "roots": ["utopia.extractors.googlenet", "utopia.features.extract"], "files": []}
    params = {"folder": ".", "videos": ["a"], "features": features, "store": f"{name}/features/store", "code": code}
    return {
        "script": "workflow/scripts/extract_features.py",
        "folder": str(root),
        "rule": "extract_features",
        "wildcards": {"dataset": "clips", "shard": "0000"},
        "params": params | {"weights_folder": None, "seed": 0, "device": "cpu"},
        "input": {"manifest": "manifest.json"},
        "output": {"": [f"{name}/features/clips/shard-0000.json"]},
        "log": [f"{name}/shard-0000.log"],
        "threads": 2,
        "config": {},
    }


def alone(root: Path, name: str, size: int) -> float:
    """CPU seconds of a process of its own."""
    before = cpu_seconds()
    job = json.dumps(asked(root, name, size))
    subprocess.run([sys.executable, "-c", ALONE], input=job, text=True, check=True, cwd=root)
    return cpu_seconds() - before


def staying(root: Path, name: str, size: int) -> float:
    """CPU seconds in this process, with those that decode for it."""
    before = cpu_seconds()
    status = run_script(asked(root, name, size))
    seconds = cpu_seconds() - before
    if status:
        raise RuntimeError((root / name / "shard-0000.log").read_text(encoding="utf-8"))
    return seconds


def made(root: Path, name: str) -> dict[str, bytes]:
    """The index and the stored features of a shard."""
    folder = root / name / "features"
    paths = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".record.json")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def main() -> None:
    """Measure, print and keep."""
    parser = options(__doc__, ROUNDS)
    parser.add_argument("--seconds", type=int, default=20, help="length of the clip")
    chosen = parser.parse_args()
    rows = rows_of(chosen)
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder).resolve()
        clip = make_clip(root / "a.mp4", 250, chosen.seconds)
        files = {"video": {"path": clip.name, "sha256": sha256(clip)}}
        write_json(root / "manifest.json", {"dataset": "clips", "items": [{"id": "a", "files": files}]})
        for size in SIZES:
            names = iter(f"{size}-{number}" for number in range(10_000))
            used: list[str] = []

            def once(way: Callable[[Path, str, int], float], size: int = size) -> float:
                used.append(next(names))  # noqa: B023 - called in this round only
                return way(root, used[-1], size)  # noqa: B023

            once(staying)  # it has done a shard before
            seconds = in_turns({"alone": lambda: once(alone), "staying": lambda: once(staying)}, chosen.rounds)
            expected = made(root, used[0])
            if any(made(root, name) != expected for name in used):
                raise RuntimeError("the shards differ")
            own = {name: statistics.median(values) for name, values in seconds.items()}
            rows.add(
                **{
                    "shard": f"{chosen.seconds} s of 360p, GoogLeNet at {size} pixels",
                    "own process, CPU s": own["alone"],
                },
                **{"worker that stays, CPU s": own["staying"], "times": ratio(seconds["alone"], seconds["staying"])},
            )
    finish("shards", chosen, rows, seconds=chosen.seconds)


if __name__ == "__main__":
    main()
