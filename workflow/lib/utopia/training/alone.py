"""Training one replica after another, with packed rows: the fastest on a CPU, and the only way for a model that is not
stackable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor

from utopia.errors import ComputeError
from utopia.models._learner import Learns
from utopia.training.adam import Adam, make_update
from utopia.training.chunks import chunk_loss
from utopia.training.own_way import OwnWayAlone
from utopia.training.store import Keeper
from utopia.training.trainee import Fitted, Job, Trainee

Make = Callable[[Job], Trainee]


def each_alone(
    waiting: Iterable[tuple[Job, Keeper | None]], make: Make, device: torch.device
) -> Iterator[tuple[Job, Fitted | ComputeError]]:
    """Train replicas one after another; each as it is done, or why it could not be trained."""
    for job, keeper in waiting:
        try:
            yield job, train_alone(job, make, device, keeper)
        except ComputeError as error:
            yield job, error
        except torch.OutOfMemoryError as error:
            reason = str(error).partition("\n")[0]
            yield job, ComputeError(f"the {device.type}'s memory does not suffice ({reason})", where=job.where)


def train_alone(job: Job, make: Make, device: torch.device, keeper: Keeper | None = None) -> Fitted:
    """Train a replica, or go on with it where `keeper` finds it half trained.

    Raises:
        ComputeError: a loss or a prediction is not finite; names the replica and the epoch.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        return _train(make(job), keeper)


def _train(trainee: Trainee, keeper: Keeper | None) -> Fitted:
    network, loss, recipe = trainee.network, trainee.loss, trainee.recipe
    of_network = make_update(list(network.parameters()), recipe)
    of_loss = Adam(list(loss.parameters()), loss.learning_rate or recipe.learning_rate)
    own_way = OwnWayAlone(network.model, trainee) if isinstance(network.model, Learns) else None

    def live() -> dict[str, Tensor]:
        """All that moves, as the tensors that do."""
        moving = _named("network", network.state_dict()) | _named("loss", loss.state_dict())
        moving |= _named("of_loss", of_loss.state())
        return moving | (own_way.state() if own_way else _named("of_network", of_network.optimiser.state()))

    def update() -> None:
        of_network()
        of_loss.step()

    if keeper is not None:
        keeper.resume(trainee.standing, live())
    network.train()
    predict_now = partial(trainee.predict, network)
    while not trainee.is_over:
        order = trainee.begin_epoch()
        of_network.optimiser.learning_rate = trainee.learning_rate
        torch.manual_seed(trainee.epoch_seed)  # for layers that take no keys
        total = torch.zeros((), dtype=torch.float64, device=trainee.device)
        if own_way is not None:
            for start in range(0, len(order), own_way.together):
                total += own_way.fit([trainee], [order[start : start + own_way.together]])[0]
                of_loss.step()
            order = []
        for number in order:
            chunk = trainee.chunks[number]
            value = chunk_loss(network, chunk, loss, trainee.samples, trainee.epoch_seed)
            value.backward()
            total += value.detach()
            if recipe.batching == "per_video":
                update()
        if recipe.batching == "accumulate_all":
            update()
        trainee.end_epoch(total.item(), predict_now, network.state_dict)
        if keeper is not None and not trainee.is_over:
            keeper.keep(trainee.standing, live)
    return trainee.result()


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}
