"""Rows that need no network: what chance scores, people against each other, the labels themselves, and a linear map."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from utopia import seeds
from utopia.errors import InputError
from utopia.evaluation import metrics, metrics_csv, ridge, summary
from utopia.evaluation.evaluated_item import (
    RANK_METRICS,
    SERIES_METRICS,
    EvaluatedItem,
    item_metrics,
    read_evaluated_item,
    replica_metrics,
    rounds_twice,
    rows,
    with_each_user,
)
from utopia.evaluation.metrics_csv import MetricRow
from utopia.features.read import FeatureReader
from utopia.labels.read import Labels

_log = logging.getLogger(__name__)

Reference = Literal["random", "human", "oracle", "ridge"]


def evaluate_reference(
    *,
    reference: Reference,
    labels: Path,
    run: Mapping[str, Any],
    output: Path,
    features: Sequence[Path] = (),
) -> None:
    """Write metrics.csv of a reference, over the test items of every fold.

    `random`: uniform scores at every step, each metric averaged over `random_draws` seeded draws; one replica per fold
    and repeat. `human`: leave one out. Each annotator against the others: for summaries the F-score against each other
    user (maximum or mean as the protocol says), for series the mean of the others' votes as the label, for rank
    correlations both that and each other annotator; then the mean over annotators. `oracle`: the training labels as
    predictions, the most that fitting them perfectly can give. These two do not depend on a seed and have one replica
    per fold. `ridge`: a linear map from the features, fitted to the training items of the fold (`utopia.evaluation.
    ridge`). It does not depend on a seed either; each repeat has the same numbers, so that networks can be compared
    with it in pairs. Items without features are left out, and so are folds in which fewer than two train or none tests.
    Where the labels file has no fold, every metric is declared as one that is not available, with the reason.

    Args:
        reference: which.
        labels: the data set's labels file.
        run: `id`, `targets`, `low`, `high`, `seed`, `repeats`, `double_rounding`, `constant`; for `random` also
            `random_draws`, random scorings per item, fold and repeat; for `ridge` `features`, their names.
        output: where metrics.csv goes.
        features: feature indexes, which `ridge` reads.

    Raises:
        InputError: shots, user summaries, votes or features that the reference needs are missing.
    """
    makers: dict[str, Callable[[Labels, Mapping[str, Any], str, Mapping[str, Any]], Iterator[list[MetricRow]]]] = {
        "random": _random,
        "human": _human,
        "oracle": _oracle,
        "ridge": partial(_ridge, FeatureReader(list(features))),
    }
    if reference not in makers:
        raise InputError(f"there is no reference {reference!r}", remedy=f"use one of {', '.join(makers)}")
    read = Labels(labels)
    made: list[MetricRow] = []
    if not read.folds:  # as a run that cannot be trained is, so is this one declared
        dropped = "; ".join(fold["reason"] for fold in read.meta.get("dropped_folds", [])) or "there is no fold"
        names = _names(read.protocol)
        metrics_csv.write(output, [metrics_csv.hole(t, name, dropped) for t in run["targets"] for name in names])
        return
    for target in run["targets"]:
        for fold in read.folds:
            if not fold["test"]:
                raise InputError(f"fold {fold['name']} has no test item", where=labels)
            for replica in makers[reference](read, run, target, fold):
                made += replica
    if not made:
        raise InputError(
            "in no fold have two training items and a test item features",
            where=labels,
            why="a linear map cannot be fitted and tested",
            remedy="get the features of more items, or take the row with `reference: ridge` out of the table",
        )
    metrics_csv.write(output, made)


def _names(protocol: str) -> tuple[str, ...]:
    """What is declared as not available, by protocol, where no item can be tested."""
    if protocol == "affect":
        of_series = [(name, f"{name}_item") if name in ("mse", "rmse") else (name,) for name in SERIES_METRICS]
        return (*chain.from_iterable(of_series), "pcc_pooled", "wasserstein")
    if protocol == "summary":
        return ("f_score", *RANK_METRICS, "kendall_users", "spearman_users", "wasserstein")
    return ("correlation",)


def _items(labels: Labels, run: Mapping[str, Any], target: str, fold: Mapping[str, Any]) -> dict[str, EvaluatedItem]:
    return {item: read_evaluated_item(labels, target, item, run["constant"]) for item in fold["test"]}


def _random(labels: Labels, run: Mapping[str, Any], target: str, fold: Mapping[str, Any]) -> Iterator[list[MetricRow]]:
    items, draws = _items(labels, run, target, fold), int(run["random_draws"])
    for repeat in range(int(run["repeats"])):
        streams = {
            name: np.random.default_rng(seeds.derive(run["seed"], run["id"], target, fold["name"], repeat, name))
            for name in items
        }
        of_draws: list[dict[str, float]] = []
        of_items: dict[str, list[dict[str, float]]] = {name: [] for name in items}
        for _ in range(draws):
            scores = [streams[name].uniform(run["low"], run["high"], len(item.label)) for name, item in items.items()]
            values = [item_metrics(item, series) for item, series in zip(items.values(), scores, strict=True)]
            of_draws.append(replica_metrics(list(items.values()), scores, values, double_rounding=rounds_twice(run)))
            for name, value in zip(items, values, strict=True):
                of_items[name].append(value)
        yield rows(
            target,
            fold["name"],
            str(repeat),
            _mean(of_draws),
            {name: _mean(of_item) for name, of_item in of_items.items()},
        )


def _mean(values: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([value[name] for value in values])) for name in values[0]}


def _oracle(labels: Labels, run: Mapping[str, Any], target: str, fold: Mapping[str, Any]) -> Iterator[list[MetricRow]]:
    items = _items(labels, run, target, fold)
    series = [labels.label(name, target).astype(np.float64) for name in items]
    values = [item_metrics(item, scores) for item, scores in zip(items.values(), series, strict=True)]
    yield rows(
        target,
        fold["name"],
        "0",
        replica_metrics(list(items.values()), series, values, double_rounding=rounds_twice(run)),
        dict(zip(items, values, strict=True)),
    )


def _ridge(
    reader: FeatureReader, labels: Labels, run: Mapping[str, Any], target: str, fold: Mapping[str, Any]
) -> Iterator[list[MetricRow]]:
    names = list(run["features"])
    train, test = ([item for item in fold[part] if reader.available(item, names) is None] for part in ("train", "test"))
    if len(train) < 2 or not test:
        _log.warning("fold %s: %d training and %d test items have features", fold["name"], len(train), len(test))
        return
    x = {item: reader.aligned(item, names, labels.times(item)).astype(np.float64) for item in (*train, *test)}
    for item, x_TD in x.items():
        if not np.isfinite(x_TD).all():
            raise InputError(f"features of {item} are not finite", remedy="delete its objects in features/store")
    y = {item: labels.label(item, target).astype(np.float64) for item in train}
    model = ridge.fit(x, y, train)
    _log.info("%s, fold %s: penalty %g", target, fold["name"], model.alpha)
    items = _items(labels, run, target, {"test": test})
    series = [model.predict(x[item]) for item in test]
    values = [item_metrics(item, scores) for item, scores in zip(items.values(), series, strict=True)]
    of_replica = replica_metrics(list(items.values()), series, values, double_rounding=rounds_twice(run))
    for repeat in range(int(run["repeats"])):
        yield rows(target, fold["name"], str(repeat), of_replica, dict(zip(items, values, strict=True)))


def _human(labels: Labels, run: Mapping[str, Any], target: str, fold: Mapping[str, Any]) -> Iterator[list[MetricRow]]:
    items = _items(labels, run, target, fold)
    if labels.protocol == "summary":
        with_votes = [name for name in items if labels.votes(name, target) is not None]
        ranks = RANK_METRICS if with_votes else {}
        values = {}
        for name, item in items.items():
            assert item.shots is not None
            if len(item.shots.user_summary) < 2:
                raise _alone(labels, f"{name} has the summary of one user")
            values[name] = {"f_score": summary.leave_one_out(item.shots.user_summary, item.over)}
            if ranks:
                votes = _votes(labels, name, target)
                values[name] |= _against_others(votes, ranks) | _against_each(votes)
                values[name]["wasserstein"] = metrics.wasserstein_among(votes)
        of_replica = _mean(list(values.values()))
        of_replica["f_score"] = summary.split_mean(
            [v["f_score"] for v in values.values()], double_rounding=rounds_twice(run)
        )
    else:
        values = {
            name: _against_others(_votes(labels, name, target), SERIES_METRICS)
            | {"wasserstein": metrics.wasserstein_among(_votes(labels, name, target))}
            for name in items
        }
        mean, frames = _mean(list(values.values())), [len(item.label) for item in items.values()]
        pooled = float(np.average([value["mse"] for value in values.values()], weights=frames))
        of_replica = {"mse": pooled, "mse_item": mean["mse"], "rmse_item": mean["rmse"]}
        of_replica |= {name: value for name, value in mean.items() if name not in of_replica.keys() | {"rmse"}}
    yield rows(target, fold["name"], "0", of_replica, values)


def _votes(labels: Labels, item: str, target: str) -> NDArray[np.float64]:
    votes = labels.votes(item, target)
    if votes is None:
        raise InputError(
            f"{item} has no votes of single annotators on {target}",
            where=labels.path,
            why="how well people agree cannot be computed from their mean",
        )
    if len(votes) < 2:
        raise _alone(labels, f"{item} has the votes of one annotator on {target}")
    return votes.astype(np.float64)


def _alone(labels: Labels, what: str) -> InputError:
    return InputError(
        f"{what}: none is left to compare with",
        where=labels.path,
        why="how well people agree takes two of them",
        remedy="get the annotations of others too, or take the row with `reference: human` out of the table",
    )


def _against_each(votes: NDArray[np.float64]) -> dict[str, float]:
    """Rank correlations of each annotator's series [A, T] with each of the others', averaged over all pairs."""
    return _mean([with_each_user(mine, np.delete(votes, index, axis=0)) for index, mine in enumerate(votes)])


def _against_others(
    votes: NDArray[np.float64], compared: Mapping[str, Callable[[NDArray[np.float64], NDArray[np.float64]], float]]
) -> dict[str, float]:
    """Each annotator's series [A, T] against the mean of the others', averaged over annotators."""
    others = (votes.sum(axis=0) - votes) / (len(votes) - 1)
    return {
        name: float(np.mean([metric(mine, rest) for mine, rest in zip(votes, others, strict=True)]))
        for name, metric in compared.items()
    }
