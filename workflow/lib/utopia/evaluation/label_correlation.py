"""How much of the labels is left once they are taken once per second and filtered (EEV 2021 sec. 4.3).

The paper's numbers, .63 to .69, are of the first training video alone: its tool reads no further. Both are given here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from utopia.evaluation.reactions import Rule, correlations, of_video, of_videos
from utopia.labels.dense import dense
from utopia.labels.filters import Filter, smoothed
from utopia.labels.read import Labels


def label_correlation(label_TC: NDArray[np.floating], every: int, name: Filter, rule: Rule = "zero") -> float | None:
    """Mean correlation over reactions of a video's labels [T, C] with what is left of them.

    Args:
        label_TC: labels at their own rate.
        every: rows from one that is taken to the next.
        name: the filter that these go through, before they are interpolated.
        rule: see `correlations`.
    """
    y_TC = np.asarray(label_TC, np.float64)
    left_TC = dense(np.maximum(smoothed(y_TC[::every], name), 0), every, len(y_TC))
    return of_video(correlations(left_TC, y_TC, rule))


def label_correlations(
    labels: Labels, target: str, train: Sequence[str], name: Filter, rule: Rule = "zero"
) -> dict[str, float]:
    """`label_correlation` over all training videos, and `label_correlation_first` of the first one."""
    times = labels.times(train[0])
    every = max(1, round(1 / float(np.median(np.diff(times))))) if len(times) > 1 else 1
    values = [label_correlation(labels.label(item, target), every, name, rule) for item in train]
    return {"label_correlation": of_videos(values), "label_correlation_first": of_videos(values[:1])}
