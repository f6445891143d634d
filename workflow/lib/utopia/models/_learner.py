"""How a model may bring a learner of its own, in place of one step down the gradient of the loss.

Such a model has a method `learner(make_update) -> Learner`; a model without it is trained by the engine.
Replicas that are stacked learn together, by one learner.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor
from torch.nn import Parameter

from utopia.models._clips import ClipGrid

Objective = Callable[[Tensor, Tensor, ClipGrid], Tensor]
"""Losses of some consecutive frames of videos: (predictions y_KP, features f_KPd that entered the regressor, which
frames these are) -> value_KV, the loss of each video's frames; 0 where a replica has no such video. Labels and weights
are the engine's; each frame's weight is divided by the number of these frames of its video."""

ReadVideos = Callable[[], tuple[Tensor, Sequence[int], Tensor]]
"""Reads a group of videos: features x_RD, one video after another, scaled as the model takes them; the frames of each
video; labels target_R."""

MakeUpdate = Callable[[Sequence[Parameter]], Callable[[Sequence[bool]], None]]
"""Makes an optimiser of some parameters by the recipe; what it returns clips, steps and forgets the gradients of those
of K replicas that move."""


@dataclass(frozen=True)
class Lessons:
    """Some training videos of K replicas (1 where one is trained alone); the rows of all, one after another."""

    x_RD: Tensor
    """Features as stored."""
    target_R: Tensor
    weight_R: Tensor
    """The loss's weights, of mean 1 over a video."""
    key_R: Tensor
    """Keys of the frames under their replica and epoch; see `_dropout`."""
    videos: list[list[tuple[int, int]]]
    """Of each video of each replica: its first row, and its frames."""
    scaled: Callable[[Tensor], Tensor]
    """x_KPD as stored -> as the model takes it."""
    objective: Objective
    epoch_seed: list[int]
    """Of each replica: its seed of this epoch."""
    progress: list[float]
    """Of each replica: the share of its training that is over, from 0 in the first epoch to 1 in the last."""

    def rows(self, values_R: Tensor, grid: ClipGrid) -> Tensor:
        """The rows of a grid [K, P, ...]."""
        return values_R[grid.row_KP]


class Learner(Protocol):
    """Trains the models of K replicas on videos, and keeps what that needs (optimisers, target networks)."""

    together: int
    """How many videos of a replica it learns from at a time."""

    def fit(self, lessons: Lessons) -> Tensor:
        """Learn from some training videos, in as many updates as the model's schedule has.

        Args:
            lessons: the videos, at most `together` of each replica.

        Returns:
            For each replica [K] (no gradient) the mean of the objective over a video's frames, summed over the videos,
            before each update.
        """

    def state(self) -> dict[str, Tensor]:
        """What it keeps from epoch to epoch besides the model and the optimisers (target networks): the tensors
        themselves, so that a training that was stopped can go on. With a leading axis K where replicas are stacked.
        """


class StackedLearner(Learner, Protocol):
    """A learner whose replicas may be stacked, and then change."""

    def put(self, place: int) -> None:
        """A new replica has taken this place in the stacked model."""

    def keep(self, places: Sequence[int]) -> None:
        """The stacked model has only these places now."""


@runtime_checkable
class Learns(Protocol):
    """A model that brings a learner of its own."""

    def learner(self, make_update: MakeUpdate) -> Learner:
        """A learner for this model; of a stackable model a `StackedLearner`.

        It draws random numbers by the keys of frames, so that nothing depends on what else is trained.

        Args:
            make_update: see `MakeUpdate`.
        """


@runtime_checkable
class Diagnoses(Protocol):
    """A model that can say how its parts are used."""

    def diagnose(self, groups: Sequence[ReadVideos]) -> dict[str, float | None]:
        """Numbers by name, of the videos of all groups, for `training.json`; None where there is nothing to measure.

        Memory is that of one group: each is read when it is needed, and may be read twice.
        """
