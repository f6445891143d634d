"""The index of a million videos' features: JSON by shard, as it is read, against one parquet file.

    pip install pyarrow    # no part of the environment; without it JSON alone is measured
    .venv/bin/python benchmarks/index_forms.py [--videos 1000000] [--keep]

Row = video, feature, path, sha256, rows, width. Each way is a process of its own, in turns, which reads all rows and
then asks for a thousand videos in order. Memory is what it added to its largest resident memory, its modules loaded.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from _results import finish, in_turns, options, peak_memory_mb, ratio, rows_of, spread

from utopia.features.read import FeatureReader
from utopia.files import write_json

SHARDS, ASKED, FEATURE = 1024, 1000, "inception"
JSON, PARQUET = "JSON by shard (as it is)", "one parquet file (pyarrow)"


def main() -> None:
    """Measure, print and keep."""
    parser = options(__doc__, 5)
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--way")
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    if chosen.way:
        print(json.dumps(measured(chosen.way, chosen.folder, chosen.videos)))
        return
    rows = rows_of(chosen)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        kept = {JSON: write_shards(folder, chosen.videos)}
        if find_spec("pyarrow") is not None:
            kept[PARQUET] = write_parquet(folder, chosen.videos)
        results = in_turns({way: partial(in_a_process, way, folder, chosen.videos) for way in kept}, chosen.rounds)
    for way, own in results.items():
        assert {result["width"] for result in own} == {results[JSON][0]["width"]}, "the forms say different things"
        cpu = [result["cpu_seconds"] for result in own]
        rows.add(
            **{
                "index": way,
                "videos": chosen.videos,
                "MB on disk": round(kept[way] / 1e6),
                "CPU s to read": spread(cpu),
                "MB": spread([result["memory_mb"] for result in own]),
                "CPU of JSON": ratio(cpu, [result["cpu_seconds"] for result in results[JSON]]),
            }
        )
    finish("index_forms", chosen, rows)


def entries(first: int, last: int) -> Iterator[tuple[str, str, str, int]]:
    """Video, path, sha256 and rows, of some videos."""
    for number in range(first, last):
        key = f"{number * 2654435761 % 2**64:064x}"
        yield f"{number:011d}", f"store/{key[-2:]}/{key[-32:]}.safetensors", key, number % 500 + 1


def shards(videos: int) -> Iterator[tuple[int, int]]:
    """First and last video of each shard."""
    size = -(-videos // SHARDS)
    return ((start, min(start + size, videos)) for start in range(0, videos, size))


def write_shards(folder: Path, videos: int) -> int:
    """As `extract_features` writes them; their bytes."""
    total = 0
    for number, bounds in enumerate(shards(videos)):
        path = folder / "features" / "eev" / f"shard-{number:04d}.json"
        named = ("file", "sha256", "rows")
        items = {id: {FEATURE: dict(zip(named, own, strict=True)) | {"width": 1024}} for id, *own in entries(*bounds)}
        write_json(path, {"dataset": "eev", "items": items})
        total += path.stat().st_size
    return total


def write_parquet(folder: Path, videos: int) -> int:
    """One file, a row group for each shard; its bytes."""
    import pyarrow as pa
    from pyarrow import parquet

    names = ("video", "path", "sha256", "rows")
    kinds = [pa.string(), pa.string(), pa.string(), pa.int64()]
    schema = pa.schema([*zip(names, kinds, strict=True), ("feature", pa.string()), ("width", pa.int64())])
    path = folder / "index.parquet"
    with parquet.ParquetWriter(path, schema) as writer:
        for bounds in shards(videos):
            columns = dict(zip(names, zip(*entries(*bounds), strict=True), strict=True))
            count = len(columns["video"])
            writer.write_table(pa.table({**columns, "feature": [FEATURE] * count, "width": [1024] * count}, schema))
    return path.stat().st_size


def in_a_process(way: str, folder: Path, videos: int) -> dict[str, Any]:
    """What a way measures of itself."""
    command = [sys.executable, __file__, "--way", way, "--folder", str(folder), "--videos", str(videos)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def measured(way: str, folder: Path, videos: int) -> dict[str, Any]:
    """CPU seconds and memory of reading an index and of asking it for some videos, and the sum of their widths."""
    asked = [f"{number:011d}" for number in range(0, videos, max(1, videos // ASKED))]
    if way == PARQUET:
        import pyarrow as pa
        from pyarrow import compute, parquet

        pa.set_cpu_count(1)
        pa.set_io_thread_count(1)

        def read() -> int:
            table = parquet.read_table(folder / "index.parquet", use_threads=False)
            place = compute.index_in(pa.array(asked), value_set=table["video"])
            return sum(row["width"] for row in table.take(place).to_pylist())

    else:

        def read() -> int:
            reader = FeatureReader(sorted((folder / "features" / "eev").glob("shard-*.json")))
            return sum(reader.width(id, [FEATURE]) for id in asked)

    before, begun = peak_memory_mb(), time.process_time()
    width = read()
    return {"cpu_seconds": time.process_time() - begun, "memory_mb": peak_memory_mb() - before, "width": width}


if __name__ == "__main__":
    main()
