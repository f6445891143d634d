"""Stages of `gpu.py` that train: what is the same as on a CPU, how fast, and memory."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _plain import PlainEt, plain_epoch, plain_pgl_sum
from _study import Study, stack_of, stack_of_clips, train_alone
from clips import make_data, make_job
from engine import kernels
from torch.utils.flop_counter import FlopCounterMode

from utopia.config import registry
from utopia.config.engine import Engine
from utopia.training.parts import Parts
from utopia.training.trainer import Fitted, ReplicaJob
from utopia.training.vectorized.engine import VectorizedTraining
from utopia.training.vectorized.passes import Passes

Row = dict[str, Any]
CPU = torch.device("cpu")
TOLERANCE = 2e-4
"""Of predictions in [0, 1] after some epochs, float32 on one device against another."""
PEAK = {"float32": 67e12, "tf32": 494e12, "bfloat16": 989e12}
"""Operations per second of an H100 or H200 (SXM, dense), from its data sheet."""
REACTIONS = ("l1", "l1_kl", "kl", "ccc")
"""Losses of vectors, of which only clips have labels."""
OWN_STREAM = {"bmc", "rank_sim"}
"""Losses that draw random numbers on the device, which no other device repeats."""


@dataclass(frozen=True)
class Sizes:
    """How much is tried."""

    videos: int
    frames: int
    width: int
    epochs: int
    replicas: tuple[int, ...]
    models: dict[str, tuple[str, dict[str, Any]]]
    """By name: a file of `models/` and its settings."""
    share: float
    """Of the paper's videos and frames that the whole study has."""
    rounds: int = 5


PAPER: dict[str, tuple[str, dict[str, Any]]] = {
    "ET": ("et", {}),
    "PGL-SUM 1024": ("pgl_sum", {}),
    "PGL-SUM 128": ("pgl_sum", {"d_model": 128}),
    "RMN": ("rmn", {}),
}
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "ET": ("et", {"d_model": 16, "heads": 2, "layers": 1, "feedforward": 16}),
    "PGL-SUM 128": ("pgl_sum", {"d_model": 16, "heads": 2, "segment_heads": 2}),
    "RMN": ("rmn", {"d_model": 8, "units": 4, "rows": 3, "roll": 4, "clip_s": 2, "rewrite_every": 4}),
}
FULL = Sizes(40, 470, 1024, 2, (1, 2, 4, 8, 16, 32, 64, 128), PAPER, 1.0)
TINY = Sizes(3, 16, 8, 1, (1, 2), SMALL, 0.02, rounds=1)


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Of one call, on the clock."""
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - start


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Of matrix products outside autocast, as `training.run.prepare` sets it."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def train(jobs: Sequence[ReplicaJob], device: torch.device, engine: Engine) -> dict[str, Fitted]:
    """Train replicas as one stack."""
    return _named(stack_of(jobs, device, engine).outcomes())


def _named(outcomes: Any) -> dict[str, Fitted]:
    trained = {}
    for job, fitted in outcomes:
        if not isinstance(fitted, Fitted):
            raise fitted
        trained[job.replica.name] = fitted
    return trained


def difference(first: dict[str, Fitted], second: dict[str, Fitted]) -> float:
    """The largest between predictions."""
    pairs = [
        (first[name].predictions[item], second[name].predictions[item])
        for name in first
        for item in first[name].predictions
    ]
    return max(float(np.abs(one - other).max()) for one, other in pairs)


def same_bytes(first: dict[str, Fitted], second: dict[str, Fitted]) -> bool:
    """Whether all parameters are the same to the bit."""
    return all(
        np.array_equal(first[name].parameters[key], second[name].parameters[key])
        for name in first
        for key in first[name].parameters
    )


# -- (a) the same numbers


def agree(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Every model, loss and sampler: sequential on the CPU against vectorized on the device, and twice the same."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), min(sizes.videos, 8), min(sizes.frames, 120), min(sizes.width, 128))
        recipe = {"training": {"epochs": sizes.epochs, "selection": "last"}}
        small = next(iter(sizes.models))
        tries: list[tuple[str, str, str | None]] = [(name, "mse", None) for name in sizes.models]
        losses = [name for name in registry.names("losses") if name not in (*REACTIONS, "mse")]
        tries += [(small, loss, None) for loss in losses]
        tries += [(small, "cwl", sampler) for sampler in registry.names("samplers")]
        for name, loss, sampler in tries:
            model, settings = sizes.models[name]
            run = study.run(model, settings | recipe, loss=loss, sampler=sampler)
            jobs = [study.job(run, repeat) for repeat in range(2)]
            draws = sampler is not None or loss in OWN_STREAM
            against = device if draws else CPU
            sequential = {job.replica.name: train_alone(job, against) for job in jobs}
            together, again = (train(jobs, device, Engine(places=2)) for _ in range(2))
            error = difference(sequential, together)
            yield {
                "what": " ".join(filter(None, [name, loss, sampler])),
                "against": "sequential, same device (it draws there)" if draws else "sequential, CPU",
                "difference": error,
                "agrees": error <= TOLERANCE,
                "twice_the_same_bytes": same_bytes(together, again),
            }
    yield from _clips_agree(device, sizes)


def _clips_agree(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    videos = 2 if sizes is TINY else 8
    data = make_data(videos)
    jobs = [_short(make_job(data, videos, repeat)) for repeat in range(2)]

    def together(where: torch.device) -> dict[str, Fitted]:
        return _named(stack_of_clips(jobs, where).outcomes())

    on_cpu, first, second = together(CPU), together(device), together(device)
    error = max(
        float(np.abs(on_cpu[name].parameters[key] - first[name].parameters[key]).max())
        for name in on_cpu
        for key in on_cpu[name].parameters
    )
    yield {
        "what": "bi-GRU l1 (parameters)",
        "against": "vectorized, CPU",
        "difference": error,
        "agrees": error <= TOLERANCE,
        "twice_the_same_bytes": same_bytes(first, second),
    }


def _short(job: ReplicaJob) -> ReplicaJob:
    """The same replica for one epoch."""
    model = job.run.settings | {"training": job.run.settings["training"] | {"epochs": 1}}
    run = job.run.model_copy(update={"settings": model})
    return ReplicaJob(job.replica, run, Parts.of(run, None), job.data, job.fold, None)


# -- (b) rates


def rates(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Replica-epochs per second of the stack against the plain loop; kernels, share of peak, and cheaper arithmetic."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), sizes.videos, sizes.frames, sizes.width)
        for name, (model, settings) in sizes.models.items():
            run = study.run(model, settings | {"training": {"epochs": 1000, "selection": "last"}})
            loop = plain_rate(model, settings, study, study.job(run), device, sizes)
            for replicas in sizes.replicas:
                jobs = [study.job(run, repeat) for repeat in range(replicas)]
                yield {"what": name, "replicas": replicas} | _stack_rates(jobs, device, loop, sizes, "float32")
            for kind in ("tf32", "bfloat16", "compile") if device.type == "cuda" else ():
                jobs = [study.job(run, repeat) for repeat in range(min(16, max(sizes.replicas)))]
                yield {"what": name, "replicas": len(jobs)} | _stack_rates(jobs, device, loop, sizes, kind)
            if device.type == "cuda" and model != "rmn":
                yield {"what": name} | _graphed([study.job(run, repeat) for repeat in range(16)], device)
    videos = 2 if sizes is TINY else 32
    data = make_data(videos)
    for replicas in sizes.replicas[:6]:
        jobs = [make_job(data, videos, repeat) for repeat in range(replicas)]
        training = stack_of_clips(jobs, device)
        seconds = epoch_seconds_of(training, device, sizes.rounds)
        yield {"what": "bi-GRU", "replicas": replicas, "replica_epochs_per_second": replicas / seconds}


def plain_rate(
    model: str, settings: dict[str, Any], study: Study, job: ReplicaJob, device: torch.device, sizes: Sizes
) -> float | None:
    """Epochs per second of the plain loop; RMN has none, there the stack of one is the measure."""
    if model == "rmn":
        return None
    width = study.data.standardised_D.size
    network = PlainEt(width) if model == "et" else plain_pgl_sum(width, settings.get("d_model"))
    epoch = plain_epoch(network, job, device, full_batch=model == "pgl_sum", fused=True)
    epoch()
    return 1 / statistics.median(seconds_of(epoch, device) for _ in range(min(3, sizes.rounds)))


def epoch_seconds_of(training: VectorizedTraining, device: torch.device, rounds: int) -> float:
    """Seconds of an epoch of all places: the median after one that makes what is kept."""

    def epoch() -> None:
        training.begin_epochs()
        while all(replica.order for replica in training.active):
            training.round()

    epoch()
    return statistics.median(seconds_of(epoch, device) for _ in range(rounds))


def _stack_rates(jobs: list[ReplicaJob], device: torch.device, loop: float | None, sizes: Sizes, kind: str) -> Row:
    engine = Engine(places=len(jobs), precision="float32" if kind == "compile" else kind, compile=kind == "compile")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with precision(kind):
        training = stack_of(jobs, device, engine)
        seconds = epoch_seconds_of(training, device, sizes.rounds)
        row: Row = {"arithmetic": kind, "replica_epochs_per_second": len(jobs) / seconds}
        row["of_plain_loop"] = row["replica_epochs_per_second"] / loop if loop else None
        with FlopCounterMode(display=False) as counter:
            epoch_seconds_of(training, device, 1)
        row["share_of_peak"] = counter.get_total_flops() / 2 / seconds / PEAK.get(kind, PEAK["float32"])
        if kind == "float32":
            training.begin_epochs()
            row["kernels_of_a_round"] = kernels(training.round)
        else:
            exact = stack_of(jobs, device)
            values = [_losses(one) for one in (training, exact)]
            row["loss_error"] = float((values[0] - values[1]).abs().max() / values[1].abs().max())
    if device.type == "cuda":
        row["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return row


def _losses(training: VectorizedTraining) -> torch.Tensor:
    """Losses of a first round from the same parameters."""
    for k, replica in enumerate(training.active):
        training.stack.put(k, replica.trainer.network)
        replica.trainer.state.epoch, replica.order = 0, []
    training.begin_epochs()
    training.round()
    return training.total_K.clone()


def _graphed(jobs: list[ReplicaJob], device: torch.device) -> Row:
    """What a CUDA graph of a round's forward and backward pass would save: one batch, again and again."""
    training = stack_of(jobs, device)
    table = training.passes.table
    assert table is not None
    batch = table.batch([0] * len(jobs))
    weight, target = batch.weight_KP, batch.target_KP
    x_KPD, keys = batch.x_KPD, batch.key_KP

    def passes() -> None:
        network = training.stack.network
        y_KP = network.head(network.encode(x_KPD, batch.rows, keys), keys)
        (weight * (y_KP - target).square()).sum().backward()

    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            passes()
    torch.cuda.current_stream().wait_stream(side)
    eager = statistics.median(seconds_of(passes, device) for _ in range(10))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        passes()
    replayed = statistics.median(seconds_of(graph.replay, device) for _ in range(10))
    return {"replicas": len(jobs), "arithmetic": "CUDA graph of one batch", "times_faster": eager / replayed}


# -- (e) memory


def memory(device: torch.device, sizes: Sizes) -> Iterator[Row]:
    """Under a cap that the stack does not fit into: half as many replicas go on, with the same numbers."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), min(sizes.videos, 8), sizes.frames, sizes.width)
        name, (model, settings) = next(iter(sizes.models.items()))
        run = study.run(model, settings | {"training": {"epochs": sizes.epochs, "selection": "last"}})
        jobs = [study.job(run, repeat) for repeat in range(4 if sizes is TINY else 32)]
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        whole = train(jobs, device, Engine(places=len(jobs)))
        peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
        yield {"what": f"{name}, {len(jobs)} replicas", "peak_gib": peak / 2**30 if peak else None}
        with capped(device, peak, len(jobs) // 2) as refused:
            halved = train(jobs, device, Engine(places=len(jobs)))
        error = difference(whole, halved)
        yield {
            "what": f"{name}, {len(jobs)} replicas under a cap",
            "refused": len(refused),
            "trained": len(halved),
            "difference": error,
            "agrees": error <= TOLERANCE and len(halved) == len(jobs) and len(refused) > 0,
        }


@contextmanager
def capped(device: torch.device, peak: int, most: int) -> Iterator[list[str]]:
    """Let memory run out: on a GPU by a limit of 0.7 of a peak, on a CPU where more than `most` replicas are tried.

    Gives what was refused.
    """
    refused: list[str] = []
    halved, original = VectorizedTraining._halved, Passes.add_gradients

    def note(self: VectorizedTraining, reason: str) -> int:
        refused.append(reason)
        return halved(self, reason)

    def tight(self: Passes, numbers: Sequence[int | None]) -> torch.Tensor:
        if len(numbers) > most:
            raise torch.OutOfMemoryError(f"out of memory: a cap of {most} replicas")
        return original(self, numbers)

    VectorizedTraining._halved = note  # type: ignore[method-assign]
    if device.type == "cuda":
        torch.cuda.empty_cache()
        whole = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, 0.7 * peak / whole))
    else:
        Passes.add_gradients = tight  # type: ignore[method-assign]
    try:
        yield refused
    finally:
        VectorizedTraining._halved, Passes.add_gradients = halved, original  # type: ignore[method-assign]
        if device.type == "cuda":
            torch.cuda.set_per_process_memory_fraction(1.0)
