"""What predictions of an item are evaluated against, and the metrics that the item's protocol asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from utopia.config import registry
from utopia.errors import ComputeError
from utopia.evaluation import metrics, reactions, summary
from utopia.evaluation.metrics_csv import MetricRow
from utopia.labels.read import Labels, Shots

SERIES_METRICS: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "mse": metrics.mse,
    "rmse": metrics.rmse,
    "pcc": metrics.pcc,
}
"""Of a predicted and a labelled series [T], in the protocol `affect`; of a replica, the mean over its test items."""
RANK_METRICS: dict[str, Callable[[ArrayLike, ArrayLike], float]] = {
    "kendall": metrics.kendall,
    "spearman": metrics.spearman,
}
"""Of predicted scores [T] and the mean of the votes [T], in the protocol `summary`; of a replica as above."""


@dataclass(frozen=True)
class EvaluatedItem:
    """One item under one target: `label` [T] (of reactions [T, C]) judges, the rest serves single protocols.

    consensus: [T], the mean vote of all annotators, or of those held out to judge (the label where single votes are not
    known), and votes [U, T], the single ones where they are known, for rank correlations and the distance of
    distributions. columns: names of
    the C reactions. constant: the correlation with a constant series. counted: [T], which labels of the `affect`
    protocol count; None: all.
    """

    protocol: str
    label: NDArray[np.float64]
    consensus: NDArray[np.float64] | None = None
    votes: NDArray[np.float64] | None = None
    shots: Shots | None = None
    over: summary.Over = "mean"
    columns: tuple[str, ...] = ()
    constant: reactions.Rule = "zero"
    counted: NDArray[np.bool_] | None = None

    def of(self, series: ArrayLike) -> NDArray[np.float64]:
        """The part of a series [T] that counts."""
        values = np.asarray(series, np.float64)
        return values if self.counted is None else values[self.counted]


def read_evaluated_item(labels: Labels, target: str, item: str, constant: reactions.Rule) -> EvaluatedItem:
    """Read what judges an item: the evaluation label where there is one, else the training label.

    Raises:
        InputError: the summary protocol lacks the item's shots or user summaries.
    """
    label = labels.evaluation(item, target).astype(np.float64)
    if labels.protocol == "reactions":
        return EvaluatedItem(labels.protocol, label, columns=tuple(labels.columns[target]), constant=constant)
    stored = labels.judging_votes(item, target)
    votes = None if stored is None else stored.astype(np.float64)
    if labels.protocol != "summary":
        return EvaluatedItem(labels.protocol, label, votes=votes, counted=labels.counted(item, target))
    shots = labels.shots(item)
    return EvaluatedItem(
        labels.protocol,
        label,
        consensus=label if votes is None else votes.mean(axis=0),
        votes=votes,
        shots=shots,
        over=registry.fact("datasets", labels.dataset, "F_SCORE", "mean"),
    )


def item_metrics(item: EvaluatedItem, prediction: ArrayLike) -> dict[str, float]:
    """The metrics of a prediction [T] of one item.

    `affect`: `SERIES_METRICS`. `summary`: f_score (per cent); `RANK_METRICS` against the mean of the votes; where
    single votes are known also kendall_users and spearman_users, the mean over users of the correlation with each. The
    field reports both readings under one name, and they differ by half.
    Of both, where single votes are known, wasserstein: how far the distribution of the prediction over the item is from
    that of all votes.
    `reactions`: correlation, the mean over reactions, and `correlation.<reaction>`; those that are not defined are
    left out.
    """
    if item.protocol == "reactions":
        r_C = reactions.correlations(prediction, item.label, item.constant)
        of_reactions = {
            f"correlation.{name}": float(r) for name, r in zip(item.columns, r_C, strict=True) if np.isfinite(r)
        }
        mean = reactions.of_video(r_C)
        return of_reactions if mean is None else {"correlation": mean} | of_reactions
    if item.protocol != "summary":
        p, y = item.of(prediction), item.of(item.label)
        of_series = {name: metric(p, y) for name, metric in SERIES_METRICS.items()}
        return (
            of_series
            if item.votes is None
            else of_series | _of_distribution(p, [item.of(vote_T) for vote_T in item.votes])
        )
    assert item.shots is not None and item.consensus is not None
    mask = summary.summarise(prediction, item.shots.picks, item.shots.n_frames, item.shots.change_points)
    values = {
        "f_score": summary.over_users(summary.f_scores(mask, item.shots.user_summary), item.over),
        **{name: metric(prediction, item.consensus) for name, metric in RANK_METRICS.items()},
    }
    if item.votes is None:
        return values
    return values | with_each_user(prediction, item.votes) | _of_distribution(prediction, item.votes)


def _of_distribution(prediction: ArrayLike, votes: ArrayLike) -> dict[str, float]:
    """How far the distribution of a prediction [T] is from that of the votes [U, T]."""
    return {"wasserstein": metrics.wasserstein(prediction, votes)}


def with_each_user(prediction: ArrayLike, votes: ArrayLike) -> dict[str, float]:
    """Rank correlations of a prediction [T] with the votes of each user [U, T], averaged over users."""
    return {
        "kendall_users": float(metrics.kendall_each(prediction, votes).mean()),
        "spearman_users": float(metrics.spearman_each(prediction, votes).mean()),
    }


def rounds_twice(run: Mapping[str, Any]) -> bool:
    """Whether a run's settings ask for the F-score of a split to be rounded to two decimals."""
    return bool(run["double_rounding"])


def replica_metrics(
    items: Sequence[EvaluatedItem],
    predictions: Sequence[ArrayLike],
    values: Sequence[Mapping[str, float]],
    *,
    double_rounding: bool = False,
) -> dict[str, float]:
    """The metrics of a replica over its test items, from the predictions [T] and the items' own metrics.

    `affect`: mse, rmse and pcc_pooled over all frames of all items; mse_item, rmse_item and all others, the means of
    the items' own. `summary` and `reactions`: means of the items' own, over those that have one.

    Raises:
        ComputeError: there is no item.
    """
    if not items:
        raise ComputeError("a replica without a test item has no metrics")
    names = dict.fromkeys(name for value in values for name in value)
    mean = {name: float(np.mean([value[name] for value in values if name in value])) for name in names}
    if items[0].protocol == "reactions":
        return mean
    if items[0].protocol != "summary":
        p = np.concatenate([item.of(prediction) for item, prediction in zip(items, predictions, strict=True)])
        y = np.concatenate([item.of(item.label) for item in items])
        pooled = metrics.mse(p, y)
        return {
            "mse": pooled,
            "mse_item": mean["mse"],
            "rmse": float(np.sqrt(pooled)),
            "rmse_item": mean["rmse"],
            "pcc": mean["pcc"],
            "pcc_pooled": metrics.pcc(p, y),
            **{name: value for name, value in mean.items() if name not in ("mse", "rmse", "pcc")},
        }
    mean["f_score"] = summary.split_mean([value["f_score"] for value in values], double_rounding=double_rounding)
    return mean


def rows(
    target: str, fold: str, repeat: str, replica: Mapping[str, float], values: Mapping[str, Mapping[str, float]]
) -> list[MetricRow]:
    """Rows of one replica: its own metrics first, then those of each item."""
    of_replica = [MetricRow(target, fold, repeat, "", metric, value) for metric, value in replica.items()]
    return of_replica + [
        MetricRow(target, fold, repeat, item, metric, v) for item in values for metric, v in values[item].items()
    ]
