"""Training on whole series: every frame of every video, by its label distribution (ULDA)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from utopia import seeds
from utopia.arrays import Arrays
from utopia.config import registry
from utopia.config.engine import Engine
from utopia.distribution.series import read_series
from utopia.errors import ComputeError, ConfigError, InputError
from utopia.models._learner import Diagnoses
from utopia.samplers._common import Settles
from utopia.training.alone import each_alone, train_alone
from utopia.training.chunks import MakeSampler, Video, make_chunks, pack, predict
from utopia.training.data import Data, load_data
from utopia.training.settings import Run
from utopia.training.stacked import StackedTraining, by_length
from utopia.training.store import Keeper
from utopia.training.trainee import Fitted, Job, Predict, Trainee

Grouping = Callable[[Sequence[Video]], list[list[Video]]]


class Frames:
    """How runs on whole series are trained; see `utopia.training.run.Way`."""

    def load(self, run: Run, labels: Path, features: Sequence[Path], fewest: int) -> Data:
        """See `load_data`."""
        return load_data(run, labels, features, fewest=fewest)

    def trained(
        self, run: Run, waiting: Iterator[tuple[Job, Keeper | None]], device: torch.device
    ) -> Iterator[tuple[Job, Fitted | ComputeError]]:
        """Every replica, as it is done, by the strategy that fits."""
        if run.strategy(device.type) == "stacked":
            return stacked(waiting, run.engine, device).outcomes()
        return each_alone(waiting, partial(FrameTrainee, grouping=pack, device=device), device)


WAY = Frames()


def stacked(waiting: Iterator[tuple[Job, Keeper | None]], engine: Engine, device: torch.device) -> StackedTraining:
    """Replicas trained as one network."""
    return StackedTraining(waiting, partial(FrameTrainee, grouping=by_length, device=device), engine, device)


def alone(job: Job, device: torch.device) -> Fitted:
    """A replica trained by itself."""
    return train_alone(job, partial(FrameTrainee, grouping=pack, device=device), device)


class FrameTrainee(Trainee):
    """A replica that learns every frame of its videos, with the label distribution's weights and samples.

    Raises:
        ConfigError: the recipe selects by validation videos, which these data sets have not.
        InputError: labels, features and distribution of an item do not fit one another.
    """

    def __init__(self, job: Job, grouping: Grouping, device: torch.device) -> None:
        super().__init__(job, device)
        run, replica = job.run, job.replica
        if self.recipe.selection == "best_validation":
            raise ConfigError(
                f"{run.dataset} has no validation videos to select an epoch by",
                where=f"model {run.model}, training.selection",
                remedy="set `selection: early_stopping`, which holds out training videos",
            )
        videos = [self._training_video(item) for item in self.fitted]
        groups = grouping(videos) if self.recipe.batching == "accumulate_all" else [[video] for video in videos]
        self.chunks = make_chunks(groups, self.loss, self._make_sampler() if run.sampler else None, device)
        self.total_of = len(self.fitted)
        once = replica.stream(run, "samples once")
        for number, chunk in enumerate(self.chunks):
            if isinstance(chunk.sampler, Settles):
                chunk.sampler.settle(once, seeds.derive(once, number))
        self._validation = [_video(job.data, item, replica.target) for item in self.held_out]
        self._test = [_video(job.data, item, replica.target, judged=True) for item in job.fold.test]

    def predict(self, network: nn.Module, videos: Sequence[Video]) -> dict[str, np.ndarray]:
        """See `Trainee.predict`; y_T of each video."""
        return predict(network, videos, self.device)

    @property
    def watched(self) -> Sequence[Video]:
        """See `Trainee.watched`."""
        return self._test if self.recipe.selection == "best_test" else self._validation

    @property
    def predicted(self) -> Sequence[Video]:
        """See `Trainee.predicted`."""
        return self._test

    def watch(self, predict_now: Predict) -> None:
        """See `Trainee.watch`: the mean over videos of the mean squared error."""
        if not self.watched:
            return
        error = _mean_error(predict_now(self.watched), self.watched)
        if self.recipe.selection == "best_test":
            self.standing.history.test.append(self.finite(error, "test error"))
        else:
            self.standing.history.validation.append(self.finite(error, "validation loss"))

    def diagnose(self) -> dict[str, float | None]:
        """See `Trainee.diagnose`; on the test items."""
        model = self.network.model
        if not isinstance(model, Diagnoses):
            return {}
        self.network.eval()
        x_RD = torch.cat([video.x_TD for video in self._test]).to(self.device)
        target_R = torch.cat([video.target_T for video in self._test]).to(self.device)
        with torch.no_grad():
            return model.diagnose(self.network.scaled(x_RD), [len(video.x_TD) for video in self._test], target_R)

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
            why="they must be on one time grid",
            remedy="delete the labels and distribution files of this data set and run again: they are regenerated",
        )
    return Video(item, x_TD, torch.as_tensor(label_T, dtype=torch.float32), series, number)


def _mean_error(predictions: Mapping[str, np.ndarray], videos: Sequence[Video]) -> float:
    """Mean over videos of the mean squared error, in float64."""
    errors = [np.square(predictions[video.item] - video.target_T.double().numpy()).mean() for video in videos]
    return float(np.mean(errors))
