"""Metrics of series of one to four points, and of videos shorter than a shot or a summary: always a number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utopia.errors import ComputeError
from utopia.evaluation import metrics, summary
from utopia.evaluation.evaluated_item import EvaluatedItem, item_metrics, replica_metrics
from utopia.labels.read import Shots

pairs = st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=1, max_size=4)


@settings(deadline=None)
@given(pairs)
def test_correlations_of_few_points(found: list[tuple[float, float]]) -> None:
    """One point correlates with nothing; two correlate fully, if both series vary."""
    p, y = np.array(found).T
    for name in ("pcc", "kendall", "spearman"):
        value = getattr(metrics, name)(p, y)
        assert -1 <= value <= 1
        if len(p) == 1 or metrics.is_constant(p) or metrics.is_constant(y):
            assert value == 0
        elif len(p) == 2:
            assert abs(value) == pytest.approx(1)


@settings(deadline=None)
@given(st.lists(pairs, min_size=1, max_size=4))
def test_a_replica_of_short_series(series: list[list[tuple[float, float]]]) -> None:
    columns = [np.array(found).T for found in series]
    items = [EvaluatedItem("affect", y) for _, y in columns]
    values = [item_metrics(item, p) for item, (p, _) in zip(items, columns, strict=True)]
    found = replica_metrics(items, [p for p, _ in columns], values)
    assert set(found) == {"mse", "mse_item", "rmse", "rmse_item", "pcc", "pcc_pooled"}
    assert np.isfinite(list(found.values())).all()
    assert found["pcc"] == pytest.approx(np.mean([value["pcc"] for value in values]))


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 4), st.integers(1, 3), st.data())
def test_a_summary_of_a_short_video(frames: int, shots: int, users: int, data: st.DataObject) -> None:
    """Where 15 % of the video hold no shot the summary is empty, and its F-score is 0; one user is enough."""
    starts = [0, *sorted(data.draw(st.sets(st.integers(1, max(1, frames - 1)), max_size=shots - 1)))]
    starts = [start for start in starts if start < frames]
    cuts = np.array([[a, b - 1] for a, b in zip(starts, [*starts[1:], frames], strict=True)])
    picks = np.arange(0, frames, 15)
    scores = np.array(data.draw(st.lists(st.floats(0, 1), min_size=len(picks), max_size=len(picks))))
    vote = st.lists(st.booleans(), min_size=frames, max_size=frames)
    votes = data.draw(st.lists(vote, min_size=users, max_size=users))
    item = EvaluatedItem("summary", scores, consensus=scores, shots=Shots(cuts, np.array(votes), frames, picks))
    found = item_metrics(item, scores)
    assert 0 <= found["f_score"] <= 100
    fits = min(b - a + 1 for a, b in cuts) <= int(0.15 * frames)
    if not fits:
        assert found["f_score"] == 0
    assert np.isfinite(list(found.values())).all()


def test_one_annotator_agrees_with_nobody() -> None:
    with pytest.raises(ComputeError, match="at least two users"):
        summary.leave_one_out(np.ones((1, 30)), "mean")
    assert summary.over_users(summary.f_scores(np.ones(30), np.ones((1, 30))), "max") == 100
