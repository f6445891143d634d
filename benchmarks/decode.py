"""What decoding and the front ends cost here: `python benchmarks/decode.py`.

One thread; CPU seconds: median of rounds in turns, with the least and the largest.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from _results import Rows, finish, in_turns, options, ratio, rows_of, spread

SECONDS, FPS, WIDTH, HEIGHT, RATE = 60, 25, 640, 360, 44_100
CLIP_S, FRAMES = 20, 2
ROUNDS = 5


def main() -> None:
    """Measure, print and keep."""
    chosen = options(__doc__, ROUNDS).parse_args()
    rows = rows_of(chosen)
    with tempfile.TemporaryDirectory() as folder:
        for group in (50, 250):
            clip = make_clip(Path(folder) / f"{group}.mp4", group, CLIP_S)
            decoding(clip, group, chosen.rounds, rows)
        sound(make_song(Path(folder) / "song.m4a"), chosen.rounds, rows)
    networks(chosen.rounds, rows)
    finish("decode", chosen, rows)


def decoding(clip: Path, group: int, rounds: int, rows: Rows) -> None:
    """Sampling a clip, with and without skipping what need not be decoded; and reading its facts alone."""
    from utopia.media.frames import sample_frames
    from utopia.media.probe import probe

    stage = f"{CLIP_S} s of {WIDTH}x{HEIGHT} H.264, {clip.stat().st_size * 8 / CLIP_S / 1e6:.1f} Mbit/s"

    def sample(fps: float, skip: bool) -> int:
        return sum(1 for _ in sample_frames(clip, fps=fps, skip=skip))

    works: dict[str, Callable[[], object]] = {"the file's facts alone": lambda: probe(clip)}
    for fps in (1, 2):
        works[f"{fps} fps, every frame"] = lambda f=fps: sample(f, False)
        works[f"{fps} fps"] = lambda f=fps: sample(f, True)
    costs = spent(works, rounds)
    for name, seconds in costs.items():
        row = {"stage": stage, "key frame every": group, "what": name, "CPU s": spread(seconds)}
        if plain := costs.get(f"{name}, every frame"):
            row["every frame / this"] = ratio(plain, seconds)
        rows.add(**row)


def sound(song: Path, rounds: int, rows: Rows) -> None:
    """From a file of sound to what VGGish sees."""
    from utopia.media.audio import read_audio
    from utopia.media.logmel import log_mel

    samples = read_audio(song)
    works: dict[str, Callable[[], object]] = {
        "decode and resample": lambda: read_audio(song),
        "log-mel": lambda: log_mel(samples),
        "both": lambda: log_mel(read_audio(song)),
    }
    for name, seconds in spent(works, rounds).items():
        row = {"stage": f"{SECONDS} s of sound", "what": name, "CPU s": spread(seconds)}
        rows.add(**row, **{"times real time": spread([SECONDS / each for each in seconds])})


def networks(rounds: int, rows: Rows) -> None:
    """Every extractor that needs no more than the settings below, from frames or sound to features."""
    import torch

    from utopia.config import registry

    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    frames = list(random.integers(0, 255, (FRAMES, HEIGHT, WIDTH, 3), np.uint8))
    noise = random.normal(0, 0.1, 16_000 * 20).astype(np.float32)
    for name, settings in NETWORKS:
        module = registry.load("extractors", name)
        built = module.build(module.Config(weights="random", **settings), None, 0, "cpu")
        of_frames = module.MEDIUM == "frames"
        (seconds,) = spent({"": lambda b=built, given=frames if of_frames else noise: b(given)}, rounds).values()
        row: dict[str, Any] = {"stage": "networks, with resizing or log-mel"}
        row["network"] = " ".join([name, *map(str, settings.values())])
        if of_frames:
            row["CPU s of a frame"] = spread([each / len(frames) for each in seconds])
        else:
            row["times real time"] = spread([20 / each for each in seconds])
        rows.add(**row)


NETWORKS: tuple[tuple[str, dict[str, Any]], ...] = (
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


def spent(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each work, in turns; once before, for what is kept."""

    def once(work: Callable[[], object]) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    for work in works.values():
        work()
    return in_turns({name: lambda w=work: once(w) for name, work in works.items()}, rounds)


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
