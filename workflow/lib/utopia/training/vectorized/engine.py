"""Trains many replicas at once, as one stacked network on padded batches.

In every round each of K active replicas takes one optimiser step, on its own video or on all its videos; they need not
be in the same epoch. A replica that is over is replaced by the next one that waits, or the stack shrinks. Nothing of a
replica's numbers depends on the others: they share kernels, not values. So where memory is used up, half as many
continue.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import Parameter

from utopia.config.engine import Engine
from utopia.errors import ComputeError
from utopia.models._learner import Learns, StackedLearner
from utopia.training.adam import Adam
from utopia.training.checkpoints import HalfwayCheckpoint
from utopia.training.chunks import Video
from utopia.training.custom_learner import CustomLearner
from utopia.training.trainer import Fitted, MakeTrainer, ReplicaJob, ReplicaTrainer
from utopia.training.vectorized.passes import Passes
from utopia.training.vectorized.stack import Stack

Outcome = TypeVar("Outcome")


def train_vectorized(
    waiting: Iterator[tuple[ReplicaJob, HalfwayCheckpoint | None]],
    make: MakeTrainer,
    engine: Engine,
    device: torch.device,
) -> Iterator[tuple[ReplicaJob, Fitted | ComputeError]]:
    """Train replicas that share a model's settings; each as it is done, or why it could not be trained.

    Args:
        waiting: replicas to train, each with its half-way checkpoint (or None); taken as others are over.
        make: makes a replica's trainer.
        engine: how many replicas at once and, on a GPU, the precision of matrix products and whether to compile.
        device: where.
    """
    return VectorizedTraining(waiting, make, engine, device).outcomes()


@dataclass
class ActiveReplica:
    """A replica in the stack and where it is in its epoch, until its outcome is taken."""

    trainer: ReplicaTrainer
    halfway: HalfwayCheckpoint | None
    loss_step: Adam
    """Of the loss's own parameters."""
    order: list[int] = field(default_factory=list)
    """Chunks that are left in this epoch."""
    failed: ComputeError | None = None
    is_taken: bool = False
    """Whether its outcome was taken."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do for it."""
        return self.failed is not None or self.trainer.is_over

    def outcome(self) -> Fitted | ComputeError:
        """The trained replica, or why there is none."""
        try:
            return self.failed or self.trainer.result()
        except ComputeError as error:
            return error


class VectorizedTraining:
    """What `train_vectorized` does, round by round."""

    def __init__(
        self,
        waiting: Iterator[tuple[ReplicaJob, HalfwayCheckpoint | None]],
        make: MakeTrainer,
        engine: Engine,
        device: torch.device,
    ) -> None:
        self._waiting, self._make, self._engine, self._device = waiting, make, engine, device
        self.most, self._opening = engine.places, 0
        self.active: list[ActiveReplica] = []
        self._custom: VectorizedLearner | None = None
        self._within_memory(self.fill)

    def outcomes(self) -> Iterator[tuple[ReplicaJob, Fitted | ComputeError]]:
        """Train all; each replica as it is done, or why it could not be trained."""
        while self.active:
            if done := [k for k, replica in enumerate(self.active) if replica.is_over]:
                for replica in [self.active[k] for k in done]:
                    if (outcome := self._within_memory(replica.outcome)) is None:
                        break
                    replica.is_taken = True
                    yield replica.trainer.job, outcome
                else:
                    self._within_memory(partial(self._replace, done))
            else:
                self._within_memory(self._advance)

    def _advance(self) -> None:
        """A round, and the ends of epochs that it leads to."""
        self.begin_epochs()
        self.round()
        if ended := [k for k, replica in enumerate(self.active) if not replica.order]:
            self._end_epochs(ended)

    def begin_epochs(self) -> None:
        """Let replicas whose epoch is over begin the next."""
        for k, replica in enumerate(self.active):
            if not replica.order:
                replica.order = replica.trainer.begin_epoch()
                self.total_K[k] = 0

    # -- memory

    def _within_memory(self, work: Callable[[], Outcome]) -> Outcome | None:
        """Do something; where the device's memory is used up by it, continue with half as many replicas at once.

        These begin again, from their half-way checkpoints or from nothing, with the same numbers: their random streams
        are functions of replica and epoch.

        Raises:
            ComputeError: one replica alone needs more.
        """
        try:
            return work()
        except torch.OutOfMemoryError as error:
            reason = str(error).partition("\n")[0]
        # after the handler: what was raised holds the tensors of the calls that it left
        while True:
            self.most = self._halved(reason)
            try:
                self.fill()
                return None
            except torch.OutOfMemoryError as error:
                reason = str(error).partition("\n")[0]

    def _halved(self, reason: str) -> int:
        """Give up all active replicas and what is on the device for them; how many there may be."""
        left = [replica for replica in self.active if not replica.is_taken]
        tried = max(len(self.active), self._opening)
        most = tried // 2
        if not most:
            raise ComputeError(
                f"one replica needs more memory than the {self._device.type} has free ({reason})",
                where=left[0].trainer.job.where if left else None,
                why="fewer than one cannot be trained at once",
                remedy="use a device with more memory or a smaller model, or see what else runs on it (`nvidia-smi`)",
            )
        print(f"{tried} replicas at once need too much memory ({reason}): {most} from now on", flush=True)
        self._waiting = chain([(replica.trainer.job, replica.halfway) for replica in left], self._waiting)
        self.active, self._custom = [], None
        for name in ("stack", "passes", "total_K"):
            self.__dict__.pop(name, None)
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return most

    # -- who is active

    def fill(self) -> None:
        """Take as many replicas as may be active, and stack their networks."""
        while len(self.active) < self.most:
            self._opening = len(self.active) + 1
            if (replica := self._next()) is None:
                break
            self.active.append(replica)
        self._opening = 0
        if not self.active:
            return
        self.stack = Stack([replica.trainer.network for replica in self.active], self.active[0].trainer.recipe)
        if isinstance(self.stack.network.model, Learns):
            self._custom = VectorizedLearner(self.stack.network.model, self.stack, self._trainers)
        for k in range(len(self.active)):
            self._resume(k)
        self._arrange()

    def _next(self) -> ActiveReplica | None:
        """The next replica that waits."""
        job_halfway = next(self._waiting, None)
        if job_halfway is None:
            return None
        job, halfway = job_halfway
        try:
            trainer = self._make(job)
        except torch.OutOfMemoryError:
            self._waiting = chain([job_halfway], self._waiting)
            raise
        learning_rate = trainer.loss.learning_rate or trainer.recipe.learning_rate
        return ActiveReplica(trainer, halfway, Adam(list(trainer.loss.parameters()), learning_rate))

    def _arrange(self) -> None:
        """Put the replicas' data together, again whenever one has been replaced."""
        self.total_K = torch.zeros(len(self.active), dtype=torch.float64, device=self._device)
        self.passes = Passes(self.stack, self._trainers(), self._engine, self._device)

    def _replace(self, done: Sequence[int]) -> None:
        """Replace replicas that are over by others, or let the stack shrink."""
        free = []
        for k in done:
            following = self._next()
            if following is None:
                free.append(k)
                continue
            self.active[k] = following
            self.stack.put(k, following.trainer.network)
            if self._custom is not None:
                self._custom.put(k)
            self._resume(k)
        if free:
            left = [k for k in range(len(self.active)) if k not in free]
            self.active = [self.active[k] for k in left]
            if left:
                self.stack.keep(left)
                if self._custom is not None:
                    self._custom.keep(left)
        if self.active:
            self._arrange()

    def _trainers(self) -> list[ReplicaTrainer]:
        return [replica.trainer for replica in self.active]

    def _moving(self, k: int) -> dict[str, Tensor]:
        """All that changes of a replica, by name: the tensors themselves, or views of them."""
        replica = self.active[k]
        moving = self.stack.moving(k)
        if self._custom is not None:
            moving |= {name: tensor[k] for name, tensor in self._custom.state().items()}
        moving |= {f"loss/{name}": tensor for name, tensor in replica.trainer.loss.state_dict().items()}
        return moving | {f"of_loss/{name}": tensor for name, tensor in replica.loss_step.state().items()}

    def _resume(self, k: int) -> None:
        replica = self.active[k]
        if replica.halfway is not None:
            replica.halfway.resume(replica.trainer.state, self._moving(k))

    # -- rounds

    def round(self) -> None:
        """One optimiser step of every replica; of models with a learner of their own, one group of videos."""
        trainers = self._trainers()
        if self._custom is not None:
            numbers = [replica.order[: self._custom.together] for replica in self.active]
            for replica in self.active:
                del replica.order[: self._custom.together]
            self.total_K += self._custom.fit(trainers, numbers)
        else:
            if trainers[0].recipe.batching == "per_video":
                self.total_K += self.passes.add_gradients([replica.order.pop(0) for replica in self.active])
            else:
                for number in range(max(len(trainer.chunks) for trainer in trainers)):
                    has_chunk = [number < len(trainer.chunks) for trainer in trainers]
                    self.total_K += self.passes.add_gradients([number if has else None for has in has_chunk])
                for replica in self.active:
                    replica.order.clear()
            self.stack.update([t.learning_rate for t in trainers], [t.recipe.weight_decay for t in trainers])
        for replica in self.active:
            replica.loss_step.step()

    def _end_epochs(self, ended: Sequence[int]) -> None:
        """Note the losses of replicas whose epoch is over; videos that are watched are predicted together."""
        predictions: dict[int, dict[str, np.ndarray]] = {k: {} for k in ended}
        if watching := [k for k in ended if self.active[k].trainer.watched]:
            predictions |= self.passes.predict(watching, [self.active[k].trainer.watched for k in watching])
        totals = self.total_K.tolist()
        for k in ended:
            replica = self.active[k]
            predict_now = partial(_those_of, predictions[k])
            try:
                replica.trainer.end_epoch(totals[k], predict_now, partial(self.stack.parameters_of, k))
            except ComputeError as error:
                replica.failed = error
            if replica.halfway is not None and not replica.is_over:
                replica.halfway.store_if_due(replica.trainer.state, partial(self._moving, k))


def _those_of(predictions: dict[str, np.ndarray], videos: Sequence[Video]) -> dict[str, np.ndarray]:
    return {video.item: predictions[video.item] for video in videos}


class VectorizedLearner(CustomLearner):
    """A model's own learner, of stacked replicas, with the optimiser of their stack."""

    def __init__(self, model: Learns, stack: Stack, trainers: Callable[[], Sequence[ReplicaTrainer]]) -> None:
        def make_update(parameters: Sequence[Parameter]) -> Callable[[Sequence[bool]], None]:
            group = stack.group(parameters)

            def update(moves: Sequence[bool]) -> None:
                now = trainers()
                rates, decays = [t.learning_rate for t in now], [t.recipe.weight_decay for t in now]
                stack.update(rates, decays, group=group, moves=moves)

            return update

        learner = model.learner(make_update)
        super().__init__(stack.network, learner)
        self._stacked: StackedLearner = learner  # type: ignore[assignment]

    def put(self, k: int) -> None:
        """A new replica has taken this position in the stack."""
        self._stacked.put(k)

    def keep(self, left: Sequence[int]) -> None:
        """Only these are left in the stack."""
        self._stacked.keep(left)
