"""Training models that bring their own learner (`models._learner`): the engine gives it labels, loss and optimisers.

Here is what both strategies share, and the learner of one replica; that of stacked ones is in `vectorized.engine`.
"""

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
from utopia.models._learner import Learner, Learns, Lessons, MakeUpdate
from utopia.training.adam import RecipeStep
from utopia.training.chunks import Chunk
from utopia.training.network import Network
from utopia.training.trainer import ReplicaTrainer


class CustomLearner:
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

    def fit(self, trainers: Sequence[ReplicaTrainer], numbers: Sequence[Sequence[int]]) -> Tensor:
        """Train on some chunks of each replica; the sum of their losses [K].

        Raises:
            ConfigError: a run has a sampler; new samples have no place in a model that learns along time.
        """
        pairs = zip(trainers, numbers, strict=True)
        chunks = [[trainer.chunks[number] for number in chosen] for trainer, chosen in pairs]
        return self._learner.fit(self._lessons(trainers, chunks))

    def state(self) -> dict[str, Tensor]:
        """What the learner keeps; the tensors themselves, with a leading axis K where replicas are stacked."""
        return {f"learner/{name}": tensor for name, tensor in self._learner.state().items()}

    def _lessons(self, trainers: Sequence[ReplicaTrainer], chunks: Sequence[Sequence[Chunk]]) -> Lessons:
        """The chunks of each replica as the model's learner takes them."""
        all_chunks = [chunk for chunks_of_replica in chunks for chunk in chunks_of_replica]
        if any(chunk.sampler is not None for chunk in all_chunks):
            raise ConfigError(
                "this model learns along time, step by step: a sampler cannot add samples to it",
                why="ULDA applies CWL alone to RMN",
                remedy="use a treatment without a sampler for this model",
            )
        row = 0
        videos: list[list[tuple[int, int]]] = []
        for chunks_of_replica in chunks:
            videos.append([])
            for chunk in chunks_of_replica:
                videos[-1].append((row, sum(chunk.rows.lengths)))
                row += videos[-1][-1][1]
        target_R, weight_R, bin_R, key_R = (
            torch.cat([getattr(chunk, name) for chunk in all_chunks])
            for name in ("target_R", "weight_R", "bin_R", "key_R")
        )
        rows_K = torch.tensor([sum(frames for _, frames in of_replica) for of_replica in videos])
        seed_R = torch.tensor([trainer.epoch_seed for trainer in trainers]).repeat_interleave(rows_K)
        return Lessons(
            x_RD=torch.cat([part_RD for chunk in all_chunks for part_RD in chunk.parts]),
            target_R=target_R,
            weight_R=weight_R,
            key_R=pass_keys(key_R, seed_R.to(key_R.device)),
            videos=videos,
            scaled=self._network.scaled,
            objective=_objective([trainer.loss for trainer in trainers], target_R, weight_R, bin_R),
            epoch_seed=[trainer.epoch_seed for trainer in trainers],
            progress=[trainer.state.epoch / max(1, trainer.recipe.epochs - 1) for trainer in trainers],
        )


class SequentialLearner(CustomLearner):
    """Of one replica, with optimisers of its own.

    Args:
        model: the replica's.
        trainer: of the replica.
        step_loss: a step of the loss's own parameters, after each group of videos.
    """

    def __init__(self, model: Learns, trainer: ReplicaTrainer, step_loss: Callable[[], None]) -> None:
        self._trainer, self._step_loss = trainer, step_loss
        self._steps: list[RecipeStep] = []
        super().__init__(trainer.network, model.learner(self._maker(trainer.recipe)))

    def learn(self, order: Sequence[int]) -> Tensor:
        """Train on the chunks of an epoch, in this order; the sum of their losses."""
        total = torch.zeros((), dtype=torch.float64, device=self._trainer.device)
        for start in range(0, len(order), self.together):
            total += self.fit([self._trainer], [order[start : start + self.together]])[0]
            self._step_loss()
        return total

    def state(self) -> dict[str, Tensor]:
        """See `CustomLearner.state`; the optimisers' moments too."""
        moving = super().state()
        for number, step in enumerate(self._steps):
            moving |= {f"update{number}/{name}": tensor for name, tensor in step.optimiser.state().items()}
        return moving

    def _maker(self, recipe: Training) -> MakeUpdate:
        def make_update(parameters: Sequence[Parameter]) -> Callable[[Sequence[bool]], None]:
            step = RecipeStep(parameters, recipe)
            self._steps.append(step)
            return lambda moves: step() if moves[0] else None

        return make_update


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
