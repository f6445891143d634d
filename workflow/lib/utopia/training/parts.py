"""The components of a run with their settings read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from utopia.arrays import Arrays
from utopia.config import registry
from utopia.config.training import Training
from utopia.errors import ComputeError
from utopia.training.settings import RunSettings


@dataclass(frozen=True)
class Parts:
    """Settings of model, loss and sampler, and the model's training recipe."""

    model: Any
    loss: Any
    sampler: Any
    recipe: Training

    @classmethod
    def of(cls, run: RunSettings, distribution: Arrays | None) -> Parts:
        """Read a run's components.

        Raises:
            ComputeError: the distribution file's plan is for another window than the sampler's.
        """
        model = registry.load("models", run.model).Config.model_validate(run.settings)
        loss = registry.load("losses", run.loss).Config.model_validate(run.loss_config)
        sampler = (
            registry.load("samplers", run.sampler).Config.model_validate(run.sampler_config) if run.sampler else None
        )
        planned, window = distribution.meta["window"] if distribution else None, getattr(sampler, "window", None)
        if distribution is not None and window is not None and window != planned:
            raise ComputeError(
                f"the TNS plan is for windows of {planned} frames, the sampler is set to {window}",
                where=distribution.path,
                remedy="make the label distribution with the sampler's window",
            )
        return cls(model, loss, sampler, model.training)
