"""Stages of `gpu.py` that extract: networks by batch, precision and layout; log-mel; the decoder of a GPU."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _gpu_training import PEAK, synchronise
from torch.utils.flop_counter import FlopCounterMode

from utopia.config import registry
from utopia.extractors._precision import precision
from utopia.media import logmel

Row = dict[str, Any]
HEIGHT, WIDTH = 360, 640
BATCHES = (1, 8, 32, 128)
NETWORKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("googlenet", {}),
    ("inception_v3", {}),
    ("se_resnet", {"network": "se_resnet50"}),
    ("se_resnet", {"network": "senet154"}),
    ("vgg16_places365", {}),
    ("swin_l", {}),
    ("openpose_action", {}),
    ("xception_face", {}),
    ("vggish", {}),
)
FEW: tuple[tuple[str, dict[str, Any]], ...] = (("googlenet", {"size": 64}), ("vggish", {}))
"""For the CPU: one of each medium."""
SECONDS_OF_SOUND = 60


def extractors(device: torch.device, *, tiny: bool = False) -> Iterator[Row]:
    """Frames per second of every extractor, each with its error against float32 and its share of peak."""
    random = np.random.default_rng(0)
    frames = [random.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(2 if tiny else max(BATCHES))]
    sound = random.normal(0, 0.1, logmel.RATE * (4 if tiny else SECONDS_OF_SOUND)).astype(np.float32)
    for name, options in FEW if tiny else NETWORKS:
        title = " ".join([name, *map(str, options.values())])
        try:
            module = registry.load("extractors", name)
            network = module.build(module.Config(weights="random", **options), None, 0, device.type)
        except Exception as error:  # one network that cannot be built must not hide the others
            yield {"what": title, "error": f"{type(error).__name__}: {error}"}
            continue
        given: list[Any] = frames if module.MEDIUM == "frames" else [sound]
        yield from _one(title, network, given, device, tiny, module.MEDIUM == "frames")
        del network
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _one(title: str, network: Any, given: list[Any], device: torch.device, tiny: bool, pictures: bool) -> Iterator[Row]:
    kinds = ["float32", "bfloat16"] if device.type == "cpu" else ["float32", "tf32", "bfloat16"]
    layouts: list[bool | None] = [False, True] if hasattr(network, "lay_out") else [None]
    exact: np.ndarray | None = None
    for kind in kinds:
        for last in layouts:
            if last is not None:
                network.lay_out(last)
            for batch in (2,) if tiny else BATCHES if pictures else (1,):
                chosen = given[:batch] if pictures else given[0]
                row: Row = {"what": title, "arithmetic": kind, "channels_last": last, "batch": batch}
                try:
                    with precision(kind, device.type):  # type: ignore[arg-type]
                        rate, features = _rate(lambda c=chosen: network(c), device, 1 if tiny else 3)
                        with FlopCounterMode(display=False) as counter:
                            network(chosen)
                except torch.OutOfMemoryError as error:
                    yield row | {"error": str(error).partition("\n")[0]}
                    continue
                features = features if pictures else features[0]
                exact = features if exact is None or (len(features) > len(exact) and kind == "float32") else exact
                same = exact[: len(features)]
                error = float(np.linalg.norm(features - same) / np.linalg.norm(same))
                work = counter.get_total_flops() * rate
                unit = "frames_per_second" if pictures else "times_real_time"
                value = rate * (len(chosen) if pictures else len(chosen) / logmel.RATE)
                yield row | {unit: value, "relative_error": error, "share_of_peak": work / PEAK[kind]}
    if device.type == "cuda" and pictures and hasattr(network, "_network"):
        yield _compiled(title, network, given[:32], device)


def _rate(work: Callable[[], Any], device: torch.device, rounds: int) -> tuple[float, Any]:
    """Calls per second, the best of some rounds after one that warms up; and what a call gives."""
    result, best = work(), float("inf")
    for _ in range(rounds):
        synchronise(device)
        start = time.perf_counter()
        work()
        synchronise(device)
        best = min(best, time.perf_counter() - start)
    return 1 / best, result


def _compiled(title: str, network: Any, chosen: list[Any], device: torch.device) -> Row:
    """With `torch.compile`; the first call compiles."""
    plain, exact = _rate(lambda: network(chosen), device, 3)
    network.network = torch.compile(network.network)
    start = time.perf_counter()
    network(chosen)
    first = time.perf_counter() - start
    rate, features = _rate(lambda: network(chosen), device, 3)
    error = float(np.linalg.norm(features - exact) / np.linalg.norm(exact))
    row: Row = {"what": title, "arithmetic": "compiled", "batch": len(chosen), "relative_error": error}
    return row | {"frames_per_second": rate * len(chosen), "of_eager": rate / plain, "first_call_s": first}


def front_end(device: torch.device, *, tiny: bool = False) -> Iterator[Row]:
    """Log-mel as the extractors have it, on the CPU, and the same formula on the device, with the difference."""
    samples = np.random.default_rng(0).normal(0, 0.1, logmel.RATE * (4 if tiny else 600)).astype(np.float32)
    seconds = len(samples) / logmel.RATE
    rate, patches = _rate(lambda: logmel.log_mel(samples), torch.device("cpu"), 1 if tiny else 3)
    yield {"what": "log-mel, NumPy, one core", "times_real_time": rate * seconds}
    hann = torch.from_numpy(logmel.hann()).float().to(device)
    bands = torch.from_numpy(logmel.mel_matrix()).float().to(device)

    def on_device() -> torch.Tensor:
        windows = torch.from_numpy(samples).to(device).unfold(0, logmel.WINDOW, logmel.HOP)
        spectrum = torch.fft.rfft(windows * hann, logmel.LENGTH).abs()
        return torch.log(spectrum @ bands + 0.01)

    with precision("float32", device.type):
        rate, rows = _rate(on_device, device, 1 if tiny else 3)
    kept = rows[: len(patches) * logmel.PATCH_FRAMES].cpu().numpy().reshape(patches.shape)
    error = float(np.abs(kept - patches).max())
    yield {
        "what": f"log-mel, torch, {device.type}",
        "times_real_time": rate * seconds,
        "difference": error,
        "agrees": error < 1e-3,
    }


def decoder(device: torch.device, *, tiny: bool = False) -> Iterator[Row]:
    """The GPU's own decoder through torchcodec, where both are there, against PyAV."""
    try:
        import av  # noqa: F401
        import torchcodec  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:
        yield {"what": "decoder", "left_out": f"not installed here: {str(error).partition(chr(10))[0]}"}
        return
    from decode import make_clip

    from utopia.errors import UtopiaError
    from utopia.media.decoding import Decoder

    with tempfile.TemporaryDirectory() as folder:
        clip = make_clip(Path(folder) / "clip.mp4", 250, 2 if tiny else 60)
        found: dict[str, list[np.ndarray]] = {}
        for name, chosen in (("PyAV", Decoder()), (f"torchcodec, {device.type}", Decoder("torchcodec", device.type))):
            try:
                start = time.perf_counter()
                found[name] = [frame for _, frame in chosen.sample(clip, fps=2, every=None)]
                spent = time.perf_counter() - start
            except UtopiaError as error:
                yield {"what": name, "left_out": error.what}
                continue
            first = next(iter(found.values()))
            pairs = zip(first, found[name], strict=True)
            error = float(np.mean([np.abs(one.astype(int) - other).mean() for one, other in pairs]))
            yield {"what": name, "frames_per_second": len(found[name]) / spent, "mean_difference_of_255": error}
