"""How a replica is trained: the plain loop of the papers' method. It is also the strategy `sequential`, which trains
one replica after another.

The videos of a chunk are rows of one matrix, one video after another, without padding: the fastest on a CPU. For many
small trainings on a GPU, `vectorized` computes the same numbers, up to rounding, for all replicas of a job at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from utopia.errors import ComputeError
from utopia.losses._common import Batch, Loss
from utopia.models._dropout import pass_keys
from utopia.models._learner import Learns
from utopia.training.adam import Adam, RecipeStep
from utopia.training.checkpoints import HalfwayCheckpoint
from utopia.training.chunks import Chunk, labelled, new_keys
from utopia.training.custom_learner import SequentialLearner
from utopia.training.network import Network
from utopia.training.trainer import Fitted, MakeTrainer, ReplicaJob, ReplicaTrainer


def train_replica(trainer: ReplicaTrainer, halfway: HalfwayCheckpoint | None = None) -> Fitted:
    """Train a replica from the start, or from where `halfway` finds it.

    Raises:
        ComputeError: a loss or a prediction is not finite; names the replica and the epoch.
    """
    network, recipe = trainer.network, trainer.recipe
    optimisers = Optimisers(trainer)
    if halfway is not None:
        halfway.resume(trainer.state, optimisers.moving())
    network.train()
    while not trainer.is_over:
        order = trainer.begin_epoch()  # the chunks in a random order; all random streams start again
        optimisers.set_learning_rate(trainer.learning_rate)
        total = torch.zeros((), dtype=torch.float64, device=trainer.device)
        if optimisers.custom is not None:
            total += optimisers.custom.learn(order)  # a model such as RMN takes its own steps, several in each video
        else:
            for number in order:
                chunk = trainer.chunks[number]
                loss = chunk_loss(network, chunk, trainer.loss, trainer.samples, trainer.epoch_seed)
                loss.backward()
                total += loss.detach()
                if recipe.batching == "per_video":
                    optimisers.step()
            if recipe.batching == "accumulate_all":
                optimisers.step()
        # the epoch's loss, the error on the videos to select by, and the parameters where this epoch may be selected
        trainer.end_epoch(total.item(), partial(trainer.predict, network), network.state_dict)
        if halfway is not None and not trainer.is_over:
            halfway.store_if_due(trainer.state, optimisers.moving)
    return trainer.result()


def chunk_loss(
    network: Network, chunk: Chunk, loss: Loss, generator: torch.Generator, epoch_seed: int | None = None
) -> Tensor:
    """The loss of a chunk's videos in training (a scalar tensor).

    Args:
        network: in training mode.
        chunk: videos.
        loss: their loss.
        generator: the replica's stream for new samples.
        epoch_seed: the replica's seed of dropout in this epoch; None: dropout from torch's own stream.
    """
    keys_R = None if epoch_seed is None else pass_keys(chunk.key_R, epoch_seed)
    # encode: the only part that looks along time
    feature_Rd = network.encode(chunk.x_RD, chunk.rows, keys_R)
    new = None
    if chunk.sampler is not None:
        # sample: TNS draws new features from normal distributions of time slices (ULDA Eq. 3 to 6)
        new = chunk.sampler.draw(feature_Rd, generator)
        feature_Rd = torch.cat([feature_Rd, new.feature_Qd])
        if keys_R is not None and epoch_seed is not None:
            keys_R = torch.cat([keys_R, new_keys(chunk, len(new.target_Q), epoch_seed)])
    # regress: frame by frame, new samples like frames
    y_R = network.head(feature_Rd, keys_R)
    # weigh: CWL multiplies the error of a row by the weight of its bin (ULDA Eq. 7 and 8)
    known = labelled(chunk, new)
    value: Tensor = loss(Batch(y_R, known.target_R, known.weight_R, known.video_R, known.bin_R, feature_Rd))
    return value


class Optimisers:
    """What moves a replica: Adam for the network, by the recipe, and Adam for parameters of the loss itself; or the
    model's own learner in place of the first.
    """

    def __init__(self, trainer: ReplicaTrainer) -> None:
        self._network, self._loss = trainer.network, trainer.loss
        self._network_step = RecipeStep(list(self._network.parameters()), trainer.recipe)
        learning_rate = self._loss.learning_rate or trainer.recipe.learning_rate
        self._loss_step = Adam(list(self._loss.parameters()), learning_rate)
        model = self._network.model
        self.custom = SequentialLearner(model, trainer, self._loss_step.step) if isinstance(model, Learns) else None

    def set_learning_rate(self, learning_rate: float) -> None:
        """Of the network, in this epoch."""
        self._network_step.optimiser.learning_rate = learning_rate

    def step(self) -> None:
        """Update all parameters by their gradients."""
        self._network_step()
        self._loss_step.step()

    def moving(self) -> dict[str, Tensor]:
        """All that changes in a training, by name: the tensors themselves. Names are part of half-way checkpoints."""
        optimiser = self.custom.state() if self.custom else _named("of_network", self._network_step.optimiser.state())
        return (
            _named("network", self._network.state_dict())
            | _named("loss", self._loss.state_dict())
            | _named("of_loss", self._loss_step.state())
            | optimiser
        )


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def train_one(
    job: ReplicaJob, make: MakeTrainer, device: torch.device, halfway: HalfwayCheckpoint | None = None
) -> Fitted:
    """Train a replica by itself; torch's own random streams are afterwards where they were before."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        return train_replica(make(job), halfway)


def train_sequential(
    waiting: Iterable[tuple[ReplicaJob, HalfwayCheckpoint | None]], make: MakeTrainer, device: torch.device
) -> Iterator[tuple[ReplicaJob, Fitted | ComputeError]]:
    """Train replicas one after another; each as it is done, or why it could not be trained."""
    for job, halfway in waiting:
        try:
            yield job, train_one(job, make, device, halfway)
        except ComputeError as error:
            yield job, error
        except torch.OutOfMemoryError as error:
            reason = str(error).partition("\n")[0]
            yield job, ComputeError(f"the {device.type}'s memory does not suffice ({reason})", where=job.where)
