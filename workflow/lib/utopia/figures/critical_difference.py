"""Treatments by their mean rank over data sets, and which of them the ranks do not tell apart (docs/statistics.md)."""

from __future__ import annotations

import csv
import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from utopia.evaluation.comparisons import TREATMENTS
from utopia.evaluation.verdict import LEVEL
from utopia.figures import style
from utopia.figures.data import Point

READS = ("table",)
Ranks = dict[str, dict[str, float]]
"""By data set and treatment."""


def draw(table: Path) -> tuple[Figure, list[Point]]:
    """A critical-difference diagram (Demsar, 2006, JMLR 7: 1-30) of a table of comparisons.

    A line of ranks, 1 the best; a bar joins treatments whose mean ranks differ by less than the critical difference of
    Nemenyi's test.
    """
    gains = read(table)
    by_dataset = ranks(gains)
    by_dataset = {
        dataset: {TREATMENTS.get(name, name): rank for name, rank in rank_of.items()}
        for dataset, rank_of in by_dataset.items()
    }
    treatments = list(next(iter(by_dataset.values()), {}))
    if len(by_dataset) < 2 or len(treatments) < 3:
        reason = (
            "A rank over data sets needs two of them, and two treatments beside the baseline, on which all have values"
        )
        figure = style.blank(1.3)
        style.statement(figure.subplots(), reason, width=50)
        return figure, [Point("", "absent", note=reason)]
    return _diagram(by_dataset, treatments)


def read(table: Path) -> dict[tuple[str, ...], dict[str, float]]:
    """The gains of a table of comparisons: (data set, baseline, model, target, metric) -> treatment -> gain."""
    values: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    with table.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            # what has no interval is no metric of single items, such as one of labels alone
            if line["column"] == "difference" and line["low"]:
                named = json.loads(line["keys"])
                place = tuple(named[part] for part in ("dataset", "against", "model", "target", "metric"))
                values[place][named["treatment"]] = float(line["value"])
    return dict(values)


def ranks(gains: dict[tuple[str, ...], dict[str, float]]) -> Ranks:
    """The mean rank of each treatment on each data set, 1 the best; equal gains share theirs. The baseline's gain is 0.

    Ranked are the treatments that most data sets have, and of these the most; over the models, targets and metrics that
    have all of them.
    """
    from scipy.stats import rankdata

    where: dict[str, set[str]] = defaultdict(set)
    for (dataset, against, *_), value_of in gains.items():
        for treatment in (against, *value_of):
            where[treatment].add(dataset)
    most = max((len(datasets) for datasets in where.values()), default=0)
    wanted = sorted(treatment for treatment, datasets in where.items() if len(datasets) == most)
    by_dataset: dict[str, list[Any]] = defaultdict(list)
    for (dataset, against, *_), value_of in sorted(gains.items()):
        every = {against: 0.0, **value_of}
        if all(treatment in every for treatment in wanted):
            by_dataset[dataset].append(rankdata([-every[treatment] for treatment in wanted]))
    return {
        dataset: dict(zip(wanted, map(float, np.mean(value_of, axis=0)), strict=True))
        for dataset, value_of in by_dataset.items()
    }


def _diagram(by_dataset: Ranks, treatments: list[str]) -> tuple[Figure, list[Point]]:
    import pandas
    import scikit_posthocs  # late: it takes a second, and no other job needs it
    from scipy.stats import rankdata, studentized_range

    blocks = np.array([rankdata([rank_of[name] for name in treatments]) for rank_of in by_dataset.values()])
    p = scikit_posthocs.posthoc_nemenyi_friedman(pandas.DataFrame(blocks, columns=treatments))
    mean = dict(zip(treatments, map(float, blocks.mean(axis=0)), strict=True))
    count, datasets = len(treatments), len(blocks)
    quantile = float(studentized_range.ppf(1 - LEVEL, count, np.inf)) / math.sqrt(2)
    critical = quantile * math.sqrt(count * (count + 1) / (6 * datasets))
    figure = style.blank(0.9 + 0.16 * count)
    axes = figure.subplots()
    parts = scikit_posthocs.critical_difference_diagram(
        mean, p, ax=axes, alpha=LEVEL, label_fmt_left="{label} ({rank:.2f})", label_fmt_right="({rank:.2f}) {label}",
        label_props={"size": 7}, marker_props={"s": 14, "color": style.BLUE},
        elbow_props={"linewidth": 0.8, "color": style.BLUE}, crossbar_props={"linewidth": 2, "color": style.VERMILLION},
    )  # fmt: skip
    for (bar,) in parts["crossbars"]:  # drawn through its treatments in the order of a set: another one in each process
        bar.set_xdata(sorted(bar.get_xdata()))
    words = f"mean rank over {style.count(datasets, 'data set')}, critical difference {critical:.2f}"
    figure.suptitle(words, x=0.01, ha="left", fontsize=7.5)
    points = [Point("", name, rank) for name, rank in sorted(mean.items(), key=lambda named_rank: named_rank[1])]
    points += [Point("", "critical difference", critical, note=f"Nemenyi, {count} treatments, {datasets} data sets")]
    points += [Point(dataset, name, rank) for dataset, rank_of in by_dataset.items() for name, rank in rank_of.items()]
    points += [
        Point("p", f"{treatment} against {other}", float(p.loc[treatment, other]))
        for number, treatment in enumerate(treatments)
        for other in treatments[number + 1 :]
    ]
    return figure, points
