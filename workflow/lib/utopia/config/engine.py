"""Settings of the training engine: how runs are trained, not what is trained."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from utopia.config.base import Strict

TREATMENT = frozenset(
    {
        "id",
        "treatment",
        "loss",
        "loss_config",
        "sampler",
        "sampler_config",
        "members",
        "fit_on_all",
        "best",
        "label_filter",
    }
)
"""Settings of a run that its treatment decides: runs that differ in nothing else share a training job."""

OLD_STRATEGIES = {"alone": "sequential", "stacked": "vectorized"}
"""What the strategies were called before: in configurations, in records of jobs and in training.json."""


def _by_its_new_name(strategy: Any) -> Any:
    return OLD_STRATEGIES.get(strategy, strategy) if isinstance(strategy, str) else strategy


Precision = Literal["float32", "tf32", "bfloat16"]


class Engine(Strict):
    """How runs are trained. On one device all settings but `precision` and `compile` give the same numbers, up to the
    rounding of sums.
    """

    strategy: Annotated[Literal["auto", "sequential", "vectorized"], BeforeValidator(_by_its_new_name)] = "auto"
    """`sequential`: one replica after another on ragged rows, the fastest on a CPU; `vectorized`: as many replicas at
    once as there are places, padded, in one network, the fastest on a GPU, and on a CPU where networks are tiny. `auto`
    chooses by the device."""
    places: int = Field(16, ge=1, le=10_000)
    """Replicas that are trained at once by `vectorized`."""
    runs: int = Field(12, ge=1, le=10_000)
    """Most runs of one training job. Runs that differ in treatment only share a job: its start, its data and its
    places."""
    workers: int = Field(1, ge=1, le=1024)
    """Cores of one training job on a CPU: so many processes share its replicas. No number depends on it, and a change
    trains nothing again. Replicas that are vectorized, or on a GPU, are trained by one process."""
    precision: Precision = "float32"
    """Of matrix products on a GPU: full float32, tensor cores with 10 bits of mantissa (`tf32`), or `bfloat16`."""
    compile: bool = False
    """Let `torch.compile` fuse kernels on a GPU: minutes at the start of a job, fewer launches after."""

    def cores(self, device: str) -> int:
        """Cores of a training job on a device: one where replicas are vectorized, or on a GPU."""
        return 1 if self.strategy == "vectorized" or device == "cuda" else self.workers
