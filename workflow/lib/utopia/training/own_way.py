"""Training models that bring their own way to learn (`models._learner`): the engine lends labels, loss, optimisers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

from utopia.config.training import Training
from utopia.errors import ConfigError
from utopia.losses._common import Batch, Loss
from utopia.models._clips import ClipGrid
from utopia.models._dropout import pass_keys
from utopia.models._learner import Learner, Learns, Lessons, MakeUpdate, StackedLearner
from utopia.training.adam import Update
from utopia.training.chunks import Chunk
from utopia.training.network import Network
from utopia.training.stack import Stack
from utopia.training.trainee import Trainee


class OwnWay:
    """What trains the model of some replicas on a few videos at a time.

    Args:
        network: of one replica, or of K stacked ones.
        learner: the model's.
    """

    def __init__(self, network: Network, learner: Learner) -> None:
        self._network, self._learner = network, learner

    @property
    def together(self) -> int:
        """How many videos of a replica are learnt from at a time."""
        return self._learner.together

    def fit(self, trainees: Sequence[Trainee], numbers: Sequence[Sequence[int]]) -> Tensor:
        """Train on some chunks of each replica; the sum of their losses [K].

        Raises:
            ConfigError: a run has a sampler; new samples have no place in a model that learns along time.
        """
        pairs = zip(trainees, numbers, strict=True)
        chunks = [[trainee.chunks[number] for number in own] for trainee, own in pairs]
        return self._learner.fit(self._lessons(trainees, chunks))

    def state(self) -> dict[str, Tensor]:
        """What the learner keeps; the tensors themselves, with a leading axis K where replicas are stacked."""
        return {f"learner/{name}": tensor for name, tensor in self._learner.state().items()}

    def _lessons(self, trainees: Sequence[Trainee], chunks: Sequence[Sequence[Chunk]]) -> Lessons:
        every = [chunk for own in chunks for chunk in own]
        if any(chunk.sampler is not None for chunk in every):
            raise ConfigError(
                "this model learns along time, step by step: a sampler cannot add samples to it",
                why="ULDA applies CWL alone to RMN",
                remedy="use a treatment without a sampler for this model",
            )
        row = 0
        videos: list[list[tuple[int, int]]] = []
        for own in chunks:
            videos.append([])
            for chunk in own:
                videos[-1].append((row, len(chunk.x_RD)))
                row += len(chunk.x_RD)
        target_R, weight_R, bin_R, key_R = (
            torch.cat([getattr(chunk, name) for chunk in every]) for name in ("target_R", "weight_R", "bin_R", "key_R")
        )
        rows_K = torch.tensor([sum(frames for _, frames in own) for own in videos])
        seed_R = torch.tensor([trainee.epoch_seed for trainee in trainees]).repeat_interleave(rows_K)
        return Lessons(
            x_RD=torch.cat([chunk.x_RD for chunk in every]),
            target_R=target_R,
            weight_R=weight_R,
            key_R=pass_keys(key_R, seed_R.to(key_R.device)),
            videos=videos,
            scaled=self._network.scaled,
            objective=_objective([trainee.loss for trainee in trainees], target_R, weight_R, bin_R),
            epoch_seed=[trainee.epoch_seed for trainee in trainees],
            progress=[trainee.standing.epoch / max(1, trainee.recipe.epochs - 1) for trainee in trainees],
        )


class OwnWayAlone(OwnWay):
    """Of one replica, with optimisers of its own."""

    def __init__(self, model: Learns, trainee: Trainee) -> None:
        self._updates: list[Update] = []
        super().__init__(trainee.network, model.learner(self._maker(trainee.recipe), trainee.samples))

    def state(self) -> dict[str, Tensor]:
        """See `OwnWay.state`; the optimisers' moments too."""
        moving = super().state()
        for number, update in enumerate(self._updates):
            moving |= {f"update{number}/{name}": tensor for name, tensor in update.optimiser.state().items()}
        return moving

    def _maker(self, recipe: Training) -> MakeUpdate:
        def make_update(parameters: Sequence[Parameter]) -> Callable[[Sequence[bool]], None]:
            update = Update(parameters, recipe)
            self._updates.append(update)
            return lambda moves: update() if moves[0] else None

        return make_update


class OwnWayStacked(OwnWay):
    """Of stacked replicas, with the optimiser of their stack."""

    def __init__(self, model: Learns, stack: Stack, trainees: Callable[[], Sequence[Trainee]]) -> None:
        def make_update(parameters: Sequence[Parameter]) -> Callable[[Sequence[bool]], None]:
            group = stack.group(parameters)

            def update(moves: Sequence[bool]) -> None:
                now = trainees()
                rates, decays = [t.learning_rate for t in now], [t.recipe.weight_decay for t in now]
                stack.update(rates, decays, group=group, moves=moves)

            return update

        learner = model.learner(make_update, trainees()[0].samples)
        super().__init__(stack.network, learner)
        self._stacked: StackedLearner = learner  # type: ignore[assignment]

    def put(self, place: int) -> None:
        """A new replica has taken this place."""
        self._stacked.put(place)

    def keep(self, places: Sequence[int]) -> None:
        """Only these places are left."""
        self._stacked.keep(places)


def _objective(
    losses: Sequence[Loss], target_R: Tensor, weight_R: Tensor, bin_R: Tensor
) -> Callable[[Tensor, Tensor, ClipGrid], Tensor]:
    """See `models._learner.Objective`; replicas whose losses are sums of one error share its kernels."""
    shared = all(loss.by_row and type(loss).error is type(losses[0]).error for loss in losses)

    def objective(y_KP: Tensor, f_KPd: Tensor, grid: ClipGrid) -> Tensor:
        if shared:
            weight_KP, target_KP = weight_R[grid.row_KP], target_R[grid.row_KP]
            return grid.video_mean(weight_KP * losses[0].error(target_KP, y_KP))
        value_KV = []
        for k, (own, starts) in enumerate(zip(grid.pieces, grid.at, strict=True)):
            for (row, frames), start in zip(own, starts, strict=True):
                rows, here = slice(row, row + frames), slice(start, start + frames)
                video_R = torch.zeros_like(bin_R[rows])
                batch = Batch(
                    y_KP[k, here], target_R[rows], weight_R[rows] / frames, video_R, bin_R[rows], f_KPd[k, here]
                )
                value_KV.append(losses[k](batch))
            value_KV += [y_KP.new_zeros(())] * (grid.videos - len(own))
        return torch.stack(value_KV).view(grid.replicas, grid.videos)

    return objective
