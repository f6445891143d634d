"""Settings of how an extractor's network is run."""

from __future__ import annotations

from typing import Literal

from utopia.config.base import Strict
from utopia.config.engine import Precision


class Compute(Strict):
    """How an extractor's network is run. All of it determines the features, as the extractor's own settings do."""

    precision: Precision = "float32"
    """Of products in the network: full float32; `bfloat16`, wherever PyTorch's autocast thinks it safe; or, on a GPU,
    tensor cores with 10 bits of mantissa (`tf32`). The index of features records the error against float32."""
    channels_last: bool | None = None
    """Whether pictures lie in memory with the channels of a pixel side by side; null: as the extractor has it."""
    across_videos: bool = False
    """Fill batches across videos: for a GPU and short videos. Rows then depend on the shard, up to rounding."""
    decoder: Literal["av", "torchcodec"] = "av"
    """What decodes pictures. `torchcodec`, an optional package, uses the decoder of the GPU that the networks run on:
    other bits than the CPU's, and damage inside a stream goes unnoticed. Sound is always decoded by `av` (PyAV)."""
