"""Forward and backward passes of K stacked replicas: a chunk of each through the network, and its loss.

Replicas whose losses are sums of one error share its kernels; else each has its own sampler and loss, as in
`training.loop.chunk_loss`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from utopia.config.engine import Engine
from utopia.losses._common import Batch
from utopia.models._dropout import pass_keys
from utopia.models._layout import Padded
from utopia.models._learner import Learns
from utopia.samplers._common import Samples
from utopia.training.chunks import Video, labelled, new_keys
from utopia.training.trainer import ReplicaTrainer
from utopia.training.vectorized.batch import ChunkTable, PaddedBatch, StepBatch, TableBatch
from utopia.training.vectorized.stack import Stack


class Passes:
    """Of the replicas that are in a stack now.

    Args:
        stack: their networks.
        trainers: the replicas.
        engine: on a GPU, the precision of matrix products and whether to compile.
        device: where.
    """

    def __init__(self, stack: Stack, trainers: Sequence[ReplicaTrainer], engine: Engine, device: torch.device) -> None:
        self._stack, self._trainers, self._device = stack, trainers, device
        network, on_gpu = stack.network, device.type == "cuda"
        custom = isinstance(network.model, Learns)
        self._autocast: Callable[[], AbstractContextManager[object]] = nullcontext
        if engine.precision == "bfloat16" and on_gpu and not custom:
            # a model with a learner of its own chooses: the same in training and in evaluation
            self._autocast = partial(torch.autocast, device.type, dtype=torch.bfloat16)
        # compiled per stack: views of its buffers are part of what is compiled
        compiled = engine.compile and on_gpu
        self._encode = torch.compile(network.encode) if compiled else network.encode
        self._head = torch.compile(network.head) if compiled else network.head
        self.table: ChunkTable | None = None
        """The replicas' chunks, where these stay the same."""
        self._batches: dict[tuple[int | None, ...], TableBatch] = {}
        if not custom and all(trainer.fixed_chunks for trainer in trainers):
            self.table = ChunkTable.of([trainer.chunks for trainer in trainers])
        losses = [trainer.loss for trainer in trainers]
        self._share_error = (
            self.table is not None
            and all(loss.by_row and type(loss).error is type(losses[0]).error for loss in losses)
            and not any(chunk.sampler for trainer in trainers for chunk in trainer.chunks)
        )

    def add_gradients(self, numbers: Sequence[int | None]) -> Tensor:
        """Add the gradients of one chunk of each replica, by its number (None: of none); the losses [K]."""
        batch = self._batch(numbers)
        epoch_K1 = torch.tensor([[trainer.epoch_seed] for trainer in self._trainers]).to(self._device)
        key_KP = pass_keys(batch.key_KP, epoch_K1)
        with self._autocast():
            feature_KPd = _full(self._encode(batch.x_KPD, batch.rows, key_KP))
        if self._share_error and isinstance(batch, TableBatch):
            error_KP = self._trainers[0].loss.error(batch.target_KP, self._regress(feature_KPd, key_KP))
            value_K = (batch.weight_KP * error_KP).sum(dim=1)
        else:
            value_K = self._losses(numbers, batch, feature_KPd, key_KP)
        value_K.sum().backward()
        return value_K.detach()

    def _batch(self, numbers: Sequence[int | None]) -> PaddedBatch:
        if self.table is None:
            chosen = zip(self._trainers, numbers, strict=True)
            return StepBatch([None if number is None else trainer.chunks[number] for trainer, number in chosen])
        if self._trainers[0].recipe.batching == "per_video":
            return self.table.batch(numbers)
        key = tuple(numbers)  # in full batches the same chunks meet in every epoch
        if key not in self._batches:
            self._batches[key] = self.table.batch(numbers)
        return self._batches[key]

    def _regress(self, feature_KPd: Tensor, key_KP: Tensor) -> Tensor:
        with self._autocast():
            return _full(self._head(feature_KPd, key_KP))

    def _losses(self, numbers: Sequence[int | None], batch: PaddedBatch, feature_KPd: Tensor, key_KP: Tensor) -> Tensor:
        """Losses of all replicas [K], each by its own sampler and loss."""
        frames = key_KP.shape[1]
        rows = [batch.rows_of(k) for k in range(len(self._trainers))]
        features = [f_Pd.index_select(0, rows_R) for f_Pd, rows_R in zip(feature_KPd.unbind(), rows, strict=True)]
        new_samples = [
            self._drawn(trainer, number, feature_Rd)
            for trainer, number, feature_Rd in zip(self._trainers, numbers, features, strict=True)
        ]
        if any(new is not None and len(new.target_Q) for new in new_samples):
            new_f = [feature_KPd[0, :0] if new is None else new.feature_Qd for new in new_samples]
            new_k = [
                key_KP[k, :0]
                if new is None or number is None
                else new_keys(trainer.chunks[number], len(new.target_Q), trainer.epoch_seed)
                for k, (trainer, number, new) in enumerate(zip(self._trainers, numbers, new_samples, strict=True))
            ]
            feature_KPd = torch.cat([feature_KPd, pad_sequence(new_f, batch_first=True)], dim=1)
            key_KP = torch.cat([key_KP, pad_sequence(new_k, batch_first=True)], dim=1)
        y_KP = self._regress(feature_KPd, key_KP)
        values = []
        for trainer, number, y_P, rows_R, feature_Rd, new in zip(
            self._trainers, numbers, y_KP.unbind(), rows, features, new_samples, strict=True
        ):
            if number is None:
                values.append(y_P.new_zeros(()))
                continue
            y_R = y_P.index_select(0, rows_R)
            if new is not None:
                y_R = torch.cat([y_R, y_P[frames : frames + len(new.target_Q)]])
                feature_Rd = torch.cat([feature_Rd, new.feature_Qd])
            known = labelled(trainer.chunks[number], new)
            seen = Batch(y_R, known.target_R, known.weight_R, known.video_R, known.bin_R, feature_Rd)
            values.append(trainer.loss(seen))
        return torch.stack(values)

    def _drawn(self, trainer: ReplicaTrainer, number: int | None, feature_Rd: Tensor) -> Samples | None:
        """New samples of a replica's chunk, if it has a sampler."""
        sampler = None if number is None else trainer.chunks[number].sampler
        return sampler.draw(feature_Rd, trainer.samples) if sampler else None

    @torch.no_grad()
    def predict(self, chosen: Sequence[int], videos: Sequence[Sequence[Video]]) -> dict[int, dict[str, np.ndarray]]:
        """Predictions by some replicas as they are now, of videos of their own.

        Args:
            chosen: which replicas, by their number in the stack.
            videos: of each of them.
        """
        pieces = [
            {video.item: self._trainers[k].pieces(video) for video in of_replica}
            for k, of_replica in zip(chosen, videos, strict=True)
        ]
        groups = [
            self._trainers[k].prediction_groups([piece for of_video in own.values() for piece in of_video])
            for k, own in zip(chosen, pieces, strict=True)
        ]
        y_of_piece = self._predicted(chosen, groups)
        predictions: dict[int, dict[str, np.ndarray]] = {}
        for number, (k, of_replica) in enumerate(zip(chosen, videos, strict=True)):
            predictions[k] = {}
            for video in of_replica:
                y_T = np.concatenate([y_of_piece[number][piece.item] for piece in pieces[number][video.item]])
                predictions[k][video.item] = self._trainers[k].joined(video, y_T)
        return predictions

    def _predicted(
        self, chosen: Sequence[int], groups: Sequence[Sequence[Sequence[Video]]]
    ) -> list[dict[str, np.ndarray]]:
        """Predictions of each chosen replica's pieces by their ids, group by group."""
        network = self._stack.some(chosen)
        predictions: list[dict[str, np.ndarray]] = [{} for _ in chosen]
        for number in range(max(len(of_replica) for of_replica in groups)):
            now = [of_replica[number] if number < len(of_replica) else [] for of_replica in groups]
            lengths = [[len(piece.x_TD) for piece in group] for group in now]
            longest, most = max(max(own, default=0) for own in lengths), max(len(own) for own in lengths)
            width = next(piece.x_TD.shape[1] for group in now for piece in group)
            x_KVTD = torch.zeros(len(chosen), most, longest, width)
            for k, group in enumerate(now):
                for v, piece in enumerate(group):
                    x_KVTD[k, v, : len(piece.x_TD)] = piece.x_TD
            frames_KV = torch.tensor([own + [0] * (most - len(own)) for own in lengths])
            rows = Padded(frames_KV.to(self._device), longest)
            with self._autocast():
                y_KP = network(x_KVTD.flatten(1, 2).to(self._device), rows)
            y_KVT = y_KP.float().unflatten(1, (most, longest)).cpu().numpy()
            for k, group in enumerate(now):
                for v, piece in enumerate(group):
                    predictions[k][piece.item] = y_KVT[k, v, : len(piece.x_TD)]
        return predictions


def _full(x: Tensor) -> Tensor:
    """As float32, if mixed precision made it less."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
