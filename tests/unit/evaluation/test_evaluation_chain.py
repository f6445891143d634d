"""From step scores to a split's F-score, against a second writing of the whole protocol with plain loops."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utopia.evaluation.evaluated_item import EvaluatedItem, item_metrics, replica_metrics
from utopia.labels.read import Shots


def plainly(scores: list[float], picks: list[int], frames: int, cuts: list[tuple[int, int]]) -> list[int]:
    """The summary: one 0 or 1 per frame up to the end of the last shot; every set of shots is tried, and of equal ones
    that without the later shot is taken.
    """
    of_frame = [0.0] * frames
    for number, start in enumerate(picks):
        stop = picks[number + 1] if number + 1 < len(picks) else frames
        for frame in range(start, stop):
            of_frame[frame] = scores[number] if number < len(scores) else 0.0
    value = [sum(of_frame[a : b + 1]) / (b + 1 - a) for a, b in cuts]
    length = cuts[-1][1] + 1
    room = int(0.15 * length)
    sets = [s for k in range(len(cuts) + 1) for s in combinations(range(len(cuts)), k)]
    fitting = [s for s in sets if sum(cuts[i][1] - cuts[i][0] + 1 for i in s) <= room]
    late = range(len(cuts) - 1, -1, -1)
    best = max(fitting, key=lambda s: (round(sum(value[i] for i in s), 9), [i not in s for i in late]))
    return [int(any(cuts[i][0] <= frame <= cuts[i][1] for i in best)) for frame in range(length)]


def f_plainly(mine: list[int], user: list[int]) -> float:
    length = max(len(mine), len(user))
    mine, user = mine + [0] * (length - len(mine)), user + [0] * (length - len(user))
    both = sum(a and b for a, b in zip(mine, user, strict=True))
    if not both:
        return 0.0
    precision, recall = both / sum(mine), both / sum(user)
    return 100 * 2 * precision * recall / (precision + recall)


@settings(max_examples=100, deadline=None, derandomize=True)  # sums of means may tie but for rounding
@given(st.integers(0, 2**32 - 1), st.sampled_from(["max", "mean"]), st.integers(1, 4))
def test_f_scores_of_a_split(seed: int, over: str, videos: int) -> None:
    rng = np.random.default_rng(seed)
    items, predictions, expected = [], [], []
    for _ in range(videos):
        frames = int(rng.integers(60, 400))
        starts = [0, *np.sort(rng.choice(np.arange(3, frames - 3), int(rng.integers(3, 11)), replace=False)).tolist()]
        # shot files of the field end a frame or two before or after the video does
        end = frames - 1 + int(rng.integers(-1, 3))
        cuts = [(a, b - 1) for a, b in zip(starts, [*starts[1:], end + 1], strict=True)]
        picks = list(range(0, frames, 15))
        users = rng.integers(0, 2, (int(rng.integers(1, 5)), frames))
        scores = rng.integers(0, 65, len(picks)) / 64  # their sums are exact: shots with equal means are equal
        shots = Shots(change_points=np.array(cuts), user_summary=users, n_frames=frames, picks=np.array(picks))
        items.append(EvaluatedItem("summary", scores, consensus=scores, shots=shots, over=over))  # type: ignore[arg-type]
        predictions.append(scores)
        # a shot's mean is that of the frames that are there
        within = [(a, min(b, frames - 1)) for a, b in cuts]
        if within != cuts:
            mine = of_longer_shot(scores.tolist(), picks, frames, cuts)
        else:
            mine = plainly(scores.tolist(), picks, frames, cuts)
        of_users = [f_plainly(mine, user.tolist()) for user in users]
        expected.append(max(of_users) if over == "max" else sum(of_users) / len(of_users))
    values = [item_metrics(item, scores) for item, scores in zip(items, predictions, strict=True)]
    assert [value["f_score"] for value in values] == pytest.approx(expected)
    mean = sum(expected) / len(expected)
    assert replica_metrics(items, predictions, values)["f_score"] == pytest.approx(mean)
    twice = replica_metrics(items, predictions, values, double_rounding=True)["f_score"]
    assert twice == pytest.approx(mean, abs=0.005 + 1e-9) and round(twice, 2) == twice


def of_longer_shot(scores: list[float], picks: list[int], frames: int, cuts: list[tuple[int, int]]) -> list[int]:
    """The same where the last shot ends after the last frame: its missing frames hold the mean of those that are there,
    so that they do not change the shot's mean.
    """
    last, end = cuts[-1]
    of_frame = [scores[frame // 15] for frame in range(frames)]
    filled = of_frame + [sum(of_frame[last:]) / (frames - last)] * (end + 1 - frames)
    return plainly(filled, list(range(len(filled))), len(filled), cuts)
