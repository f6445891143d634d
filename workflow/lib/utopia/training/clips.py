"""Training on clips: in each epoch one random clip of every video, at a low rate; predictions are interpolated to the
labels' rate (EEV 2021 sec. 3.2).

In shapes: V videos of a step, L steps of a clip, C reactions, n rows of an item at the model's rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from utopia import seeds
from utopia.config import registry
from utopia.config.clips import ClipTraining
from utopia.errors import ConfigError
from utopia.evaluation.reactions import correlations, of_video, of_videos
from utopia.labels.dense import dense
from utopia.labels.filters import smoothed
from utopia.models._common import Regressor, activation_for
from utopia.models._dropout import frame_keys
from utopia.models._layout import Packed
from utopia.training.chunks import Chunk, Video
from utopia.training.clip_data import ClipData, load_clip_data
from utopia.training.parts import Parts
from utopia.training.settings import RunSettings
from utopia.training.trainer import Predict, ReplicaJob, ReplicaTrainer

ROWS = 8192
"""Most rows that are predicted at once, where they are not padded."""
TOGETHER = 128
"""Most clips that are predicted at once, where they are padded."""


class OnClips:
    """How runs on clips are trained; see `utopia.training.trainer.TrainingMode`."""

    def load(
        self, run: RunSettings, labels: Path, features: Sequence[Path], fewest: int, folder: Path | None = None
    ) -> ClipData:
        """See `load_clip_data`."""
        return load_clip_data(run, labels, features, recipe_of(run, Parts.of(run, None)).clips, fewest, folder)

    def trainer(self, job: ReplicaJob, device: torch.device, padded: bool) -> ClipTrainer:
        """See `ClipTrainer`."""
        return ClipTrainer(job, device, padded)


MODE = OnClips()


def recipe_of(run: RunSettings, parts: Parts) -> ClipTraining:
    """The model's recipe.

    Raises:
        ConfigError: the model has none for clips, selects an epoch by what there is not, or the treatment samples.
    """
    recipe = parts.recipe
    if not isinstance(recipe, ClipTraining):
        raise ConfigError(
            f"the model {run.model} has no recipe for clips",
            where=f"run {run.id}",
            why=f"{run.dataset} is learned clip by clip",
            remedy="use bi_gru, or give the model a recipe that derives from ClipTraining",
        )
    if recipe.selection not in ("best_validation", "early_stopping", "last"):
        raise ConfigError(
            f"{recipe.selection} does not select an epoch of a training on clips",
            where=f"model {run.model}, training.selection",
            remedy="set best_validation, early_stopping or last",
        )
    if run.sampler:
        raise ConfigError(
            f"the sampler {run.sampler} adds samples by a label distribution, and {run.dataset} has none",
            where=f"run {run.id}",
            remedy="use a treatment without a sampler for this data set",
        )
    return recipe


class ClipTrainer(ReplicaTrainer):
    """A replica that learns random clips."""

    recipe: ClipTraining
    fixed_chunks = False
    rows_at_once = ROWS

    def __init__(self, job: ReplicaJob, device: torch.device, padded: bool = False) -> None:
        assert isinstance(job.data, ClipData)
        self.data = job.data
        super().__init__(job, device, padded)
        self._bank_ND = self.data.on(device)
        clips = self.recipe.clips
        self._last = {item: self._last_start(item) for item in self.fitted}
        self._number = {item: seeds.derive(job.replica.stream(job.run, "frames"), item) for item in self.fitted}
        self.total_of = max(1, len(self.fitted) // clips.batch)
        self.groups: list[list[str]] = [[] for _ in range(self.total_of)]
        self.chunks = _Clips(self)
        tested = () if job.replica.fit_on_all else job.fold.test
        watched = self.held_out if self.recipe.selection == "early_stopping" else tested
        self._watched = [self._video(item) for item in watched] if self.recipe.selection != "last" else []
        self._predicted = [self._video(item) for item in (*tested, *self.data.unlabelled)]

    def _recipe(self) -> ClipTraining:
        recipe = recipe_of(self.job.run, self.job.parts)
        if not self.job.replica.fit_on_all:
            return recipe
        return recipe.model_copy(update={"epochs": recipe.whole_epochs, "weight_decay": 0.0, "selection": "last"})

    def _split(self) -> tuple[list[str], list[str]]:
        if self.job.replica.fit_on_all:
            return [*self.job.fold.train, *self.job.fold.test], []
        return super()._split()

    def _model(self, d_in: int) -> Regressor:
        run, parts = self.job.run, self.job.parts
        build = registry.load("models", run.model).build
        how = {"widths": self.data.widths, "outputs": len(self.data.columns)}
        model: Regressor = build(parts.model, d_in, activation_for(run.low, run.high), **how)
        return model

    # -- an epoch

    @property
    def learning_rate(self) -> float:
        """Of this epoch, by the milestones."""
        return self.recipe.rate_of(self.state.epoch)

    def begin_epoch(self) -> list[int]:
        """The steps. Videos are shuffled into them; those left over are dropped."""
        super().begin_epoch()
        shuffle = torch.Generator().manual_seed(seeds.derive(self._stream("order"), self.state.epoch))
        order = [self.fitted[number] for number in torch.randperm(len(self.fitted), generator=shuffle).tolist()]
        batch = self.recipe.clips.batch
        self.groups = [order[step * batch : (step + 1) * batch] for step in range(self.total_of)]
        return list(range(self.total_of))

    def _stream(self, purpose: str) -> int:
        return self.job.replica.stream(self.job.run, purpose)

    def _last_start(self, item: str) -> int:
        """The last second at which a clip may start."""
        clips, data = self.recipe.clips, self.data
        frames = clips.steps if clips.start == "reference" else clips.steps * data.every
        return max(0, (data.rows[item] - frames) // data.per_second)

    def clip_rows(self, item: str) -> np.ndarray:
        """Rows [L] of an item that this epoch's clip consists of; beyond its end the last one is repeated."""
        clips, data = self.recipe.clips, self.data
        seed = seeds.derive(self._stream("clips"), self.state.epoch, item)
        second = seed % (self._last[item] + 1)
        start = second * data.per_second // data.every
        return np.minimum(np.arange(start, start + clips.steps), len(data.features[item]) - 1)

    def step(self, number: int) -> Chunk:
        """The clips of a step of this epoch."""
        items, clips, data = self.groups[number], self.recipe.clips, self.data
        rows = [self.clip_rows(item) for item in items]
        index_R = torch.from_numpy(
            np.concatenate([data.first[item] + row for item, row in zip(items, rows, strict=True)])
        )
        y_VLC = np.stack([data.targets[item].numpy()[row] for item, row in zip(items, rows, strict=True)])
        seen_VL = (y_VLC != 0).any(axis=2) if clips.zero_rows == "mask" else np.ones(y_VLC.shape[:2], dtype=bool)
        target_RC = torch.from_numpy(smoothed(y_VLC, self.job.run.label_filter)).flatten(0, 1)
        lengths = [clips.steps] * len(items)
        zero_R = torch.zeros(len(index_R), dtype=torch.long)
        return Chunk(
            parts=[self._bank_ND.index_select(0, index_R.to(self._bank_ND.device)).to(self.device)],
            rows=Packed(lengths),
            key_R=frame_keys([self._number[item] for item in items], lengths, self.device),
            new_key=0,
            target_R=target_RC.to(self.device),
            bin_R=zero_R.to(self.device),
            video_R=torch.arange(len(items)).repeat_interleave(clips.steps).to(self.device),
            weight_R=torch.from_numpy(seen_VL.astype(np.float32) / len(items)).flatten().to(self.device),
            new_weight_Vb=torch.zeros(len(items), 1, device=self.device),
            sampler=None,
        )

    # -- predictions

    def _video(self, item: str) -> Video:
        label_TC = self.data.dense.get(item)
        if label_TC is None:
            label_TC = torch.zeros(0, len(self.data.columns))
        return Video(item, self.data.features[item], label_TC)

    @property
    def watched(self) -> Sequence[Video]:
        """See `ReplicaTrainer.watched`: some videos every few epochs, and after the last one."""
        epoch = self.state.epoch + 1
        return self._watched if epoch % self.recipe.validate_every == 0 or epoch >= self.recipe.epochs else []

    @property
    def predicted(self) -> Sequence[Video]:
        """See `ReplicaTrainer.predicted`: the validation videos, unless learned, and those without labels."""
        return self._predicted

    def watch(self, predict_now: Predict) -> None:
        """See `ReplicaTrainer.watch`: 1 - correlation."""
        if not self._watched:
            return
        value = None
        if videos := self.watched:
            predictions = predict_now(videos)
            r = [of_video(correlations(predictions[video.item], self._label(video))) for video in videos]
            value = self.finite(1 - of_videos(r), "validation loss")
        self.state.history.validation.append(value)

    def _label(self, video: Video) -> np.ndarray:
        if len(video.target_T):
            return video.target_T.numpy()
        labels = self.data.labels  # of a training video that is held out
        return np.asarray(labels.label(video.item, self.job.replica.target))

    def lengths(self, video: Video) -> list[int]:
        """Steps of the consecutive clips that a video is predicted in; the last one is shorter."""
        steps, rows = self.recipe.clips.steps, len(video.x_TD)
        return [min(steps, rows - start) for start in range(0, rows, steps)]

    def joined(self, video: Video, y_T: np.ndarray) -> np.ndarray:
        """Predictions y_TC at the labels' rate, float32."""
        return dense(y_T, self.data.every, self.data.rows[video.item]).astype(np.float32)

    def prediction_groups(self, pieces: Sequence[Video]) -> list[list[Video]]:
        """See `ReplicaTrainer.prediction_groups`: nearly all clips are equally long, so they stay in order."""
        return [list(pieces[start : start + TOGETHER]) for start in range(0, len(pieces), TOGETHER)]


class _Clips(Sequence[Chunk]):
    """The steps of an epoch, each made when it is asked for; the last one is kept."""

    def __init__(self, trainer: ClipTrainer) -> None:
        self._trainer = trainer
        self._kept: tuple[tuple[int, int], Chunk] | None = None

    def __len__(self) -> int:
        return self._trainer.total_of

    def __getitem__(self, number: int) -> Chunk:  # type: ignore[override]
        place = self._trainer.state.epoch, number
        if self._kept is None or self._kept[0] != place:
            self._kept = place, self._trainer.step(number)
        return self._kept[1]
