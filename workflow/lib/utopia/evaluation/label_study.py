"""Is the hypothesis true, on labels alone? Estimates of the utopia distribution against what other annotators say.

Some of a data set's annotators make a label; the utopia distribution is that of the mean label of the *others*. No
network is trained. docs/calibrated.md says what the estimators do, and what it means to be judged by few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from utopia import seeds
from utopia.config.study import Distribution
from utopia.distribution.calibrated import reliability, shrink, smooth, vote_noise
from utopia.distribution.convolve import convolve
from utopia.distribution.histogram import bin_index, bin_width
from utopia.distribution.kernel import taps
from utopia.evaluation import metrics_csv
from utopia.evaluation.metrics_csv import MetricRow
from utopia.labels.read import Labels

Float = NDArray[np.float64]

ANNOTATORS = (1, 2, 3, 5, 10)
"""k: how many annotators make a label."""
BINS = (10, 20, 100)
"""b: bins over the label range, each a divisor of the greatest."""
REACHES, WIDTHS = (1, 2, 3, 5), (0.5, 1.0, 2.0, 4.0)
"""Settings of ULDA that are tried: bins that the kernel reaches to each side (delta / 2w), and sigma in bins."""
PUBLISHED = (1, 1.0)
"""The published setting on every data set: three taps, sigma one bin."""
ESTIMATORS = ("as_is", "ulda", "ulda_best", "kde", "calibrated", "calibrated_others")
"""`as_is`: the histogram of the label. `ulda`: its convolution at the published setting. `ulda_best`: at the setting
that is best in hindsight against the utopia distribution, which nobody can know before. `kde`: a Gaussian kernel
density with the bandwidth of Scott's rule. `calibrated`: ours, aimed at infinitely many annotators, or
(`calibrated_others`) at as many as the others are."""
MEASURES = ("pcc", "w1")
"""Correlation between two distributions over bins (the papers'), and their Wasserstein-1 distance in label units."""
POOLED_DRAWS = 500
"""Bootstrap samples of videos for the pooled distributions."""
FEWEST = 2
"""Frames that a series needs."""


class VotedItem(NamedTuple):
    """The votes on an item, none missing.

    item: its id. votes: in label units [A, T]. order: for each draw of each repeat in turn, the annotators in random
    order [D, A].
    """

    item: str
    votes: Float
    order: NDArray[np.int64]


def study_labels(*, labels: Path, run: Mapping[str, Any], output: Path) -> None:
    """Write metrics.csv of the study of a data set's labels.

    For every k and b, each video's k annotators are drawn `label_draws` times in each repeat, whose metric is the mean
    over these draws. Its name is `<measure>.b<b>.k<k>.<estimator>`: of each video, and as the replica's own their mean;
    and with `pooled_` before it, of the distributions summed over videos, with the ends of its interval (bootstrap over
    videos) as `.low` and `.high`. `<measure>.b<b>.k<k>.ulda.r<reach>.s<sigma in bins>` are ULDA's other settings, means
    over videos and repeats.

    A k that leaves nobody to judge is declared with the reason: see `metrics_csv.hole`. Annotators who gave less than
    half of a video's votes do not count for it, nor do frames that lack a vote of the others.

    Args:
        labels: the data set's labels file.
        run: `targets`, `low`, `high`, `seed`, `repeats`, `label_draws`.
        output: where metrics.csv goes.
    """
    read = Labels(labels)
    made: list[MetricRow] = []
    for target in run["targets"]:
        series, reasons = usable(read, target, run)
        for k in ANNOTATORS:
            chosen = [voted for voted in series if len(voted.votes) > k]
            if chosen:
                made += _of_annotators(read.dataset, target, chosen, k, run)
            else:
                reason = _nobody(k, series, reasons)
                made += [metrics_csv.hole(target, name, reason) for name in _names(k)]
    metrics_csv.write(output, made)


def _names(k: int) -> Iterator[str]:
    for measure in (*MEASURES, *(f"pooled_{measure}" for measure in MEASURES)):
        for bins in BINS:
            for estimator in ESTIMATORS:
                yield f"{measure}.b{bins}.k{k}.{estimator}"


def _nobody(k: int, series: list[VotedItem], reasons: Mapping[str, str]) -> str:
    """Why no video can be used with k annotators."""
    if not series:
        return next(iter(reasons.values()), "no video has labels")
    most = max(len(voted.votes) for voted in series)
    who = "1 annotator" if most == 1 else f"{most} annotators"
    return f"no video has more than {who}: with {k} behind the label nobody is left to judge it"


def usable(labels: Labels, target: str, run: Mapping[str, Any]) -> tuple[list[VotedItem], dict[str, str]]:
    """The series whose votes can be used, and why others cannot, by item."""
    series, reasons = [], {}
    for item in labels.items:
        votes_AT = labels.votes(item, target)
        if votes_AT is None:
            reasons[item] = f"{item} has no votes of single annotators on {target}"
            continue
        votes_AT = complete(np.asarray(votes_AT, np.float64))
        if votes_AT.shape[1] < FEWEST or not len(votes_AT):
            reasons[item] = f"{item} has fewer than {FEWEST} frames that all its annotators voted on"
            continue
        orders = []
        for repeat in range(int(run["repeats"])):
            identity = (run["seed"], "label_study", labels.dataset, target, item, repeat)
            rng = np.random.default_rng(seeds.derive(*identity))
            orders.append(np.argsort(rng.random((int(run["label_draws"]), len(votes_AT))), axis=1))
        series.append(VotedItem(item, votes_AT, np.concatenate(orders)))
    return series, reasons


def complete(votes_AT: Float) -> Float:
    """Votes without holes: those of annotators with at least half of them, on the frames that all of these voted on."""
    voted_AT = np.isfinite(votes_AT)
    kept_A = voted_AT.mean(axis=1) >= 0.5 if votes_AT.shape[1] else np.zeros(len(votes_AT), bool)
    return votes_AT[kept_A][:, voted_AT[kept_A].all(axis=0)]


def _of_annotators(
    dataset: str, target: str, items: list[VotedItem], k: int, run: Mapping[str, Any]
) -> Iterator[MetricRow]:
    """All rows of a target with k annotators behind the label."""
    identity, repeats = (run["seed"], "label_study", dataset, target), int(run["repeats"])
    of_items = [_counts(voted, k, run) for voted in items]
    for bins in BINS:
        setting = setting_of(bins, run)
        width = bin_width(setting)
        utopia_NDb = np.stack([counts[bins]["utopia"] for counts in of_items])
        estimated = {name: np.stack([counts[bins][name] for counts in of_items]) for name in of_items[0][bins]}
        kernels = _kernels(setting)
        tried = {
            key: _over_draws(compare(estimated["as_is"] @ kernel_bb, utopia_NDb, width), 1)
            for key, kernel_bb in kernels.items()
        }
        for setting_tried, values in tried.items():
            for measure, value_NR in values.items():
                name = f"{measure}.b{bins}.k{k}.ulda.{_label(setting_tried)}"
                yield MetricRow(target, "all", "0", "", name, float(value_NR.mean()))
        for estimator in ESTIMATORS:
            for measures, counts_NDb in _estimates(estimator, estimated, kernels, tried):
                values = _over_draws(compare(counts_NDb, utopia_NDb, width), repeats)
                seed = seeds.derive(*identity, f"b{bins}.k{k}.{estimator}")
                pooled, ends = _pooled(counts_NDb, utopia_NDb, width, repeats, seed)
                for measure in measures:
                    name = f"{measure}.b{bins}.k{k}.{estimator}"
                    for repeat in range(repeats):
                        value_N = values[measure][:, repeat]
                        yield MetricRow(target, "all", str(repeat), "", name, float(value_N.mean()))
                        for voted, value in zip(items, value_N, strict=True):
                            yield MetricRow(target, "all", str(repeat), voted.item, name, float(value))
                        yield MetricRow(
                            target, "all", str(repeat), "", f"pooled_{name}", float(pooled[measure][repeat])
                        )
                    for end, value in ends[measure].items():
                        yield MetricRow(target, "all", "0", "", f"pooled_{name}.{end}", value)


def _estimates(
    estimator: str,
    estimated: Mapping[str, Float],
    kernels: Mapping[tuple[int, float], Float],
    tried: Mapping[tuple[int, float], Mapping[str, Float]],
) -> Iterator[tuple[tuple[str, ...], Float]]:
    """An estimator's counts [N, D, b], with the measures that they are for: the best setting depends on the measure."""
    if estimator == "ulda":
        yield MEASURES, estimated["as_is"] @ kernels[PUBLISHED]
    elif estimator == "ulda_best":
        for measure in MEASURES:
            means = {name: float(values[measure].mean()) for name, values in tried.items()}
            best = (max if measure == "pcc" else min)(means, key=means.__getitem__)
            yield (measure,), estimated["as_is"] @ kernels[best]
    else:
        yield MEASURES, estimated[estimator]


def _over_draws(values: Mapping[str, Float], repeats: int) -> dict[str, Float]:
    """Means over the draws of each repeat [..., R]."""
    return {
        name: of_draws.reshape(*of_draws.shape[:-1], repeats, -1).mean(axis=-1) for name, of_draws in values.items()
    }


def _label(setting: tuple[int, float]) -> str:
    return f"r{setting[0]}.s{setting[1]:g}"


def setting_of(
    bins: int, run: Mapping[str, Any], reach: int = PUBLISHED[0], sigma: float = PUBLISHED[1]
) -> Distribution:
    """Bins over a run's labels, and a kernel of `sigma` bins that reaches `reach` bins to either side."""
    width = (run["high"] - run["low"]) / bins
    return Distribution(bins=bins, low=run["low"], high=run["high"], delta=(2 * reach + 1) * width, sigma=sigma * width)


def _kernels(setting: Distribution) -> dict[tuple[int, float], Float]:
    """Each of ULDA's settings as the matrix [b, b] that turns counts into convolved counts."""
    width = bin_width(setting)
    kernels = {}
    for reach in REACHES:
        for sigma in WIDTHS:
            tried = setting.model_copy(update={"delta": (2 * reach + 1) * width, "sigma": sigma * width})
            kernels[reach, sigma] = np.stack(
                [convolve(unit_b, taps(tried), tried.boundary) for unit_b in np.eye(setting.bins)]
            )
    return kernels


def _counts(item: VotedItem, k: int, run: Mapping[str, Any]) -> dict[int, dict[str, Float]]:
    """By b, the utopia distribution and the estimates that are no convolution, as counts [D, b]."""
    votes_AT, order_DA = item.votes, item.order
    drawn_DkT = votes_AT[order_DA[:, :k]]
    label_DT = drawn_DkT.mean(axis=1)
    others_DT = votes_AT[order_DA[:, k:]].mean(axis=1)
    judges = len(votes_AT) - k
    shapes: dict[str, list[tuple[Float, float] | None]] = {"kde": [], "calibrated": [], "calibrated_others": []}
    for label_T, drawn_kT in zip(label_DT, drawn_DkT, strict=True):
        noise = vote_noise(drawn_kT)
        scott = float(label_T.std(ddof=1)) * len(label_T) ** -0.2
        shapes["kde"].append((label_T, scott) if scott > 0 else None)
        shapes["calibrated"].append(shrink(label_T, reliability(noise)))
        shapes["calibrated_others"].append(shrink(label_T, reliability(noise, judges=judges)))
    finest = setting_of(max(BINS), run)
    smoothed = {
        name: [None if shape is None else smooth(*shape, finest) for shape in fits] for name, fits in shapes.items()
    }
    counts = {}
    for bins in BINS:
        setting = setting_of(bins, run)
        as_is_Db = histograms(label_DT, setting, item.item)
        counts[bins] = {"utopia": histograms(others_DT, setting, item.item), "as_is": as_is_Db}
        for name, of_draws in smoothed.items():
            counts[bins][name] = np.stack(
                [
                    as_is if fine is None else fine.reshape(bins, -1).sum(axis=1)  # its edges are among the finest
                    for fine, as_is in zip(of_draws, as_is_Db, strict=True)
                ]
            )
    return counts


def histograms(label_DT: Float, setting: Distribution, where: str = "") -> Float:
    """Counts [D, b] of several series [D, T]."""
    bin_DT = bin_index(label_DT.reshape(-1), setting, where=where).reshape(label_DT.shape)
    shifted_DT = bin_DT + setting.bins * np.arange(len(label_DT))[:, None]
    count_x = np.bincount(shifted_DT.reshape(-1), minlength=setting.bins * len(label_DT))
    return count_x.reshape(-1, setting.bins).astype(np.float64)


def compare(estimated: Float, utopia: Float, width: float) -> dict[str, Float]:
    """The measures between distributions [..., b], each [...].

    `pcc` is 0 where one of them is flat over all bins. `w1` is the Wasserstein-1 distance of the two, each with mass 1,
    in label units.
    """
    f, u = (counts - counts.mean(axis=-1, keepdims=True) for counts in (estimated, utopia))
    norm = np.sqrt((f * f).sum(axis=-1) * (u * u).sum(axis=-1))
    pcc = np.divide((f * u).sum(axis=-1), norm, out=np.zeros_like(norm), where=norm > 0)
    share = [counts / counts.sum(axis=-1, keepdims=True) for counts in (estimated, utopia)]
    return {"pcc": pcc, "w1": width * np.abs(np.cumsum(share[0] - share[1], axis=-1)).sum(axis=-1)}


def _pooled(
    estimated_NDb: Float, utopia_NDb: Float, width: float, repeats: int, seed: int
) -> tuple[dict[str, Float], dict[str, dict[str, float]]]:
    """By measure, that of the distributions of all videos together for each repeat, and the ends of an interval: the
    percentile bootstrap over videos (nothing of one video)."""
    estimated_Nx, utopia_Nx = (counts.reshape(len(counts), -1) for counts in (estimated_NDb, utopia_NDb))

    def pooled(count_BN: Float, repeats: int) -> dict[str, Float]:
        estimated, utopia = (
            (count_BN @ counts).reshape(-1, *estimated_NDb.shape[1:]) for counts in (estimated_Nx, utopia_Nx)
        )
        return _over_draws(compare(estimated, utopia, width), repeats)

    videos = len(estimated_NDb)
    values = {measure: value[0] for measure, value in pooled(np.ones((1, videos)), repeats).items()}
    if videos < 2:
        return values, {measure: {} for measure in MEASURES}
    rng = np.random.default_rng(seed)
    drawn = pooled(rng.multinomial(videos, np.full(videos, 1 / videos), size=POOLED_DRAWS).astype(np.float64), 1)
    ends = {measure: np.quantile(drawn[measure], (0.025, 0.975)) for measure in MEASURES}
    return values, {measure: {"low": float(low), "high": float(high)} for measure, (low, high) in ends.items()}
