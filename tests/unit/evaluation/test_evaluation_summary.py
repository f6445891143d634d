"""The summary protocol against brute force, an independent dynamic programme and hand-computed cases."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utopia.errors import ComputeError
from utopia.evaluation import summary

items = st.lists(st.tuples(st.integers(0, 8).map(lambda v: v / 8), st.integers(1, 7)), min_size=0, max_size=9)


def plain_knapsack(values: list[float], weights: list[int], capacity: int) -> list[int]:
    """Independent oracle: recursion on (items, capacity) with the tie rule stated as "take only for a strict gain"."""
    memory: dict[tuple[int, int], float] = {}

    def best(count: int, room: int) -> float:
        if count == 0:
            return 0.0
        if (count, room) not in memory:
            without = best(count - 1, room)
            fits = weights[count - 1] <= room
            gain = best(count - 1, room - weights[count - 1]) + values[count - 1] if fits else -1.0
            memory[count, room] = max(without, gain)
        return memory[count, room]

    chosen: list[int] = []
    for count in range(len(values), 0, -1):
        if best(count, capacity) > best(count - 1, capacity):
            chosen.insert(0, count - 1)
            capacity -= weights[count - 1]
    return chosen


@given(items, st.integers(0, 20))
def test_knapsack_reaches_the_brute_force_optimum(pairs: list[tuple[float, int]], capacity: int) -> None:
    values, weights = [v for v, _ in pairs], [w for _, w in pairs]
    chosen = summary.knapsack(values, np.array(weights, np.int64), capacity)
    subsets = (s for k in range(len(pairs) + 1) for s in combinations(range(len(pairs)), k))
    best = max(sum(values[i] for i in s) for s in subsets if sum(weights[i] for i in s) <= capacity)
    # Values are eighths: their sums are exact.
    assert sum(values[i] for i in chosen) == best
    assert sum(weights[i] for i in chosen) <= capacity
    assert chosen == sorted(set(chosen))


@given(items, st.integers(0, 20))
def test_knapsack_breaks_ties_like_the_plain_programme(pairs: list[tuple[float, int]], capacity: int) -> None:
    values, weights = [v for v, _ in pairs], [w for _, w in pairs]
    assert summary.knapsack(values, np.array(weights, np.int64), capacity) == plain_knapsack(values, weights, capacity)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_knapsack_equals_the_plain_programme_at_video_size(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.choice(np.arange(1, 2400), 30, replace=False))
    weights = np.diff(np.concatenate([[0], cuts, [2400]]))
    values = rng.random(len(weights)).astype(np.float32).astype(np.float64)
    assert summary.knapsack(values, weights, 360) == plain_knapsack(values.tolist(), weights.tolist(), 360)


def test_of_two_equal_shots_the_earlier_is_taken() -> None:
    assert summary.knapsack([1.0, 1.0], [2, 2], 2) == [0]
    assert summary.knapsack([0.0, 0.0], [1, 1], 2) == []


def test_knapsack_refuses_nonsense() -> None:
    with pytest.raises(ComputeError, match="weights of at least 1"):
        summary.knapsack([1.0], [0], 3)
    with pytest.raises(ComputeError, match="finite"):
        summary.knapsack([float("nan")], [1], 3)
    with pytest.raises(ComputeError, match="one weight per value"):
        summary.knapsack([1.0, 2.0], [1], 3)


def test_frame_scores_hold_until_the_next_pick() -> None:
    assert summary.frame_scores([0.1, 0.2, 0.3], [0, 2, 5], 7).tolist() == [0.1, 0.1, 0.2, 0.2, 0.2, 0.3, 0.3]


def test_frame_scores_outside_the_picks_are_zero() -> None:
    assert summary.frame_scores([0.5], [2, 4], 6).tolist() == [0, 0, 0.5, 0.5, 0, 0]
    # A pick at n_frames marks the end already: nothing is appended and its score covers no frame.
    assert summary.frame_scores([0.5, 0.7, 0.9], [0, 2, 4], 4).tolist() == [0.5, 0.5, 0.7, 0.7]


@pytest.mark.parametrize(
    ("scores", "picks", "frames"), [([0.1, 0.2], [0], 5), ([0.1, 0.2], [3, 1], 5), ([0.1], [9], 5), ([0.1], [-1], 5)]
)
def test_frame_scores_refuse_wrong_picks(scores: list[float], picks: list[int], frames: int) -> None:
    with pytest.raises(ComputeError):
        summary.frame_scores(scores, picks, frames)


def test_shot_means_not_sums() -> None:
    frames = [0.0, 1.0, 1.0, 0.5]
    assert summary.shot_means(frames, [[0, 1], [2, 3]]).tolist() == [0.5, 0.75]
    assert summary.shot_means(frames, [[0, 2], [3, 9]]).tolist() == pytest.approx([2 / 3, 0.5])
    with pytest.raises(ComputeError, match="begins at frame 4"):
        summary.shot_means(frames, [[0, 3], [4, 5]])
    with pytest.raises(ComputeError, match="first <= last"):
        summary.shot_means(frames, [[3, 2]])


def test_summary_by_hand() -> None:
    """40 frames in shots of 4: capacity floor(.15 * 40) = 6 frames, so one shot, the one with the largest mean."""
    shots = [[first, first + 3] for first in range(0, 40, 4)]
    scores = np.zeros(10)
    scores[3], scores[7] = 0.6, 0.9
    mask = summary.summarise(scores, np.arange(0, 40, 4), 40, shots)
    assert mask.shape == (40,) and np.flatnonzero(mask).tolist() == [28, 29, 30, 31]


def test_two_short_shots_beat_one_long_of_a_higher_mean() -> None:
    """The sum of shot means is maximised: .5 + .5 for 3 + 3 frames beats .9 for 6."""
    shots = [[0, 2], [3, 5], [6, 11], [12, 39]]
    frames = np.zeros(40)
    frames[:6], frames[6:12] = 0.5, 0.9
    mask = summary.summarise(frames, np.arange(40), 40, shots)
    assert np.flatnonzero(mask).tolist() == [0, 1, 2, 3, 4, 5]


def test_summary_is_as_long_as_the_shots() -> None:
    assert summary.summarise(np.ones(3), [0, 15, 30], 45, [[0, 20], [21, 40]]).shape == (41,)
    with pytest.raises(ComputeError, match="without shots"):
        summary.summarise(np.ones(3), [0, 15, 30], 45, np.zeros((0, 2), int))


def test_f_by_hand() -> None:
    """S has 2 frames, the user 4, one is shared: P = 1/2, R = 1/4, F = 2 * (1/8) / (3/4) = 1/3."""
    assert summary.f_scores([1, 1, 0, 0, 0], [[0, 1, 1, 1, 1]]).tolist() == pytest.approx([100 / 3])


def test_f_pads_the_shorter() -> None:
    assert summary.f_scores([1, 1], [[1, 1, 1, 1]]).tolist() == pytest.approx([200 * 0.5 / 1.5])
    assert summary.f_scores([1, 1, 1, 1], [[1, 1]]).tolist() == pytest.approx([200 * 0.5 / 1.5])


def test_empty_summaries_score_zero() -> None:
    assert summary.f_scores(np.zeros(4), [[0, 1, 1, 0], [0, 0, 0, 0]]).tolist() == [0, 0]
    assert summary.f_scores([1, 0, 0, 0], [[0, 0, 0, 0]]).tolist() == [0]


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.lists(st.booleans(), min_size=1, max_size=30))
def test_f_equals_its_definition(mine: list[bool], user: list[bool]) -> None:
    length = max(len(mine), len(user))
    s = np.array(mine + [False] * (length - len(mine)))
    g = np.array(user + [False] * (length - len(user)))
    both = (s & g).sum()
    expected = 0.0
    if both:
        precision, recall = both / s.sum(), both / g.sum()
        expected = 100 * 2 * precision * recall / (precision + recall)
    assert summary.f_scores(mine, [user])[0] == pytest.approx(expected, abs=1e-9)


def test_over_users() -> None:
    assert summary.over_users([10.0, 40.0], "max") == 40
    assert summary.over_users([10.0, 40.0], "mean") == 25
    with pytest.raises(ComputeError, match="at least one user"):
        summary.over_users([], "max")


def test_leave_one_out_by_hand() -> None:
    """F: (1,2) = 1, (1,3) = (2,3) = 0. Max over the others: 1, 1, 0; mean: 1/2, 1/2, 0."""
    users = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]
    assert summary.leave_one_out(users, "max") == pytest.approx(100 * 2 / 3)
    assert summary.leave_one_out(users, "mean") == pytest.approx(100 / 3)
    with pytest.raises(ComputeError, match="two users"):
        summary.leave_one_out(users[:1], "max")


def test_double_rounding_is_a_switch() -> None:
    assert summary.split_mean([10.0, 10.006]) == pytest.approx(10.003)
    assert summary.split_mean([10.0, 10.006], double_rounding=True) == 10.0
