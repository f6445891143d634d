"""How near extraction comes to its limits here: `python benchmarks/extraction.py [--seconds N] [--size N]`.

GoogLeNet at two frames per second of a generated 640x360 H.264 clip: decoding alone, the network alone on the same
batches, and both as a shard extracts them, one after the other in each round: medians, with the least and the largest.
The network runs on one thread, as in the pipeline. Rates are per CPU second, those of decoding processes included,
because a loaded machine slows the clock; what threads gain is told by the clock, and means something on a quiet one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _results import Rows, cpu_seconds, finish, in_turns, options, ratio, rows_of, spread
from decode import HEIGHT, SECONDS, WIDTH, make_clip, make_song

ROUNDS = 5
CODE = (
    "import sys, time\n"
    "from pathlib import Path\nsys.path.insert(0, sys.argv[2])\nimport extraction\n"
    "extraction.shard(Path(sys.argv[1]), int(sys.argv[3]), 2, 'store')\nprint(extraction.cpu_seconds())"
)


def main() -> None:
    """Measure, print and keep."""
    parser = options(__doc__, ROUNDS)
    parser.add_argument("--seconds", type=int, default=60, help="length of the clip")
    parser.add_argument("--size", type=int, default=224, help="side of the network's input")
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    rows = rows_of(chosen)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("a", "b"):
            make_clip(root / f"{name}.mp4", 250, chosen.seconds // 2)
        speeds(root, chosen, rows)
        sound(make_song(root / "song.m4a"), chosen.rounds, rows)
        resumed(root, chosen, rows)
    finish("extraction", chosen, rows)


def speeds(root: Path, chosen: argparse.Namespace, rows: Rows) -> None:
    """Decoding, the network and both."""
    from utopia.extractors import googlenet
    from utopia.extractors._precision import one_thread
    from utopia.media.frames import sample_frames

    one_thread()
    clips = [root / "a.mp4", root / "b.mp4"]
    network = googlenet.build(googlenet.Config(weights="random", size=chosen.size), None, 0, chosen.device)
    batches: list[list[Any]] = []
    for clip in clips:
        for count, (_, frame) in enumerate(sample_frames(clip, fps=2)):
            if count % network.batch == 0:
                batches.append([])
            batches[-1].append(frame)
    frames = sum(map(len, batches))

    def decode(skip: bool) -> None:
        for clip in clips:
            for _ in sample_frames(clip, fps=2, skip=skip):
                pass

    works: dict[str, Callable[[], Any]] = {
        "decoding every frame": lambda: decode(skip=False),
        "decoding": lambda: decode(skip=True),
        "network": lambda: [network(batch) for batch in batches],
        "extraction, 1 thread": lambda: shard(root, chosen.size, 1, None, chosen.device),
        "extraction, 2 threads": lambda: shard(root, chosen.size, 2, None, chosen.device),
        "extraction, 3 threads": lambda: shard(root, chosen.size, 3, None, chosen.device),
    }

    def once(work: Callable[[], Any]) -> tuple[float, float]:
        start, used = time.monotonic(), cpu_seconds()
        work()
        return time.monotonic() - start, cpu_seconds() - used

    measured = in_turns({name: lambda w=work: once(w) for name, work in works.items()}, chosen.rounds)
    clock, cpu = ({name: [pair[part] for pair in pairs] for name, pairs in measured.items()} for part in (0, 1))
    parts = [a + b for a, b in zip(cpu["decoding"], cpu["network"], strict=True)]
    slower = [max(pair) for pair in zip(clock["decoding"], clock["network"], strict=True)]
    stage = f"{chosen.seconds} s of {WIDTH}x{HEIGHT} H.264 at 2 frames per second, {chosen.size} pixels"
    for name in works:
        row: dict[str, Any] = {"stage": stage, "what": name}
        row["frames per CPU second"] = spread([frames / each for each in cpu[name]])
        if name == "decoding":
            row["every frame / this"] = ratio(cpu["decoding every frame"], cpu[name])
        if name.startswith("extraction"):
            row["CPU of decoding and network alone"] = ratio(cpu[name], parts)
            row["clock of the slower of the two"] = ratio(clock[name], slower)
        rows.add(**row)


def shard(root: Path, size: int, threads: int, store: str | None, device: str = "cpu") -> None:
    """Extract both clips, into a store of its own unless it is named."""
    from utopia.features.extract import extract_shard
    from utopia.files import sha256, write_json

    where = root / store if store else Path(tempfile.mkdtemp(dir=root))
    if not (where / "manifest.json").exists():
        items = []
        for name in ("a", "b"):
            file = {"path": f"{name}.mp4", "sha256": sha256(root / f"{name}.mp4")}
            items.append({"id": name, "files": {"video": file}})
        write_json(where / "manifest.json", {"dataset": "clips", "items": items})
    extract_shard(
        manifest=where / "manifest.json",
        root=root,
        items=["a", "b"],
        features={"googlenet": {"extractor": "googlenet", "options": {"weights": "random", "size": size}}},
        weights_folder=None,
        store=where / "features" / "store",
        output=where / "features" / "clips" / "shard-0.json",
        seed=0,
        device=device,
        threads=threads,
    )


def sound(song: Path, rounds: int, rows: Rows) -> None:
    """From the file to log-mel, in blocks, on one thread."""
    from utopia.media.audio import stream_audio
    from utopia.media.logmel import log_mel

    def once() -> float:
        used = time.process_time()
        for piece in stream_audio(song):
            log_mel(piece)
        return SECONDS / (time.process_time() - used)

    once()
    faster = [once() for _ in range(rounds)]
    rows.add(stage="sound", what="decode to log-mel, in blocks", **{"times real time, one core": spread(faster)})


def resumed(root: Path, chosen: argparse.Namespace, rows: Rows) -> None:
    """A finished shard in a new process, imports and all."""
    shard(root, chosen.size, 2, "store")
    command = [sys.executable, "-c", CODE, str(root), str(Path(__file__).parent), str(chosen.size)]
    told = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(chosen.rounds)]
    seconds = spread([float(text.splitlines()[-1]) for text in told])
    rows.add(stage="a finished shard again, in a process of its own", **{"CPU s": seconds})


if __name__ == "__main__":
    main()
