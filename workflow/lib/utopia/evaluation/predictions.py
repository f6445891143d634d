"""The file `predictions.safetensors` of a run: the names of its arrays, and what its metadata say.

An array `<target>/<fold>/<repeat>/<item>` is the prediction [T] (of reactions [T, C], float32) of one test item.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from utopia.arrays import Arrays
from utopia.errors import InputError

FORMAT = 2
"""The form of what training writes of a run: predictions and training.json. In 1, which they do not name, the
predictions' metadata called the numbers of the repeats `seeds`."""


def metadata(stored: Arrays) -> dict[str, Any]:
    """What a predictions file says of itself, in the form of today also where an earlier version wrote it.

    Raises:
        InputError: a later version wrote it.
    """
    meta = dict(stored.meta)
    written = meta.setdefault("format", 1)
    if written not in range(1, FORMAT + 1):
        raise InputError(
            f"the predictions are of format {written}, and this version reads up to {FORMAT}",
            where=stored.path,
            why="another version of Utopia wrote them, and names may have another meaning there",
            remedy="read them with that version, or delete them and run the same command again",
        )
    if written == 1 and "seeds" in meta:
        meta["repeats"] = meta.pop("seeds")
    return meta


def replicas_of(stored: Mapping[str, np.ndarray]) -> dict[tuple[str, str, str], list[str]]:
    """(target, fold, repeat) -> test items, from the names of a predictions file's arrays."""
    items_of: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name in stored:
        target, fold, repeat, item = name.split("/", 3)
        items_of[target, fold, repeat].append(item)
    return dict(items_of)
