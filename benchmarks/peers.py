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
from _results import RESULTS, Rows, cpu_seconds, keep, machine
from decode import make_clip, make_song
from tables import peers
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.transforms import v2

from utopia.extractors import googlenet
from utopia.extractors._images import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from utopia.extractors._precision import one_thread
from utopia.media import frames
from utopia.media.audio import stream_audio
from utopia.media.frames import sample_frames, timeline_of
from utopia.media.logmel import BANDS, HOP, LENGTH, PATCH_FRAMES, RATE, WINDOW, hann, log_mel, mel_matrix
from utopia.media.timeline import period

FPS = 2.0
ROUNDS = 5
BATCH = 8
Clip = tuple[str, str, tuple[int, int], int, int]
CLIPS: tuple[Clip, ...] = (
    ("360p H.264", "libx264", (640, 360), 250, 12),
    ("360p H.264, key frame every 2 s", "libx264", (640, 360), 50, 12),
    ("720p H.264", "libx264", (1280, 720), 250, 6),
    ("1080p H.264", "libx264", (1920, 1080), 250, 4),
    ("360p HEVC", "libx265", (640, 360), 250, 8),
    ("1080p HEVC", "libx265", (1920, 1080), 250, 3),
)
"""Title, encoder, width and height, frames from one key frame to the next, seconds."""
SOUND_S = 60


@dataclass
class Comparison:
    """The ways of one task on one clip."""

    task: str
    clip: str
    length_s: int
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
            row = {"task": self.task, "clip": f"{self.clip}, {self.length_s} s", "way": name}
            row |= {"cpu_s": statistics.median(seconds), "times_real_time": self.length_s / statistics.median(seconds)}
            if name != "ours":
                ratios = [other / mine for other, mine in zip(seconds, self.seconds["ours"], strict=True)]
                row |= {"of_ours": statistics.median(ratios), "least": min(ratios), "largest": max(ratios)}
                row |= difference(self.results["ours"], self.results[name])
            yield row


# -- pictures


def ours(clip: Path) -> tuple[list[np.ndarray], torch.Tensor]:
    """Frames and what a network sees of them."""
    pictures = [frame for _, frame in sample_frames(clip, fps=FPS)]
    prepare = Preprocessing(resize=256, crop=224)
    return pictures, torch.stack([prepare(torch.from_numpy(picture)) for picture in pictures])


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
    pictures, seen = [], []
    with tempfile.TemporaryDirectory() as folder:
        slower = Path(folder) / "slower.mp4"
        command = [ffmpeg, "-y", "-loglevel", "error", "-threads", "1", "-i", str(clip)]
        subprocess.run([*command, "-filter:v", f"fps=fps={FPS:g}", "-threads", "1", str(slower)], check=True)
        reader = cv2.VideoCapture(str(slower))
        while True:
            met, bgr = reader.read()
            if not met:
                break
            pictures.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            seen.append(prepare(pictures[-1]))
        reader.release()
    return pictures, torch.stack(seen)


def by_torchcodec(clip: Path, codec: Any) -> tuple[list[np.ndarray], torch.Tensor]:
    """The frames on screen at the same times, resized together."""
    decoder = codec.decoders.VideoDecoder(str(clip), num_ffmpeg_threads=1, seek_mode="exact", dimension_order="NCHW")
    times, _ = timeline_of(clip)
    count = times.samples(fps=FPS) or 0
    pictures = decoder.get_frames_played_at([index / FPS for index in range(count)]).data
    small = v2.functional.center_crop(v2.functional.resize(pictures, [256], antialias=True), [224])
    seen = v2.functional.normalize(small.float() / 255, list(IMAGENET_MEAN), list(IMAGENET_STD))
    return list(pictures.permute(0, 2, 3, 1).numpy()), seen


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
    folder: Path, found: dict[str, Any], clips: tuple[Clip, ...], longest_s: int
) -> Iterator[tuple[Comparison, Callable[[Any, Any], dict[str, Any]]]]:
    """Every task on every clip, with what compares results."""
    ffmpeg = found["imageio_ffmpeg"].get_ffmpeg_exe() if "imageio_ffmpeg" in found else None
    for number, (title, codec, size, group, seconds) in enumerate(clips):
        length_s = min(seconds, longest_s)
        clip = make_clip(folder / f"{number}.mp4", group, length_s, codec=codec, size=size)
        ways: dict[str, Callable[[], Any]] = {"ours": lambda c=clip: ours(c)}
        if ffmpeg and "cv2" in found:
            ways["re-encode"] = lambda c=clip: reencoded(c, ffmpeg, found["cv2"])
        if "torchcodec" in found:
            ways["torchcodec"] = lambda c=clip: by_torchcodec(c, found["torchcodec"])
        yield Comparison("decode and preprocess, 2 fps", title, length_s, ways), pictures_differ
        skips = {"ours": lambda c=clip: decoded(c, True), "every frame": lambda c=clip: decoded(c, False)}
        skips["needed alone"] = needed_alone(clip)
        yield Comparison("decode, 2 fps", title, length_s, skips), pictures_differ
        if number == 0:
            yield Comparison("with GoogLeNet, 2 fps", title, length_s, networks(clip, ways)), features_differ
    sounds: dict[str, Callable[[], Any]] = {}
    song = make_song(folder / "song.m4a", min(SOUND_S, 5 * longest_s))
    sounds["ours"] = lambda: our_sound(song)
    if ffmpeg and "resampy" in found:
        sounds["torchvggish"] = lambda: vggish_sound(song, ffmpeg, found["resampy"])
    yield Comparison("sound to log-mel", "AAC, stereo", min(SOUND_S, 5 * longest_s), sounds), sounds_differ


def networks(clip: Path, ways: dict[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """From the file to GoogLeNet's features: ours; the others' ways with the same network; and ours with its batch
    norms folded into the convolutions, which the project does not do because the last bits of the features change.
    """
    built, plain, folded = (googlenet.build(googlenet.Config(weights="random"), None, 0, "cpu") for _ in range(3))
    plain.lay_out(False)  # type: ignore[attr-defined]
    for block in list(folded.network.modules()):  # type: ignore[attr-defined]
        if hasattr(block, "bn"):
            block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), torch.nn.Identity()
    folded.lay_out(True)  # type: ignore[attr-defined]
    nets = {"ours": lambda: extracted(clip, built), "ours, folded": lambda: extracted(clip, folded)}
    for name, batch in {"re-encode": 1, "torchcodec": BATCH}.items():
        if name in ways:
            nets[name] = lambda w=ways[name], b=batch: with_network(w, plain.network, b)  # type: ignore
    return nets


def needed_alone(clip: Path) -> Callable[[], tuple[list[np.ndarray], None]]:
    """The bound of skipping: the pictures that have to be decoded, known before, and those wanted of them converted."""
    times, _ = timeline_of(clip)
    wanted, _ = frames.schedule(np.sort(times.pts), times.end or 0, period(FPS, times.time_base), None, times.time_base)
    mask = np.isin(times.pts, wanted)

    def work() -> tuple[list[np.ndarray], None]:
        return [
            frames._pixels(each) for each in frames.needed_frames(clip, times, mask) if each.pts in set(wanted)
        ], None

    return work


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
    parser.add_argument("--seconds", type=int, default=60, help="no clip is longer")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--clips", type=int, default=len(CLIPS), help="how many of the clips")
    parser.add_argument("--out", type=Path, help="JSON lines, one a result")
    parser.add_argument("--keep", type=Path, nargs="?", const=RESULTS, help="folder of the results")
    chosen = parser.parse_args()
    if chosen.libraries:
        sys.path.append(str(chosen.libraries))
    os.environ["OMP_NUM_THREADS"] = "1"
    one_thread()  # as a job of this project does; the others' ways in this process have it too
    found, missing = libraries()
    if "cv2" in found:
        found["cv2"].setNumThreads(1)
    rows, load = Rows(chosen.out), machine()["load"]
    for name, reason in missing.items():
        rows.add(left_out=name, reason=reason)
    with tempfile.TemporaryDirectory() as folder:
        for comparison, difference in comparisons(Path(folder), found, CLIPS[: chosen.clips], chosen.seconds):
            comparison.measure(chosen.rounds)
            for row in comparison.rows(difference):
                rows.add(**row)
            comparison.results.clear()
    print("\n".join(peers(rows.rows)))
    if chosen.keep:
        about = {**machine(), "load": load, "rounds": chosen.rounds}
        print(f"\nkept in {keep('peers', about, rows.rows, chosen.keep).name}")


if __name__ == "__main__":
    main()
