"""Reads a generated EEV table whole, by this project's reader and by pandas, each in a process of its own.

    python benchmarks/eev_reader.py [--rows 2000000] [--json FILE]

Each route gives the labels of every video: times and fifteen expressions. Ours builds the index again
(`index_cpu_seconds`; a later start finds it kept) and then parses video by video, as the pipeline does. Rows per second
are given by wall and by CPU time of the reading alone, `memory_mb` is what it added to the largest resident memory, and
`ratio` is pandas' CPU time over ours.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROWS_PER_VIDEO = 1500
ROUTES = ("utopia", "pandas")
GRID = (0, 166_666, 333_333, 500_000, 666_666, 833_333)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--route", choices=ROUTES, help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.route:
        print(json.dumps(measure(chosen.route, chosen.table)))
        return
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "train.csv"
        generate(table, chosen.rows)
        found: dict[str, Any] = {"rows": chosen.rows, "bytes": table.stat().st_size, "cores": os.cpu_count()}
        for route in ROUTES:
            command = [sys.executable, __file__, "--route", route, "--table", str(table)]
            found[route] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    sums = [found[route].pop("checksum") for route in ROUTES]
    assert np.isclose(sums[0], sums[1], rtol=1e-9), f"the routes read different labels: {sums}"
    for route in ROUTES:
        own = found[route]
        own["rows_per_s"] = round(chosen.rows / own["seconds"])
        own["rows_per_cpu_s"] = round(chosen.rows / own["cpu_seconds"])
    found["ratio"] = round(found["pandas"]["cpu_seconds"] / found["utopia"]["cpu_seconds"], 2)
    print(json.dumps(found, indent=1))
    if chosen.json:
        chosen.json.write_text(json.dumps(found, indent=1) + "\n")


def generate(path: Path, rows: int) -> None:
    """A table like the official ones: values of float32, some zeros, a few written with exponents; 160 bytes a row."""
    from utopia.datasets._eev_index import EXPRESSIONS

    random = np.random.default_rng(5)
    letters = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
    with path.open("w") as file:
        file.write(f"YouTube ID,Timestamp (microseconds),{','.join(EXPRESSIONS)}\n")
        for start in range(0, rows, ROWS_PER_VIDEO):
            count = min(ROWS_PER_VIDEO, rows - start)
            values = (random.beta(0.6, 6.0, (count, 15)) * (random.random((count, 1)) > 0.03)).astype(np.float32)
            video = "".join(random.choice(letters, 11))
            # Rows are used again: writing thirty million numbers takes long, and makes no difference to the reading.
            texts = [",".join(map(str, row)) for row in values[:250]]
            for row in range(count):
                file.write(f"{video},{row // 6 * 1_000_000 + GRID[row % 6]},{texts[row % len(texts)]}\n")


def measure(route: str, table: Path) -> dict[str, Any]:
    """Seconds, CPU seconds and memory of reading the table, and the sum of all labels."""
    if route == "pandas":
        import pandas as pd

        def read() -> tuple[float, dict[str, float]]:
            frame = pd.read_csv(table)
            names = list(frame.columns[2:])
            total = 0.0
            for _, group in frame.groupby(frame.columns[0], sort=False):
                times = group[frame.columns[1]].to_numpy(np.int64)
                total += float(group[names].to_numpy(np.float64).sum()) + float(times[-1])
            return total, {}

    else:
        from utopia.datasets._eev_index import build
        from utopia.datasets._eev_rows import read_rows

        def read() -> tuple[float, dict[str, float]]:
            start = time.process_time()
            index = build(table)
            indexed = time.process_time() - start
            total = 0.0
            for runs in index.videos.values():
                rows = read_rows(table, runs, index.columns, index.columns.expressions)
                total += float(rows.values.sum()) + float(rows.times[-1])
            return total, {"index_cpu_seconds": round(indexed, 3)}

    with table.open("rb") as file:  # both find the file in the page cache
        while file.read(1 << 22):
            pass
    before = _peak()
    wall, cpu = time.perf_counter(), time.process_time()
    total, more = read()
    return {
        "seconds": round(time.perf_counter() - wall, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "memory_mb": round(_peak() - before, 1),
        "peak_mb": round(_peak(), 1),
        "checksum": total,
        **more,
    }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
