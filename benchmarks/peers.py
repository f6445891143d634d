"""Against what people use: `python benchmarks/peers.py [--libraries FOLDER]`.

In one process tree and on the same generated clips, in turns, CPU seconds with those of child processes; ratios are
medians of five rounds, with the least and the largest. The others' ways are written here from their descriptions:

    re-encode    v-iashin/video_features: FFmpeg re-encodes the video to the target rate, OpenCV reads that, each frame
                 goes through PIL alone, batches of one
    torchcodec   exact sampling at given times on the CPU; the network in batches
    torchvggish  the sound as a WAV file on disk, resampled by resampy, log-mel by NumPy

Their libraries are no part of this project's lock: put them into a folder of their own,

    uv pip install --target FOLDER --no-deps opencv-python-headless resampy numba llvmlite imageio-ffmpeg torchcodec

(torchcodec also needs FFmpeg's shared libraries). What is missing is left out, and said. `--keep` writes the file that
docs/speed.md is made of.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _results import RESULTS, Rows, keep, machine
from decode import make_clip
from tables import peers
from torchvision.transforms import v2

from utopia.extractors import googlenet
from utopia.extractors._images import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from utopia.media.audio import stream_audio
from utopia.media.frames import sample_frames, timeline_of
from utopia.media.logmel import BANDS, HOP, LENGTH, PATCH_FRAMES, RATE, WINDOW, hann, log_mel, mel_matrix

FPS = 2.0
ROUNDS = 5
BATCH = 8
Clip = tuple[str, str, tuple[int, int], int]
CLIPS: tuple[Clip, ...] = (
    ("360p H.264", "libx264", (640, 360), 250),
    ("1080p H.264", "libx264", (1920, 1080), 250),
    ("360p HEVC", "libx265", (640, 360), 250),
)


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


@dataclass
class Comparison:
    """The ways of one task on one clip."""

    task: str
    clip: str
    ways: dict[str, Callable[[], Any]]
    """Ours is `ours`."""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)

    def measure(self, rounds: int) -> None:
        """In turns, so that other load hits all alike; once before, for what is kept."""
        for name, way in self.ways.items():
            self.results[name] = way()
        self.seconds = {name: [] for name in self.ways}
        for _ in range(rounds):
            for name, way in self.ways.items():
                start = cpu_seconds()
                way()
                self.seconds[name].append(cpu_seconds() - start)

    def rows(self, difference: Callable[[Any, Any], dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """CPU seconds of each way, its ratio to ours, and how its results differ from ours."""
        for name, seconds in self.seconds.items():
            row = {"task": self.task, "clip": self.clip, "way": name, "cpu_s": statistics.median(seconds)}
            if name != "ours":
                ratios = [other / mine for other, mine in zip(seconds, self.seconds["ours"], strict=True)]
                row |= {"of_ours": statistics.median(ratios), "least": min(ratios), "largest": max(ratios)}
                row |= difference(self.results["ours"], self.results[name])
            yield row


# -- pictures


def ours(clip: Path) -> tuple[list[np.ndarray], torch.Tensor]:
    """Frames and what a network sees of them."""
    frames = [frame for _, frame in sample_frames(clip, fps=FPS)]
    prepare = Preprocessing(resize=256, crop=224)
    return frames, torch.stack([prepare(torch.from_numpy(frame)) for frame in frames])


def reencoded(clip: Path, ffmpeg: str, cv2: Any) -> tuple[list[np.ndarray], torch.Tensor]:
    """By a second file at the target rate; each frame by itself."""
    prepare = v2.Compose(
        [
            v2.ToPILImage(),
            v2.Resize(256),
            v2.CenterCrop(224),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(IMAGENET_MEAN), list(IMAGENET_STD)),
        ]
    )
    frames, seen = [], []
    with tempfile.TemporaryDirectory() as folder:
        slower = Path(folder) / "slower.mp4"
        command = [ffmpeg, "-y", "-loglevel", "error", "-threads", "1", "-i", str(clip)]
        subprocess.run([*command, "-filter:v", f"fps=fps={FPS:g}", "-threads", "1", str(slower)], check=True)
        reader = cv2.VideoCapture(str(slower))
        while True:
            met, bgr = reader.read()
            if not met:
                break
            frames.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            seen.append(prepare(frames[-1]))
        reader.release()
    return frames, torch.stack(seen)


def by_torchcodec(clip: Path, codec: Any) -> tuple[list[np.ndarray], torch.Tensor]:
    """The frames on screen at the same times, resized together."""
    decoder = codec.decoders.VideoDecoder(str(clip), num_ffmpeg_threads=1, seek_mode="exact", dimension_order="NCHW")
    times, _ = timeline_of(clip)
    count = times.samples(fps=FPS) or 0
    frames = decoder.get_frames_played_at([index / FPS for index in range(count)]).data
    small = v2.functional.center_crop(v2.functional.resize(frames, [256], antialias=True), [224])
    seen = v2.functional.normalize(small.float() / 255, list(IMAGENET_MEAN), list(IMAGENET_STD))
    return list(frames.permute(0, 2, 3, 1).numpy()), seen


def pictures_differ(mine: Any, other: Any) -> dict[str, Any]:
    """Whether all frames are the same to the bit, and the mean difference of those that both have."""
    pairs = list(zip(mine[0], other[0], strict=False))
    same = len(mine[0]) == len(other[0]) and all(np.array_equal(*pair) for pair in pairs)
    return {"same_frames": same, "difference": float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in pairs]))}


def with_network(pictures: Callable[[], Any], network: torch.nn.Module, batch: int) -> np.ndarray:
    """Features of what the network sees, in batches."""
    with torch.inference_mode():
        rows = [network(part) for part in pictures()[1].split(batch)]
    return np.asarray(torch.cat(rows).numpy())


def features_differ(mine: Any, other: Any) -> dict[str, Any]:
    """The relative difference of features."""
    count = min(len(mine), len(other))
    return {"difference": float(np.linalg.norm(mine[:count] - other[:count]) / np.linalg.norm(mine[:count]))}


# -- sound


def our_sound(clip: Path) -> np.ndarray:
    """In blocks, from the file to log-mel patches."""
    return log_mel(np.concatenate(list(stream_audio(clip))))


def vggish_sound(clip: Path, ffmpeg: str, resampy: Any) -> np.ndarray:
    """By a file of its own; double precision, one transform for the whole sound."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sound.wav"
        command = [ffmpeg, "-y", "-loglevel", "error", "-i", str(clip), "-vn", "-acodec", "pcm_s16le", str(path)]
        subprocess.run(command, check=True)
        with wave.open(str(path)) as file:
            raw = np.frombuffer(file.readframes(file.getnframes()), np.int16)
            samples = raw.reshape(-1, file.getnchannels()).mean(axis=1) / 32768.0
            samples = resampy.resample(samples, file.getframerate(), RATE)
    return whole_log_mel(samples)


def whole_log_mel(samples: np.ndarray) -> np.ndarray:
    """Log-mel patches [patches, 96, 64] of a sound [n] at 16 kHz, by one transform, as torchvggish has it."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    rows = np.log(np.abs(np.fft.rfft(windows * hann(), LENGTH)) @ mel_matrix() + 0.01)
    patches = len(rows) // PATCH_FRAMES
    return rows[: patches * PATCH_FRAMES].reshape(patches, PATCH_FRAMES, BANDS)


def sounds_differ(mine: Any, other: Any) -> dict[str, Any]:
    """The mean difference of log-mel values."""
    count = min(len(mine), len(other))
    return {"difference": float(np.abs(mine[:count] - other[:count]).mean())}


# -- all of it


def libraries() -> tuple[dict[str, Any], dict[str, str]]:
    """The others' libraries that are there, and why the others are not."""
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name in ("cv2", "resampy", "imageio_ffmpeg", "torchcodec"):
        try:
            found[name] = __import__(name)
        except (ImportError, OSError, RuntimeError) as error:
            missing[name] = str(error).partition("\n")[0]
    if "torchcodec" in found:
        import torchcodec.decoders  # noqa: F401
    return found, missing


def comparisons(
    folder: Path, found: dict[str, Any], seconds: int, clips: tuple[Clip, ...]
) -> Iterator[tuple[Any, Any]]:
    """Every task on every clip, with what compares results."""
    ffmpeg = found["imageio_ffmpeg"].get_ffmpeg_exe() if "imageio_ffmpeg" in found else None
    network = googlenet.build(googlenet.Config(weights="random"), None, 0, "cpu")
    plain = googlenet.build(googlenet.Config(weights="random"), None, 0, "cpu")
    plain.lay_out(False)  # type: ignore[attr-defined]
    for number, (title, codec, size, group) in enumerate(clips):
        clip = make_clip(folder / f"{number}.mp4", group, seconds, codec=codec, size=size)
        ways: dict[str, Callable[[], Any]] = {"ours": lambda c=clip: ours(c)}
        if ffmpeg and "cv2" in found:
            ways["re-encode"] = lambda c=clip: reencoded(c, ffmpeg, found["cv2"])
        if "torchcodec" in found:
            ways["torchcodec"] = lambda c=clip: by_torchcodec(c, found["torchcodec"])
        yield Comparison("decode and preprocess, 2 fps", title, ways), pictures_differ
        skips = {"ours": lambda c=clip: decoded(c, True), "every frame": lambda c=clip: decoded(c, False)}
        yield Comparison("decode, 2 fps", title, skips), pictures_differ
        if number:
            continue
        nets: dict[str, Callable[[], Any]] = {"ours": lambda c=clip: extracted(c, network)}
        batches = {"re-encode": 1, "torchcodec": BATCH}
        for name, batch in batches.items():
            if name in ways:
                nets[name] = lambda w=ways[name], b=batch: with_network(w, plain._network, b)  # type: ignore[attr-defined]
        yield Comparison("with GoogLeNet, 2 fps", title, nets), features_differ
        if ffmpeg and "resampy" in found:
            sounds = {"ours": lambda c=clip: our_sound(c)}
            sounds["torchvggish"] = lambda c=clip: vggish_sound(c, ffmpeg, found["resampy"])
            yield Comparison("sound to log-mel", title, sounds), sounds_differ


def decoded(clip: Path, skip: bool) -> tuple[list[np.ndarray], None]:
    """Sampled frames."""
    return [frame for _, frame in sample_frames(clip, fps=FPS, skip=skip)], None


def extracted(clip: Path, network: Any) -> np.ndarray:
    """As the project extracts: frame by frame into batches."""
    rows: list[np.ndarray] = []
    batch: list[np.ndarray] = []
    for _, frame in sample_frames(clip, fps=FPS):
        batch.append(frame)
        if len(batch) == BATCH:
            rows.append(network(batch))
            batch = []
    return np.concatenate([*rows, *([network(batch)] if batch else [])])


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--libraries", type=Path, help="the folder with the others' libraries")
    parser.add_argument("--seconds", type=int, default=20, help="length of the clips")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--clips", type=int, default=len(CLIPS), help="how many of the clips")
    parser.add_argument("--out", type=Path, help="JSON lines, one a result")
    parser.add_argument("--keep", type=Path, nargs="?", const=RESULTS, help="folder of the results")
    chosen = parser.parse_args()
    if chosen.libraries:
        sys.path.append(str(chosen.libraries))
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    found, missing = libraries()
    if "cv2" in found:
        found["cv2"].setNumThreads(1)
    rows = Rows(chosen.out)
    for name, reason in missing.items():
        rows.add(left_out=name, reason=reason)
    with tempfile.TemporaryDirectory() as folder:
        for comparison, difference in comparisons(Path(folder), found, chosen.seconds, CLIPS[: chosen.clips]):
            comparison.measure(chosen.rounds)
            for row in comparison.rows(difference):
                rows.add(**row)
            comparison.results.clear()
    print("\n".join(peers(rows.rows, chosen.seconds)))
    if chosen.keep:
        about = {**machine(), "seconds": chosen.seconds, "rounds": chosen.rounds}
        print(f"\nkept in {keep('peers', about, rows.rows, chosen.keep).name}")


if __name__ == "__main__":
    main()
