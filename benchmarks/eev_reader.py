"""Reads a generated EEV table whole, by this project's reader and by pandas: `python benchmarks/eev_reader.py`.

Each route is a process of its own, in turns, and gives the labels of every video: times and fifteen expressions. Ours
builds the index again (a later start finds it kept) and then parses video by video, as the pipeline does. Rows per CPU
second are of the reading alone; memory is what it added to the largest resident memory. The sums of all labels must
agree.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _results import finish, in_turns, options, ratio, rows_of, spread

ROWS_PER_VIDEO = 1500
ROUTES = ("utopia", "pandas")
GRID = (0, 166_666, 333_333, 500_000, 666_666, 833_333)


def main() -> None:
    """Measure, print and keep."""
    parser = options(__doc__, 5)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--route", choices=ROUTES, help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.route:
        print(json.dumps(measure(chosen.route, chosen.table)))
        return
    rows = rows_of(chosen)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "train.csv"
        generate(table, chosen.rows)
        results = in_turns({route: partial(in_a_process, route, table) for route in ROUTES}, chosen.rounds)
    sums = [result["checksum"] for own in results.values() for result in own]
    assert np.allclose(sums, sums[0], rtol=1e-9), f"the routes read different labels: {sums}"
    seconds = {route: [result["cpu_seconds"] for result in own] for route, own in results.items()}
    for route, own in results.items():
        speed = [chosen.rows / each for each in seconds[route]]
        row = {"rows per CPU second": spread(speed), "MB": spread([result["memory_mb"] for result in own])}
        rows.add(reader=route, rows=chosen.rows, **row, **{"CPU of ours": ratio(seconds[route], seconds["utopia"])})
    finish("eev_reader", chosen, rows)


def in_a_process(route: str, table: Path) -> dict[str, Any]:
    """What a route measures of itself."""
    command = [sys.executable, __file__, "--route", route, "--table", str(table)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


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

        def read() -> float:
            frame = pd.read_csv(table)
            names = list(frame.columns[2:])
            total = 0.0
            for _, group in frame.groupby(frame.columns[0], sort=False):
                times = group[frame.columns[1]].to_numpy(np.int64)
                total += float(group[names].to_numpy(np.float64).sum()) + float(times[-1])
            return total

    else:
        from utopia.datasets._eev_index import build
        from utopia.datasets._eev_rows import read_rows

        def read() -> float:
            index = build(table)
            total = 0.0
            for runs in index.videos.values():
                rows = read_rows(table, runs, index.columns, index.columns.expressions)
                total += float(rows.values.sum()) + float(rows.times[-1])
            return total

    with table.open("rb") as file:  # both find the file in the page cache
        while file.read(1 << 22):
            pass
    before = _peak()
    cpu = time.process_time()
    total = read()
    used = time.process_time() - cpu
    return {"cpu_seconds": used, "memory_mb": _peak() - before, "checksum": total}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
