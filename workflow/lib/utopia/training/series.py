"""Training on whole series: every frame of every video, by its label distribution (ULDA)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from utopia import seeds
from utopia.arrays import Arrays
from utopia.config import registry
from utopia.distribution.item import read_item
from utopia.errors import ConfigError, InputError
from utopia.models._learner import Diagnoses
from utopia.samplers._common import SeededOnce
from utopia.training.chunks import MakeSampler, Video, make_chunks, padded_groups, ragged_groups
from utopia.training.data import Data, load_data
from utopia.training.settings import RunSettings
from utopia.training.trainer import Predict, ReplicaJob, ReplicaTrainer

DIAGNOSED = 8192
"""Most rows of test videos that a model is diagnosed on at once, unless one video has more. The papers' test folds
have fewer, so that theirs are one group."""


class OnSeries:
    """How runs on whole series are trained; see `utopia.training.trainer.TrainingMode`."""

    def load(
        self, run: RunSettings, labels: Path, features: Sequence[Path], fewest: int, folder: Path | None = None
    ) -> Data:
        """See `load_data`."""
        return load_data(run, labels, features, fewest=fewest, folder=folder)

    def trainer(self, job: ReplicaJob, device: torch.device, padded: bool) -> SeriesTrainer:
        """See `SeriesTrainer`."""
        return SeriesTrainer(job, device, padded)


MODE = OnSeries()


class SeriesTrainer(ReplicaTrainer):
    """A replica that learns every frame of its videos, with the label distribution's weights and samples.

    Raises:
        ConfigError: the recipe selects by validation videos, which these data sets have not.
        InputError: labels, features and distribution of an item do not fit one another.
    """

    def __init__(self, job: ReplicaJob, device: torch.device, padded: bool = False) -> None:
        super().__init__(job, device, padded)
        run, replica = job.run, job.replica
        if self.recipe.selection == "best_validation":
            raise ConfigError(
                f"{run.dataset} has no validation videos to select an epoch by",
                where=f"model {run.model}, training.selection",
                remedy="set `selection: early_stopping`, which holds out training videos",
            )
        videos = [self._training_video(item) for item in self.fitted]
        groups = [[video] for video in videos]
        if self.recipe.batching == "accumulate_all":
            groups = padded_groups(videos) if padded else ragged_groups(videos)
        self.chunks = make_chunks(groups, self.loss, self._make_sampler() if run.sampler else None, device)
        self.total_of = len(self.fitted)
        once = replica.stream(run, "samples once")
        for number, chunk in enumerate(self.chunks):
            if isinstance(chunk.sampler, SeededOnce):
                chunk.sampler.seed_once(once, seeds.derive(once, number))
        self._validation = [_video(job.data, item, replica.target) for item in self.held_out]
        self._test = [_video(job.data, item, replica.target, evaluation=True) for item in job.fold.test]

    @property
    def watched(self) -> Sequence[Video]:
        """See `ReplicaTrainer.watched`."""
        return self._test if self.recipe.selection == "best_test" else self._validation

    @property
    def predicted(self) -> Sequence[Video]:
        """See `ReplicaTrainer.predicted`."""
        return self._test

    def watch(self, predict_now: Predict) -> None:
        """See `ReplicaTrainer.watch`: the mean over videos of the mean squared error."""
        if not self.watched:
            return
        error = _mean_error(predict_now(self.watched), self.watched)
        if self.recipe.selection == "best_test":
            self.state.history.test.append(self.finite(error, "test error"))
        else:
            self.state.history.validation.append(self.finite(error, "validation loss"))

    def diagnose(self) -> dict[str, float | None]:
        """See `ReplicaTrainer.diagnose`; on the test items."""
        model = self.network.model
        if not isinstance(model, Diagnoses):
            return {}
        self.network.eval()
        return model.diagnose([partial(self._shown, group) for group in ragged_groups(self._test, DIAGNOSED)])

    def _shown(self, videos: Sequence[Video]) -> tuple[Tensor, list[int], Tensor]:
        """Some videos; see `models._learner.ReadVideos`."""
        # scaled video by video: of all of them only one copy is needed
        x_RD = torch.cat([self.network.scaled(video.x_TD.to(self.device)) for video in videos])
        target_R = torch.cat([video.target_T for video in videos]).to(self.device)
        return x_RD, [len(video.x_TD) for video in videos], target_R

    def _make_sampler(self) -> MakeSampler:
        """The sampler's `build` with its settings and, where it takes it, the span of the label range filled in."""
        run = self.job.run
        build = registry.load("samplers", str(run.sampler)).build
        span = {"span": run.high - run.low} if "span" in inspect.signature(build).parameters else {}
        return partial(build, self.job.parts.sampler, **span)

    def _training_video(self, item: str) -> Video:
        job = self.job
        # the stream keeps the name that this module had: another name is another seed, and so other numbers
        number = seeds.derive(job.replica.stream(job.run, "frames"), item)
        return _video(
            job.data, item, job.replica.target, distribution=job.distribution, fold=job.replica.fold, number=number
        )


def _video(
    data: Data,
    item: str,
    target: str,
    *,
    evaluation: bool = False,
    distribution: Arrays | None = None,
    fold: str = "",
    number: int = 0,
) -> Video:
    label_T = data.labels.evaluation(item, target) if evaluation else data.labels.label(item, target)
    x_TD = data.features[item]
    series = read_item(distribution, item, target, fold) if distribution is not None else None
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
