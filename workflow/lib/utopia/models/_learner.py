"""How a model may bring its own way to learn from a video, in place of one step down the gradient of the loss.

Such a model has a method `learner(make_update, generator) -> Learner`; a model without it is trained by the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import Parameter

Objective = Callable[[Tensor, Tensor, slice], Tensor]
"""Loss of some consecutive frames of the video: (predictions y_R, features f_Rd that entered the regressor, which
frames) -> scalar. Labels and weights are the engine's; each frame's weight is divided by the number of these frames."""

MakeUpdate = Callable[[Sequence[Parameter]], Callable[[], None]]
"""Makes an optimiser of some parameters by the recipe; what it returns clips, steps and forgets the gradients."""


class Learner(Protocol):
    """Trains one replica's model video by video, and keeps what that needs (optimisers, target networks)."""

    def fit_video(
        self, x_TD: Tensor, target_T: Tensor, weight_T: Tensor, objective: Objective, progress: float
    ) -> Tensor:
        """Learn from one training video, in as many updates as the model's schedule has.

        Args:
            x_TD: features, scaled as the model takes them.
            target_T: labels.
            weight_T: the loss's weights, of mean 1 over the video.
            objective: the loss.
            progress: share of the training that is over, from 0 in the first epoch to 1 in the last.

        Returns:
            The mean of the objective over the video's frames (scalar, no gradient), before each update.
        """

    def state(self) -> dict[str, Tensor]:
        """What it keeps from video to video besides the model and the optimisers (target networks): the tensors
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
