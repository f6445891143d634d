"""Labels of some of the annotators, judged by others: a labels file made from another one's votes.

What a data set's own options (`label_annotators`) do for a whole study, this does for single runs, so that one study
can train on labels of three annotators and of all, and judge both alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from utopia import arrays, seeds
from utopia.config.labelling import Labelling
from utopia.errors import InputError
from utopia.labels.read import Labels

Float = NDArray[np.float64]

FEWEST_VOTES = 0.5
"""Share of an item's frames that an annotator must have voted on to count for it."""


class Chosen(NamedTuple):
    """Indices of an item's annotators, in order."""

    behind: list[int]
    """Those whose votes make the training label."""
    judges: list[int]
    """Those whose votes judge; empty: the data set's own label does."""


def choose_annotators(*, labels: Path, choice: Mapping[str, Any], seed: int, output: Path) -> None:
    """Write a labels file whose training labels are those of some annotators, judged by others.

    The annotators of an item are drawn in one order: first the judges, then those behind the label. So labels of three
    annotators and labels of all the others have the same judges, and the three are among the others. An annotator who
    voted on less than half of an item's frames does not count for it. A label is the mean over those who voted.

    An item without single votes, with too few annotators, or with a frame that none of those chosen voted on becomes
    absent, with the reason; a fold that is left without training or test items is dropped. If that leaves nothing, the
    file says so, and runs on it are declared holes.

    Args:
        labels: the data set's labels file.
        choice: a `utopia.config.labelling.Labelling`, as a mapping.
        seed: the study's root seed.
        output: the labels file to write. Its metadata also has `judges`, {id: their indices}, where there are any.

    Raises:
        InputError: the labels file cannot be read.
    """
    chosen, read = Labelling.model_validate(dict(choice)), Labels(labels)
    absent, drawn = dict(read.absent), dict[str, Chosen]()
    with arrays.Writer(output) as file:
        for item in read.items:
            try:
                people = _of_item(read, item, chosen, seed)
            except InputError as error:
                absent[item] = " ".join(str(error).split())
                continue
            drawn[item] = people
            for name, values in _arrays(read, item, people):
                file.add(name, values)
        folds, dropped = _folds(read.folds, chosen.folds, set(drawn), absent)
        file.meta = read.meta | {
            "items": list(drawn),
            "absent": absent,
            "folds": folds,
            "dropped_folds": [*read.meta.get("dropped_folds", []), *dropped],
            "annotators": {item: people.behind for item, people in drawn.items()},
            "judges": {item: people.judges for item, people in drawn.items() if people.judges},
            "notes": {item: notes for item, notes in read.meta.get("notes", {}).items() if item in drawn},
        }


def _of_item(labels: Labels, item: str, chosen: Labelling, seed: int) -> Chosen:
    """Draw an item's annotators.

    Raises:
        InputError: it has no votes, or those chosen leave a frame without one.
    """
    votes = {}
    for target in labels.targets:
        stored = labels.votes(item, target)
        if stored is None:
            raise InputError(f"{item} has no votes of single annotators on {target}", where=labels.path)
        votes[target] = np.isfinite(stored)
    voted = np.stack([voted_AT.mean(axis=1) for voted_AT in votes.values()]).min(axis=0)
    present = np.flatnonzero(voted >= FEWEST_VOTES)
    wanted = chosen.judges + (chosen.annotators or 1)
    if len(present) < wanted:
        who = "1 annotator" if len(present) == 1 else f"{len(present)} annotators"
        raise InputError(
            f"{item} has {who} who voted on half of it or more, and {wanted} are needed",
            where=labels.path,
            why=f"{chosen.annotators or 'one or more'} make the label and {chosen.judges} others judge it",
        )
    identity = (seed, "annotators", labels.dataset, item)
    order = np.random.default_rng(seeds.derive(*identity)).permutation(present)
    judges, others = order[: chosen.judges], order[chosen.judges :]
    drawn = Chosen(*(sorted(map(int, part)) for part in (others[: chosen.annotators], judges)))
    for target, voted_AT in votes.items():
        for what, indices in (("label", drawn.behind), ("judge", drawn.judges)):
            lacking = int((~voted_AT[indices].any(axis=0)).sum()) if indices else 0
            if lacking:
                raise InputError(
                    f"{item}: {lacking} of {voted_AT.shape[1]} {target} labels have no vote of the annotators who "
                    f"{what}",
                    where=labels.path,
                )
    return drawn


def _arrays(labels: Labels, item: str, chosen: Chosen) -> Iterator[tuple[str, np.ndarray]]:
    """The item's arrays: all that it had, but for other labels, and summaries of those who judge."""
    made: dict[str, np.ndarray] = labels.arrays.under(item)
    for target in labels.targets:
        votes_AT = np.asarray(made[f"{target}.votes"], np.float64)
        made[target] = mean_vote(votes_AT[chosen.behind])
        if chosen.judges:
            made[f"{target}.evaluation"] = mean_vote(votes_AT[chosen.judges])
        elif f"{target}.evaluation" not in made:
            made[f"{target}.evaluation"] = mean_vote(votes_AT)
        if chosen.judges and len(made.get("user_summary", ())) == len(votes_AT):
            made["user_summary"] = made["user_summary"][chosen.judges]
    for name, values in made.items():
        yield f"{item}/{name}", values


def mean_vote(votes_AT: Float) -> Float:
    """The mean vote of each frame [T] over those who voted (NaN: no vote)."""
    voted_AT = np.isfinite(votes_AT)
    return np.asarray(np.where(voted_AT, votes_AT, 0.0).sum(axis=0) / voted_AT.sum(axis=0), np.float64)


def _folds(
    known: Sequence[Mapping[str, Any]], most: int | None, items: set[str], absent: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """The folds with these items alone, neighbours joined until there are no more than `most`; and those dropped."""
    number = min(most or len(known), len(known))
    edges = [math.ceil(len(known) * part / number) for part in range(number + 1)] if number else []
    kept, dropped = [], []
    for start, stop in pairwise(edges):
        joined = known[start:stop]
        test = list(dict.fromkeys(item for fold in joined for item in fold["test"]))
        listed = dict.fromkeys(item for fold in joined for item in fold["train"])
        train = [item for item in listed if item not in set(test)]
        fold: dict[str, Any] = {
            "name": "+".join(str(fold["name"]) for fold in joined),
            "train": [item for item in train if item in items],
            "test": [item for item in test if item in items],
        }
        lacking = [part for part in ("train", "test") if not fold[part]]
        if lacking:
            reasons = sorted({absent[item] for item in (*train, *test) if item in absent})
            why = f": {reasons[0]}" if reasons else ""
            dropped.append(
                {"name": fold["name"], "reason": f"none of its {' or '.join(lacking)} items has labels{why}"}
            )
        else:
            kept.append(fold)
    return kept, dropped
