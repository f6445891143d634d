"""The job that writes the label distributions of a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from utopia import arrays
from utopia.config.study import Distribution
from utopia.distribution.histogram import bin_index, bin_total, count_bins
from utopia.distribution.series import describe_series, prefix
from utopia.errors import InputError


def approximate_distribution(*, labels: Path, settings: dict[str, Any], window: int, output: Path) -> None:
    """Write counts, convolved counts, CWL weights and the TNS plan of every item and target (ULDA sec. 3.2 to 3.4).

    With `scope: video` an item's statistics are its own, whatever its fold, below `<id>/<target>/`. With `scope:
    train_set` the counts are pooled over the training items of a fold, and the file holds only these, below
    `<id>/<target>/<fold>/`: n and n~ are the fold's, weights have mean 1 over the fold's training frames, and an item's
    need is its share of the fold's.

    Args:
        labels: a labels file.
        settings: a `utopia.config.study.Distribution`, as a dictionary.
        window: T of sec. 3.3.2 (ULDA: 10).
        output: the distribution file to write. Its metadata: `settings`, `window`, `dataset`, `targets`.

    Raises:
        InputError: the labels file lacks an array it announces.
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
                remedy="delete the file and run the same command again: it is made anew",
            ) from error

    for target in targets:
        if chosen.scope == "video":
            for item in items:
                series = describe_series(label(item, target), chosen, window, where=f"{labels}: {item}/{target}")
                contents.update(series.arrays(prefix(chosen.scope, item, target, "")))
            continue
        for fold in file.meta["folds"]:
            train = [item for item in fold["train"] if item in items]
            bins = [bin_index(label(item, target), chosen, where=f"{labels}: {item}/{target}") for item in train]
            pooled_b = np.sum([count_bins(bin_T, bin_total(chosen)) for bin_T in bins], axis=0)
            for item in train:
                where = f"{labels}: {item}/{target}"
                series = describe_series(label(item, target), chosen, window, pooled_b=pooled_b, where=where)
                contents.update(series.arrays(prefix(chosen.scope, item, target, fold["name"])))
    meta = {"dataset": file.meta["dataset"], "targets": targets, "settings": chosen.model_dump(), "window": window}
    arrays.save(output, contents, meta)
