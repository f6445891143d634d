"""Training one replica, from its identity alone: nothing that other replicas do can change its numbers."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from utopia import registry
from utopia.arrays import Arrays
from utopia.config.training import Training
from utopia.distribution.series import read_series
from utopia.errors import ComputeError, InputError
from utopia.losses._common import Loss
from utopia.models._common import Regressor, activation_for
from utopia.models._layers import use_generator
from utopia.training.adam import Adam, make_update
from utopia.training.chunks import Chunk, MakeSampler, Video, chunk_loss, make_chunks, pack, predict
from utopia.training.data import Data, Fold, moments
from utopia.training.network import Network
from utopia.training.own_way import by_own_way
from utopia.training.replica import Replica
from utopia.training.selection import History, chosen_epoch, is_over, possible_epochs
from utopia.training.settings import Run

Parameters = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Parts:
    """The components of a run with their settings read."""

    model: Any
    loss: Any
    sampler: Any
    recipe: Training

    @classmethod
    def of(cls, run: Run, distribution: Arrays) -> Parts:
        """Read a run's components.

        Raises:
            ComputeError: the distribution file's plan is for another window than the sampler's.
        """
        model = registry.load("models", run.model).Config.model_validate(run.settings)
        loss = registry.load("losses", run.loss).Config.model_validate(run.loss_config)
        sampler = (
            registry.load("samplers", run.sampler).Config.model_validate(run.sampler_config) if run.sampler else None
        )
        planned, window = distribution.meta["window"], getattr(sampler, "window", None)
        if window is not None and window != planned:
            raise ComputeError(
                f"the TNS plan is for windows of {planned} frames, the sampler is set to {window}",
                where=distribution.path,
                remedy="make the label distribution with the sampler's window",
            )
        return cls(model, loss, sampler, model.training)


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


def fit_replica(
    replica: Replica, run: Run, parts: Parts, data: Data, fold: Fold, distribution: Arrays, device: torch.device
) -> Fitted:
    """Train one replica and predict its test items with the epoch that the recipe selects.

    Raises:
        ComputeError: a loss is not finite; names replica and epoch.
    """
    recipe = parts.recipe
    share = recipe.validation_share if recipe.selection == "early_stopping" else 0.0
    train, held_out = replica.hold_out(run, fold.train, share)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(replica.stream(run, "parameters"))
        network = _network(run, parts, data, train).to(device)
        loss = registry.load("losses", run.loss).build(parts.loss).to(device)
        torch.manual_seed(replica.stream(run, "dropout"))  # for layers that know no generator of their own
        use_generator(network, torch.Generator(device).manual_seed(replica.stream(run, "dropout")))
        use_generator(loss, torch.Generator(device).manual_seed(replica.stream(run, "loss")))
        chunks = _chunks(replica, run, parts, data, train, distribution, loss, device)
        validation = [_video(data, item, replica.target) for item in held_out]
        test = [_video(data, item, replica.target, judged=True) for item in fold.test]
        history, epoch, parameters = _optimise(replica, run, recipe, network, loss, chunks, validation, test, device)
        network.load_state_dict(parameters)
        predictions = predict(network, test, device)
    for item, y_T in predictions.items():
        if not np.isfinite(y_T).all():
            raise ComputeError(f"prediction of {item} is not finite", where=f"run {run.id}, replica {replica.name}")
    arrays = {name: value.cpu().numpy() for name, value in parameters.items()}
    return Fitted(arrays, predictions, history, epoch, train, held_out)


def _network(run: Run, parts: Parts, data: Data, train: Sequence[str]) -> Network:
    mean_D, deviation_D = moments([data.features[item] for item in train], data.standardised_D)
    build = registry.load("models", run.model).build
    model: Regressor = build(parts.model, len(data.standardised_D), activation_for(run.low, run.high))
    return Network(model, mean_D, deviation_D)


def _chunks(
    replica: Replica,
    run: Run,
    parts: Parts,
    data: Data,
    train: Sequence[str],
    distribution: Arrays,
    loss: Loss,
    device: torch.device,
) -> list[Chunk]:
    videos = [_video(data, item, replica.target, distribution=distribution, fold=replica.fold) for item in train]
    groups = pack(videos) if parts.recipe.batching == "accumulate_all" else [[video] for video in videos]
    return make_chunks(groups, loss, _make_sampler(run, parts) if run.sampler else None, device)


def _make_sampler(run: Run, parts: Parts) -> MakeSampler:
    """The sampler's `build` with its settings and, where it takes it, the span of the label range filled in."""
    build = registry.load("samplers", str(run.sampler)).build
    span = {"span": run.high - run.low} if "span" in inspect.signature(build).parameters else {}
    return partial(build, parts.sampler, **span)


def _video(
    data: Data, item: str, target: str, *, judged: bool = False, distribution: Arrays | None = None, fold: str = ""
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
    return Video(item, x_TD, torch.as_tensor(label_T, dtype=torch.float32), series)


def _optimise(
    replica: Replica,
    run: Run,
    recipe: Training,
    network: Network,
    loss: Loss,
    chunks: list[Chunk],
    validation: list[Video],
    test: list[Video],
    device: torch.device,
) -> tuple[History, int, Parameters]:
    """Run epochs until the recipe is done; the history, the selected epoch and its parameters."""
    order = torch.Generator().manual_seed(replica.stream(run, "order"))
    samples = torch.Generator(device).manual_seed(replica.stream(run, "samples"))
    of_network = make_update(list(network.parameters()), recipe)
    of_loss = Adam(list(loss.parameters()), loss.learning_rate or recipe.learning_rate)
    history, kept = History(), dict[int, Parameters]()
    videos = sum(len(chunk.lengths) for chunk in chunks)

    def update() -> None:
        of_network()
        of_loss.step()

    own_way = by_own_way(network, loss, recipe, samples)

    network.train()
    for epoch in range(recipe.epochs):
        total = torch.zeros((), dtype=torch.float64, device=device)
        for number in torch.randperm(len(chunks), generator=order).tolist():
            if own_way is not None:
                total += own_way(chunks[number], epoch)
                of_loss.step()
                continue
            value = chunk_loss(network, chunks[number], loss, samples)
            value.backward()
            total += value.detach()
            if recipe.batching == "per_video":
                update()
        if recipe.batching == "accumulate_all":
            update()
        history.loss.append(_finite(total.item() / videos, "training loss", replica, run, epoch))
        if validation:
            error = _mean_error(predict(network, validation, device), validation)
            history.validation.append(_finite(error, "validation loss", replica, run, epoch))
        if recipe.selection == "best_test":
            error = _mean_error(predict(network, test, device), test)
            history.test.append(_finite(error, "test error", replica, run, epoch))
        possible = possible_epochs(recipe.selection, history)
        kept = {number: parameters for number, parameters in kept.items() if number in possible}
        if epoch in possible:
            kept[epoch] = {name: value.detach().clone() for name, value in network.state_dict().items()}
        if is_over(recipe.selection, history, recipe.patience):
            break
    chosen = chosen_epoch(recipe.selection, history)
    return history, chosen, kept[chosen]


def _mean_error(predictions: dict[str, np.ndarray], videos: Sequence[Video]) -> float:
    """Mean over videos of the mean squared error, in float64."""
    errors = [np.square(predictions[video.item] - video.target_T.double().numpy()).mean() for video in videos]
    return float(np.mean(errors))


def _finite(value: float, what: str, replica: Replica, run: Run, epoch: int) -> float:
    if math.isfinite(value):
        return value
    raise ComputeError(
        f"the {what} is {value} in epoch {epoch + 1}",
        where=f"run {run.id}, replica {replica.name}",
        why="its parameters are lost, and no number of this run can be trusted",
        remedy="lower `learning_rate` or set `clip_norm` under `training` of this model",
    )
