"""Tables and figures as data: the files of workflow/resources/{tables,figures} as typed models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from utopia.config import layers
from utopia.config.base import Strict
from utopia.config.load import RESOURCES
from utopia.config.suggest import nearest
from utopia.errors import ConfigError

Scalar = float | int | str | bool | None

JUDGED = frozenset({"reaction_model", "reaction_series", "reaction_correlation"})
"""Drawings that show what training and evaluation said of their runs."""


class RunChoice(Strict):
    """The part of a run that a row names; the column adds the data set."""

    model: str | None = None
    """A file of `models/`."""
    treatment: str | None = None
    """A treatment of the configuration."""
    reference: Literal["random", "human", "oracle"] | None = None
    """Instead of a model: a row that needs no training."""
    set: dict[str, Scalar] = Field(default_factory=dict)
    """Settings that differ from the configuration, by dotted name (`distribution.sigma`, `model.heads`)."""

    @model_validator(mode="after")
    def _one_kind(self) -> RunChoice:
        if (self.reference is None) == (self.model is None) or (self.model is None) != (self.treatment is None):
            raise ValueError("name either `reference`, or both `model` and `treatment`")
        return self


class Change(Strict):
    """A cell that is computed from other runs: the mean, over models, of the relative change against a treatment."""

    models: list[str] = Field(..., min_length=1)
    """Files of `models/`, averaged over."""
    treatment: str
    """The treatment whose gain is asked for."""
    against: str = "baseline"
    """The treatment that it is compared with."""


class Column(Strict):
    """A column: what is measured, on which data set."""

    id: str
    title: str
    dataset: str
    target: str
    metric: str
    decimals: int = Field(..., ge=0, le=6)
    better: Literal["lower", "higher"]
    set: dict[str, Scalar] = Field(default_factory=dict)
    """Settings of this column's runs that differ from the configuration."""


class Row(Strict):
    """A row: a run (or none, if the row only quotes) and the published values."""

    id: str
    title: str
    run: RunChoice | None = None
    change: Change | None = None
    """Instead of a run: cells derived from the runs of several models, in per cent; positive is better."""
    against: str | None = None
    """The row without the treatment: cells get the paired difference to it."""
    printed: bool = True
    """Whether the paper has this row; of one that it has not, nothing is left to transcribe."""
    columns: list[str] | None = None
    """Columns in which this row has a run; null: all."""
    published: dict[str, float] = Field(default_factory=dict)
    """Printed values by column."""
    note: str = ""
    """What a reader must know about the row: a numbered note below the table, and a column of its csv."""

    @model_validator(mode="after")
    def _one_source(self) -> Row:
        if self.run is not None and self.change is not None:
            raise ValueError("name either `run` or `change`")
        if self.against is not None and self.run is None:
            raise ValueError("`against` compares runs, and this row has none")
        if self.published and not self.printed:
            raise ValueError("`published` gives printed values, and `printed: false` says that there are none")
        return self


class Table(Strict):
    """A table of a paper."""

    title: str
    source: str
    """Where it is printed."""
    caption: str
    untranscribed: str = ""
    """Why a printed value that is missing from `published` is missing."""
    columns: list[Column] = Field(..., min_length=1)
    rows: list[Row] = Field(..., min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Table:
        columns = [column.id for column in self.columns]
        rows = [row.id for row in self.rows]
        for kind, ids in (("column", columns), ("row", rows)):
            doubled = sorted({name for name in ids if ids.count(name) > 1})
            if doubled:
                raise ValueError(f"{kind} ids stand twice: {', '.join(doubled)}")
        with_run = [row.id for row in self.rows if row.run is not None]
        for row in self.rows:
            if row.against is not None and (row.against not in with_run or row.against == row.id):
                raise ValueError(
                    f"row {row.id!r} is compared with {row.against!r}, no other row with a run"
                    f"{nearest(row.against, with_run)}"
                )
            for name in [*row.published, *(row.columns or [])]:
                if name not in columns:
                    raise ValueError(
                        f"row {row.id!r} names the column {name!r}, not in this table{nearest(name, columns)}"
                    )
        return self


class Figure(Strict):
    """A figure of a paper."""

    title: str
    source: str
    caption: str
    draw: str
    """The drawing function of `outputs.figure`."""
    dataset: str
    target: str
    runs: dict[str, RunChoice] = Field(default_factory=dict)
    """Runs whose predictions are drawn, by role."""
    options: dict[str, Scalar] = Field(default_factory=dict)


def tables() -> dict[str, Table]:
    """Every table, by id (the file's name)."""
    return _read("tables", Table)


def figures() -> dict[str, Figure]:
    """Every figure, by id (the file's name)."""
    return _read("figures", Figure)


def _read(kind: str, model: Any) -> dict[str, Any]:
    return {path.stem: read_one(path, model) for path in sorted((RESOURCES / kind).glob("*.yaml"))}


def read_one(path: Path, model: Any) -> Any:
    """Read one catalogue file.

    Raises:
        ConfigError: every fault of the file, with its line.
    """
    layer = layers.read(path)
    try:
        return model.model_validate(layer.data)
    except ValidationError as error:
        faults = [
            f"  {layers.locate([layer], fault['loc'])}: {'.'.join(map(str, fault['loc'])) or path.stem}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        ]
        raise ConfigError("not a valid catalogue entry:\n" + "\n".join(faults), where=path) from None
