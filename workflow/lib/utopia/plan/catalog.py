"""Tables and figures as data: the files of workflow/resources/{tables,figures} as typed models."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError, model_validator

from utopia.config import layers, registry
from utopia.config.base import Strict
from utopia.config.load import RESOURCES
from utopia.config.suggest import nearest
from utopia.errors import ConfigError
from utopia.evaluation.comparisons import Statistic
from utopia.evaluation.rounding import rounded
from utopia.files import kept_until_changed
from utopia.plan.claims import KEYS, Claim
from utopia.plan.expectations import KEYS as EXPECTED_KEYS
from utopia.plan.expectations import Expectation

Scalar = float | int | str | bool | None
Place = tuple[str | int, ...]
"""A path in a file: keys and numbers of list members."""
Fault = tuple[Place, str]  # where, and what


class Drawing(NamedTuple):
    """What the file of a drawing says of it; each is a constant there, in capitals."""

    reads: tuple[str, ...]
    """What it reads besides labels, distribution and predictions: of `features`, `summaries` (what training says of
    its runs) and `metrics`; or `table` alone: its csv."""
    options: tuple[str, ...] = ()
    """The options that it knows."""
    across: bool = False
    """Whether it shows several data sets: its roles are `<data set>.<target>`."""
    draws_samples: bool = False
    """Whether it shows samples that are drawn: it is given the study's seed."""


def drawings() -> tuple[str, ...]:
    """The names of all drawings: the files of `figures/` that say what they read."""
    return registry.names_with("figures", "READS")


def drawing(name: str) -> Drawing:
    """What a drawing says of itself."""
    unsaid = Drawing._field_defaults
    return Drawing(**{part: registry.fact("figures", name, part.upper(), unsaid.get(part)) for part in Drawing._fields})


BEYOND = "beyond_"
"""The ids of what no paper prints begin with this,"""
PLANTED = "planted_"
"""or, of what must come out of generated data, with this."""


class RunChoice(Strict):
    """The part of a run that a row names; the column adds the data set."""

    model: str | None = None
    """A file of `models/`."""
    treatment: str | None = None
    """A treatment of the configuration."""
    reference: Literal["random", "human", "oracle", "ridge", "label_study"] | None = None
    """Instead of a model: a row that needs no network (`utopia.evaluation.references`)."""
    set: dict[str, Scalar] = Field(default_factory=dict)
    """Settings that differ from the configuration, by dotted name (`distribution.sigma`, `model.heads`)."""
    targets: list[str] | None = Field(None, min_length=1)
    """Targets of the data set that are trained; null: all."""

    @model_validator(mode="after")
    def _one_kind(self) -> RunChoice:
        if (self.reference is None) == (self.model is None) or (self.model is None) != (self.treatment is None):
            raise ValueError("name either `reference`, or both `model` and `treatment`")
        if self.reference and self.targets:
            raise ValueError("a reference has all targets of its data set: leave `targets` out")
        return self


class Change(Strict):
    """A cell that is computed from other runs: the mean, over models, of the change against a treatment."""

    models: list[str] = Field(..., min_length=1)
    """Files of `models/`, averaged over."""
    treatment: str
    """The treatment whose gain is asked for."""
    against: str = "baseline"
    """The treatment that it is compared with."""


class Key(Strict):
    """A printed column that is not measured: a setting, which tells rows apart."""

    id: str
    title: str
    decimals: int = Field(..., ge=0, le=6)
    unit: str = ""
    """Stands behind the value."""
    sets: str = ""
    """The setting of the row's run that it gives, by dotted name; empty: it only says what others amount to."""


class Column(Strict):
    """A column: what is measured, on which data set."""

    id: str
    title: str
    dataset: str = ""
    """Empty, as target and metric, where its rows bring their own measure: claims, which name cells of other tables,
    and expectations."""
    target: str = ""
    metric: str = ""
    decimals: int = Field(..., ge=0, le=6)
    better: Literal["lower", "higher"]
    printed: bool = True
    """Whether the paper has this column."""
    change: Literal["relative", "points"] = "relative"
    """How rows with `change` are computed: in per cent of what they are compared with, or as a plain difference."""
    statistic: Statistic | None = None
    """In a table of comparisons: what is shown instead of the difference."""
    set: dict[str, Scalar] = Field(default_factory=dict)
    """Settings of this column's runs that differ from the configuration."""


class Row(Strict):
    """A row: a run (or none, if the row only quotes) and the published values."""

    id: str
    title: str = ""
    """As printed; empty where keys say which row it is."""
    group: str = ""
    """The heading that the row stands under, as printed."""
    keys: dict[str, int | float] = Field(default_factory=dict)
    """Values of the key columns."""
    run: RunChoice | None = None
    change: Change | None = None
    """Instead of a run: cells derived from the runs of several models; positive is better."""
    claim: Claim | None = None
    """Instead of a run: what a text says of the tables."""
    expect: Expectation | None = None
    """What the row's run must show, because it was planted."""
    over: RunChoice | None = None
    """With `expect`: the run whose value must be surpassed; the cell is the gain over it."""
    measure: str = ""
    """What follows a column's metric in this row, after a dot: which of a run's many measures it shows."""
    against: str | None = None
    """The row without the treatment: cells get the paired difference to it."""
    printed: bool | None = None
    """Whether the paper has this row; null: it has if there are published values."""
    columns: list[str] | None = None
    """Columns in which this row has a run; null: all."""
    published: dict[str, float | Literal["-"] | None] = Field(default_factory=dict)
    """What the paper prints, in each of its columns: a number, `-` (a dash), or null (it has no such cell)."""
    note: str = ""
    """What a reader must know about the row: a numbered note below the table, and a column of its csv."""

    @property
    def is_printed(self) -> bool:
        """Whether the paper has this row."""
        return bool(self.published) if self.printed is None else self.printed

    def number(self, column: str) -> float | None:
        """The published number in a column; None where there is none."""
        if self.claim is not None:
            return self.claim.number
        value = self.published.get(column)
        return None if value == "-" else value

    @model_validator(mode="after")
    def _one_source(self) -> Row:
        if sum(part is not None for part in (self.run, self.change, self.claim)) > 1:
            raise ValueError("name either `run` or `change` or `claim`")
        if self.claim is not None and self.published:
            raise ValueError("what a claim says is in it, not in `published`")
        if self.expect is not None and (self.run is None or self.against is not None or self.published):
            raise ValueError("an expectation needs a `run`, and has neither `against` nor `published`")
        if self.over is not None and (self.expect is None or self.expect.of != "value"):
            raise ValueError("`over` needs an `expect` of a value")
        if self.against is not None and self.run is None:
            raise ValueError("`against` compares runs, and this row has none")
        if not self.title and not self.keys:
            raise ValueError("a row needs a `title`, or `keys` that say which row it is")
        if self.published and self.printed is False:
            raise ValueError("`published` gives printed values, and `printed: false` says that there are none")
        return self


class Table(Strict):
    """A table of a paper."""

    title: str
    source: str
    """Where it is printed."""
    caption: str
    studies: list[str] = Field(default_factory=list)
    """Studies whose `tables: all` means this one too; empty: every study."""
    repeats: int | None = Field(None, ge=1)
    """How many repeats each printed value is the mean of; null: the paper does not say."""
    keys: list[Key] = Field(default_factory=list)
    """Printed columns that are not measured, left of the others."""
    columns: list[Column] = Field(..., min_length=1)
    rows: list[Row] = Field(default_factory=list)
    of_comparisons: bool = False
    """Whether its rows are not written here: one for each treatment that another table of the study compares."""

    @model_validator(mode="after")
    def _rows(self) -> Table:
        if self.of_comparisons == bool(self.rows):
            raise ValueError("a table has `rows`, unless it is `of_comparisons`, whose rows follow from the study")
        return self

    @property
    def is_of_claims(self) -> bool:
        """Whether its rows are statements of the running text."""
        return any(row.claim is not None for row in self.rows)

    @property
    def is_of_expectations(self) -> bool:
        """Whether its rows say what must come out, because it was planted."""
        return any(row.expect is not None for row in self.rows)

    @property
    def datasets(self) -> set[str]:
        """Every data set that its columns, or its expectations, name."""
        return {row.expect.dataset for row in self.rows if row.expect} or {column.dataset for column in self.columns}

    @property
    def is_of_text(self) -> bool:
        """Whether its published values are those of the running text, which derives them from printed tables."""
        return self.is_of_claims or any(row.change is not None for row in self.rows)

    @property
    def key_titles(self) -> dict[str, str]:
        """The titles of the key columns, by id; tables of claims and of expectations have their own."""
        if self.is_of_expectations:
            return EXPECTED_KEYS
        return KEYS if self.is_of_claims else {key.id: key.title for key in self.keys}

    def choice(self, row: Row) -> RunChoice | None:
        """The run of a row, with the settings that its keys give."""
        if row.run is None:
            return None
        given = {key.sets: row.keys[key.id] for key in self.keys if key.sets and key.id in row.keys}
        return row.run.model_copy(update={"set": given | row.run.set}) if given else row.run

    def name(self, row: Row) -> str:
        """A row in words, with its keys and without its group: `T = 5`."""
        keys = [f"{key.title} = {text}" for key in self.keys if (text := self.key_text(row, key))]
        return ", ".join([row.title, *keys] if row.title else keys)

    def full_name(self, row: Row) -> str:
        """A row in words, with its group: `PGL-SUM: T = 5`."""
        return f"{row.group}: {self.name(row)}" if row.group else self.name(row)

    @staticmethod
    def key_text(row: Row, key: Key) -> str:
        """What a row has in a key column; empty where it has nothing."""
        return f"{rounded(row.keys[key.id], key.decimals)}{key.unit}" if key.id in row.keys else ""


class Figure(Strict):
    """A figure of a paper, or one beyond it."""

    title: str
    source: str
    """Where it is printed; of what no paper prints, that it is beyond the paper."""
    caption: str
    studies: list[str] = Field(default_factory=list)
    """Studies whose `figures: all` means this one too; empty: every study."""
    draw: str
    """A file of `figures/`."""
    dataset: str = ""
    target: str = ""
    table: str = ""
    """Instead of a data set and a target: the table whose csv is drawn."""
    runs: dict[str, RunChoice] = Field(default_factory=dict)
    """Runs whose predictions are drawn, by role."""
    options: dict[str, Scalar] = Field(default_factory=dict)
    """What the drawing lets one choose: `label` (shown, or the nearest that needs samples), `threshold` (of training
    samples, between the regions), `samples` (how many are drawn), `bins` and `annotators` (of those that were tried).
    """

    @property
    def across(self) -> bool:
        """Whether it shows several data sets."""
        return drawing(self.draw).across

    def dataset_of(self, role: str) -> str:
        """The data set of a run."""
        return role.partition(".")[0] if self.across else self.dataset

    @property
    def datasets(self) -> tuple[str, ...]:
        """Every data set that it shows; none of what shows a table."""
        if self.across:
            return tuple(dict.fromkeys(self.dataset_of(role) for role in self.runs))
        return () if self.table else (self.dataset,)


def tables() -> dict[str, Table]:
    """Every table, by id (the file's name)."""
    return _read("tables", Table)


def figures() -> dict[str, Figure]:
    """Every figure, by id (the file's name)."""
    return _read("figures", Figure)


def _read(kind: str, model: Any) -> dict[str, Any]:
    # What the papers print comes first: readers look for that.
    files = (RESOURCES / kind).glob("*.yaml")
    paths = sorted(files, key=lambda path: (path.stem.startswith((BEYOND, PLANTED)), path.stem))
    return {path.stem: read_one(path, model) for path in paths}


@kept_until_changed(128)  # every plan needs all files
def read_one(path: Path, model: Any) -> Any:
    """Read one catalogue file.

    Raises:
        ConfigError: every fault of the file, with its line.
    """
    layer = layers.read(path)
    try:
        entry = model.model_validate(layer.data)
        faults: list[Fault] = list(_faults(entry, layer) if isinstance(entry, Table) else _figure_faults(entry))
    except ValidationError as error:
        faults = [(fault["loc"], fault["msg"]) for fault in error.errors(include_url=False)]
    if faults:
        lines = [
            f"  {layers.locate([layer], at)}: {'.'.join(map(str, at)) or path.stem}: {what}" for at, what in faults
        ]
        raise ConfigError("not a valid catalogue entry:\n" + "\n".join(lines), where=path) from None
    return entry


def _figure_faults(figure: Figure) -> Iterator[Fault]:
    """What its drawing does not know."""
    if figure.draw not in drawings():
        yield ("draw",), f"there is no drawing {figure.draw!r}{nearest(figure.draw, drawings())}"
        return
    for role in figure.runs if figure.across else ():
        if not all(role.partition(".")[::2]):
            yield ("runs", role), f"the drawing {figure.draw!r} needs roles `<data set>.<target>`, not {role!r}"
    of_table = "table" in drawing(figure.draw).reads
    for part in ("table",) if of_table else () if figure.across else ("dataset", "target"):
        if not getattr(figure, part):
            yield (part,), f"the drawing {figure.draw!r} needs a {part!r}"
    known = drawing(figure.draw).options
    for name, value in figure.options.items():
        if name not in known:
            yield ("options", name), f"the drawing {figure.draw!r} has no option {name!r}{nearest(name, known)}"
        elif isinstance(value, bool) or not isinstance(value, int | float):
            yield ("options", name), f"the option {name!r} is a number, not {value!r}"


def _faults(table: Table, layer: layers.Layer) -> Iterator[Fault]:
    """Where the parts of a table contradict one another: the place in its file, and what is wrong."""
    ids = {kind: [part_of_table.id for part_of_table in getattr(table, kind)] for kind in ("keys", "columns", "rows")}
    for kind, known in ids.items():
        for place, name in enumerate(known):
            if name in known[:place]:
                yield (kind, place, "id"), f"the id {name!r} stands twice"
    with_run = [row.id for row in table.rows if row.run is not None]
    for place, column in enumerate(table.columns):
        for part in ("dataset", "target", "metric"):
            if not getattr(column, part) and any(row.claim is None and row.expect is None for row in table.rows):
                yield ("columns", place), f"a column needs a {part!r}"
    for place, row in enumerate(table.rows):
        at = ("rows", place)
        if row.against is not None and (row.against not in with_run or row.against == row.id):
            yield (*at, "against"), f"{row.against!r} is no other row with a run{nearest(row.against, with_run)}"
        for part, kind in (("keys", "keys"), ("published", "columns")):
            for name in getattr(row, part):
                if name not in ids[kind]:
                    yield (*at, part, name), f"{name!r} is not among the {kind} of this table{nearest(name, ids[kind])}"
        for number, name in enumerate(row.columns or []):
            if name not in ids["columns"]:
                yield (*at, "columns", number), f"there is no column {name!r}{nearest(name, ids['columns'])}"
        yield from _printing_faults(table, row, layer, at)
    yield from _group_faults(table)


def _printing_faults(table: Table, row: Row, layer: layers.Layer, at: Place) -> Iterator[Fault]:
    """What a row says of the printed table that cannot be so, and what it leaves out."""
    for column in table.columns:
        if not column.printed and column.id in row.published:
            yield (*at, "published", column.id), "the paper has no such column (it is marked `printed: false`)"
        if column.printed and row.is_printed and column.id not in row.published:
            yield (*at, "published"), f"the paper has this row, but nothing says what it prints in {column.id!r}"
    given = [("published", column) for column in table.columns] + [("keys", key) for key in table.keys]
    for part, printed in given:
        value = getattr(row, part).get(printed.id)
        text = layer.text((*at, part, printed.id))
        if not isinstance(value, int | float) or text is None:
            continue
        if not text.lstrip("+-").replace(".", "", 1).isdecimal():
            yield (*at, part, printed.id), f"{text} is not a number as it is printed"
        elif (decimals := len(text.partition(".")[2])) != printed.decimals:
            yield (*at, part, printed.id), f"{text} has {decimals} decimals, its column {printed.decimals}"


def _group_faults(table: Table) -> Iterator[Fault]:
    """Rows of a group stand together, and either all rows are in groups or none is."""
    ended: set[str] = set()
    for place, (before, row) in enumerate(pairwise([*table.rows[:1], *table.rows])):
        if bool(row.group) != bool(table.rows[0].group):
            yield ("rows", place, "group"), "either all rows are in groups or none is"
        if row.group != before.group:
            ended.add(before.group)
            if row.group in ended:
                yield ("rows", place, "group"), f"the rows of the group {row.group!r} do not stand together"
