"""Settings of how an extractor's network is run."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from utopia.config.base import Below, Strict
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


class FineTune(Strict):
    """Training an extractor's network further before it extracts: a step of the workflow (ULDA sec. 4.3).

    [U] The papers document none of the settings.
    """

    dataset: str | None = Field(None, pattern="^[a-z0-9_]+$")
    """A data set of the study: its training videos' frames, and the labels at their times, are learned."""
    frames: Below | None = Field(None, min_length=1)
    """Or a folder below `data` with labelled frames, `<class>/<video>/<frame>.jpg`: the classes are learned."""
    fps: float = Field(0.2, gt=0, le=1000)
    """Frames per second of the data set's videos."""
    epochs: int = Field(20, ge=1, le=100_000)
    """Passes over the frames; kept is the one that is best on the frames held out."""
    batch: int = Field(16, ge=1, le=10_000)
    """Frames of a step."""
    learning_rate: float = Field(1e-3, gt=0, le=10)
    """Adam's, of the linear layer that predicts."""
    inner_learning_rate: float = Field(1e-4, gt=0, le=10)
    """Of the network's own parameters."""
    weight_decay: float = Field(1e-4, ge=0, le=10)
    """L2 term added to the gradient."""
    held_out: float = Field(0.2, gt=0, lt=1)
    """Share of the frames (of each class) on which the epoch is chosen; frames of a video stay together."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.dataset is None) == (self.frames is None):
            raise ValueError("exactly one of dataset and frames says what is learned")
        return self
