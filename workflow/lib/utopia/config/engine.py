"""Settings of the training engine: how runs are trained, not what is trained."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from utopia.config.base import Strict

TREATMENT = frozenset(
    {"id", "treatment", "loss", "loss_config", "sampler", "sampler_config", "members", "whole", "best", "label_filter"}
)
"""Settings of a run that its treatment decides: runs that differ in nothing else share a training job."""

Precision = Literal["float32", "tf32", "bfloat16"]


class Engine(Strict):
    """How runs are trained. On one device all settings but `precision` and `compile` give the same numbers, up to the
    rounding of sums.
    """

    strategy: Literal["auto", "alone", "stacked"] = "auto"
    """`alone`: one replica after another on packed rows, the fastest on a CPU; `stacked`: as many replicas at once as
    there are places, padded, in one network, the fastest on a GPU, and on a CPU where networks are tiny. `auto` chooses
    by the device."""
    places: int = Field(16, ge=1, le=10_000)
    """Replicas that are trained at once by `stacked`."""
    runs: int = Field(12, ge=1, le=10_000)
    """Most runs of one training job. Runs that differ in treatment only share a job: its start, its data and its
    places."""
    workers: int = Field(1, ge=1, le=1024)
    """Cores of one training job on a CPU: so many processes share its replicas. No number depends on it, and a change
    trains nothing again. Replicas that are stacked, or on a GPU, are trained by one process."""
    precision: Precision = "float32"
    """Of matrix products on a GPU: full float32, tensor cores with 10 bits of mantissa (`tf32`), or `bfloat16`."""
    compile: bool = False
    """Let `torch.compile` fuse kernels on a GPU: minutes at the start of a job, fewer launches after."""

    def cores(self, device: str) -> int:
        """Cores of a training job on a device: one where replicas are stacked, or on a GPU."""
        return 1 if self.strategy == "stacked" or device == "cuda" else self.workers
