"""Settings of a training on clips: long series cut into pieces, as EEV 2021's dense reactions are learned."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from utopia.config.base import Strict
from utopia.config.training import Training


class Clips(Strict):
    """How series are sampled and cut."""

    rate: float = Field(1.0, gt=0, le=1000)
    """Steps per second that the model sees; predictions are interpolated to the labels' rate. It divides that."""
    steps: int = Field(60, ge=2, le=1_000_000)
    """Steps of a clip."""
    start: Literal["reference", "strict"] = "reference"
    """Where a training clip may start. The reference code counts seconds as if steps were frames, so that its clips
    start up to ten seconds before the end and repeat the last step; `strict`: a clip ends with its video at the
    latest."""
    sound: Literal["reference", "by_time"] = "reference"
    """Which row of features that come about once per second a step sees: the reference code takes row s at second s
    (VGGish's rows last 0.96 s, so it drifts by 4 per cent and runs out); `by_time`: the last row at or before it."""
    zero_rows: Literal["keep", "mask"] = "keep"
    """Training labels that are all 0 mean that no face was seen: learned as they are (the reference), or left out."""
    batch: int = Field(128, ge=1, le=100_000)
    """Videos of an optimiser step, one clip of each; what is left over at the end of an epoch is dropped."""


class ClipTraining(Training):
    """A recipe whose epochs take one random clip of every video. Fields of clips do not concern models that are trained
    on whole series."""

    clips: Clips = Field(default_factory=Clips)
    """How series are sampled and cut."""
    milestones: list[int] = Field(default_factory=list)
    """Epochs after which the learning rate is multiplied by `factor`."""
    factor: float = Field(0.3, gt=0, le=1)
    """See `milestones`."""
    validate_every: int = Field(3, ge=1, le=100_000)
    """Epochs from one look at the watched videos to the next; the last epoch is looked at too."""
    whole_epochs: int = Field(80, ge=1, le=100_000)
    """Epochs of a network that is trained on the validation videos too: nothing is left to select by."""

    @model_validator(mode="after")
    def _ascends(self) -> ClipTraining:
        if sorted(set(self.milestones)) != self.milestones or any(epoch < 1 for epoch in self.milestones):
            raise ValueError("milestones must ascend from 1")
        return self

    def rate_of(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.learning_rate * self.factor ** sum(epoch >= milestone for milestone in self.milestones)
