"""Metrics of a run's stored predictions, by the protocol of its data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utopia import arrays
from utopia.errors import InputError, counted
from utopia.evaluation import metrics_csv
from utopia.evaluation.evaluated_item import (
    EvaluatedItem,
    item_metrics,
    read_evaluated_item,
    replica_metrics,
    rounds_twice,
    rows,
)
from utopia.evaluation.label_correlation import label_correlations
from utopia.evaluation.metrics_csv import MetricRow
from utopia.evaluation.predictions import replicas_of
from utopia.evaluation.reactions import Rule
from utopia.labels.filters import Filter
from utopia.labels.read import Labels

_AGAIN = "delete the predictions and run the same command again: they will be regenerated"


def evaluate_run(*, run: Mapping[str, Any], labels: Path, predictions: Path, output: Path) -> None:
    """Write metrics.csv: the metrics of every replica of a run and of each of its test items.

    Protocol `affect`: per replica `mse`, `rmse` and `pcc_pooled` (all frames pooled; `rmse` is the root of `mse`),
    `mse_item`, `rmse_item` and `pcc` (means over movies or songs); per item `mse`, `rmse`, `pcc`. [U] no paper says
    whether frames are pooled, so both readings are stored; PMEmo's authors report both RMSE. Protocol
    `summary`: `f_score` per video and its mean over the fold's test videos, `kendall` and `spearman` likewise (see
    `evaluated_item.item_metrics` on the two ways that the field computes them). Where single votes are known, both have
    `wasserstein`, per item and its mean. Protocol
    `reactions`: `correlation`, and `correlation.<reaction>`, per video and their means; of the training labels
    `label_correlation` and `label_correlation_first` (see `label_correlation`). Of a run that could not be trained:
    no rows.

    Args:
        run: `id`, `targets` and `repeats` of the run; `double_rounding` (round a split's F-score to two decimals),
            `constant` (see `reactions.correlations`) and `label_filter`.
        labels: the data set's labels file.
        predictions: the run's predictions file.
        output: where metrics.csv goes.

    Raises:
        InputError: a replica or one of its test items is missing, a prediction does not fit the item's label grid or
            is not finite, an item is not a test item of its fold, or shots are missing.
    """
    read, stored = Labels(labels), arrays.load(predictions)
    if not stored.meta["folds"]:  # no fold could be trained: its cells are declared holes
        metrics_csv.write(output, [])
        return
    replicas = _labelled(replicas_of(stored), read)
    constant: Rule = run["constant"]
    _check_complete(run, read, stored, replicas)
    of_labels = _of_labels(run, read, replicas, constant)
    known: dict[tuple[str, str], EvaluatedItem] = {}
    made: list[MetricRow] = []
    for (target, fold, repeat), names in sorted(replicas.items(), key=lambda entry: _order(run, read, entry[0])):
        items, values, series = [], {}, []
        for item in names:
            if (target, item) not in known:
                known[target, item] = read_evaluated_item(read, target, item, constant)
            prediction = stored[f"{target}/{fold}/{repeat}/{item}"].astype(np.float64)
            _check_series(predictions, f"{target}/{fold}/{repeat}/{item}", prediction, known[target, item])
            items.append(known[target, item])
            series.append(prediction)
            values[item] = item_metrics(known[target, item], prediction)
        of_replica = replica_metrics(items, series, list(values.values()), double_rounding=rounds_twice(run))
        made += rows(target, fold, repeat, of_replica | of_labels.get((target, fold), {}), values)
    metrics_csv.write(output, made)


def _labelled(
    replicas: Mapping[tuple[str, str, str], list[str]], labels: Labels
) -> dict[tuple[str, str, str], list[str]]:
    """Without the items that have no labels to be judged by."""
    unlabelled = set(labels.unlabelled)
    return {replica: [item for item in items if item not in unlabelled] for replica, items in replicas.items()}


def _of_labels(
    run: Mapping[str, Any], labels: Labels, replicas: Mapping[tuple[str, str, str], list[str]], constant: Rule
) -> dict[tuple[str, str], dict[str, float]]:
    """What the filter leaves of the training labels, by target and fold; nothing of other protocols."""
    if labels.protocol != "reactions":
        return {}
    train = {fold["name"]: fold["train"] for fold in labels.folds}
    name: Filter = run["label_filter"]
    return {
        (target, fold): label_correlations(labels, target, train[fold], name, constant)
        for target, fold in {(target, fold) for target, fold, _ in replicas}
    }


def _order(run: Mapping[str, Any], labels: Labels, replica: tuple[str, str, str]) -> tuple[int, int, int, str]:
    target, fold, repeat = replica
    folds = [known["name"] for known in labels.folds]
    return run["targets"].index(target), folds.index(fold), int(repeat) if repeat.isdecimal() else 0, repeat


def _check_complete(
    run: Mapping[str, Any], labels: Labels, stored: arrays.Arrays, replicas: Mapping[tuple[str, str, str], list[str]]
) -> None:
    """Refuse predictions with fewer replicas or test items than the run promises."""
    tests = {fold["name"]: set(fold["test"]) for fold in labels.folds}
    folds = [str(fold) for fold in stored.meta["folds"]]
    repeats = {repeat for _, _, repeat in replicas}
    # What one replica of a fold has predicted, all of them must have: a run may leave out items without features, and
    # its training summary says which, but not another set in each replica.
    items = {fold: set[str]().union(*(names for (_, f, _), names in replicas.items() if f == fold)) for fold in folds}
    faults = []
    if len(repeats) != int(run["repeats"]):
        faults.append(f"{counted(len(repeats), 'repeat')} instead of {run['repeats']}")
    for target in run["targets"]:
        for fold in folds:
            for repeat in sorted(repeats):
                predicted = set(replicas.get((target, fold, repeat), ()))
                if not predicted:
                    faults.append(f"no replica {target}/{fold}/{repeat}")
                elif predicted != items[fold]:
                    faults.append(
                        f"{target}/{fold}/{repeat} has other items: {', '.join(sorted(predicted ^ items[fold])[:5])}"
                    )
    for target, fold, _ in replicas:
        if target not in run["targets"] or fold not in folds:
            faults.append(f"{target}/{fold} is not part of the run")
    for fold in folds:
        if strangers := items[fold] - tests.get(fold, set()):
            faults.append(f"fold {fold} has items that it does not test: {', '.join(sorted(strangers)[:5])}")
    if faults:
        raise InputError(
            f"the predictions of {run['id']} are not what the run promises: {'; '.join(faults[:6])}",
            where=stored.path,
            why="metrics over less than promised would pass for the promised ones",
            remedy=_AGAIN,
        )


def _check_series(path: Path, name: str, prediction: np.ndarray, item: EvaluatedItem) -> None:
    if prediction.shape != item.label.shape:
        raise InputError(
            f"{name} has shape {prediction.shape}, its label {item.label.shape}",
            where=path,
            why="labels and predictions share one time grid per item",
            remedy=_AGAIN,
        )
    if not np.isfinite(prediction).all():
        raise InputError(f"{name} holds values that are not finite", where=path, why="training diverged", remedy=_AGAIN)
