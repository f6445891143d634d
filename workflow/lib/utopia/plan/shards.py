"""How the items of a data set are cut into extraction jobs, and how many seconds each job has."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

MOST_SHARDS = 1024
"""Extraction jobs of a data set: with more videos each job takes more of them, so that jobs can still be planned, and
each training can name the indexes that it reads."""


def shards_of(
    ids: tuple[str, ...], size: int, seconds: tuple[float, ...] = (), mean_seconds: float = 1.0
) -> tuple[tuple[str, ...], ...]:
    """The items of each extraction job: neighbours, of as many seconds as `size` items have on average.

    Args:
        ids: the items.
        size: the setting `shard`.
        seconds: how long each of them is; empty where that is not known: all count alike.
        mean_seconds: of all listed items, so that it does not depend on which are there.
    """
    lengths, limit = (seconds, size * mean_seconds) if seconds else ((1.0,) * len(ids), float(size))
    while limit * MOST_SHARDS < sum(lengths):  # doubled, so that one video more or less hardly ever changes it
        limit *= 2
    begins = itertools.accumulate(lengths, initial=0.0)  # a video is of the job in whose share of time it begins
    numbered = zip(ids, begins, strict=False)
    return tuple(
        tuple(item for item, _ in shard)
        for _, shard in itertools.groupby(numbered, lambda entry: int(entry[1] // limit))
    )


def seconds_of(shards: Sequence[Sequence[str]], seconds: Sequence[float], mean_seconds: float) -> list[float]:
    """How many seconds each extraction job has.

    Args:
        shards: the items of each.
        seconds: how long each item is, in the order of the jobs; empty where that is not known.
        mean_seconds: what an item counts for then.
    """
    if not seconds:
        return [len(shard) * mean_seconds for shard in shards]
    lengths = iter(seconds)
    return [sum(itertools.islice(lengths, len(shard))) for shard in shards]
