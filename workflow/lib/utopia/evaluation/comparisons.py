"""Every treatment against its baseline: what each comparison of two runs came to (docs/statistics.md)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from utopia import seeds
from utopia.evaluation.uncertainty import Interval, Items, change_interval, combined

Statistic = Literal["p", "permuted", "improvement", "adjusted"]
"""What a column of comparisons shows beside the difference: `p`, see `Interval`; `permuted`, the p-value of swapping
both runs at any test item; `improvement`, how often a training with the treatment is better on an item than one
without; and `adjusted`, Holm's p-value among all rows of the table."""
P_VALUES = ("p", "permuted", "adjusted")
"""Those that are neither good nor bad."""
PERMUTATIONS = 9_999
"""Swaps that are drawn where there are more than this of them (with 14 items or more)."""

TREATMENTS = {
    "cwl": "CWL", "tns_cwl": "TNS + CWL", "inv": "INV", "lds": "LDS", "dense_loss": "Dense Loss",
    "smogn_cwl": "SMOGN + CWL", "c_mixup_cwl": "C-Mixup + CWL", "bmc": "Balanced MSE", "rank_sim": "RankSim",
    "smoter": "SmoteR", "rebagg": "REBAGG", "l1": "L1", "kl": "KL", "l1_kl": "L1 + KL", "ccc": "CCC",
    "l1_butterworth": "L1, Butterworth", "l1_median": "L1, median", "l1_gaussian": "L1, Gaussian",
    "l1_ensemble": "L1, ensemble",
}  # fmt: skip
"""Treatments of config.yaml as the papers' tables name them; any other has its own name."""


class Comparison(NamedTuple):
    """Two runs, with a treatment and without, by one metric of one target."""

    around: Interval
    permuted: float
    improvement: float
    repeats: int

    def value(self, name: str) -> float | None:
        """One of `Statistic` but `adjusted`; None where one repeat gives no p-value."""
        return self.around.p if name == "p" else float(getattr(self, name))


def compared(treated: Items | str, without: Items | str, better: str, seed: int) -> Comparison | str:
    """What a comparison came to, or why nothing can be said.

    Args:
        treated: the items of the run with the treatment, or why there are none.
        without: those of the run without.
        better: which way is a gain, `lower` or `higher`.
        seed: the study's, of the swaps that are drawn.
    """
    for items in (treated, without):
        if isinstance(items, str):
            return items
    assert isinstance(treated, Items) and isinstance(without, Items)
    around = change_interval([(treated, without)], better, "points")
    if around.low is None:
        return around.method
    return Comparison(
        around, _permuted(treated, without, seed), _improvement(treated, without, better), len(treated.repeats)
    )


def _permuted(treated: Items, without: Items, seed: int) -> float:
    """How often a difference as large comes of swapping the two runs at items, as chance would if nothing differed."""
    from scipy.stats import permutation_test

    with_treatment, without_treatment = treated.spread, without.spread
    both = combined(with_treatment.value - without_treatment.value, [(1.0, with_treatment), (-1.0, without_treatment)])
    parts = both.items.mean(axis=1) + both.shares * both.value
    rng = np.random.default_rng(seeds.derive(seed, "permutation", treated.run, without.run))
    made = permutation_test(
        (parts,), np.sum, permutation_type="samples", vectorized=True, n_resamples=PERMUTATIONS, rng=rng
    )
    return float(made.pvalue)


def _improvement(treated: Items, without: Items, better: str) -> float:
    """The probability of improvement (Agarwal et al., 2021, NeurIPS), over items by their shares.

    On an item, the share of pairs of a repeat with the treatment and a repeat without in which the former is better; a
    pair that is equal counts half.
    """
    sign, of_folds = 1.0 if better == "higher" else -1.0, []
    for fold in treated.names:
        gain = sign * (treated.values[fold][:, None] - without.values[fold][None])
        of_folds.append(np.average(np.heaviside(gain, 0.5).mean(axis=(0, 1)), weights=treated.weights[fold]))
    return float(np.mean(of_folds))
