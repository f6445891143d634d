"""Pretrained weights by card: what was published, where it is found, and whether a file is that one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from utopia.config import layers
from utopia.config.base import Strict
from utopia.config.registry import PACKAGE
from utopia.config.suggest import nearest
from utopia.errors import ChecksumError, ConfigError
from utopia.fetch.record import FetchRecord
from utopia.files import sha256

CARDS = PACKAGE.parents[1] / "resources" / "weights"


class WeightsCard(Strict):
    """A published file of weights."""

    title: str
    address: str | None = Field(..., pattern="^https?://")
    """Where it was published; null: nowhere as a file that `utopia fetch` could get."""
    made_by: str = ""
    """The command that makes it, or gets it, where there is no address."""
    file: str = Field(..., pattern=r"^[^/\\]+$")
    """Its name in `<data>/weights/`."""
    bytes: int | None
    size_note: str = ""
    sha256: str | None = Field(..., pattern="^[0-9a-f]{64}$")
    sha256_prefix: str | None = Field(..., pattern="^[0-9a-f]{8,64}$")
    """The part of the sha256 that is known; null: a file is trusted on first use, see `identify`."""
    pinned: str
    """What is and what is not known of the checksum."""
    licence: str
    citation: str
    parameters: str
    """How the parameters are named in the file."""
    unlike_published: str = ""
    """Why features made with them are not those of the paper that has them; empty: they are, or it does not say."""

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> Self:
        if bool(self.address) == bool(self.made_by):
            raise ValueError("exactly one of address and made_by says where the file comes from")
        return self

    @property
    def way(self) -> str:
        """What to do to have the file in `<data>/weights/`."""
        return f"download {self.address} into <data>/weights/" if self.address else f"make it: {self.made_by}"


@dataclass(frozen=True)
class Found:
    """A card, and its file or the reason why there is none."""

    name: str
    card: WeightsCard
    path: Path | None
    reason: str
    """Why there is no file and where to put it; empty if there is one."""


@cache
def card(name: str) -> WeightsCard:
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
    return layers.validated(path, WeightsCard, "card")


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
        f"needs the weights {wanted.file}, {where}: {wanted.way}",
    )


def identify(found: Found, pinned: str | None = None) -> str:
    """The sha256 of a file that was found, after a check against what is known of it.

    That is what its card says, and what the study does. Where neither knows a digit, the file must be the one that
    `utopia fetch` recorded when it first came: a file of any origin with the right name is not enough.

    Args:
        pinned: the checksum that the study names for this card.

    Raises:
        ChecksumError: it is not the published file, or nothing says that it is.
    """
    assert found.path is not None, found.reason
    digest = sha256(found.path)
    known = found.card.sha256 or found.card.sha256_prefix
    for expected, by in ((known, f"the card {found.name!r} names"), (pinned, "the study names")):
        if expected and not digest.startswith(expected):
            raise ChecksumError(
                f"its sha256 is {digest}, but {by} {expected}{'' if len(expected) == 64 else '...'}",
                where=found.path,
                why="the file is damaged or another one; features made with it would not be what their name says",
                remedy=f"delete it and {found.card.way.removesuffix(' into <data>/weights/')} again",
            )
    if not known and not pinned:
        _trust_on_first_use(found, found.path, digest)
    return digest


def _trust_on_first_use(found: Found, path: Path, digest: str) -> None:
    entry = FetchRecord(path.parents[1]).entry(path)
    if entry is not None and entry.sha256 == digest:
        return
    raise ChecksumError(
        f"its sha256 is {digest}, and nothing says which one is right"
        if entry is None
        else f"its sha256 is {digest}, but {entry.sha256} was recorded when it was first fetched",
        where=path,
        why=f"no checksum of it is published (card {found.name!r}), so only what came first can be trusted"
        if found.card.address
        else f"it is a file of your own (card {found.name!r}): only you know which one is meant",
        remedy=(
            f"`utopia fetch {found.name}` gets it, or records the file that is there; or " * bool(found.card.address)
        )
        + f"name the sha256 that you trust in the study: `features.<name>.sha256: {{{found.name}: ...}}`",
    )
