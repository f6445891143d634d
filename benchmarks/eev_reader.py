"""Reads a generated EEV table whole, by this project's reader, by pandas and by way of parquet:

    pip install pyarrow    # no part of the environment; without it parquet is left out
    python benchmarks/eev_reader.py

Each route is a process of its own, in turns, and gives the labels of every video: times and fifteen expressions. Ours
builds the index again (a later start finds it kept) and then parses video by video, as the pipeline does. By way of
parquet, the table is brought into a file of row groups of 1 MB of text, and of that file each group is read. Rows per
CPU second are of all of that; memory is what it added to the largest resident memory. Then, with what was kept, as a
later start does: `open` it (CPU ms), and read single videos in a random order (CPU ms each). The sums of all labels
must agree.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from _results import finish, in_turns, options, peak_memory_mb, ratio, rows_of, spread

ROWS_PER_VIDEO = 1500
ROUTES = ("utopia", "pandas", *(["parquet"] if find_spec("pyarrow") else []))
LATER = ("MB kept", "open, ms", "one video, ms")
SINGLE = 100
"""Single videos that are read."""
BLOCK = 1 << 20
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
        row["CPU of ours"] = ratio(seconds[route], seconds["utopia"])
        later = [name for name in LATER if name in own[0]]
        row |= {name: spread([result[name] for result in own]) for name in later}
        rows.add(reader=route, rows=chosen.rows, **row)
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
    later: Callable[[], Any] | None = None
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

    elif route == "parquet":
        read, later = by_parquet(table)
    else:
        from utopia.datasets._eev_index import build, index_of, indexed, kept_at
        from utopia.datasets._eev_rows import read_rows

        def read() -> float:
            index = build(table)
            total = 0.0
            for runs in index.videos.values():
                rows = read_rows(table, runs, index.columns, index.columns.expressions)
                total += float(rows.values.sum()) + float(rows.times[-1])
            return total

        def later() -> tuple[Path, Callable[[], Any], Callable[[str], Any], list[str]]:
            index = index_of(table)

            def again() -> None:
                indexed.cache_clear()
                index_of(table)

            def one(video: str) -> None:
                read_rows(table, index.videos[video], index.columns, index.columns.expressions)

            return kept_at(table)[0], again, one, list(index.videos)

    with table.open("rb") as file:  # both find the file in the page cache
        while file.read(1 << 22):
            pass
    before = peak_memory_mb()
    cpu = time.process_time()
    total = read()
    used = time.process_time() - cpu
    found = {"cpu_seconds": used, "memory_mb": peak_memory_mb() - before, "checksum": total}
    if later is not None:
        kept, again, one, videos = later()
        found["MB kept"] = kept.stat().st_size / 1e6
        cpu = time.process_time()
        again()
        found["open, ms"] = 1e3 * (time.process_time() - cpu)
        some = np.random.default_rng(1).choice(videos, SINGLE).tolist()
        cpu = time.process_time()
        for video in some:
            one(video)
        found["one video, ms"] = 1e3 * (time.process_time() - cpu) / SINGLE
    return found


def by_parquet(table: Path) -> tuple[Callable[[], float], Callable[[], Any]]:
    """How parquet is made and read: all of it, and then single videos."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    path = table.with_suffix(".parquet")
    places: dict[str, list[tuple[int, int, int]]] = {}
    """Of each video its rows: row group, first, last; parquet itself does not tell where one is."""

    def runs(group: int, ids: np.ndarray) -> None:
        bounds = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)]
        for first, last in itertools.pairwise(bounds):
            places.setdefault(ids[first], []).append((group, first, last))

    def values_of(part: Any) -> tuple[np.ndarray, np.ndarray]:
        return part.column(1).to_numpy(), np.stack([column.to_numpy() for column in part.columns[2:]], axis=1)

    def read() -> float:
        options = csv.ReadOptions(use_threads=False, block_size=BLOCK)
        with csv.open_csv(table, options) as source, parquet.ParquetWriter(path, source.schema) as writer:
            for batch in source:
                writer.write_batch(batch)
        total, last = 0.0, dict[str, int]()
        file = parquet.ParquetFile(path)
        for group in range(file.num_row_groups):
            part = file.read_row_group(group, use_threads=False)
            ids = part.column(0).to_numpy()
            times, values = values_of(part)
            total += float(values.sum())
            last |= dict(zip(ids.tolist(), times.tolist(), strict=True))
        return total + float(sum(last.values()))

    def later() -> Any:
        def again() -> None:
            places.clear()
            file = parquet.ParquetFile(path)
            name = file.schema_arrow.names[0]
            for group in range(file.num_row_groups):
                runs(group, file.read_row_group(group, [name], use_threads=False).column(0).to_numpy())

        again()
        file = parquet.ParquetFile(path, memory_map=True)

        def one(video: str) -> None:
            for group, first, last in places[video]:
                values_of(file.read_row_group(group, use_threads=False).slice(first, last - first))

        return path, again, one, list(places)

    return read, later


if __name__ == "__main__":
    main()
