"""A replica in training: its network, videos, loss, random streams and history, from its identity alone.

A strategy (`alone`, `stacked`) moves the parameters; everything else that a replica needs is here, so that nothing that
other replicas do can change its numbers.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from utopia import seeds
from utopia.arrays import Arrays
from utopia.config import registry
from utopia.config.training import Training
from utopia.errors import ComputeError
from utopia.losses._common import Loss
from utopia.models._common import Regressor, activation_for
from utopia.training.chunks import Chunk, Video
from utopia.training.data import Data, Fold, moments
from utopia.training.network import Network
from utopia.training.parts import Parts
from utopia.training.replica import Replica
from utopia.training.selection import History, chosen_epoch, is_over, possible_epochs
from utopia.training.settings import Run

Parameters = dict[str, Tensor]
Predict = Callable[[Sequence[Video]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Fitted:
    """A trained replica."""

    parameters: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]
    """y_T (of reactions y_TC) of every test item, float32."""
    history: History
    epoch: int
    fitted: list[str]
    held_out: list[str]
    diagnostics: dict[str, float | None] = field(default_factory=dict)
    """What the model says of itself on the test items; empty where it says nothing."""


@dataclass(frozen=True)
class Job:
    """What determines a replica's training."""

    replica: Replica
    run: Run
    parts: Parts
    data: Data
    fold: Fold
    distribution: Arrays | None
    """Of the labels; None where nothing is weighed or sampled by it."""

    @property
    def where(self) -> str:
        """Names it in messages."""
        return f"run {self.run.id}, replica {self.replica.name}"


@dataclass
class Standing:
    """How far a replica is: what a strategy moves on epoch by epoch, and what goes on after a stop."""

    epoch: int = 0
    """Epochs that are done."""
    history: History = field(default_factory=History)
    kept: dict[int, Parameters] = field(default_factory=dict)
    """Parameters after the epochs that may still be selected."""


class Trainee(ABC):
    """A replica that is being trained; what its videos are made into is left to `frames` and `clips`."""

    chunks: Sequence[Chunk]
    """What the steps of an epoch are taken on."""
    total_of: int
    """What an epoch's sum of losses is divided by."""

    def __init__(self, job: Job, device: torch.device) -> None:
        self.job, self.device, self.standing = job, device, Standing()
        self.recipe = self._recipe()
        run, replica = job.run, job.replica
        self.fitted, self.held_out = self._split()
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(replica.stream(run, "parameters"))
            self.network = self._network().to(device)
            self.loss: Loss = registry.load("losses", run.loss).build(job.parts.loss).to(device)
        self.samples = torch.Generator(device)
        self.epoch_seed = 0
        """Of dropout in this epoch."""

    @abstractmethod
    def predict(self, network: nn.Module, videos: Sequence[Video]) -> dict[str, np.ndarray]:
        """Predictions (float32) of each video by its id, in evaluation mode."""

    @property
    @abstractmethod
    def watched(self) -> Sequence[Video]:
        """The videos that are predicted after this epoch, for the selection of one."""

    @property
    @abstractmethod
    def predicted(self) -> Sequence[Video]:
        """The videos that the trained replica predicts."""

    @abstractmethod
    def watch(self, predict_now: Predict) -> None:
        """Note how good the replica is on the watched videos."""

    def diagnose(self) -> dict[str, float | None]:
        """How the selected network uses its parts, where its model can say so (`models._learner.Diagnoses`)."""
        return {}

    @property
    def learning_rate(self) -> float:
        """Of this epoch."""
        return self.recipe.learning_rate

    def _recipe(self) -> Training:
        return self.job.parts.recipe

    def _split(self) -> tuple[list[str], list[str]]:
        """The training videos that it is fitted to, and those held out."""
        share = self.recipe.validation_share if self.recipe.selection == "early_stopping" else 0.0
        return self.job.replica.hold_out(self.job.run, self.job.fold.train, share)

    def _model(self, d_in: int) -> Regressor:
        run = self.job.run
        build = registry.load("models", run.model).build
        pace = {"step_s": self.job.data.step_s} if "step_s" in inspect.signature(build).parameters else {}
        model: Regressor = build(self.job.parts.model, d_in, activation_for(run.low, run.high), **pace)
        return model

    def begin_epoch(self) -> list[int]:
        """The order of the chunks. Every random stream starts again, from replica and epoch."""
        replica, run, epoch = self.job.replica, self.job.run, self.standing.epoch
        self.epoch_seed = seeds.derive(replica.stream(run, "dropout"), epoch)
        self.samples.manual_seed(seeds.derive(replica.stream(run, "samples"), epoch))
        parts: Iterable[Any] = self.loss.modules()
        for part in parts:
            if hasattr(part, "generator"):
                seed = seeds.derive(replica.stream(run, "loss"), epoch)
                part.generator = torch.Generator(self.device).manual_seed(seed)
        order = torch.Generator().manual_seed(seeds.derive(replica.stream(run, "order"), epoch))
        return torch.randperm(len(self.chunks), generator=order).tolist()

    def end_epoch(self, total: float, predict_now: Predict, parameters: Callable[[], Mapping[str, Tensor]]) -> bool:
        """Note the epoch's losses and parameters; whether the training is over.

        Args:
            total: sum of the losses of the steps.
            predict_now: predicts videos with the parameters as they are.
            parameters: the parameters as they are, to be copied where they may be selected.

        Raises:
            ComputeError: a loss is not finite.
        """
        standing, recipe = self.standing, self.recipe
        history, epoch = standing.history, standing.epoch
        history.loss.append(self.finite(total / self.total_of, "training loss"))
        self.watch(predict_now)
        possible = possible_epochs(recipe.selection, history)
        standing.kept = {number: kept for number, kept in standing.kept.items() if number in possible}
        if epoch in possible:
            standing.kept[epoch] = {name: value.detach().clone() for name, value in parameters().items()}
        standing.epoch = epoch + 1
        return self.is_over

    @property
    def is_over(self) -> bool:
        """Whether no epoch is left."""
        standing, recipe = self.standing, self.recipe
        return standing.epoch >= recipe.epochs or (
            standing.epoch > 0 and is_over(recipe.selection, standing.history, recipe.patience)
        )

    def result(self) -> Fitted:
        """The replica with the parameters of the selected epoch, and its predictions of the test items.

        Raises:
            ComputeError: a prediction is not finite.
        """
        epoch = chosen_epoch(self.recipe.selection, self.standing.history)
        parameters = self.standing.kept[epoch]
        self.network.load_state_dict(parameters)
        predictions = self.predict(self.network, self.predicted)
        for item, y_T in predictions.items():
            if not np.isfinite(y_T).all():
                raise ComputeError(f"prediction of {item} is not finite", where=self.job.where)
        arrays = {name: value.cpu().numpy() for name, value in parameters.items()}
        history, said = self.standing.history, self.diagnose()
        return Fitted(arrays, predictions, history, epoch, self.fitted, self.held_out, said)

    def _network(self) -> Network:
        data = self.job.data
        mean_D, deviation_D = moments([data.features[item] for item in self.fitted], data.standardised_D)
        return Network(self._model(len(data.standardised_D)), mean_D, deviation_D)

    def finite(self, value: float, what: str) -> float:
        """The value, or a ComputeError that says what is lost."""
        if math.isfinite(value):
            return value
        raise ComputeError(
            f"the {what} is {value} in epoch {self.standing.epoch + 1}",
            where=self.job.where,
            why="its parameters are lost, and no number of this run can be trusted",
            remedy="lower `learning_rate` or set `clip_norm` under `training` of this model",
        )
