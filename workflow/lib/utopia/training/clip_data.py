"""What runs on clips are trained on: features and labels at the model's rate, all in one tensor.

In shapes: N rows of all items, n rows of one at the model's rate, T rows of its labels, C reactions, D input width.
"""

# ruff: noqa: N815 - fields carry their shape

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from utopia.config.clips import Clips
from utopia.errors import ConfigError, InputError
from utopia.features.read import FeatureReader
from utopia.labels.read import Labels
from utopia.training.data import Data, count_outside, normalised, split
from utopia.training.scratch import Scratch
from utopia.training.settings import RunSettings

ABOUT_A_SECOND = (0.9, 1.1)
"""Steps, in seconds, of features that the reference code takes for one row per second."""


@dataclass
class ClipData(Data):
    """All that the replicas of a run on clips share; `features` are views of `bank_ND`."""

    bank_ND: Tensor = field(default_factory=lambda: torch.empty(0, 0))
    first: dict[str, int] = field(default_factory=dict)
    """Row of the bank at which an item begins."""
    targets: dict[str, Tensor] = field(default_factory=dict)
    """y_nC of each labelled item, float32, at the model's rate."""
    dense: dict[str, Tensor] = field(default_factory=dict)
    """y_TC of each test item, float32, at the labels' rate."""
    rows: dict[str, int] = field(default_factory=dict)
    """T of each item."""
    unlabelled: tuple[str, ...] = ()
    """Items to be predicted that have no labels."""
    widths: list[int] = field(default_factory=list)
    """Of the features, one after another."""
    columns: list[str] = field(default_factory=list)
    """Names of the reactions."""
    every: int = 1
    """Rows of labels from one step of the model to the next."""
    per_second: int = 1
    """Rows of labels per second."""

    def on(self, device: torch.device) -> Tensor:
        """The bank, on the device if it takes no more than half of what is free there, else in main memory."""
        if device.type == "cuda" and self.bank_ND.device != device:
            free, _ = torch.cuda.mem_get_info(device)
            if self.bank_ND.nbytes <= free / 2:
                self.bank_ND = self.bank_ND.to(device)
        return self.bank_ND


def load_clip_data(
    run: RunSettings, labels: Path, features: Sequence[Path], clips: Clips, fewest: int, folder: Path | None = None
) -> ClipData:
    """Read features and labels of a run at the model's rate. Where its fold has too few items, none is left, and
    nothing is trained.

    Args:
        run: the run; its one target has several columns.
        labels: a labels file of the protocol `reactions`.
        features: feature indexes.
        clips: how series are sampled.
        fewest: training items that a fold needs.
        folder: see `Data.folder`.

    Raises:
        ConfigError: the rate does not divide that of the labels, or the target is not in the labels file.
        InputError: features are not finite or differ in width.
    """
    file, reader = Labels(labels), FeatureReader(list(features))
    (target,) = run.targets
    if target not in file.columns:
        raise ConfigError(f"{target!r} has no columns in the labels file", where=f"run {run.id}")
    data = ClipData(file, folder, left_out=dict(file.absent), columns=file.columns[target])
    items = []
    for item in file.items:
        reason = reader.available(item, run.features)
        if reason is None:
            items.append(item)
        else:
            data.left_out[item] = reason
    if items:
        data.every, data.per_second = _stride(file.times(items[0]), clips, run)
        data.widths = [reader.width(items[0], [name]) for name in run.features]
        flags = [run.normalise.get(name) == "standardise" for name in run.features]
        data.standardised_D = np.repeat(flags, data.widths)
    data.rows = {item: len(file.times(item)) for item in items}
    steps = {item: -(-rows // data.every) for item, rows in data.rows.items()}
    unlabelled, end = set(file.unlabelled), 0
    bank, targets = Scratch(folder, packed=True), Scratch(folder)
    for item in items:
        data.first[item], end = end, end + steps[item]
        rows_nD = torch.empty(steps[item], sum(data.widths))
        _fill(rows_nD, reader, item, run, file.times(item)[:: data.every], clips, data.widths)
        bank.add(rows_nD.numpy())
        count_outside(data, reader, item, run.features, file.times(item)[:: data.every])
        if item not in unlabelled:
            y_TC = np.asarray(file.label(item, target), dtype=np.float32)
            targets.add(np.ascontiguousarray(y_TC[:: data.every]))
    data.bank_ND = torch.from_numpy(bank.rows()) if items else data.bank_ND
    data.features = {item: data.bank_ND[data.first[item] : data.first[item] + steps[item]] for item in items}
    labelled = [item for item in items if item not in unlabelled]
    data.targets = _tensors(labelled, targets)
    data.unlabelled = tuple(item for item in file.unlabelled if item in data.features)
    split(data, fewest)
    tested, dense = list(dict.fromkeys(item for fold in data.folds for item in fold.test)), Scratch(folder)
    for item in tested:
        dense.add(np.asarray(file.evaluation(item, target), np.float32))
    data.dense = _tensors(tested, dense)
    return data


def _tensors(items: Sequence[str], values: Scratch) -> dict[str, Tensor]:
    return {item: torch.from_numpy(array) for item, array in zip(items, values.arrays(), strict=True)}


def _stride(time_T: np.ndarray, clips: Clips, run: RunSettings) -> tuple[int, int]:
    """Label rows from one step to the next, and per second."""
    rate = 1 / float(np.median(np.diff(time_T))) if len(time_T) > 1 else clips.rate
    every = round(rate / clips.rate)
    if every < 1 or abs(rate / clips.rate - every) > 0.01 * every:
        raise ConfigError(
            f"the labels come {rate:.3g} times per second, which {clips.rate:g} steps per second do not divide",
            where=f"model {run.model}, training.clips.rate",
            remedy="use a rate that divides the labels' rate",
        )
    return every, max(1, round(rate))


def _fill(
    rows_nD: Tensor,
    reader: FeatureReader,
    item: str,
    run: RunSettings,
    time_n: np.ndarray,
    clips: Clips,
    widths: Sequence[int],
) -> None:
    """Write the features of an item at the model's steps."""
    for name, width, part_nd in zip(run.features, widths, rows_nD.split(list(widths), dim=1), strict=True):
        features, starts = reader.rows(item, name)
        if features.shape[1] != width:
            raise InputError(
                f"{name} is {features.shape[1]} wide, that of other items {width}",
                where=item,
                remedy="these are not the same features: make all with one extractor",
            )
        step = float(np.median(np.diff(starts))) if len(starts) > 1 else 0.0
        if clips.sound == "reference" and ABOUT_A_SECOND[0] <= step <= ABOUT_A_SECOND[1]:
            row_n = np.minimum(np.floor(time_n + 1e-6).astype(int), len(features) - 1)
            x_nd = features[row_n]
        else:
            x_nd = reader.aligned(item, [name], time_n)
        part_nd.copy_(torch.from_numpy(normalised(x_nd, name, run.normalise.get(name, "none"), item, time_n)))
