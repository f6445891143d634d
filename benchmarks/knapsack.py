"""The knapsack against a plain-Python dynamic programme, at the sizes of TVSum.

python benchmarks/knapsack.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from utopia.evaluation.summary import knapsack

REPEATS = 7
# Frames and shots of a short, a mean and the longest video of TVSum; capacity is 15 % of the frames.
SIZES = ((3_000, 25), (7_050, 60), (19_406, 160))


def plain(values: list[float], weights: list[int], capacity: int) -> list[int]:
    """The textbook programme: a table of items by capacity in nested lists, the same tie rule."""
    table = [[0.0] * (capacity + 1)]
    for value, weight in zip(values, weights, strict=True):
        before = table[-1]
        table.append(
            [max(before[c], value + before[c - weight]) if weight <= c else before[c] for c in range(capacity + 1)]
        )
    chosen = []
    for item in range(len(values), 0, -1):
        if table[item][capacity] != table[item - 1][capacity]:
            chosen.append(item - 1)
            capacity -= weights[item - 1]
    return chosen[::-1]


def fastest(function: Callable[[], list[int]]) -> tuple[float, list[int]]:
    """The shortest of a few runs, in seconds, and the result."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return min(times), result


def main() -> None:
    """Print one line per size and fail where the two choose different shots."""
    rng = np.random.default_rng(0)
    for frames, shots in SIZES:
        cuts = np.sort(rng.choice(np.arange(1, frames), shots - 1, replace=False))
        weights, values, capacity = (
            np.diff(np.concatenate([[0], cuts, [frames]])),
            rng.random(shots),
            int(frames * 0.15),
        )
        ours, mine = fastest(lambda v=values, w=weights, c=capacity: knapsack(v, w, c))
        theirs, other = fastest(lambda v=values, w=weights, c=capacity: plain(v.tolist(), w.tolist(), c))
        if mine != other:
            raise SystemExit(f"{frames} frames, {shots} shots: different shots chosen")
        ratio = f"{theirs / ours:5.1f}x"
        print(f"{frames:6d} frames {shots:4d} shots: {ours * 1e3:7.3f} ms, plain {theirs * 1e3:8.2f} ms, {ratio}")


if __name__ == "__main__":
    main()
