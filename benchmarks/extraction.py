"""How near extraction comes to its limits here: `python benchmarks/extraction.py [--seconds N] [--size N]`.

GoogLeNet at two frames per second of a generated 640x360 H.264 clip: decoding alone, the network alone on the same
batches, and both as a shard extracts them, one after the other in each round; the best of the rounds. The network runs
on one thread, as in the pipeline. Rates of decoding and network are per CPU second of their thread as well as per
second of the clock, because a loaded machine slows the clock only.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from decode import FPS, HEIGHT, WIDTH, make_clip

CODE = (
    "import sys, time; start = time.monotonic()\n"
    "from pathlib import Path\nsys.path.insert(0, sys.argv[2])\nimport extraction\n"
    "extraction.shard(Path(sys.argv[1]), int(sys.argv[3]), 2, 'store')\nprint(time.monotonic() - start)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=180, help="length of the clip")
    parser.add_argument("--size", type=int, default=224, help="side of the network's input")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("a", "b"):
            make_clip(root / f"{name}.mp4", 250, chosen.seconds // 2)
        print(f"2 x {chosen.seconds // 2} s of {WIDTH}x{HEIGHT} at {FPS} fps, load {os.getloadavg()[0]:.1f}")
        speeds(root, chosen)
        sound(root / "a.mp4")
        resumed(root, chosen.size)


def speeds(root: Path, chosen: argparse.Namespace) -> None:
    import torch

    from utopia.extractors import googlenet
    from utopia.media.frames import sample_frames

    torch.set_num_threads(1)
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
        "decoding, plain": lambda: decode(skip=False),
        "decoding": lambda: decode(skip=True),
        "network": lambda: [network(batch) for batch in batches],
        "extraction, 1 thread": lambda: shard(root, chosen.size, 1, None, chosen.device),
        "extraction, 2 threads": lambda: shard(root, chosen.size, 2, None, chosen.device),
        "extraction, 3 threads": lambda: shard(root, chosen.size, 3, None, chosen.device),
    }
    clock, cpu = dict.fromkeys(works, float("inf")), dict.fromkeys(works, float("inf"))
    for _ in range(chosen.rounds):
        for name, work in works.items():
            start, used = time.monotonic(), time.process_time()
            work()
            clock[name] = min(clock[name], time.monotonic() - start)
            cpu[name] = min(cpu[name], time.process_time() - used)
    for name in works:
        print(f"{name}: {frames / clock[name]:.1f} frames/s, {frames / cpu[name]:.1f} per CPU second")
    print(f"skip-decoding: {cpu['decoding, plain'] / cpu['decoding']:.2f} x plain decoding")
    slower = max(clock["decoding"], clock["network"])
    for threads in (2, 3):
        print(f"{threads} threads: {slower / clock[f'extraction, {threads} threads']:.0%} of the slower limit")
    both = cpu["decoding"] + cpu["network"]
    print(f"CPU seconds beyond decoding and network: {cpu['extraction, 2 threads'] / both - 1:.1%}")


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


def sound(clip: Path) -> None:
    """From the file to log-mel, in blocks, on one thread."""
    from utopia.media.audio import stream_audio
    from utopia.media.logmel import RATE, log_mel

    costs = []
    for _ in range(3):
        used, samples = time.process_time(), 0
        for piece in stream_audio(clip):
            log_mel(piece)
            samples += len(piece)
        costs.append((time.process_time() - used) / (samples / RATE))
    print(f"audio front end, decode to log-mel: {1 / min(costs):.0f} x real time per core")


def resumed(root: Path, size: int) -> None:
    """A finished shard in a new process, imports and all."""
    shard(root, size, 2, "store")
    command = [sys.executable, "-c", CODE, str(root), str(Path(__file__).parent), str(size)]
    found = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(3)]
    print(f"finished shard, resumed: {min(float(line) for line in found):.2f} s")


if __name__ == "__main__":
    main()
