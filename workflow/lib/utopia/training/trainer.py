"""The trainer of a replica: its network, videos, loss, random streams and history, from its identity alone.

A strategy (`loop`, `vectorized`) moves the parameters; everything else that a replica needs is here, so that nothing
that other replicas do can change its numbers. How videos become chunks, and what is predicted, is left to the training
mode (`series`, `clips`).
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from utopia import seeds, tally
from utopia.arrays import Arrays
from utopia.config import registry
from utopia.config.training import Training
from utopia.errors import ComputeError
from utopia.losses._common import Loss
from utopia.models._common import Regressor, activation_for
from utopia.training.chunks import ROWS, Chunk, Video, padded_groups, predict
from utopia.training.data import Data, Fold, moments
from utopia.training.network import Network
from utopia.training.parts import Parts
from utopia.training.replica import Replica
from utopia.training.scratch import Scratch
from utopia.training.selection import History, chosen_epoch, is_over, possible_epochs
from utopia.training.settings import RunSettings

Parameters = dict[str, Tensor]
Predict = Callable[[Sequence[Video]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Fitted:
    """A trained replica."""

    parameters: dict[str, np.ndarray]
    predictions: Mapping[str, np.ndarray]
    """y_T (of reactions y_TC) of every test item, float32."""
    history: History
    epoch: int
    fitted: list[str]
    held_out: list[str]
    diagnostics: dict[str, float | None] = field(default_factory=dict)
    """What the model says of itself on the test items; empty where it says nothing."""


@dataclass(frozen=True)
class ReplicaJob:
    """What determines a replica's training."""

    replica: Replica
    run: RunSettings
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
class TrainingState:
    """How far a replica is: what a strategy moves on epoch by epoch, and what a training that was stopped resumes."""

    epoch: int = 0
    """Epochs that are done."""
    history: History = field(default_factory=History)
    kept: dict[int, Parameters] = field(default_factory=dict)
    """Parameters after the epochs that may still be selected."""


class ReplicaTrainer(ABC):
    """A replica that is being trained.

    Args:
        job: what is trained.
        device: where.
        padded: whether videos that belong together are padded to one length (`vectorized`), or go through the network
            one after another (`loop`).
    """

    chunks: Sequence[Chunk]
    """What the steps of an epoch are taken on."""
    fixed_chunks: bool = True
    """Whether they are the same in every epoch."""
    total_of: int
    """What an epoch's sum of losses is divided by."""
    rows_at_once: int = ROWS
    """Most rows that are predicted at once, where they are not padded."""

    def __init__(self, job: ReplicaJob, device: torch.device, padded: bool = False) -> None:
        self.job, self.device, self.padded, self.state = job, device, padded, TrainingState()
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

    def predict(self, network: nn.Module, videos: Sequence[Video]) -> dict[str, np.ndarray]:
        """Predictions y_T (of reactions y_TC, float32) of each video by its id, in evaluation mode."""
        predictions = Scratch(self.job.data.folder)
        for video, y_R in predict(network, videos, self.device, self.rows_at_once, self.lengths):
            predictions.add(self.joined(video, y_R))
        return {video.item: y_T for video, y_T in zip(videos, predictions.arrays(), strict=True)}

    def lengths(self, video: Video) -> list[int]:
        """Rows of the pieces that a video is predicted in; no piece sees another."""
        return [len(video.x_TD)]

    def pieces(self, video: Video) -> list[Video]:
        """These pieces, each as a video."""
        lengths = self.lengths(video)
        if len(lengths) == 1:
            return [video]
        cut = video.x_TD.split(lengths)
        return [replace(video, item=f"{video.item}/{number}", x_TD=x_TD) for number, x_TD in enumerate(cut)]

    def joined(self, video: Video, y_T: np.ndarray) -> np.ndarray:
        """Predictions of a video on the grid of its labels, from those of its rows."""
        return y_T

    def prediction_groups(self, pieces: Sequence[Video]) -> list[list[Video]]:
        """Pieces that are predicted together, where they are padded."""
        return padded_groups(pieces)

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
        replica, run, epoch = self.job.replica, self.job.run, self.state.epoch
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
        state, recipe = self.state, self.recipe
        history, epoch = state.history, state.epoch
        tally.count("replica_epochs")
        history.loss.append(self.finite(total / self.total_of, "training loss"))
        self.watch(predict_now)
        possible = possible_epochs(recipe.selection, history)
        state.kept = {number: kept for number, kept in state.kept.items() if number in possible}
        if epoch in possible:
            state.kept[epoch] = {name: value.detach().clone() for name, value in parameters().items()}
        state.epoch = epoch + 1
        return self.is_over

    @property
    def is_over(self) -> bool:
        """Whether no epoch is left."""
        state, recipe = self.state, self.recipe
        return state.epoch >= recipe.epochs or (
            state.epoch > 0 and is_over(recipe.selection, state.history, recipe.patience)
        )

    def result(self) -> Fitted:
        """The replica with the parameters of the selected epoch, and its predictions of the test items.

        Raises:
            ComputeError: a prediction is not finite.
        """
        epoch = chosen_epoch(self.recipe.selection, self.state.history)
        parameters = self.state.kept[epoch]
        self.network.load_state_dict(parameters)
        predictions = self.predict(self.network, self.predicted)
        for item, y_T in predictions.items():
            if not np.isfinite(y_T).all():
                raise ComputeError(f"prediction of {item} is not finite", where=self.job.where)
        arrays = {name: value.cpu().numpy() for name, value in parameters.items()}
        history, diagnostics = self.state.history, self.diagnose()
        return Fitted(arrays, predictions, history, epoch, self.fitted, self.held_out, diagnostics)

    def _network(self) -> Network:
        data = self.job.data
        mean_D, deviation_D = moments([data.features[item] for item in self.fitted], data.standardised_D)
        return Network(self._model(len(data.standardised_D)), mean_D, deviation_D)

    def finite(self, value: float, what: str) -> float:
        """The value, or a ComputeError that says what is lost."""
        if math.isfinite(value):
            return value
        raise ComputeError(
            f"the {what} is {value} in epoch {self.state.epoch + 1}",
            where=self.job.where,
            why="its parameters are lost, and no number of this run can be trusted",
            remedy="lower `learning_rate` or set `clip_norm` under `training` of this model",
        )


MakeTrainer = Callable[[ReplicaJob], ReplicaTrainer]


class TrainingMode(Protocol):
    """How runs of a kind are trained: on whole series (`series`) or on clips of them (`clips`)."""

    def load(
        self, run: RunSettings, labels: Path, features: Sequence[Path], fewest: int, folder: Path | None = None
    ) -> Data:
        """What the replicas of the runs share; see `data.load_data`."""

    def trainer(self, job: ReplicaJob, device: torch.device, padded: bool) -> ReplicaTrainer:
        """The trainer of a replica."""
