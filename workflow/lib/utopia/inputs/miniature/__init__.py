"""The miniature's data: generated from a seed, in the official raw layouts, with a planted truth.

A latent signal per target drives a video's colour, motion, loudness and pitch; many simulated annotators vote on it
with bias, lag and noise, few of them make the training labels. `truth.safetensors`, outside the official layouts, holds
the signal and all votes for tests; no stage reads it. One video (or song) of each data set is cut short, so that every
study exercises an absence.

The generator of the data set `<name>` is the file `<name>.py` here, and that file is its registration. It offers one
function, `write(*, ids, damaged, size, seed, folder) -> list[Path]`: it writes the items `ids` in the official layout
below `folder`, cuts the video (or song) `damaged` short and never tests it, writes `expected.json` last, and returns
the files. It may set `MAKES` (`features`: it draws these and makes no videos; `labels`: it has neither), `MOST` (items
that it can make) and `ALWAYS` (it is generated also where the other data sets are real).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from utopia.config import registry
from utopia.errors import ConfigError

FEWEST = 6
"""Least number of items of a data set: enough for folds with a training and a test part and a damaged video."""
_MOST = 999


@dataclass(frozen=True)
class Size:
    """Size of what is generated; the configuration's `generated` section says what each setting means."""

    seconds: float
    width: int
    height: int
    fps: int
    annotators: int
    label_annotators: int


@cache
def generators() -> tuple[str, ...]:
    """The data sets that the miniature can generate: those with a file of their name here."""
    return tuple(name for name in registry.names("datasets") if (Path(__file__).parent / f"{name}.py").is_file())


def item_ids(dataset: str, count: int) -> list[str]:
    """Ids of the items that `generate` makes: for LIRIS three quarters development movies, the rest test movies; of
    PMEmo's songs every third is a test song; of EEV one more than `count`, which has no video; where nothing else is
    said `video_1`, `video_2`, ...

    Raises:
        ConfigError: there is no generator for the data set, or it cannot make so many or so few items.
    """
    if dataset not in generators():
        raise ConfigError(
            f"the miniature cannot generate the data set {dataset!r}",
            remedy=f"name only {', '.join(generators())} in generated.items, or write inputs/miniature/{dataset}.py",
        )
    most = _fact(dataset, "MOST", _MOST)
    if not FEWEST <= count <= most:
        raise ConfigError(
            f"generated.items.{dataset} is {count}",
            why="folds need training and test items, and one video is damaged on purpose",
            remedy=f"choose a number from {FEWEST} to {most}",
        )
    if dataset == "liris":
        tested = round(count / 4)
        numbers = [*range(count - tested), *range(54, 54 + tested)]
        return [f"MEDIAEVAL18_{number:02d}" for number in numbers]
    if dataset == "eev":
        from utopia.inputs.miniature.eev_ids import ids_of

        return [item for part in ids_of(count).values() for item in part]
    word = "song" if dataset == "pmemo" else "video"
    return [f"{word}_{number}" for number in range(1, count + 1)]


def video_ids(dataset: str, count: int) -> list[str]:
    """Ids of the items that get a video file (PMEmo: a song), the damaged one included; of EEV all but the last, and
    none where `has_media` says so."""
    return item_ids(dataset, count)[:count] if has_media(dataset) else []


def has_media(dataset: str) -> bool:
    """Whether a data set is generated with videos or songs: not if its features are drawn directly, or it has none."""
    return _fact(dataset, "MAKES", "media") == "media"


def draws_features(dataset: str) -> bool:
    """Whether a data set is generated as features, without videos: its generator writes the file that its feature
    names (`extractor: hdf5`)."""
    return _fact(dataset, "MAKES", "media") == "features"


def always_generated(dataset: str) -> bool:
    """Whether a data set is generated in every study that shows it, also where the others are real data. Its own
    options give its size."""
    return bool(_fact(dataset, "ALWAYS", False))


def _fact(dataset: str, name: str, default: Any) -> Any:
    """What a generator's file says of it, without importing it; also of a data set that has no generator."""
    return registry.fact("inputs/miniature", dataset, name, default) if dataset in generators() else default


def damaged_id(dataset: str, count: int) -> str:
    """The item whose video is cut short: one that is only ever trained on (the last, where nothing else is said)."""
    ids = video_ids(dataset, count) or item_ids(dataset, count)
    if dataset == "eev":
        from utopia.inputs.miniature.eev_ids import ids_of

        return ids_of(count)["train"][-1]
    if dataset == "pmemo":
        from utopia.inputs.miniature.pmemo import tested

        return next(item for item in reversed(ids) if not tested(item))
    if dataset == "liris":
        return next(item for item in reversed(ids) if int(item[-2:]) < 54)
    return ids[-1]


def generate(*, dataset: str, count: int, settings: Mapping[str, Any], seed: int, folder: Path) -> list[Path]:
    """Write a data set of the miniature.

    Equal arguments give equal bytes on one machine. An item depends on the seed, its own id and the settings, not on
    the count.

    Args:
        dataset: one of `generators()`.
        count: number of items.
        settings: the fields of `config.study.Generated` (seconds, width, height, fps, annotators, label_annotators).
        seed: the study's root seed.
        folder: the data set's folder; `expected.json` is written last.

    Returns:
        The files written.

    Raises:
        ConfigError: the settings are not valid.
    """
    size = Size(**settings)
    if size.label_annotators > size.annotators:
        raise ConfigError(
            f"generated.label_annotators ({size.label_annotators}) exceeds generated.annotators ({size.annotators})",
            remedy="lower one or raise the other",
        )
    ids = item_ids(dataset, count)
    generator = importlib.import_module(f"utopia.inputs.miniature.{dataset}")
    written: list[Path] = generator.write(
        ids=ids, damaged=damaged_id(dataset, count), size=size, seed=seed, folder=Path(folder)
    )
    return written
