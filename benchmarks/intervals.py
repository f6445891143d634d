"""How often intervals over few items and seeds hold the truth, and how often a difference that is none gets a verdict.

    python benchmarks/intervals.py           # prints the table, about six minutes on one core
    python benchmarks/intervals.py --keep    # and writes the file of results that docs/statistics.md is made of

A metric of item i and seed s is drawn as a_i + b_s + e_is. The truth is the mean over all items and all seeds; with one
seed, the mean over all items of that training. `ours` is `utopia.evaluation.uncertainty` itself; the others are written
here or SciPy's. The same numbers serve every method.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from _results import finish, options, rows_of
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import bootstrap

from utopia.evaluation.uncertainty import Items, paired
from utopia.evaluation.verdict import LEVEL

Float = NDArray[np.float64]
ITEMS, SEEDS = (5, 8, 12, 20, 50), (1, 3, 10)
REPEATS, REPEATS_BCA, DRAWS = 2000, 400, 1000
HOLDS, CALLED = "How often a 95 % interval holds the truth", "False verdicts"
SHAPES = ("normal", "skewed", "heavy-tailed")
METHODS = ("percentile", "BCa", "t over items", "Satterthwaite", "ours")


@dataclass(frozen=True)
class Case:
    """Deviations of the three sources of a metric."""

    name: str
    items: float
    seeds: float
    rest: float
    is_difference: bool


CASES = (
    Case("a value", 1.0, 0.2, 0.5, False),
    Case("a difference", 0.5, 0.3, 1.0, True),
    Case("seeds rule", 0.3, 0.5, 0.5, True),
    Case("noise alone", 0.0, 0.0, 1.0, True),
)


def draw(rng: np.random.Generator, shape: str, size: tuple[int, ...]) -> Float:
    """Numbers of mean 0 and deviation 1."""
    if shape == "skewed":
        return rng.standard_exponential(size) - 1
    if shape == "heavy-tailed":
        return rng.standard_t(4, size) / np.sqrt(2)
    return rng.standard_normal(size)


def around(mean: Float, half: Float) -> tuple[Float, Float]:
    """The ends of intervals."""
    return mean - half, mean + half


def satterthwaite(x: Float) -> tuple[Float, Float]:
    """One t with the degrees of freedom of the summed variances, as crossed random effects are given; x [R, S, I]."""
    _, seeds, items = x.shape
    of_items, of_seeds = x.mean(axis=1), x.mean(axis=2)
    mean = x.mean(axis=(1, 2))
    if seeds == 1:
        return t_over_items(x)
    rest = x - of_items[:, None] - of_seeds[:, :, None] + mean[:, None, None]
    a, b = of_items.var(axis=1, ddof=1) / items, of_seeds.var(axis=1, ddof=1) / seeds
    degrees = (items - 1) * (seeds - 1)
    e = (rest**2).sum(axis=(1, 2)) / degrees / (seeds * items)
    variance = np.maximum(a + b - e, np.maximum(a, b))
    parts = a**2 / (items - 1) + b**2 / (seeds - 1) + e**2 / degrees
    return around(mean, stdtrit(variance**2 / parts, 0.975) * np.sqrt(variance))


def t_over_items(x: Float) -> tuple[Float, Float]:
    """Student's t over the items' means."""
    means = x.mean(axis=1)
    half = stdtrit(means.shape[1] - 1, 0.975) * means.std(axis=1, ddof=1) / np.sqrt(means.shape[1])
    return around(means.mean(axis=1), half)


def t_over_seeds(x: Float) -> tuple[Float, Float]:
    """Student's t over the seeds' means."""
    means = x.mean(axis=2)
    half = stdtrit(means.shape[1] - 1, 0.975) * means.std(axis=1, ddof=1) / np.sqrt(means.shape[1])
    return around(means.mean(axis=1), half)


def percentile(x: Float, rng: np.random.Generator) -> tuple[Float, Float]:
    """The percentile bootstrap over items, jointly for all seeds."""
    items = x.shape[2]
    counts = rng.multinomial(items, np.full(items, 1 / items), size=DRAWS) / items
    low, high = np.quantile(x.mean(axis=1) @ counts.T, (0.025, 0.975), axis=1)
    return low, high


def bca(x: Float, rng: np.random.Generator) -> tuple[Float, Float]:
    """SciPy's bias-corrected and accelerated bootstrap over items."""
    means = (x[:REPEATS_BCA].mean(axis=1),)
    ends = bootstrap(means, np.mean, axis=1, n_resamples=DRAWS, method="BCa", rng=rng, batch=100).confidence_interval
    return ends.low, ends.high


def as_items(x: Float) -> Items:
    """One experiment [S, I], as the tables read it from metrics."""
    names = tuple(map(str, range(x.shape[1])))
    return Items("", tuple(map(str, range(len(x)))), {"0": names}, {"0": x}, {"0": np.ones(len(names))}, False)


def ours(x: Float) -> tuple[Float, Float, NDArray[np.bool_]]:
    """The ends of the tables' own intervals [R], and whether a difference gets a verdict [R]; x [R, S, I]."""
    made = [paired(as_items(one), as_items(np.zeros_like(one))) for one in x]
    low, high = (np.array([getattr(each, end) for each in made], np.float64) for end in ("low", "high"))
    return low, high, np.array([each.p is not None and each.p < LEVEL for each in made])


def measure(case: Case, shape: str, items: int, seeds: int, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """By method, in per cent: how often the interval holds the truth, and how often no difference gets a verdict."""
    of_seeds = case.seeds * draw(rng, "normal", (REPEATS, seeds, 1))
    of_items, rest = (draw(rng, shape, (REPEATS, many, items)) for many in (1, seeds))
    x = case.items * of_items + of_seeds + case.rest * rest
    truth = of_seeds[:, 0, 0] if seeds == 1 else np.zeros(REPEATS)
    low, high, called = ours(x)
    others = {
        "percentile": percentile(x, rng),
        "BCa": bca(x, rng),
        "t over items": t_over_items(x),
        "Satterthwaite": satterthwaite(x),
    }
    found = {}
    for name, (below, above) in others.items():
        # a verdict needed the interval over seeds to exclude 0 as well; one seed alone never gave one
        least, most = t_over_seeds(x) if seeds > 1 else (below, -below)
        count = len(below)
        both = (np.minimum(below, least[:count]) > 0) | (np.maximum(above, most[:count]) < 0)
        found[name] = covered(below, above, truth), 100 * float(both.mean())
    return found | {"ours": (covered(low, high, truth), 100 * float(called.mean()))}


def covered(low: Float, high: Float, truth: Float) -> float:
    """How many of the intervals hold the truth, in per cent."""
    truth = truth[: len(low)]
    return 100 * float(np.mean((low <= truth) & (truth <= high)))


def measured() -> Iterator[dict[str, str]]:
    """The rows of both tables: of each method its shares in per cent, for rising numbers of items."""
    items = ", ".join(map(str, ITEMS[:-1])) + f" and {ITEMS[-1]} items"
    for case in CASES:
        for shape in SHAPES:
            for seeds in SEEDS:
                rng = np.random.default_rng([CASES.index(case), SHAPES.index(shape), seeds])
                shares = [measure(case, shape, many, seeds, rng) for many in ITEMS]
                for part, (title, digits) in enumerate(((HOLDS, 0), (CALLED, 1))):
                    if part == 0 or (case.is_difference and seeds > 1):
                        by_method = {
                            name: " ".join(f"{of[name][part]:.{digits}f}" for of in shares) for name in METHODS
                        }
                        start = {"stage": f"{title}, in per cent, with {items}", "case": case.name, "items are": shape}
                        yield {**start, "seeds": str(seeds), **by_method}


def main() -> None:
    """Draw, print and keep."""
    chosen = options(__doc__).parse_args()
    rows = rows_of(chosen)
    for row in measured():
        rows.add(**row)
    finish("intervals", chosen, rows, rounds=REPEATS)


if __name__ == "__main__":
    main()
