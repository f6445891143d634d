"""Recipes: what can be fetched of a data set, from where, and what it gives (`workflow/resources/fetch/*.yaml`).

They stand apart from the cards because the manifest depends on a card: a new mirror must not cause anything to be
regenerated. What is known of a file (sha256, size) is on the card only, and a recipe's file of the same name takes
it from there."""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from utopia.config import layers
from utopia.config.base import Strict
from utopia.config.registry import PACKAGE
from utopia.config.suggest import nearest
from utopia.errors import ConfigError

RESOURCES = PACKAGE.parents[1] / "resources"
RECIPES = RESOURCES / "fetch"
WEIGHTS = "weights"
"""The recipe of pretrained weights, and their folder below the data folder."""
MP4 = "18/best[ext=mp4][vcodec^=avc1][acodec!=none][height<=360]/best[ext=mp4][height<=360]/best[ext=mp4]"
"""One file of H.264 and AAC in mp4, at most 360 lines: every decoder reads it, and no program must join streams."""

Role = Literal["annotations", "shots", "videos", "songs", "features", "information", "weights"]


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not path or path.startswith("/") or ".." in parts or "\\" in path:
        raise ValueError("must be a path below the data set's folder")
    return path


Inside = Annotated[str, AfterValidator(_inside)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][^/\\]*$")]
Address = Annotated[str, Field(pattern=r"^https?://[^\s/]+/\S*$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Product(Strict):
    """Files that lie in the data set's folder once they are fetched."""

    path: Inside
    """A name or pattern; it may lie at any depth."""
    role: Role
    count: int = Field(1, ge=1)
    """How many files there are."""


class Extract(Strict):
    """How an archive is unpacked."""

    members: list[str] = Field(["*"], min_length=1)
    """Patterns of the paths to take, after `strip`; `*` also matches `/`."""
    strip: int = Field(0, ge=0)
    """Leading folders of each path to leave out."""
    nested: list[str] = Field(default_factory=list)
    """Patterns of archives inside that are unpacked too."""
    largest: int = Field(..., gt=0)
    """Most bytes that it may unpack to."""
    files: int = Field(20_000, gt=0)
    """Most entries that it may hold."""


class FetchFile(Strict):
    """A published file, or an archive with what it gives."""

    name: FileName
    urls: list[Address] = Field(..., min_length=1)
    """Its addresses, in the order of trying."""
    role: Role | None = None
    """What it serves as; an archive says it of each of its products."""
    known_as: str = ""
    """Of weights: the name of their card."""
    sha256: Sha256 | None = None
    sha256_prefix: str | None = Field(None, pattern="^[0-9a-f]{8,64}$")
    bytes: int | None = Field(None, gt=0)
    md5: str | None = Field(None, pattern="^[0-9a-f]{32}$")
    sha1: str | None = Field(None, pattern="^[0-9a-f]{40}$")
    size_note: str = ""
    """About how large it is, where the exact size is not published."""
    into: Inside = "."
    """Folder below the data set's."""
    extract: Extract | None = None
    gives: list[Product] = Field(default_factory=list)
    """What an archive gives. Of several entries that give the same, the first that is available is fetched."""
    note: str = ""

    @model_validator(mode="after")
    def _whole(self) -> FetchFile:
        if (self.extract is None) == bool(self.gives):
            raise ValueError("an archive has both `extract` and `gives`, another file neither")
        if self.extract is None and self.role is None:
            raise ValueError("needs a `role`")
        return self

    @property
    def products(self) -> list[Product]:
        """What lies there once it is fetched."""
        return self.gives or [Product(path=self.name, role=self.role or "information")]


class Ids(Strict):
    """Where the ids of web videos stand: the keys of the card's items, or a column of CSV files."""

    files: list[FileName] = Field(default_factory=list)
    """CSV files of the data set; none: the card."""
    column: str | None = None
    """Its name; null: the first column."""


class WebVideos(Strict):
    """Videos by id."""

    address: str = Field(..., pattern=r"^https?://\S*\{id\}\S*$")
    ids: Ids = Field(default_factory=Ids)
    into: Inside = "videos"
    format: str = MP4
    """yt-dlp's choice of format."""
    pause: float = Field(5.0, ge=0)
    """Least seconds from one request to the next."""


class Agreement(Strict):
    """Data that are given out under a signed agreement."""

    form: Address
    """Where it is asked for."""
    steps: list[str] = Field(..., min_length=1)
    """What to do, in order."""
    archives: list[str] = Field(default_factory=list)
    """Patterns of the archives as they are given out; those found in the folder are unpacked."""
    largest: int = Field(1 << 40, gt=0)
    """Most bytes that one of them may unpack to."""


class Recipe(Strict):
    """What can be fetched of a data set."""

    files: list[FetchFile] = Field(default_factory=list)
    videos: WebVideos | None = None
    agreement: Agreement | None = None
    notes: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _names(self) -> Recipe:
        names = [file.name for file in self.files]
        if len(set(names)) != len(names):
            raise ValueError("two files have one name")
        return self


@cache
def names() -> tuple[str, ...]:
    """Data sets with a recipe, sorted; the weights are not among them."""
    return tuple(sorted(path.stem for path in RECIPES.glob("*.yaml") if path.stem != WEIGHTS))


@cache
def load(name: str) -> Recipe:
    """The recipe of a data set, or of all weights, with what the cards say of its files.

    Raises:
        ConfigError: there is none, or it is not valid.
    """
    path = RECIPES / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(
            f"nothing is known of how to fetch {name!r}{nearest(name, names())}",
            where=RECIPES,
            remedy=f"use one of: {', '.join(names())}; or add fetch/{name}.yaml",
        )
    recipe = layers.validated(path, Recipe, "recipe")
    if name == WEIGHTS:
        return recipe.model_copy(update={"files": _weights(recipe.files)})
    known = published(name)
    return recipe.model_copy(update={"files": [_with(file, known.get(file.name, {})) for file in recipe.files]})


def published(dataset: str) -> dict[str, dict[str, Any]]:
    """`sha256` and `bytes` of the files on a data set's card, by name; empty if there is no card."""
    path = RESOURCES / "datasets" / f"{dataset}.yaml"
    files = layers.read(path).data.get("files", []) if path.is_file() else []
    return {file["name"]: {key: file.get(key) for key in ("sha256", "bytes")} for file in files}


def keys(dataset: str) -> list[str]:
    """The keys of the items on a data set's card."""
    return [str(item["key"]) for item in layers.read(RESOURCES / "datasets" / f"{dataset}.yaml").data.get("items", [])]


def _with(file: FetchFile, known: dict[str, Any]) -> FetchFile:
    return file.model_copy(update={key: value for key, value in known.items() if value is not None})


def _weights(listed: list[FetchFile]) -> list[FetchFile]:
    """The files of all cards of weights; further addresses and files from the recipe."""
    more = {file.name: file for file in listed}
    weights = []
    for path in sorted((RESOURCES / "weights").glob("*.yaml")):
        card = layers.read(path).data
        if not card.get("file") or not card.get("address"):
            continue
        other = more.pop(card["file"], None)
        weights.append(
            FetchFile(
                name=card["file"],
                known_as=path.stem,
                role="weights",
                urls=[card["address"], *(url for url in (other.urls if other else []) if url != card["address"])],
                sha256=card.get("sha256"),
                sha256_prefix=card.get("sha256_prefix"),
                bytes=card.get("bytes"),
                size_note=card.get("size_note", ""),
            )
        )
    return [*weights, *more.values()]


def made_by() -> dict[str, tuple[str, str]]:
    """Card -> file and command, of the weights that no address gives but a command makes, or gets."""
    every = {path.stem: layers.read(path).data for path in sorted((RESOURCES / "weights").glob("*.yaml"))}
    return {name: (str(card["file"]), str(card["made_by"])) for name, card in every.items() if card.get("made_by")}


def command(name: str, role: str = "") -> str:
    """The command that gets (a role of) a data set, or says how to, or some weights; empty if there is none."""
    if name in names():
        recipe = load(name)
        given = {product.role for file in recipe.files for product in file.products}
        if recipe.videos is not None:
            given.add("videos")
        return f"utopia fetch {name}" if recipe.agreement or not role or role in given else ""
    return f"utopia fetch {name}" if any(name == file.known_as for file in load(WEIGHTS).files) else ""
