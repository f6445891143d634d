"""Settings of RMN, which its network and its learners take: `models.rmn` says what they do."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from utopia.config.base import Strict
from utopia.config.training import Training


class MemorySettings(Strict):
    """Memory network with a writer learnt by reinforcement (our reading of Zhang et al., ACM MM 2022)."""

    d_model: int = Field(128, ge=1, le=4096)
    """Width d of clip features and of the memory's rows."""
    rows: int = Field(10, ge=1, le=1000)
    """Rows N of the memory."""
    clip_s: float = Field(10.0, gt=0, le=3600)
    """Seconds of a clip, whatever the rate of the labels."""
    layers: int = Field(2, ge=1, le=16)
    """Layers of the bidirectional LSTM."""
    units: int = Field(64, ge=1, le=4096)
    """Its units per direction [U]; where both directions together are not d wide, a linear map to d follows."""
    pool: Literal["mean", "last"] = "mean"
    """Clip feature: the mean over the clip's frames, or the last state of each direction [U]."""
    rate: Literal["per_frame", "per_clip"] = "per_frame"
    """One prediction per frame (second), or one that holds for all frames of a clip [U]."""
    head_hidden: int = Field(64, ge=1, le=4096)
    """Hidden width of the predictor [U]."""
    rewrite_every: int = Field(32, ge=1, le=1_000_000)
    """Steps of the series from one rewriting of what is read to the next (ULDA 7.3); 1: after each clip. That a step is
    a label is our reading [U]."""
    read: Literal["content", "masked", "none"] = "content"
    """Controls: `masked` reads zeros, `none` leaves the LSTM within clips alone."""
    row_gradient: Literal["roll", "none"] = "roll"
    """Whether the loss reaches the clips of the same roll whose rows were read: one step back, not along time [U]."""
    sharpness: float = Field(5.0, gt=0, le=100)
    """What the cosine of query and key is multiplied by at the start of the training; it is learnt [U]."""
    policy: Literal["learnt", "frozen", "random", "fifo"] = "learnt"
    """Controls: a policy that stays as it was drawn, choices at random, or first in, first out."""
    writer_hidden: int = Field(128, ge=1, le=4096)
    """Hidden width of the policy network [U]."""
    critic_hidden: int = Field(128, ge=1, le=4096)
    """Width of the two hidden layers of the value network [U]."""
    roll: int = Field(32, ge=1, le=10_000)
    """Clips from one update of the parameters to the next [U]."""
    together: int = Field(8, ge=1, le=1000)
    """Videos that are rolled through together, with one update for all [U]."""
    replay: int = Field(4, ge=1, le=1000)
    """Rolls of this epoch among which the one to learn writing from is drawn [U]."""
    discount: float = Field(0.97, ge=0, lt=1)
    """Discount of the temporal difference, per clip [U]."""
    tau: float = Field(0.02, gt=0, le=1)
    """Share of the online networks that the target networks take over in each update [U]."""
    entropy: float = Field(0.03, ge=0, le=100)
    """Weight of the policy's entropy beside its value in deviations [U]."""
    bound: float = Field(3.0, gt=0, le=100)
    """The policy's scores lie within plus and minus this, so that no choice is ever ruled out [U]."""
    reward_weighted: bool = False
    """Whether the loss's weights (CWL) count in the reward too [U]."""
    out_act: Literal["by_range", "tanh", "sigmoid", "linear"] = "by_range"
    """Output function; `by_range`: tanh for labels in [-1, 1], sigmoid for [0, 1] [U]."""
    training: Training = Field(default_factory=Training)
    """The training recipe (Adam, 1e-4)."""

    @model_validator(mode="after")
    def _per_video(self) -> Self:
        if self.training.batching != "per_video":
            raise ValueError("training.batching must be per_video: this model learns within each video, roll by roll")
        return self
