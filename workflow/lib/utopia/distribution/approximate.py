"""The job that writes the label distributions of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utopia import arrays
from utopia.config.study import Distribution
from utopia.distribution.calibrated import calibrate
from utopia.distribution.histogram import bin_index, bin_total, count_bins
from utopia.distribution.item import describe_item, prefix
from utopia.distribution.oracle import held_out_counts, planted_counts
from utopia.errors import InputError


def approximate_distribution(*, labels: Path, settings: dict[str, Any], window: int, output: Path) -> None:
    """Write counts, convolved counts, CWL weights and the TNS plan of every item and target (ULDA sec. 3.2 to 3.4).

    With `scope: video` an item's statistics are its own, whatever its fold, below `<id>/<target>/`. With `scope:
    train_set` the counts are pooled over the training items of a fold, and the file holds only these, below
    `<id>/<target>/<fold>/`: n and n~ are the fold's, weights have mean 1 over the fold's training frames, and an item's
    need is its share of the fold's. With an estimator other than `convolution`, n~ is made from the votes of single
    annotators, and pooled n~ is the sum of the items'.

    Args:
        labels: a labels file.
        settings: a `utopia.config.study.Distribution`, as a dictionary.
        window: T of sec. 3.3.2 (ULDA: 10).
        output: the distribution file to write. Its metadata: `settings`, `window`, `dataset`, `targets`.

    Raises:
        InputError: the labels file lacks an array it announces, or the estimator needs votes that are not there.
        ComputeError: a label is not a number or outside the range.
    """
    chosen = Distribution.model_validate(settings)
    file = arrays.load(labels)
    items, targets = list(file.meta["items"]), sorted(file.meta["targets"])
    contents: dict[str, np.ndarray] = {}

    def label(item: str, target: str) -> np.ndarray:
        try:
            return file[f"{item}/{target}"]
        except KeyError as error:
            raise InputError(
                f"announces the item {item!r} but has no {target!r} labels of it",
                where=labels,
                remedy="delete the file and run the same command again: it is regenerated",
            ) from error

    def utopia(item: str, target: str) -> NDArray[np.float64] | None:
        """n~ of one item, where it is not the convolution of n."""
        where = f"{labels}: {item}/{target}"
        if chosen.estimator == "convolution":
            return None
        votes_AT = file.get(f"{item}/{target}.votes")
        if votes_AT is None:
            raise InputError(
                f"{item} has no votes of single annotators on {target}",
                where=labels,
                why=f"the estimator {chosen.estimator!r} works on them",
                remedy="use `distribution.estimator: convolution` on this data set",
            )
        behind = np.isin(np.arange(len(votes_AT)), file.meta["annotators"].get(item, range(len(votes_AT))))
        if chosen.estimator == "oracle":
            law_2T = file.get(f"{item}/{target}.utopia")
            if law_2T is not None:
                return planted_counts(law_2T, chosen, where=where)
            judges = file.meta.get("judges", {}).get(item)
            return held_out_counts(votes_AT[~behind if judges is None else judges], chosen, where=where)
        return calibrate(label(item, target), votes_AT[behind], chosen, where=where)

    for target in targets:
        if chosen.scope == "video":
            for item in items:
                where = f"{labels}: {item}/{target}"
                series = describe_item(label(item, target), chosen, window, utopia_b=utopia(item, target), where=where)
                contents.update(series.arrays(prefix(chosen.scope, item, target, "")))
            continue
        for fold in file.meta["folds"]:
            train = [item for item in fold["train"] if item in items]
            bins = [bin_index(label(item, target), chosen, where=f"{labels}: {item}/{target}") for item in train]
            pooled_b = np.sum([count_bins(bin_T, bin_total(chosen)) for bin_T in bins], axis=0)
            each = [utopia_b for item in train if (utopia_b := utopia(item, target)) is not None]
            utopia_b = np.sum(each, axis=0) if each else None
            for item in train:
                where = f"{labels}: {item}/{target}"
                series = describe_item(
                    label(item, target), chosen, window, pooled_b=pooled_b, utopia_b=utopia_b, where=where
                )
                contents.update(series.arrays(prefix(chosen.scope, item, target, fold["name"])))
    meta = {"dataset": file.meta["dataset"], "targets": targets, "settings": chosen.model_dump(), "window": window}
    arrays.save(output, contents, meta)
