"""Training a model that brings its own way to learn (`models._learner`): the engine lends labels, loss, optimisers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from utopia.config.training import Training
from utopia.errors import ConfigError
from utopia.losses._common import Batch, Loss
from utopia.models._learner import Learns, Lesson
from utopia.training.adam import Update
from utopia.training.chunks import Chunk
from utopia.training.network import Network


class OwnWay:
    """What trains such a network on videos in an epoch."""

    def __init__(
        self, model: Learns, network: Network, loss: Loss, recipe: Training, generator: torch.Generator
    ) -> None:
        self._network, self._loss, self._recipe = network, loss, recipe
        self._updates: list[Update] = []
        self._learner = model.learner(self._make_update, generator)

    def groups(self, order: Sequence[int]) -> Iterator[Sequence[int]]:
        """The chunks of an epoch that are learnt from together, in their order."""
        for start in range(0, len(order), self._learner.together):
            yield order[start : start + self._learner.together]

    def __call__(self, chunks: Sequence[Chunk], epoch: int) -> Tensor:
        """Train on some videos; the sum of their losses.

        Raises:
            ConfigError: the run has a sampler; new samples have no place in a model that learns along time.
        """
        progress = epoch / max(1, self._recipe.epochs - 1)
        return self._learner.fit([self._lesson(chunk) for chunk in chunks], progress)

    def state(self) -> dict[str, Tensor]:
        """What moves besides the network: the optimisers' moments, what the learner keeps; the tensors themselves."""
        moving = {f"learner/{name}": tensor for name, tensor in self._learner.state().items()}
        for number, update in enumerate(self._updates):
            moving |= {f"update{number}/{name}": tensor for name, tensor in update.optimiser.state().items()}
        return moving

    def _lesson(self, chunk: Chunk) -> Lesson:
        if chunk.sampler is not None:
            raise ConfigError(
                "this model learns along time, step by step: a sampler cannot add samples to it",
                why="ULDA applies CWL alone to RMN",
                remedy="use a treatment without a sampler for this model",
            )

        def objective(y_R: Tensor, f_Rd: Tensor, frames: slice) -> Tensor:
            weight_R = chunk.weight_R[frames] / len(y_R)
            batch = Batch(y_R, chunk.target_R[frames], weight_R, chunk.video_R[frames], chunk.bin_R[frames], f_Rd)
            value: Tensor = self._loss(batch)
            return value

        return Lesson(self._network.scaled(chunk.x_RD), chunk.target_R, chunk.weight_R, objective)

    def _make_update(self, parameters: Sequence[Parameter]) -> Update:
        self._updates.append(Update(parameters, self._recipe))
        return self._updates[-1]


def by_own_way(network: Network, loss: Loss, recipe: Training, generator: torch.Generator) -> OwnWay | None:
    """What trains the network, if its model brings its own way; None for a model that the engine trains.

    Args:
        network: model and input scaling.
        loss: gives the objective; its weights are those of the chunk.
        recipe: optimiser, clipping, number of epochs.
        generator: the replica's stream for what the learner draws.
    """
    model = network.model
    return OwnWay(model, network, loss, recipe, generator) if isinstance(model, Learns) else None
