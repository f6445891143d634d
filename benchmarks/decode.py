"""What decoding and the front ends cost here: `python benchmarks/decode.py`.

One thread; CPU seconds, the best of interleaved runs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np

SECONDS, FPS, WIDTH, HEIGHT, RATE = 60, 25, 640, 360, 44_100
RUNS = 3


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for group in (50, 250):
            clip = make_clip(Path(folder) / f"{group}.mp4", group)
            rate = clip.stat().st_size * 8 / SECONDS / 1e6
            print(f"{SECONDS} s of {WIDTH}x{HEIGHT} H.264 + AAC, {rate:.2f} Mbit/s, a key frame every {group} frames")
            decoding(clip)
        sound(clip)
    networks()


def decoding(clip: Path) -> None:
    from utopia.media.frames import sample_frames
    from utopia.media.probe import probe

    def sample(fps: float, skip: bool) -> int:
        return sum(1 for _ in sample_frames(clip, fps=fps, skip=skip))

    costs = best(
        {
            "probe": lambda: probe(clip),
            **{f"{fps} fps, {way}": lambda f=fps, s=skip: sample(f, s) for fps in (1, 2) for way, skip in WAYS.items()},
        }
    )
    print(f"probe: {costs['probe']:.2f} s")
    for fps in (1, 2):
        plain, skipping = (costs[f"{fps} fps, {way}"] for way in WAYS)
        print(f"{fps} fps: plain {plain:.2f} s, skipping {skipping:.2f} s: {plain / skipping:.2f} times faster")


WAYS = {"plain": False, "skipping": True}


def sound(clip: Path) -> None:
    from utopia.media.audio import read_audio
    from utopia.media.logmel import log_mel

    read_audio(clip)  # imports torch
    samples = read_audio(clip)
    costs = best({"decode and resample": lambda: read_audio(clip), "log-mel": lambda: log_mel(samples)})
    for name, cost in costs.items():
        print(f"{name}: {cost:.3f} s")
    total = sum(costs.values())
    print(f"audio front end: {total:.3f} s, {SECONDS / total:.0f} times real time")


def networks() -> None:
    """Every extractor that needs no more than the settings below, from frames or sound to features."""
    import torch

    from utopia.config import registry

    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    frames = list(random.integers(0, 255, (8, HEIGHT, WIDTH, 3), np.uint8))
    noise = random.normal(0, 0.1, 16_000 * 20).astype(np.float32)
    for name, options in NETWORKS:
        module = registry.load("extractors", name)
        built = module.build(module.Config(weights="random", **options), None, 0, "cpu")
        given = frames if module.MEDIUM == "frames" else noise
        cost = best({"": lambda b=built, g=given: b(g)}, warm=True)[""]
        title = " ".join([name, *map(str, options.values())])
        if module.MEDIUM == "frames":
            print(f"{title}: {cost / len(frames):.4f} s per frame, with resizing")
        else:
            print(f"{title}: {20 / cost:.0f} times real time, with log-mel")


NETWORKS = (
    ("googlenet", {}),
    ("googlenet", {"size": 112}),
    ("vggish", {}),
    ("inception_v3", {}),
    *(
        ("se_resnet", {"network": network})
        for network in ("se_resnet50", "se_resnext101_32x4d", "se_resnet152", "senet154")
    ),
    ("vgg16_places365", {}),
    ("swin_l", {}),
)


def best(works: Mapping[str, Callable[[], object]], warm: bool = False) -> dict[str, float]:
    """CPU seconds of each work, the least of interleaved runs."""
    costs = dict.fromkeys(works, float("inf"))
    for run in range(RUNS + warm):
        for name, work in works.items():
            start = time.process_time()
            work()
            if run >= warm:
                costs[name] = min(costs[name], time.process_time() - start)
    return costs


def make_clip(
    path: Path, group: int, seconds: int = SECONDS, *, codec: str = "libx264", size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Path:
    """A textured picture that drifts, with some noise and a cut every seven seconds, and two tones.

    Args:
        path: where.
        group: frames from one key frame to the next.
        seconds: its length.
        codec: of the pictures.
        size: width and height in pixels, multiples of 8.
    """
    width, height = size
    random = np.random.default_rng(0)
    scenes = [random.integers(0, 255, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1) for _ in range(9)]
    grain = random.integers(0, 40, (16, height, width, 3))
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=FPS)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        quiet = {"x265-params": f"keyint={group}:log-level=none"} if codec == "libx265" else {}
        video.options = {"g": str(group), "crf": "25", **quiet}
        audio = output.add_stream("aac", rate=RATE, layout="stereo")
        for index in range(seconds * FPS):
            scene = np.roll(scenes[index // (7 * FPS) % 9], index % (7 * FPS), axis=1)
            picture = (scene * 0.8 + grain[index % 16]).clip(0, 255).astype(np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(video.encode(None))
        two_tones(output, audio, seconds)
    return path


def make_song(path: Path, seconds: int = SECONDS) -> Path:
    """Sound alone: the two tones of `make_clip`."""
    with av.open(str(path), "w") as output:
        two_tones(output, output.add_stream("aac", rate=RATE, layout="stereo"), seconds)
    return path


def two_tones(output: Any, audio: Any, seconds: int) -> None:
    """One on each side, into a stream of an open file."""
    clock = np.arange(seconds * RATE) / RATE
    tones = np.stack([0.3 * np.sin(2 * np.pi * hertz * clock) for hertz in (330, 440)]).astype(np.float32)
    for start in range(0, tones.shape[1], 1024):
        block = np.ascontiguousarray(tones[:, start : start + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
        frame.sample_rate = RATE
        output.mux(audio.encode(frame))
    output.mux(audio.encode(None))


if __name__ == "__main__":
    main()
