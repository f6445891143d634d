"""For the benchmarks: a data set of random features and smooth labels, and trainings on it."""

from collections.abc import Sequence
from functools import partial

import torch

from utopia.config.engine import Engine
from utopia.training.clips import ClipTrainer
from utopia.training.loop import train_one
from utopia.training.series import SeriesTrainer
from utopia.training.trainer import Fitted, ReplicaJob
from utopia.training.trial import BINS
from utopia.training.trial import RandomStudy as Study
from utopia.training.vectorized.engine import VectorizedTraining

__all__ = ["BINS", "Study", "stack_of", "stack_of_clips", "train_alone"]


def train_alone(job: ReplicaJob, device: torch.device) -> Fitted:
    """A replica on whole series, by the plain loop."""
    return train_one(job, partial(SeriesTrainer, device=device), device)


def stack_of(jobs: Sequence[ReplicaJob], device: torch.device, engine: Engine | None = None) -> VectorizedTraining:
    """Replicas on whole series, as one network."""
    make = partial(SeriesTrainer, device=device, padded=True)
    return VectorizedTraining(iter([(job, None) for job in jobs]), make, engine or Engine(places=len(jobs)), device)


def stack_of_clips(jobs: Sequence[ReplicaJob], device: torch.device) -> VectorizedTraining:
    """Replicas on clips, as one network."""
    make = partial(ClipTrainer, device=device, padded=True)
    return VectorizedTraining(iter([(job, None) for job in jobs]), make, Engine(places=len(jobs)), device)
