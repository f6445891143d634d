"""The card of a data set: where it comes from, its terms, its official list."""

from __future__ import annotations

from functools import cache

from pydantic import Field, ValidationError, model_validator

from utopia.config import layers, registry
from utopia.config.base import Strict
from utopia.errors import ConfigError

CARDS = registry.PACKAGE.parents[1] / "resources" / "datasets"


class CardItem(Strict):
    """One entry of the official list."""

    id: str
    """The item's id in every file that Utopia writes."""
    name: str
    """What people call it."""
    key: str
    """The stem of its files."""
    fps: float | None = None
    """Frames per second, as the annotations state it."""
    frames: int | None = None
    """Number of frames, as the annotations state it."""


class CardFold(Strict):
    """One published fold: all items that are not tested are trained on."""

    name: str
    test: list[str] = Field(..., min_length=1)
    """Ids of the test items."""


class CardFile(Strict):
    """A published file."""

    name: str
    role: str = ""
    """What it serves as: annotations, shots, videos, features, information."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    bytes: int | None = None
    note: str = ""


class CardPart(Strict):
    """What is published of a part of a data set whose official list is in its own files."""

    listed: int
    """Items on the official list."""
    obtained: int | None = None
    """Of these, how many videos the authors could still get."""


class Defect(Strict):
    """A known defect of the published data."""

    id: str
    kind: str
    """`short_labels`: labelled for less than its length. `late_labels`: beyond its end. `few_labels`: hardly labelled.
    `feature_gap`: only the provided features have a hole. `same_recording`: listed again, as `other`."""
    note: str
    other: str = ""
    """The other item of a defect that concerns two."""


class Expected(Strict):
    """Items and folds of a generated folder, in place of the official ones (the miniature writes `expected.json`)."""

    dataset: str
    generated_by: str
    """What made the folder."""
    items: list[CardItem]
    folds: list[CardFold]


class Card(Strict):
    """What is known about a data set: where it comes from, its terms, its official list."""

    title: str
    citation: str
    licence: str
    terms: str
    urls: dict[str, str]
    files: list[CardFile] = Field(default_factory=list)
    label_range: dict[str, tuple[float, float]]
    """The range that the annotators used, per target."""
    notes: list[str] = Field(default_factory=list)
    known_defects: list[Defect] = Field(default_factory=list)
    items: list[CardItem] = Field(default_factory=list)
    """Empty where the official list is in the published files; then `parts` tells how long it is."""
    parts: dict[str, CardPart] = Field(default_factory=dict)
    """The parts of a data set without `items`, by the name that its items give as theirs."""
    folds: list[CardFold] = Field(default_factory=list)

    @model_validator(mode="after")
    def _listed(self) -> Card:
        if bool(self.items) == bool(self.parts):
            raise ValueError("give `items`, or `parts` where the official list is in the published files")
        return self


@cache
def card(dataset: str) -> Card:
    """The card of a data set.

    Raises:
        ConfigError: the card is missing or not valid.
    """
    path = CARDS / f"{dataset}.yaml"
    try:
        return Card.model_validate(layers.read(path).data)
    except ValidationError as error:
        raise ConfigError(f"not a valid card: {faults(error)}", where=path) from None


def faults(error: ValidationError) -> str:
    """What is wrong, field by field."""
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
