"""Everything that a GPU must do for this project, in one short run: `make gpu-check`.

At most eight minutes on one GPU. Each stage has its own time limit and each result is written as soon as it is there,
so that a run that is cut off tells what it found. Nothing of the workflow is needed: torch, torchvision, torchaudio,
timm, NumPy, SciPy, h5py, safetensors, PyYAML, pandas, pydantic. PyAV and torchcodec are taken where they are there.

    (a) agree      every model, loss and sampler, sequential on the CPU against vectorized on the GPU
    (b) rates      replica-epochs per second by number of replicas and arithmetic, against the plain loop
    (c) extract    frames per second of every extractor; log-mel
    (d) study      all nine tables of ULDA from generated features at the papers' sizes
    (e) memory     peaks, and what happens where memory is used up
    (f) decode     the GPU's own decoder

On a CPU, `--tiny`, the same code runs with small sizes: a test asserts what it prints, not how long it takes.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the GPU is first used
REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "workflow" / "lib"), str(REPOSITORY / "benchmarks")]

import torch  # noqa: E402
from _results import Rows, by_stage, keep, machine  # noqa: E402

LIMITS = {"agree": 75, "rates": 130, "extract": 110, "study": 110, "memory": 30, "decode": 15}
"""Seconds of each stage."""


class StageOver(BaseException):
    """A stage has used its time up; not an error that a stage may handle."""


def stages(device: torch.device, *, tiny: bool, whole: bool) -> dict[str, Callable[[], Iterator[dict[str, Any]]]]:
    """What is run, by name."""
    import _gpu_extraction as extraction
    import _gpu_study as study
    import _gpu_training as training

    sizes = training.TINY if tiny else training.FULL
    return {
        "agree": lambda: training.agree(device, sizes),
        "rates": lambda: training.rates(device, sizes),
        "extract": lambda: chain(extraction.extractors(device, tiny=tiny), extraction.front_end(device, tiny=tiny)),
        "study": lambda: study.study_rates(device, sizes, whole=whole),
        "memory": lambda: training.memory(device, sizes),
        "decode": lambda: extraction.decoder(device, tiny=tiny),
    }


def run(name: str, stage: Callable[[], Iterator[dict[str, Any]]], rows: Rows, limit: float) -> None:
    """Run a stage within its time; what goes wrong in it is a result too, and the next one goes on."""

    def over(*_: int | FrameType | None) -> None:
        raise StageOver

    before = signal.signal(signal.SIGALRM, over)
    start = time.monotonic()
    end: dict[str, Any] = {}
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        for row in stage():
            rows.add(stage=name, **row)
    except StageOver:
        end = {"cut_off_after_s": limit}
    except Exception as error:  # the next stage still has something to tell
        end = {"error": f"{type(error).__name__}: {error}"}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    rows.add(stage=name, what="stage", seconds=time.monotonic() - start, **end)


def main() -> int:
    """Run the stages; 1 where something failed or does not agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--tiny", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--only", nargs="+", choices=LIMITS, default=list(LIMITS), metavar="STAGE")
    parser.add_argument("--limit", type=float, default=1.0, help="factor of the stages' time limits")
    parser.add_argument("--whole", action="store_true", help="train the whole study, without a time limit")
    parser.add_argument("--out", type=Path, help="JSON lines, one a result")
    parser.add_argument("--keep", type=Path, nargs="?", const=REPOSITORY / "benchmarks" / "results", help="folder")
    chosen = parser.parse_args()
    available = torch.cuda.is_available()
    if chosen.device == "cuda" and not available:
        parser.error("torch finds no GPU; `--device cpu --tiny` tries the script without one")
    device = torch.device("cuda" if chosen.device != "cpu" and available else "cpu")
    if device.type == "cpu" and not chosen.tiny:
        parser.error("without a GPU the full sizes take days; use --tiny")
    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    rows = Rows(chosen.out)
    todo = stages(device, tiny=chosen.tiny, whole=chosen.whole)
    for name in chosen.only:
        # as the jobs have it
        torch.set_deterministic_debug_mode("default" if name in ("extract", "decode") else "error")
        endless = chosen.whole and name == "study"
        run(name, todo[name], rows, 0.0 if endless else max(1e-3, LIMITS[name] * chosen.limit))
    print("\n".join(by_stage(rows.rows)), flush=True)
    if chosen.keep:
        path = keep("gpu-tiny" if chosen.tiny else "gpu", machine(device.type), rows.rows, chosen.keep)
        print(f"\nkept in {path.name}")
    return failed(rows.rows)


def failed(rows: list[dict[str, Any]]) -> int:
    """1 where something went wrong or does not agree; a stage that was cut off did not."""
    wrong = ("error" in row or row.get("agrees") is False or row.get("twice_the_same_bytes") is False for row in rows)
    return int(any(wrong))


if __name__ == "__main__":
    sys.exit(main())
