"""Training a model that brings its own way to learn (`models._learner`): the engine lends labels, loss, optimisers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from utopia.config.training import Training
from utopia.errors import ConfigError
from utopia.losses._common import Batch, Loss
from utopia.models._learner import Learns
from utopia.training.adam import make_update
from utopia.training.chunks import Chunk
from utopia.training.network import Network


def by_own_way(
    network: Network, loss: Loss, recipe: Training, generator: torch.Generator
) -> Callable[[Chunk, int], Tensor] | None:
    """What trains the network on one video in an epoch and returns its loss; None for a model that the engine trains.

    Args:
        network: model and input scaling.
        loss: gives the objective; its weights are those of the chunk.
        recipe: optimiser, clipping, number of epochs.
        generator: the replica's stream for what the learner draws.

    Raises:
        ConfigError: (when called) the run has a sampler; new samples have no place in a model that learns along time.
    """
    if not isinstance(network.model, Learns):
        return None

    learner = network.model.learner(partial(make_update, recipe=recipe), generator)

    def fit_video(chunk: Chunk, epoch: int) -> Tensor:
        if chunk.sampler is not None:
            raise ConfigError(
                "this model learns along time, step by step: a sampler cannot add samples to it",
                why="ULDA applies CWL alone to RMN",
                remedy="use a treatment without a sampler for this model",
            )

        def objective(y_R: Tensor, f_Rd: Tensor, frames: slice) -> Tensor:
            weight_R = chunk.weight_R[frames] / len(y_R)
            batch = Batch(y_R, chunk.target_R[frames], weight_R, chunk.video_R[frames], chunk.bin_R[frames], f_Rd)
            value: Tensor = loss(batch)
            return value

        progress = epoch / max(1, recipe.epochs - 1)
        return learner.fit_video(network.scaled(chunk.x_RD), chunk.target_R, chunk.weight_R, objective, progress)

    return fit_video
