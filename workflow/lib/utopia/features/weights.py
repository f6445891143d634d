"""Pretrained weights by card: what was published, where it is found, and whether a file is that one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import Field, ValidationError

from utopia.config import layers
from utopia.config.base import Strict
from utopia.config.suggest import nearest
from utopia.errors import ChecksumError, ConfigError
from utopia.files import sha256
from utopia.registry import PACKAGE

CARDS = PACKAGE.parents[1] / "resources" / "weights"


class Card(Strict):
    """A published file of weights."""

    title: str
    address: str
    """Where it was published."""
    file: str = Field(..., pattern=r"^[^/\\]+$")
    """Its name in `<data>/weights/`."""
    bytes: int | None
    size_note: str = ""
    sha256: str | None = Field(..., pattern="^[0-9a-f]{64}$")
    sha256_prefix: str = Field(..., pattern="^[0-9a-f]{8,64}$")
    """The part of the sha256 that is known."""
    pinned: str
    """What is and what is not known of the checksum."""
    licence: str
    citation: str
    parameters: str
    """How the parameters are named in the file."""


@dataclass(frozen=True)
class Found:
    """A card, and its file or the reason why there is none."""

    name: str
    card: Card
    path: Path | None
    reason: str
    """Why there is no file and where to put it; empty if there is one."""


@cache
def card(name: str) -> Card:
    """The card of some weights.

    Raises:
        ConfigError: there is no such card, or it is not valid.
    """
    path = CARDS / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in CARDS.glob("*.yaml"))
        raise ConfigError(
            f"there is no card of weights {name!r}{nearest(name, known)}",
            where=CARDS,
            remedy=f"use one of: {', '.join(known)}",
        )
    layer = layers.read(path)
    try:
        return Card.model_validate(layer.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"not a valid card: {place}: {first['msg']}", where=layers.locate([layer], first["loc"])
        ) from None


def find(name: str, folder: Path | None) -> Found:
    """Look for the file of a card in `folder`, by name alone.

    Raises:
        ConfigError: there is no such card.
    """
    wanted = card(name)
    if folder is None:
        where = "and no data folder was given (set `data`)"
    elif (folder / wanted.file).is_file():
        return Found(name, wanted, folder / wanted.file, "")
    else:
        where = f"which is not in {folder}"
    return Found(
        name,
        wanted,
        None,
        f"needs the weights {wanted.file}, {where}: download {wanted.address} into <data>/weights/",
    )


def identify(found: Found) -> str:
    """The sha256 of a file that was found, after a check against its card.

    Raises:
        ChecksumError: it is not the published file.
    """
    assert found.path is not None, found.reason
    digest = sha256(found.path)
    expected = found.card.sha256 or found.card.sha256_prefix
    if not digest.startswith(expected):
        raise ChecksumError(
            f"its sha256 is {digest}, but the card {found.name!r} names {expected}{'' if found.card.sha256 else '...'}",
            where=found.path,
            why="the file is damaged or another one; features made with it would not be what their name says",
            remedy=f"delete it and download {found.card.address} again",
        )
    return digest
