"""Training a pack of replicas as one stacked network on padded batches: the strategy for GPUs, where the number of
kernels decides.

Each of K places holds a replica. In every round each place takes one optimiser step, of its own video or of all its
videos; places need not be in the same epoch. A replica that is over leaves its place to the next one that waits, or the
stack shrinks. Nothing of a replica's numbers depends on the others: they share kernels, not values. So where memory is
used up, half as many go on.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import chain
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from utopia.config.engine import Engine
from utopia.errors import ComputeError
from utopia.losses._common import Batch
from utopia.models._dropout import pass_keys
from utopia.models._layout import Padded
from utopia.models._learner import Learns
from utopia.samplers._common import Samples
from utopia.training.adam import Adam
from utopia.training.alone import Make
from utopia.training.batch import PaddedBatch, Store
from utopia.training.chunks import Video, labelled, new_keys
from utopia.training.own_way import OwnWayStacked
from utopia.training.place import Place
from utopia.training.stack import Stack
from utopia.training.store import Keeper
from utopia.training.trainee import Fitted, Job, Trainee

Outcome = TypeVar("Outcome")

PAIRS = 2**24
"""Most pairs of frames, V T^2, of a replica's padded batch: bounds the memory that attention takes."""


def by_length(videos: Sequence[Video]) -> list[list[Video]]:
    """Group videos of similar length, the longest first: a padded group has at most `PAIRS` pairs of frames."""
    groups: list[list[Video]] = []
    longest = 0
    for video in sorted(videos, key=lambda one: (-len(one.x_TD), one.item)):
        if not groups or (len(groups[-1]) + 1) * longest**2 > PAIRS:
            groups.append([])
            longest = len(video.x_TD)
        groups[-1].append(video)
    return groups


class StackedTraining:
    """Trains replicas that share a model's settings.

    Args:
        waiting: replicas to train, each with what keeps it (or None); taken as places become free.
        make: makes a replica's trainee.
        engine: how many replicas at once and, on a GPU, the precision of matrix products and whether to compile.
        device: where.
    """

    def __init__(
        self, waiting: Iterator[tuple[Job, Keeper | None]], make: Make, engine: Engine, device: torch.device
    ) -> None:
        self._waiting, self._make, self._device = waiting, make, device
        self._compiled = engine.compile and device.type == "cuda"
        self._autocast: Callable[[], AbstractContextManager[object]] = nullcontext
        self._own_way: OwnWayStacked | None = None
        if engine.precision == "bfloat16" and device.type == "cuda":
            self._autocast = partial(torch.autocast, device.type, dtype=torch.bfloat16)
        self._most, self._opening = engine.places, 0
        self._places: list[Place] = []
        self._within_memory(self._open)

    def _group(self, videos: Sequence[Video]) -> list[list[Video]]:
        """Videos that are predicted together."""
        return by_length(videos)

    def outcomes(self) -> Iterator[tuple[Job, Fitted | ComputeError]]:
        """Train all; each replica as it is done, or why it could not be trained."""
        while self._places:
            if done := [k for k, place in enumerate(self._places) if place.is_over]:
                for place in [self._places[k] for k in done]:
                    if (outcome := self._within_memory(place.outcome)) is None:
                        break
                    place.told = True
                    yield place.trainee.job, outcome
                else:
                    self._within_memory(partial(self._replace, done))
            else:
                self._within_memory(self._advance)

    def _advance(self) -> None:
        """A round, and the ends of epochs that it leads to."""
        for k, place in enumerate(self._places):
            if not place.order:
                place.order = place.trainee.begin_epoch()
                self._total_K[k] = 0
        self._round()
        if ended := [k for k, place in enumerate(self._places) if not place.order]:
            self._end_epochs(ended)

    # -- memory

    def _within_memory(self, work: Callable[[], Outcome]) -> Outcome | None:
        """Do something; where the device's memory is used up by it, go on with half as many replicas at once instead.

        These begin again, from what their keepers hold or from nothing, with the same numbers: their random streams
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
            self._most = self._halved(reason)
            try:
                self._open()
                return None
            except torch.OutOfMemoryError as error:
                reason = str(error).partition("\n")[0]

    def _halved(self, reason: str) -> int:
        """Give up all places and what is on the device for them; how many there may be."""
        left = [place for place in self._places if not place.told]
        tried = max(len(self._places), self._opening)
        most = tried // 2
        if not most:
            raise ComputeError(
                f"one replica needs more memory than the {self._device.type} has free ({reason})",
                where=left[0].trainee.job.where if left else None,
                why="fewer than one cannot be trained at once",
                remedy="use a device with more memory or a smaller model, or see what else runs on it (`nvidia-smi`)",
            )
        print(f"{tried} replicas at once need too much memory ({reason}): {most} from now on", flush=True)
        self._waiting = chain([(place.trainee.job, place.keeper) for place in left], self._waiting)
        self._places, self._own_way = [], None
        for name in ("_stack", "_store", "_batches", "_encode", "_head", "_total_K"):
            self.__dict__.pop(name, None)
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        return most

    # -- places

    def _open(self) -> None:
        """Fill the places with those that wait."""
        while len(self._places) < self._most:
            self._opening = len(self._places) + 1
            if (place := self._next()) is None:
                break
            self._places.append(place)
        self._opening = 0
        if self._places:
            self._fill()

    def _next(self) -> Place | None:
        job_keeper = next(self._waiting, None)
        if job_keeper is None:
            return None
        job, keeper = job_keeper
        try:
            trainee = self._make(job)
        except torch.OutOfMemoryError:
            self._waiting = chain([job_keeper], self._waiting)
            raise
        learning_rate = trainee.loss.learning_rate or trainee.recipe.learning_rate
        return Place(trainee, keeper, Adam(list(trainee.loss.parameters()), learning_rate))

    def _fill(self) -> None:
        """Stack the networks of all places."""
        self._stack = Stack([place.trainee.network for place in self._places], self._places[0].trainee.recipe)
        if isinstance(self._stack.network.model, Learns):
            self._autocast = nullcontext  # it chooses: the same in training and in evaluation
            self._own_way = OwnWayStacked(self._stack.network.model, self._stack, self._trainees)
        for k in range(len(self._places)):
            self._resume(k)
        self._arrange()

    def _arrange(self) -> None:
        """Put the places' data together, again whenever one has changed hands."""
        self._total_K = torch.zeros(len(self._places), dtype=torch.float64, device=self._device)
        network = self._stack.network
        # compiled per stack: views of its buffers are part of what is compiled
        self._encode = torch.compile(network.encode) if self._compiled else network.encode
        self._head = torch.compile(network.head) if self._compiled else network.head
        if self._own_way is None:
            self._gather()

    def _gather(self) -> None:
        """Put the chunks of all places together, so that a batch is a few gathers."""
        self._store = Store.of([place.trainee.chunks for place in self._places])
        self._batches: dict[tuple[int | None, ...], PaddedBatch] = {}
        losses = [place.trainee.loss for place in self._places]
        self._shared = all(loss.by_row and type(loss).error is type(losses[0]).error for loss in losses) and not any(
            chunk.sampler for place in self._places for chunk in place.trainee.chunks
        )

    def _replace(self, done: Sequence[int]) -> None:
        """Give the places of replicas that are over to others, or give them up."""
        free = []
        for k in done:
            following = self._next()
            if following is None:
                free.append(k)
                continue
            self._places[k] = following
            self._stack.put(k, following.trainee.network)
            if self._own_way is not None:
                self._own_way.put(k)
            self._resume(k)
        if free:
            left = [k for k in range(len(self._places)) if k not in free]
            self._places = [self._places[k] for k in left]
            if left:
                self._stack.keep(left)
                if self._own_way is not None:
                    self._own_way.keep(left)
        if self._places:
            self._arrange()

    def _live(self, k: int) -> dict[str, Tensor]:
        place = self._places[k]
        moving = self._stack.live(k)
        if self._own_way is not None:
            moving |= {name: tensor[k] for name, tensor in self._own_way.state().items()}
        moving |= {f"loss/{n}": t for n, t in place.trainee.loss.state_dict().items()}
        return moving | {f"of_loss/{name}": tensor for name, tensor in place.of_loss.state().items()}

    def _resume(self, k: int) -> None:
        place = self._places[k]
        if place.keeper is not None:
            place.keeper.resume(place.trainee.standing, self._live(k))

    # -- steps

    def _round(self) -> None:
        """One optimiser step of every place; of models that learn in their own way, one group of videos."""
        if self._own_way is not None:
            self._learn_own_way(self._own_way)
        elif self._places[0].trainee.recipe.batching == "per_video":
            self._add_gradients([place.order.pop(0) for place in self._places])
        else:
            for number in range(max(len(place.trainee.chunks) for place in self._places)):
                there = [number < len(place.trainee.chunks) for place in self._places]
                self._add_gradients([number if yes else None for yes in there])
            for place in self._places:
                place.order.clear()
        if self._own_way is None:
            trainees = self._trainees()
            self._stack.update([t.learning_rate for t in trainees], [t.recipe.weight_decay for t in trainees])
        for place in self._places:
            place.of_loss.step()

    def _learn_own_way(self, own_way: OwnWayStacked) -> None:
        """Let every place learn from its next videos."""
        numbers = [place.order[: own_way.together] for place in self._places]
        for place in self._places:
            del place.order[: own_way.together]
        self._total_K += own_way.fit(self._trainees(), numbers)

    def _trainees(self) -> list[Trainee]:
        return [place.trainee for place in self._places]

    def _add_gradients(self, numbers: list[int | None]) -> None:
        """Forward and backward pass of one chunk of each place."""
        batch = self._batch(numbers)
        epoch_K1 = torch.tensor([[place.trainee.epoch_seed] for place in self._places]).to(self._device)
        key_KP = pass_keys(batch.key_KP, epoch_K1)
        with self._autocast():
            feature_KPd = self._encode(batch.x_KPD, batch.rows, key_KP)
        losses = self._shared_loss if self._shared else self._own_losses
        value_K = losses(numbers, batch, _full(feature_KPd), key_KP)
        value_K.sum().backward()
        self._total_K += value_K.detach()

    def _batch(self, numbers: list[int | None]) -> PaddedBatch:
        if self._places[0].trainee.recipe.batching == "per_video":
            return self._store.batch(numbers)
        key = tuple(numbers)
        if key not in self._batches:
            self._batches[key] = self._store.batch(numbers)
        return self._batches[key]

    def _regress(self, feature_KPd: Tensor, key_KP: Tensor) -> Tensor:
        with self._autocast():
            return _full(self._head(feature_KPd, key_KP))

    def _shared_loss(
        self, numbers: list[int | None], batch: PaddedBatch, feature_KPd: Tensor, key_KP: Tensor
    ) -> Tensor:
        """Losses of all places, where they are sums of one error and nothing is sampled."""
        y_KP = self._regress(feature_KPd, key_KP)
        return (batch.weight_KP * self._places[0].trainee.loss.error(batch.target_KP, y_KP)).sum(dim=1)

    def _own_losses(self, numbers: list[int | None], batch: PaddedBatch, feature_KPd: Tensor, key_KP: Tensor) -> Tensor:
        """Losses of all places, each by its own sampler and loss."""
        frames = key_KP.shape[1]
        own_rows = [batch.own_rows(k) for k in range(len(self._places))]
        own_features = [f_Pd.index_select(0, rows) for f_Pd, rows in zip(feature_KPd.unbind(), own_rows, strict=True)]
        news: list[Samples | None] = []
        for place, number, f_Rd in zip(self._places, numbers, own_features, strict=True):
            chunk = None if number is None else place.trainee.chunks[number]
            drawn = chunk.sampler.draw(f_Rd, place.trainee.samples) if chunk is not None and chunk.sampler else None
            news.append(drawn)
        if any(new is not None and len(new.target_Q) for new in news):
            new_f = [feature_KPd[0, :0] if new is None else new.feature_Qd for new in news]
            new_k = [
                key_KP[k, :0]
                if new is None or number is None
                else new_keys(place.trainee.chunks[number], len(new.target_Q), place.trainee.epoch_seed)
                for k, (place, number, new) in enumerate(zip(self._places, numbers, news, strict=True))
            ]
            feature_KPd = torch.cat([feature_KPd, pad_sequence(new_f, batch_first=True)], dim=1)
            key_KP = torch.cat([key_KP, pad_sequence(new_k, batch_first=True)], dim=1)
        values = []
        rows_of_y = zip(self._regress(feature_KPd, key_KP).unbind(), own_rows, own_features, news, numbers, strict=True)
        for place, (y_P, rows, f_Rd, new, number) in zip(self._places, rows_of_y, strict=True):
            if number is None:
                values.append(y_P.new_zeros(()))
                continue
            y_R = y_P.index_select(0, rows)
            if new is not None:
                y_R = torch.cat([y_R, y_P[frames : frames + len(new.target_Q)]])
                f_Rd = torch.cat([f_Rd, new.feature_Qd])
            known = labelled(place.trainee.chunks[number], new)
            seen = Batch(y_R, known.target_R, known.weight_R, known.video_R, known.bin_R, f_Rd)
            values.append(place.trainee.loss(seen))
        return torch.stack(values)

    # -- ends of epochs

    def _end_epochs(self, ended: Sequence[int]) -> None:
        """Note the losses of places whose epoch is over; videos that are watched are predicted together."""
        watched: dict[int, dict[str, np.ndarray]] = {k: {} for k in ended}
        if looking := [k for k in ended if self._places[k].trainee.watched]:
            watched |= self._predict(looking, [self._places[k].trainee.watched for k in looking])
        totals = self._total_K.tolist()
        for k in ended:
            place = self._places[k]
            try:
                place.trainee.end_epoch(totals[k], partial(_of, watched[k]), partial(self._stack.parameters_of, k))
            except ComputeError as error:
                place.failed = error
            if place.keeper is not None and not place.is_over:
                place.keeper.keep(place.trainee.standing, partial(self._live, k))

    @torch.no_grad()
    def _predict(self, places: Sequence[int], videos: Sequence[Sequence[Video]]) -> dict[int, dict[str, np.ndarray]]:
        """Predictions of some videos by each place's replica as it is."""
        network = self._stack.some(places)
        groups = [self._group(own) for own in videos]
        found: dict[int, dict[str, np.ndarray]] = {k: {} for k in places}
        for number in range(max(len(own) for own in groups)):
            chosen = [own[number] if number < len(own) else [] for own in groups]
            lengths = [[len(video.x_TD) for video in group] for group in chosen]
            longest, most = max(max(own, default=0) for own in lengths), max(len(own) for own in lengths)
            width = next(video.x_TD.shape[1] for group in chosen for video in group)
            x_KVTD = torch.zeros(len(places), most, longest, width)
            for k, group in enumerate(chosen):
                for v, video in enumerate(group):
                    x_KVTD[k, v, : len(video.x_TD)] = video.x_TD
            frames_KV = torch.tensor([own + [0] * (most - len(own)) for own in lengths])
            rows = Padded(frames_KV.to(self._device), longest)
            with self._autocast():
                y_KP = network(x_KVTD.flatten(1, 2).to(self._device), rows)
            y_KVT = y_KP.float().unflatten(1, (most, longest)).cpu().numpy()
            for k, group in enumerate(chosen):
                for v, video in enumerate(group):
                    found[places[k]][video.item] = y_KVT[k, v, : len(video.x_TD)]
        return found


def _of(found: dict[str, np.ndarray], videos: Sequence[Video]) -> dict[str, np.ndarray]:
    return {video.item: found[video.item] for video in videos}


def _full(x: Tensor) -> Tensor:
    """As float32, if mixed precision made it less."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
