"""How a model may bring its own way to learn from videos, in place of one step down the gradient of the loss.

Such a model has a method `learner(make_update, generator) -> Learner`; a model without it is trained by the engine.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import Parameter

Objective = Callable[[Tensor, Tensor, slice], Tensor]
"""Loss of some consecutive frames of the video: (predictions y_R, features f_Rd that entered the regressor, which
frames) -> scalar. Labels and weights are the engine's; each frame's weight is divided by the number of these frames."""

MakeUpdate = Callable[[Sequence[Parameter]], Callable[[], None]]
"""Makes an optimiser of some parameters by the recipe; what it returns clips, steps and forgets the gradients."""


@dataclass(frozen=True)
class Lesson:
    """A training video."""

    x_TD: Tensor
    """Features, scaled as the model takes them."""
    target_T: Tensor
    weight_T: Tensor
    """The loss's weights, of mean 1 over the video."""
    objective: Objective


class Learner(Protocol):
    """Trains one replica's model on videos, and keeps what that needs (optimisers, target networks)."""

    together: int
    """How many videos it learns from at a time."""

    def fit(self, lessons: Sequence[Lesson], progress: float) -> Tensor:
        """Learn from some training videos, in as many updates as the model's schedule has.

        Args:
            lessons: the videos, at most `together`.
            progress: share of the training that is over, from 0 in the first epoch to 1 in the last.

        Returns:
            The mean of the objective over a video's frames, summed over the videos (scalar, no gradient), before each
            update.
        """

    def state(self) -> dict[str, Tensor]:
        """What it keeps from epoch to epoch besides the model and the optimisers (target networks): the tensors
        themselves, so that a training that was stopped can go on."""


@runtime_checkable
class Learns(Protocol):
    """A model that brings its own way to learn."""

    def learner(self, make_update: MakeUpdate, generator: torch.Generator) -> Learner:
        """A learner for this model.

        Args:
            make_update: see `MakeUpdate`.
            generator: where all its random numbers come from (on the model's device).
        """


@runtime_checkable
class Diagnoses(Protocol):
    """A model that can say how its parts are used."""

    def diagnose(self, x_RD: Tensor, frames: Sequence[int], target_R: Tensor) -> dict[str, float | None]:
        """Numbers by name, for `training.json`; None where there is nothing to measure.

        Args:
            x_RD: features of some videos, one after another, scaled as the model takes them.
            frames: of each video.
            target_R: labels.
        """
