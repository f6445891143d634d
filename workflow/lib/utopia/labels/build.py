"""Builds the labels file: training labels on one time grid per item, the labels to judge by, votes, shots, folds."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from utopia import arrays
from utopia.config import registry
from utopia.datasets._card import card
from utopia.datasets._common import Item, LabelledItem, Limits, label_limits, medium, not_published
from utopia.errors import AT_WORK, InputError, counted
from utopia.files import read_json

_log = logging.getLogger(__name__)
_FEWEST = 2


def build_labels(
    *,
    dataset: str,
    manifest: Path,
    folder: Path,
    options: Mapping[str, Any],
    distribution: Mapping[str, Any],
    output: Path,
) -> None:
    """Write the labels file of a data set; items are written as they are read, so memory does not grow with them.

    An item whose annotations are missing, damaged, of the wrong length, not numbers or outside the range is recorded
    with its reason in the metadata's `absent`. A fold that is left without training or test items is recorded in
    `dropped_folds`.

    Args:
        dataset: a file of `datasets/`.
        manifest: the manifest made by `list_inputs`.
        folder: the data set's folder.
        options: the data set's `Config`, as a mapping.
        distribution: `low` and `high`, the label range of the study; other keys are not used. Empty for a data set
            that has no label distribution: the range is then its card's.
        output: the arrays file to write.

    Raises:
        InputError: fewer than two items have labels; with the reasons.
    """
    module = registry.load("datasets", dataset)
    config = module.Config.model_validate(dict(options))
    limits = label_limits(dataset, distribution)
    located = module.locate(Path(folder), config)
    listed = {entry["id"]: entry for entry in read_json(manifest)["items"]}

    role = medium(module).role
    obtained = frozenset(id for id, entry in listed.items() if role in entry["files"])
    located = replace(located, obtained=obtained)

    ids: list[str] = []
    unlabelled: list[str] = []
    absent: dict[str, str] = {}
    annotators: dict[str, list[int]] = {}
    notes: dict[str, list[str]] = {}
    with arrays.Writer(output) as file:
        for item in module.items(located, config):
            _log.info("%s%s", AT_WORK, item.id)
            try:
                read = _read(module, located, item, config, limits, listed.get(item.id))
            except InputError as error:
                absent[item.id] = " ".join(str(error).split())
                continue
            except Exception as error:  # one bad item must not end the study, whatever it leads its reader to
                _log.exception("%s: its labels cannot be read", item.id)
                absent[item.id] = f"its labels cannot be read ({type(error).__name__}: {error}); the log has more"
                continue
            for name, values in _arrays(read):
                file.add(name, values)
            ids.append(item.id)
            unlabelled += [] if read.labels else [item.id]
            annotators |= {item.id: list(read.annotators)} if len(read.annotators) else {}
            notes |= {item.id: list(read.notes)} if read.notes else {}
        with_labels = [item for item in ids if item not in set(unlabelled)]
        _refuse_few(dataset, len(with_labels), len(ids), absent, folder)
        folds, dropped = _split(module.folds(located, with_labels, config))
        file.meta = {
            "dataset": dataset,
            "protocol": module.PROTOCOL,
            "targets": {target: {"low": limits.low, "high": limits.high} for target in module.TARGETS},
            "items": ids,
            "folds": folds,
            "dropped_folds": dropped,
            "absent": absent,
            "annotators": annotators,
            "notes": notes,
            "label_range": {target: list(bounds) for target, bounds in card(dataset).label_range.items()},
            "generated": located.generated,
            "unlike_published": _other_versions(listed.values()),
        }
        if columns := getattr(module, "COLUMNS", None):
            names = {target: list(of_target) for target, of_target in columns.items()}
            file.meta |= {"columns": names, "unlabelled": unlabelled}


def _other_versions(listed: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the labels and shots are computed from that has another checksum than the published file of its name."""
    files = (file for entry in listed for file in entry["files"].values())
    return sorted({not_published(Path(file["path"]).name) for file in files if file.get("published") is False})


def _refuse_few(dataset: str, labelled: int, read: int, absent: Mapping[str, str], folder: Path) -> None:
    if labelled >= _FEWEST:
        return
    reasons = "".join(
        f"\n    {reason} ({counted(count, 'item')})" for reason, count in Counter(absent.values()).most_common(5)
    )
    raise InputError(
        f"only {labelled} of {read + len(absent)} items of {dataset} have labels{reasons}",
        where=folder,
        why="nothing can be trained and tested on it",
        remedy="correct the files named above; the manifest lists all of them",
    )


def _read(
    module: Any, located: Any, item: Item, config: Any, limits: Limits, entry: Mapping[str, Any] | None
) -> LabelledItem:
    if entry is None or not entry["present"]:
        raise InputError(entry["reason"] if entry else "the manifest does not list it", remedy="")
    # Only a probed video or song tells the length that the labels must have.
    facts = entry["facts"] if medium(module).role in entry["files"] else {}
    return module.read_labels(located, replace(item, facts=dict(facts)), config, limits)


def _split(folds: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The folds that can be used, and the others with the reason."""
    kept, dropped = [], []
    for fold in folds:
        empty = [part for part in ("train", "test") if not fold[part]]
        if empty:
            dropped.append({"name": fold["name"], "reason": f"none of its {' or '.join(empty)} items has labels"})
        else:
            kept.append(fold)
    return kept, dropped


def _arrays(item: LabelledItem) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of an item. Labels that are vectors are as numerous as features, and so no wider than these."""
    yield f"{item.id}/times", np.asarray(item.times, dtype=np.float64)
    numbers = (("", item.labels), (".evaluation", item.evaluation), (".utopia", item.utopia), (".votes", item.votes))
    for suffix, series in numbers:
        for target, values in series.items():
            vector = suffix != ".votes" and np.ndim(values) == 2
            yield f"{item.id}/{target}{suffix}", np.asarray(values, dtype=np.float32 if vector else np.float64)
    for target, counted_T in item.counted.items():
        yield f"{item.id}/{target}.judged", np.asarray(counted_T, dtype=np.uint8)
    for name, values in item.shots.items():
        yield f"{item.id}/{name}", values
