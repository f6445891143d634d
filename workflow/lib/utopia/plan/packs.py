"""Which runs share a training job: those on the same labels with the same model, that differ in treatment only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

from utopia import files
from utopia.config.engine import TREATMENT
from utopia.plan.runs import Run


def packs(runs: Iterable[Run], most: int) -> dict[str, list[Run]]:
    """Trained runs in packs of at most `most`, of sizes that differ by one at most; by `<dataset>_<model>_<number>`.

    Runs keep their order, so a pack holds neighbours of the catalogue.
    """
    groups: dict[tuple[str, str], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run.reference is None:
            shared = {name: value for name, value in run.settings.items() if name not in TREATMENT}
            groups[run.dataset, str(run.settings["model"])][files.digest([shared, run.labels_key])].append(run)
    found: dict[str, list[Run]] = {}
    for (dataset, model), by_settings in groups.items():
        pieces = [piece for group in by_settings.values() for piece in _split(group, most)]
        for number, piece in enumerate(pieces, start=1):
            found[f"{dataset}_{model}_{number}"] = piece
    return found


def _split(group: list[Run], most: int) -> list[list[Run]]:
    number = -(-len(group) // most)
    edges = [len(group) * piece // number for piece in range(number + 1)]
    return [group[start:stop] for start, stop in pairwise(edges)]
