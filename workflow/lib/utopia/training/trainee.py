"""A replica in training: its network, videos, loss, random streams and history, from its identity alone.

A strategy (`alone`, `stacked`) moves the parameters; everything else that a replica needs is here, so that nothing that
other replicas do can change its numbers.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from utopia import registry, seeds
from utopia.arrays import Arrays
from utopia.distribution.series import read_series
from utopia.errors import ComputeError, InputError
from utopia.models._common import Regressor, activation_for
from utopia.samplers._common import Settles
from utopia.training.chunks import MakeSampler, Video, make_chunks, predict
from utopia.training.data import Data, Fold, moments
from utopia.training.network import Network
from utopia.training.parts import Parts
from utopia.training.replica import Replica
from utopia.training.selection import History, chosen_epoch, is_over, possible_epochs
from utopia.training.settings import Run

Parameters = dict[str, Tensor]
Predict = Callable[[Sequence[Video]], dict[str, np.ndarray]]
Grouping = Callable[[Sequence[Video]], list[list[Video]]]


@dataclass(frozen=True)
class Fitted:
    """A trained replica."""

    parameters: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]
    """y_T of every test item, float32."""
    history: History
    epoch: int
    fitted: list[str]
    held_out: list[str]


@dataclass(frozen=True)
class Job:
    """What determines a replica's training."""

    replica: Replica
    run: Run
    parts: Parts
    data: Data
    fold: Fold
    distribution: Arrays

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


class Trainee:
    """A replica that is being trained.

    Raises:
        InputError: labels, features and distribution of an item do not fit one another.
    """

    def __init__(self, job: Job, grouping: Grouping, device: torch.device) -> None:
        self.job, self.device, self.standing = job, device, Standing()
        self.recipe = job.parts.recipe
        run, replica = job.run, job.replica
        share = self.recipe.validation_share if self.recipe.selection == "early_stopping" else 0.0
        self.fitted, self.held_out = replica.hold_out(run, job.fold.train, share)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(replica.stream(run, "parameters"))
            self.network = self._network().to(device)
            self.loss = registry.load("losses", run.loss).build(job.parts.loss).to(device)
        videos = [self._training_video(item) for item in self.fitted]
        groups = grouping(videos) if self.recipe.batching == "accumulate_all" else [[video] for video in videos]
        self.chunks = make_chunks(groups, self.loss, self._make_sampler() if run.sampler else None, device)
        once = replica.stream(run, "samples once")
        for number, chunk in enumerate(self.chunks):
            if isinstance(chunk.sampler, Settles):
                chunk.sampler.settle(once, seeds.derive(once, number))
        self.validation = [_video(job.data, item, replica.target) for item in self.held_out]
        self.test = [_video(job.data, item, replica.target, judged=True) for item in job.fold.test]
        self.samples = torch.Generator(device)
        self.epoch_seed = 0
        """Of dropout in this epoch."""

    def begin_epoch(self) -> list[int]:
        """The order of the chunks. Every random stream starts anew, from replica and epoch."""
        replica, run, epoch = self.job.replica, self.job.run, self.standing.epoch
        self.epoch_seed = seeds.derive(replica.stream(run, "dropout"), epoch)
        self.samples.manual_seed(seeds.derive(replica.stream(run, "samples"), epoch))
        for part in self.loss.modules():
            if hasattr(part, "generator"):
                seed = seeds.derive(replica.stream(run, "loss"), epoch)
                part.generator = torch.Generator(self.device).manual_seed(seed)
        order = torch.Generator().manual_seed(seeds.derive(replica.stream(run, "order"), epoch))
        return torch.randperm(len(self.chunks), generator=order).tolist()

    def end_epoch(self, total: float, predict_now: Predict, parameters: Callable[[], Mapping[str, Tensor]]) -> bool:
        """Note the epoch's losses and parameters; whether the training is over.

        Args:
            total: sum of the training losses of the videos.
            predict_now: predicts videos with the parameters as they are.
            parameters: the parameters as they are, to be copied where they may be selected.

        Raises:
            ComputeError: a loss is not finite.
        """
        standing, recipe = self.standing, self.recipe
        history, epoch = standing.history, standing.epoch
        history.loss.append(self._finite(total / len(self.fitted), "training loss"))
        if self.validation:
            error = _mean_error(predict_now(self.validation), self.validation)
            history.validation.append(self._finite(error, "validation loss"))
        if recipe.selection == "best_test":
            history.test.append(self._finite(_mean_error(predict_now(self.test), self.test), "test error"))
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
        predictions = predict(self.network, self.test, self.device)
        for item, y_T in predictions.items():
            if not np.isfinite(y_T).all():
                raise ComputeError(f"prediction of {item} is not finite", where=self.job.where)
        arrays = {name: value.cpu().numpy() for name, value in parameters.items()}
        return Fitted(arrays, predictions, self.standing.history, epoch, self.fitted, self.held_out)

    def _network(self) -> Network:
        data, run = self.job.data, self.job.run
        mean_D, deviation_D = moments([data.features[item] for item in self.fitted], data.standardised_D)
        build = registry.load("models", run.model).build
        model: Regressor = build(self.job.parts.model, len(data.standardised_D), activation_for(run.low, run.high))
        return Network(model, mean_D, deviation_D)

    def _make_sampler(self) -> MakeSampler:
        """The sampler's `build` with its settings and, where it takes it, the span of the label range filled in."""
        run = self.job.run
        build = registry.load("samplers", str(run.sampler)).build
        span = {"span": run.high - run.low} if "span" in inspect.signature(build).parameters else {}
        return partial(build, self.job.parts.sampler, **span)

    def _training_video(self, item: str) -> Video:
        job = self.job
        number = seeds.derive(job.replica.stream(job.run, "frames"), item)
        return _video(
            job.data, item, job.replica.target, distribution=job.distribution, fold=job.replica.fold, number=number
        )

    def _finite(self, value: float, what: str) -> float:
        if math.isfinite(value):
            return value
        raise ComputeError(
            f"the {what} is {value} in epoch {self.standing.epoch + 1}",
            where=self.job.where,
            why="its parameters are lost, and no number of this run can be trusted",
            remedy="lower `learning_rate` or set `clip_norm` under `training` of this model",
        )


def _video(
    data: Data,
    item: str,
    target: str,
    *,
    judged: bool = False,
    distribution: Arrays | None = None,
    fold: str = "",
    number: int = 0,
) -> Video:
    label_T = data.labels.evaluation(item, target) if judged else data.labels.label(item, target)
    x_TD = data.features[item]
    series = read_series(distribution, item, target, fold) if distribution is not None else None
    if len(label_T) != len(x_TD) or (series is not None and len(series.bin) != len(x_TD)):
        raise InputError(
            f"{len(label_T)} labels, {len(x_TD)} rows of features, {len(series.bin) if series else 'no'} bins",
            where=f"{item}/{target}",
            why="they must stand on one time grid",
            remedy="delete the labels and distribution files of this data set and run again: they are made anew",
        )
    return Video(item, x_TD, torch.as_tensor(label_T, dtype=torch.float32), series, number)


def _mean_error(predictions: Mapping[str, np.ndarray], videos: Sequence[Video]) -> float:
    """Mean over videos of the mean squared error, in float64."""
    errors = [np.square(predictions[video.item] - video.target_T.double().numpy()).mean() for video in videos]
    return float(np.mean(errors))
