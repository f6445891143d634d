"""The training engine against a plain loop of the same model, one video at a time: `python benchmarks/engine.py`.

Same data, same process, in turns, so that other load hits all alike; ratios are medians of five, with the least and the
largest. On a CPU: CPU seconds of an epoch of one replica, and what CWL and TNS add. On any machine: kernels of a round
of 16 stacked replicas, counted with torch's profiler. On a GPU: replica-epochs per second against the loop.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _plain import PlainEt, plain_epoch, plain_pgl_sum
from _results import Rows, finish, in_turns, options, ratio, rows_of
from _study import Study, stack_of, train_alone

from utopia.training.trainer import ReplicaJob, ReplicaTrainer

ROUNDS = 5
REPLICAS = 16
LAST = {"selection": "last"}
CPU = torch.device("cpu")
VIEWS = set(
    """view reshape _reshape_alias _unsafe_view t transpose permute expand squeeze unsqueeze select slice split chunk
    split_with_sizes unbind unflatten flatten narrow as_strided detach detach_ empty empty_like empty_strided alias
    resize_ item _local_scalar_dense is_nonzero lift_fresh set_ result_type to _to_copy unsafe_split numpy_T mT real
    contiguous broadcast_tensors expand_as view_as movedim resolve_conj resolve_neg""".split()  # noqa: SIM905
)
"""Operations that launch nothing on a GPU."""


def epoch_seconds(job: ReplicaJob) -> float:
    """CPU seconds of the engine's second epoch."""
    marks: list[float] = []
    original = ReplicaTrainer.begin_epoch

    def mark(self: ReplicaTrainer) -> list[int]:
        marks.append(time.process_time())
        return original(self)

    ReplicaTrainer.begin_epoch = mark  # type: ignore[method-assign]
    try:
        train_alone(job, CPU)
    finally:
        ReplicaTrainer.begin_epoch = original  # type: ignore[method-assign]
    return marks[2] - marks[1]


def cpu_time(function: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    function()
    return time.process_time() - start


def compare(name: str, plain: Callable[[], None], jobs: dict[str, ReplicaJob], rounds: int, rows: Rows) -> None:
    """CPU seconds per epoch, and ratios to the plain loop and among treatments."""
    plain()
    ways: dict[str, Callable[[], float]] = {"plain loop": lambda: cpu_time(plain)}
    ways |= {key: partial(epoch_seconds, job) for key, job in jobs.items()}
    seconds = in_turns(ways, rounds)
    first = next(iter(jobs))
    for key, values in seconds.items():
        row: dict[str, Any] = {"model": name, "what": key, "CPU s of an epoch": statistics.median(values)}
        if key != "plain loop":
            against = "plain loop" if key == first else first
            row["of the plain loop" if key == first else "of the baseline"] = ratio(values, seconds[against])
        rows.add(**row)


def kernels(function: Callable[[], object]) -> int:
    """Operations of a call that would launch a kernel: those that hold no other and are not views."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], acc_events=True) as profiler:
        function()
    found = 0
    for event in profiler.events() or ():
        name = event.name.removeprefix("aten::")
        if event.name.startswith("aten::") and not any(c.name.startswith("aten::") for c in event.cpu_children):
            found += name not in VIEWS
    return found


def count(name: str, plain: Callable[[], None], plain_steps: int, jobs: list[ReplicaJob], rows: Rows) -> None:
    """Kernels of a round of a stack and of the same work in the plain loop."""
    training = stack_of(jobs, CPU)
    training.begin_epochs()
    training.round()
    training.begin_epochs()
    stack = kernels(training.round)
    plain()
    loop = kernels(plain) / plain_steps * len(jobs)
    rows.add(
        **{
            "model": name,
            "what": f"a step of {len(jobs)} replicas",
            "kernels": stack,
            "of the plain loop's": loop / stack,
        }
    )


def throughput(job_of: Callable[[], ReplicaJob]) -> None:
    """Print what two one-thread jobs at once do against one: wall time, so only on a quiet machine."""
    import multiprocessing

    context = multiprocessing.get_context("fork")

    def together(number: int) -> float:
        workers = [context.Process(target=train_alone, args=(job_of(), CPU)) for _ in range(number)]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return time.perf_counter() - start

    together(2)
    ratios = [2 * together(1) / together(2) for _ in range(ROUNDS)]
    print(f"\ntwo one-thread jobs: {statistics.median(ratios):.2f} times the throughput of one (target 1.7)")


def gpu(name: str, plain: Callable[[], None], jobs: list[ReplicaJob]) -> None:
    """Print replica-epochs per second on the GPU."""
    device = torch.device("cuda")

    def clock(function: Callable[[], object]) -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        torch.cuda.synchronize()
        return time.perf_counter() - start

    plain()
    loop = statistics.median(1 / clock(plain) for _ in range(ROUNDS))
    training = stack_of(jobs, device)
    marks: list[float] = []

    def run() -> None:
        epochs = 0
        while epochs < ROUNDS + 1:
            training.begin_epochs()
            start = time.perf_counter()
            while all(replica.order for replica in training.active):
                training.round()
            torch.cuda.synchronize()
            marks.append(time.perf_counter() - start)
            epochs += 1

    run()
    stack = statistics.median(len(jobs) / seconds for seconds in marks[1:])
    peak = torch.cuda.max_memory_allocated() / 2**30
    print(
        f"{name}: replica-epochs per second: stack of {len(jobs)} {stack:.1f}, plain loop {loop:.2f}, "
        f"{stack / loop:.1f}x (target 15); {peak:.1f} GiB at most"
    )


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, ROUNDS)
    parser.add_argument("--videos", type=int, default=40)
    parser.add_argument("--frames", type=int, default=470)
    parser.add_argument("--only", choices=("cpu", "jobs", "kernels", "gpu"))
    chosen = parser.parse_args()
    rows = rows_of(chosen)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        study = Study(Path(folder), chosen.videos, chosen.frames, 1024)
        print(f"{chosen.videos} videos, {sum(map(len, study.features.values()))} steps of 1024 values")
        models: list[tuple[str, str, dict[str, Any], Callable[[], torch.nn.Module]]] = [
            ("ET", "et", {}, lambda: PlainEt(1024)),
            ("PGL-SUM, 128 wide", "pgl_sum", {"d_model": 128}, lambda: plain_pgl_sum(1024, 128)),
            ("PGL-SUM", "pgl_sum", {}, lambda: plain_pgl_sum(1024, None)),
        ]
        if chosen.only == "jobs":
            training = LAST | {"epochs": 8}
            throughput(lambda: study.job(study.run("pgl_sum", {"d_model": 128, "training": training})))
        for title, model, settings, build in models:
            training = LAST | {"epochs": 3}
            run = study.run(model, settings | {"training": training})
            full = model == "pgl_sum"
            if chosen.only in (None, "cpu"):
                jobs = {"baseline": study.job(run)}
                if title != "PGL-SUM":
                    jobs["cwl"] = study.job(study.run(model, settings | {"training": training}, loss="cwl"))
                    tns = study.run(model, settings | {"training": training}, loss="cwl", sampler="tns")
                    jobs["tns_cwl"] = study.job(tns)
                compare(title, plain_epoch(build(), study.job(run), full_batch=full), jobs, chosen.rounds, rows)
            replicas = [study.job(run, repeat) for repeat in range(REPLICAS)]
            if chosen.only in (None, "kernels"):
                steps = 1 if full else chosen.videos
                plain = plain_epoch(
                    build(), study.job(run), full_batch=full, fused=True
                )  # as few kernels as it can have
                count(title, plain, steps, replicas, rows)
            if torch.cuda.is_available() and chosen.only in (None, "gpu"):
                device = torch.device("cuda")
                gpu(title, plain_epoch(build(), study.job(run), device, full_batch=full), replicas)
    if chosen.only in (None, "cpu", "kernels"):
        finish("engine", chosen, rows, videos=chosen.videos, frames=chosen.frames)


if __name__ == "__main__":
    main()
