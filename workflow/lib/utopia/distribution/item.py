"""Everything that ULDA derives from the labels of one item under one target, as it is in the distribution file."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from utopia.arrays import Arrays
from utopia.config.study import Distribution
from utopia.distribution.convolve import convolve
from utopia.distribution.histogram import bin_index, bin_total, count_bins
from utopia.distribution.kernel import taps
from utopia.distribution.plan import needed_samples, shortage
from utopia.distribution.slices import coefficients, extend_slices, time_slices
from utopia.distribution.weights import cwl_weights
from utopia.errors import InputError


@dataclass(frozen=True)
class ItemDistribution:
    """The label distribution of an item, its CWL weights and its TNS plan. T frames, b bins, S time slices."""

    bin: NDArray[np.int64]
    """Bin of every frame [T]."""
    count: NDArray[np.float64]
    """n [b]: frames per bin, of this item, or of all training items of a fold."""
    utopia_count: NDArray[np.float64]
    """n~ [b] (Eq. 2), belonging to `count`."""
    weight: NDArray[np.float64]
    """CWL weights [T] (Eq. 7)."""
    samples_needed: NDArray[np.int64]
    """Samples that TNS adds to this item, per bin [b]."""
    slice: NDArray[np.int64]
    """Time slices as half-open frame ranges [S, 2]."""
    window: NDArray[np.int64]
    """Their windows as half-open frame ranges [S, 2]."""
    slice_bin: NDArray[np.int64]
    """Bin of every slice [S]."""
    coefficient: NDArray[np.float64]
    """c_i of Eq. 5 [S, longest window], padded with 0."""

    @property
    def own_count(self) -> NDArray[np.float64]:
        """Frames per bin of this item alone [b]."""
        return count_bins(self.bin, len(self.count))

    @property
    def own(self) -> bool:
        """Whether `count` is of this item alone (`scope: video`)."""
        return bool(self.count.sum() == len(self.bin))

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays by their names in the distribution file, below `prefix`."""
        return {f"{prefix}/{_in_file(field.name)}": getattr(self, field.name) for field in fields(self)}


def _in_file(field: str) -> str:
    """The name of an array in the distribution file, which is that of its field but for one older name."""
    return "need" if field == "samples_needed" else field


def describe_item(
    label_T: NDArray[np.floating],
    settings: Distribution,
    window: int,
    *,
    pooled_b: NDArray[np.float64] | None = None,
    utopia_b: NDArray[np.float64] | None = None,
    where: str = "",
) -> ItemDistribution:
    """Derive an item's distribution, weights and plan from its labels.

    Args:
        label_T: labels [T].
        settings: bins, kernel, boundary.
        window: T of sec. 3.3.2.
        pooled_b: counts over all training items [b]; None: those of this item.
        utopia_b: n~ [b] that belongs to these counts, where another estimator made it; None: the convolution (Eq. 2).
        where: the item, for messages.

    Raises:
        ComputeError: a label is not a number or outside the range.
    """
    bin_T = bin_index(label_T, settings, where=where)
    own_b = count_bins(bin_T, bin_total(settings))
    count_b = own_b if pooled_b is None else pooled_b
    if utopia_b is None:
        utopia_b = convolve(count_b, taps(settings), settings.boundary)
    slice_S2 = time_slices(bin_T)
    window_S2 = extend_slices(slice_S2, len(bin_T), window, settings.extension)
    return ItemDistribution(
        bin=bin_T,
        count=count_b,
        utopia_count=utopia_b,
        weight=cwl_weights(bin_T, count_b, utopia_b),
        samples_needed=needed_samples(shortage(own_b, count_b, utopia_b)),
        slice=slice_S2,
        window=window_S2,
        slice_bin=bin_T[slice_S2[:, 0]],
        coefficient=coefficients(label_T, slice_S2, window_S2, settings.deviation),
    )


def prefix(scope: str, item: str, target: str, fold: str) -> str:
    """Where an item is in a distribution file: `<id>/<target>`, with pooled counts `<id>/<target>/<fold>`."""
    return f"{item}/{target}" if scope == "video" else f"{item}/{target}/{fold}"


def read_item(file: Arrays, item: str, target: str, fold: str) -> ItemDistribution:
    """Read an item from a distribution file (see `approximate_distribution`).

    Raises:
        InputError: the file does not hold it.
    """
    place = prefix(file.meta["settings"]["scope"], item, target, fold)
    arrays = file.under(place)
    names = {field.name: _in_file(field.name) for field in fields(ItemDistribution)}
    missing = [name for name in names.values() if name not in arrays]
    if missing:
        raise InputError(
            f"has no {place}/{missing[0]}",
            where=file.path,
            why="the loss weights and the samples to add of this item are not known",
            remedy="delete the file and run the same command again: it is regenerated from the labels",
        )
    return ItemDistribution(**{field: arrays[name] for field, name in names.items()})
