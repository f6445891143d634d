"""Does a measured value agree with the published one? Pure functions; a verdict never changes a value."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from utopia.errors import counted
from utopia.evaluation.interval import holm, t_half_width
from utopia.evaluation.rounding import rounded as rounded

SAME = "rounds to the same"
INSIDE = "inside our interval"
OUTSIDE = "outside by"
NOT_DISTINGUISHABLE = "not distinguishable"
NOT_COMPARABLE = "not comparable"
NOT_PRINTED = "not in the paper"
HOLDS = "holds"
FAILS = "does not hold"
PASSES = "passes"
MISSES = "fails"
"""Of what was planted: whether what must come out has."""
BETTER = "better"
WORSE = "worse"

_SIGNS = {SAME: "=", INSIDE: "≈", OUTSIDE: "≠", HOLDS: "✓", FAILS: "✗", PASSES: "✓ passes", MISSES: "✗ fails"}
ALONE = {BETTER: "better only by itself", WORSE: "worse only by itself"}
"""What a gain or loss is called that does not stand among all comparisons of a study."""
MARKS = {BETTER: "▲", WORSE: "▼", NOT_DISTINGUISHABLE: "○", ALONE[BETTER]: "△", ALONE[WORSE]: "▽"}
"""Of a difference between two treatments."""
LEVEL = 0.05
"""A p-value below it is taken for more than chance."""


@dataclass(frozen=True)
class Verdict:
    """What a comparison came to, and on what ground."""

    text: str
    reason: str = ""

    @property
    def sign(self) -> str:
        """= same, ≈ inside, ≠ outside, ✓ ✗ whether a claim holds, with a word whether what was planted came out; empty
        where nothing was compared."""
        return next((sign for start, sign in _SIGNS.items() if self.text.startswith(start)), "")


def distance(
    value: float, std: float | None, n: int, published: float, decimals: int, repeats: int | None = None
) -> float:
    """How far the published value, known to its rounding interval, lies outside our interval; 0 where the two meet.

    Our interval is value ± t(.975, n-1) · std · sqrt(1/n + 1/r): both numbers are means, ours of `n` repeats and the
    published one of r = `repeats`, and ours is the only spread that is known. Where the paper says nothing of repeats,
    r is 1: it may have trained once. Without a spread the interval is the value alone.
    """
    half = t_half_width(std, n, other=repeats or 1) if std is not None and n > 1 else 0.0
    return max(0.0, abs(value - published) - half - 0.5 * 10.0**-decimals)


def judge(
    value: float,
    std: float | None,
    n: int,
    published: float | None,
    decimals: int,
    not_comparable: str = "",
    repeats: int | None = None,
) -> Verdict:
    """The verdict on one measured cell.

    Args:
        value: mean over the repeats, in the unit of the published value.
        std: deviation over the repeats (ddof 1); None with fewer than two.
        n: number of repeats.
        published: what was printed; None where the paper has no such value.
        decimals: decimals of the printed value.
        not_comparable: why the two cannot be compared (other data, features or protocol); empty if they can.
        repeats: how many repeats the published value is the mean of; None: the paper does not say, see `distance`.
    """
    if not_comparable:
        return Verdict(NOT_COMPARABLE, not_comparable)
    if published is None:
        return Verdict(NOT_PRINTED)
    if rounded(value, decimals) == rounded(published, decimals):
        return Verdict(SAME, f"both print as {rounded(value, decimals)}")
    away = distance(value, std, n, published, decimals, repeats)
    if std is None or n < 2:
        return Verdict(
            f"{OUTSIDE} {_two_digits(away)}", "one repeat has no spread: distance to what rounds to the printed value"
        )
    half = t_half_width(std, n, other=repeats or 1)
    theirs = str(repeats) if repeats else "an unknown number, taken as 1"
    ground = f"our interval is {_two_digits(value)} ± {_two_digits(half)} ({counted(n, 'repeat')} against {theirs})"
    if away == 0:
        return Verdict(INSIDE, ground)
    return Verdict(f"{OUTSIDE} {_two_digits(away)}", ground)


def judge_difference(difference: float, p: float | None, better: str) -> str:
    """Whether a difference to another treatment is a gain, a loss or neither.

    It is one of the former two if its p-value is below .05: if two 95 % intervals exclude 0, the paired one over items
    and seeds, and Student's t over the seeds alone. With few seeds the first may take their spread for too small, and
    that spread is as much as rounding alone makes on another processor or in another pack (docs/clusters.md, "What
    holds the numbers"): a verdict that left it out would change with the machine. One seed tells nothing of it.

    Args:
        difference: the value less that of the other treatment.
        p: see `utopia.evaluation.uncertainty.Interval`; adjusted, where many differences are judged together.
        better: which way is a gain, `lower` or `higher`.
    """
    if p is None or p >= LEVEL or difference == 0:
        return NOT_DISTINGUISHABLE
    return BETTER if (difference > 0) == (better == "higher") else WORSE


class Difference(NamedTuple):
    """A difference as one of many."""

    identity: Hashable
    """The same for cells that show the same comparison: it counts once."""
    p: float
    verdict: str


@dataclass(frozen=True)
class Family:
    """All differences of a study, judged together."""

    adjusted: Mapping[str, float]
    """Holm's p-value, by cell."""
    verdicts: Mapping[str, str]
    """By cell; a gain or loss that does not stand among all is one of `ALONE`."""
    counts: Mapping[str, int]
    """Comparisons of each verdict."""

    @property
    def comparisons(self) -> int:
        """How many different ones there are."""
        return sum(self.counts.values())

    @property
    def by_chance(self) -> float:
        """How many gains (and as many losses) chance alone would give at most, each comparison taken by itself."""
        return self.comparisons * LEVEL / 2


def judge_family(differences: Mapping[str, Difference]) -> Family:
    """Judge many differences so that chance alone gives a single gain or loss in one study of twenty at most (Holm).

    Args:
        differences: by cell; those without a p-value left out.
    """
    distinct = {difference.identity: difference.p for difference in differences.values()}
    by_identity = dict(zip(distinct, holm(list(distinct.values())), strict=True))
    adjusted = {cell: by_identity[difference.identity] for cell, difference in differences.items()}
    verdicts = {
        cell: difference.verdict if adjusted[cell] < LEVEL else ALONE.get(difference.verdict, difference.verdict)
        for cell, difference in differences.items()
    }
    counts = Counter({differences[cell].identity: verdict for cell, verdict in verdicts.items()}.values())
    return Family(adjusted, verdicts, counts)


class Compared(NamedTuple):
    """A cell of a study's tables, as far as its comparison goes."""

    cell: str
    """`table/row/column`."""
    runs: Sequence[str]
    against: str
    """The row that it is compared with; empty of a cell that shows a comparison itself."""
    difference: float | None
    p: float | None
    verdict: str


def judge_study(cells: Iterable[Compared]) -> Family:
    """Judge the differences of all tables of a study together.

    Left out are cells without a p-value and those of studies of labels: these compare estimates and not treatments, and
    would drown the few comparisons of trainings. For the same reason two runs with one treatment that differ in
    settings alone are judged among their like: they have adjusted p-values and verdicts, and are in no count.

    Args:
        cells: all cells, also those without a comparison, whose runs are looked up here.
    """
    known = {cell.cell: cell for cell in cells}
    of_treatments: dict[str, Difference] = {}
    of_settings: dict[str, Difference] = {}
    for cell in known.values():
        if cell.p is None or any(run.endswith(".reference.label_study") for run in cell.runs):
            continue
        table, column = cell.cell.partition("/")[0], cell.cell.rpartition("/")[2]
        other = known.get(f"{table}/{cell.against}/{column}")
        alike = other is not None and _without_settings(cell.runs) == _without_settings(other.runs)
        family = of_settings if alike else of_treatments
        family[cell.cell] = Difference((tuple(cell.runs), cell.difference, cell.p), cell.p, cell.verdict)
    treatments, settings = judge_family(of_treatments), judge_family(of_settings)
    return Family(
        {**treatments.adjusted, **settings.adjusted}, {**treatments.verdicts, **settings.verdicts}, treatments.counts
    )


def _without_settings(runs: Iterable[str]) -> list[str]:
    """Runs as data set, model and treatment."""
    return [run.partition("@")[0] for run in runs]


def judge_claim(verdict: Verdict, difference: str, low: float | None, high: float | None) -> Verdict:
    """A published gain beside ours: where ours is not distinguishable from none, nothing more can be said.

    Args:
        verdict: what the values alone say.
        difference: see `judge_difference`.
        low: lower end of the paired interval.
        high: upper end.
    """
    if difference != NOT_DISTINGUISHABLE or low is None or high is None:
        return verdict
    ground = "it covers 0" if low <= 0 <= high else "that over seeds does, or there is but one seed"
    return Verdict(
        NOT_DISTINGUISHABLE,
        f"from no change: our paired interval is {_two_digits(low)} to {_two_digits(high)}, and {ground}",
    )


def judge_statement(stands: bool, passed: int, total: int, repeats: Sequence[bool], not_comparable: str) -> Verdict:
    """Whether a claim that compares values holds for ours.

    Args:
        stands: whether it does on the means over the repeats.
        passed: tests that pass on them.
        total: all tests.
        repeats: whether it holds on each repeat alone.
        not_comparable: why ours cannot be compared with what the paper says; empty if they can.
    """
    if not_comparable:
        return Verdict(NOT_COMPARABLE, not_comparable)
    alike = sum(holds == stands for holds in repeats)
    ground = f"{passed} of {total} comparisons, and so in {alike} of {len(repeats)} repeats"
    return Verdict(HOLDS if stands else FAILS, ground)


def judge_expectation(value: float, p: float | None, expected: Mapping[str, Any]) -> Verdict:
    """Whether what was planted has come out.

    Args:
        value: a value, a gain or a spread.
        p: of a gain, how often chance alone would give one as large.
        expected: `at_least` and `at_most` (None: no such bound); `sure`: whether `p` must be below .05 too.
    """
    low, high = expected["at_least"], expected["at_most"]
    if low is not None and value < low:
        return Verdict(MISSES, f"{_two_digits(value)} is below {low:g}")
    if high is not None and value > high:
        return Verdict(MISSES, f"{_two_digits(value)} is above {high:g}")
    if not expected["sure"]:
        return Verdict(PASSES, "within the bounds")
    chance = "one seed tells nothing of other trainings" if p is None else f"p = {p:.2g}"
    if p is None or p >= LEVEL:
        return Verdict(MISSES, f"within the bounds, but not more than chance gives ({chance})")
    return Verdict(PASSES, f"within the bounds, and more than chance gives ({chance})")


def _two_digits(value: float) -> str:
    """A number in plain notation with at least two significant digits."""
    if value == 0 or abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.{1 - math.floor(math.log10(abs(value)))}f}"
