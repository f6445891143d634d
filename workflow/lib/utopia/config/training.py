"""Settings of a training recipe, shared by all models (each model's `Config` nests one with its published defaults)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from utopia.config.base import Strict


class Training(Strict):
    """How one replica is trained."""

    epochs: int = Field(200, ge=1, le=100_000)
    """Most epochs (passes over the training videos)."""
    learning_rate: float = Field(1e-4, gt=0, le=1000)
    """Adam's learning rate."""
    weight_decay: float = Field(0.0, ge=0)
    """L2 term added to the gradient, as `torch.optim.Adam(weight_decay=...)` does."""
    clip_norm: float | None = Field(None, gt=0)
    """Largest global gradient norm of a replica; null clips nothing."""
    batching: Literal["per_video", "accumulate_all"] = "per_video"
    """One optimiser step per video, or one per epoch on gradients summed over all videos (full batch)."""
    selection: Literal["early_stopping", "last", "pgl_rule", "best_test", "best_validation"] = "early_stopping"
    """Which epoch is reported. `early_stopping`: lowest validation loss; `last`; `pgl_rule`: the rule of PGL-SUM's
    reference code on the training loss alone; `best_test`: lowest test error, an oracle that no table compares with
    published values; `best_validation`: highest correlation on the validation videos, of data sets that have some."""
    patience: int = Field(15, ge=1, le=100_000)
    """Early stopping: epochs without a better validation loss before the replica stops."""
    validation_share: float = Field(0.1, ge=0, lt=1)
    """Share of the training videos (at least one) held out for `early_stopping`; test videos are never used for it. The
    other selections train on all training videos."""

    @model_validator(mode="after")
    def _holds_out(self) -> Training:
        if self.selection == "early_stopping" and self.validation_share == 0:
            raise ValueError("selection: early_stopping needs a validation_share above 0")
        return self
