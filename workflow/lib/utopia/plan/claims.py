"""Claims of the papers' texts that follow from their tables: each as tests, put to the printed values and to ours."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from utopia.config.base import Strict
from utopia.errors import ComputeError, ConfigError
from utopia.evaluation.rounding import rounded
from utopia.evaluation.uncertainty import mean_change

if TYPE_CHECKING:
    from utopia.plan.catalog import Change, Column, Row, Table

KEYS = {"section": "Section", "said": "The text", "print": "The printed tables", "agrees": "Agree"}
"""Columns of a table of claims that are not measured."""
Value = Callable[[str], float]
"""The value of a cell, by its id."""


class Where(Strict):
    """Cells of printed tables."""

    tables: list[str] = Field(..., min_length=1)
    rows: list[str] = Field(..., min_length=1)
    """Rows that the claim is about; a table need not have all of them."""
    columns: list[str] | None = None
    """Null: every printed column."""


class KeyChoice(Strict):
    """A printed setting."""

    tables: list[str] = Field(..., min_length=1)
    key: str
    rows: list[str] | None = None
    """Null: every row."""


class Claim(Strict):
    """What a text says, and what of the tables it follows from: exactly one of `gain` to `rows_of`."""

    section: str
    said: str
    """What it says: a number, or words such as `almost all`."""
    gain: str | None = None
    """A mean gain: the derived cell that computes it, `table/row/column`."""
    value: str | None = None
    """A printed value: its cell."""
    best: Where | None = None
    """Each row is the best of its group's printed rows."""
    place: int = Field(1, ge=1)
    """With `best`: the second, third, ... best; equal values share the better place."""
    per: Literal["table", "dataset"] | None = None
    """With `best`: count tables, or data sets, that the rows are best in at least half of the columns of."""
    better: Where | None = None
    """Each row is better than another."""
    than: str | dict[str, str] | None = None
    """With `better` and `near`: that other row, or which for each; null: the row that it is compared with."""
    near: Where | None = None
    """Each row is about as good as another."""
    within: float = Field(0.0, ge=0)
    """With `near`: the largest difference."""
    settings: KeyChoice | None = None
    """The values that a printed setting takes."""
    rows_of: str | None = None
    """The number of printed rows of a table."""
    share: float = Field(1.0, gt=0, le=1)
    """The share of tests that must pass for what is said: our reading of words such as `almost all`."""
    oddity: str = ""
    """Where the printed tables do not support the claim: how."""

    @model_validator(mode="after")
    def _one_kind(self) -> Claim:
        kinds = ("gain", "value", "best", "better", "near", "settings", "rows_of")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise ValueError(f"name exactly one of {', '.join(kinds)}")
        return self

    @property
    def number(self) -> float | None:
        """The number that it says of a gain or a value; None of other claims."""
        match = re.match(r"-?\d+(\.\d+)?", self.said) if self.gain or self.value else None
        return float(match.group()) if match else None

    @property
    def decimals(self) -> int:
        """Decimals of the number that is said."""
        match = re.match(r"-?\d+\.(\d+)", self.said)
        return len(match.group(1)) if match else 0


class InPrint(NamedTuple):
    """What the printed tables make of a claim."""

    text: str
    agrees: bool


# -- cells of the catalogue


def cell(tables: Mapping[str, Table], place: str) -> tuple[Table, Row, Column]:
    """A cell of the catalogue, by `table/row/column`.

    Raises:
        ConfigError: there is none.
    """
    name, _, rest = place.partition("/")
    for row in tables[name].rows if name in tables else ():
        for column in tables[name].columns:
            if rest == f"{row.id}/{column.id}":
                return tables[name], row, column
    raise ConfigError(f"there is no cell {place!r}", where="a claim of the catalogue")


def published(tables: Mapping[str, Table], place: str) -> float:
    """The printed value of a cell.

    Raises:
        ConfigError: the paper has none there.
    """
    _, row, column = cell(tables, place)
    value = row.number(column.id)
    if value is None:
        raise ConfigError(f"the paper has no number in {place!r}", where="a claim of the catalogue")
    return value


def tests(claim: Claim, tables: Mapping[str, Table]) -> list[dict[str, Any]]:
    """What must hold of single cells: {"of": cell, "others": cells, "kind", "better", "place", "within", "part"}."""
    stated_tests = []
    for where, kind in ((claim.best, "best"), (claim.better, "better"), (claim.near, "near")):
        for name, row, column in _asked(where, tables):
            if kind == "best":
                mates = [mate for mate in tables[name].rows if mate.group == row.group and mate.is_printed]
                others = [mate.id for mate in mates if mate is not row and mate.number(column.id) is not None]
            else:
                others = [_other(claim, name, row)]
            part = {"table": name, "dataset": column.dataset, None: ""}[claim.per]
            test: dict[str, Any] = {"of": f"{name}/{row.id}/{column.id}", "kind": kind, "better": column.better}
            test |= {"others": [f"{name}/{mate}/{column.id}" for mate in others], "part": part}
            test |= {"place": claim.place, "within": claim.within}
            stated_tests.append(test)
    return stated_tests


def _asked(where: Where | None, tables: Mapping[str, Table]) -> Iterator[tuple[str, Row, Column]]:
    if where is None:
        return
    wanted = {name: tables[name] for name in where.tables if name in tables}
    unknown = set(where.rows) - {row.id for table in wanted.values() for row in table.rows}
    if unknown or len(wanted) < len(where.tables):
        missing = sorted(unknown | (set(where.tables) - set(wanted)))
        raise ConfigError(f"no table or row {', '.join(missing)}", where="a claim of the catalogue")
    for name, table in wanted.items():
        for row in (row for row in table.rows if row.id in where.rows):
            for column in table.columns:
                if column.printed if where.columns is None else column.id in where.columns:
                    yield name, row, column


def _other(claim: Claim, table: str, row: Row) -> str:
    other = claim.than.get(row.id) if isinstance(claim.than, dict) else claim.than or row.against
    if other is None:
        raise ConfigError(f"nothing says what {table}/{row.id} is compared with", where="a claim of the catalogue")
    return other


# -- tests


def passes(test: Mapping[str, Any], value: Value) -> bool:
    """Whether a test holds of the values of its cells."""
    tested_value, others = value(test["of"]), [value(other) for other in test["others"]]
    if test["kind"] == "near":
        return abs(tested_value - others[0]) <= test["within"] + 1e-9
    sign = 1 if test["better"] == "higher" else -1
    if test["kind"] == "better":
        return sign * (tested_value - others[0]) > 0
    return sum(sign * (other - tested_value) > 0 for other in others) == test["place"] - 1


def count(given: Sequence[Mapping[str, Any]], value: Value) -> tuple[int, int]:
    """How many tests pass, of how many; where they have parts: of how many parts at least half of the tests."""
    parts: dict[Any, list[bool]] = defaultdict(list)
    for number, test in enumerate(given):
        parts[test["part"] or number].append(passes(test, value))
    return sum(2 * sum(passed) >= len(passed) for passed in parts.values()), len(parts)


def holds(passed: int, total: int, share: float) -> bool:
    """Whether so many passed tests are what a claim says."""
    return passed >= share * total


class Stated(NamedTuple):
    """A claim that compares cells, put to measured values."""

    passed: int
    total: int
    stands: bool
    """On the means over the seeds."""
    alike: list[bool]
    """Whether it holds on each seed alone."""


def put(given: Sequence[Mapping[str, Any]], share: float, values: Mapping[str, NDArray[np.float64]]) -> Stated:
    """Put tests to measured values.

    Args:
        given: the tests.
        share: see `Claim.share`.
        values: of each cell, by seed [S], or [1] of one that is quoted.

    Raises:
        ComputeError: the runs have not equally many seeds.
    """
    seeds = max(each.size for each in values.values())
    if unequal := sorted({each.size for each in values.values() if each.size > 1} - {seeds}):
        raise ComputeError(f"a statement compares runs of {seeds} and of {unequal[0]} seeds", where=next(iter(values)))
    means = {place: float(each.mean()) for place, each in values.items()}
    single = [{place: float(each[seed % each.size]) for place, each in values.items()} for seed in range(seeds)]
    passed, total = count(given, means.__getitem__)
    alike = [holds(*count(given, own.__getitem__), share) for own in single]
    return Stated(passed, total, holds(passed, total, share), alike)


# -- print


def in_print(claim: Claim, tables: Mapping[str, Table]) -> InPrint:
    """Put a claim to the printed tables.

    A gain agrees if the printed values, each known to its rounding interval, can give what is said.

    Raises:
        ConfigError: it names a cell that is not there, or printed values contradict one another.
    """
    if claim.gain is not None:
        return _gain_in_print(claim, tables)
    if claim.value is not None:
        value = published(tables, claim.value)
        text = rounded(value, cell(tables, claim.value)[2].decimals)
        return InPrint(text, value == claim.number)
    if claim.settings is not None:
        text = _settings(claim.settings, tables)
        return InPrint(text, text == claim.said)
    if claim.rows_of is not None:
        text = str(sum(row.is_printed for row in tables[claim.rows_of].rows))
        return InPrint(text, text == claim.said)
    passed, total = count(tests(claim, tables), lambda place: published(tables, place))
    return InPrint(f"{passed} of {total}", holds(passed, total, claim.share))


def _settings(choice: KeyChoice, tables: Mapping[str, Table]) -> str:
    texts: dict[str, None] = {}
    for name in choice.tables:
        key = next(key for key in tables[name].keys if key.id == choice.key)
        rows = (row for row in tables[name].rows if choice.rows is None or row.id in choice.rows)
        texts |= dict.fromkeys(text for row in rows if (text := tables[name].key_text(row, key)))
    return ", ".join(texts)


def _gain_in_print(claim: Claim, tables: Mapping[str, Table]) -> InPrint:
    assert claim.gain is not None and claim.number is not None
    _, row, column = cell(tables, claim.gain)
    assert row.change is not None
    pairs = [_printed_pair(row.change, model, column, tables) for model in row.change.models]
    sign = 1 if column.better == "higher" else -1

    def gain(shift: int) -> float:
        """With every printed value moved by so many halves of its last decimal, all in the direction of a gain."""
        moved = [(treated + shift * sign * half, without - shift * sign * half) for treated, without, half in pairs]
        arrays = [(np.array([treated]), np.array([without])) for treated, without in moved]
        return float(mean_change(arrays, column.better, column.change)[0])

    half = 0.5 * 10.0**-column.decimals
    reach = gain(-1) - half - 1e-9, gain(1) + half + 1e-9
    unit = "%" if column.change == "relative" else "points"
    return InPrint(f"{gain(0):.2f} {unit}", reach[0] <= claim.number <= reach[1])


def _printed_pair(
    change: Change, model: str, column: Column, tables: Mapping[str, Table]
) -> tuple[float, float, float]:
    """The printed value of a model with the treatment and without, and half a unit of their last decimal."""
    treated, decimals = _printed(model, change.treatment, column, tables)
    without, _ = _printed(model, change.against, column, tables)
    return treated, without, 0.5 * 10.0**-decimals


def _printed(model: str, treatment: str, like: Column, tables: Mapping[str, Table]) -> tuple[float, int]:
    """The value that every printed table has of a run with the configuration's own settings, and its decimals."""
    wanted = (like.dataset, like.target, like.metric)
    printed_values = {
        (value, column.decimals): name
        for name, table in tables.items()
        for row in table.rows
        if (choice := table.choice(row)) is not None
        and (choice.model, choice.treatment, choice.set) == (model, treatment, {})
        for column in table.columns
        if (column.dataset, column.target, column.metric) == wanted and (value := row.number(column.id)) is not None
    }
    if len(printed_values) != 1:
        raise ConfigError(
            f"{model} with {treatment} must have one printed value of {'.'.join(wanted)}; found {len(printed_values)}"
            + "".join(f", {value} in {name}" for (value, _), name in printed_values.items()),
            where="a claim of the catalogue",
        )
    return next(iter(printed_values))


# -- what a rendering job is given


def row_settings(claim: Claim, tables: Mapping[str, Table], runs: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What `cells.build` needs of a row that states a claim, besides what every row has.

    Args:
        claim: what the row states.
        tables: the catalogue.
        runs: by column of the table of claims: the run behind each cell that the claim compares.

    Returns:
        "keys" (see `KEYS`); "as": what each column measures in this row; "claims": by column {"tests", "share",
        "cells": {cell: {"run", "published", "target", "metric"}}} of a claim that compares cells; "published".
    """
    said = in_print(claim, tables)
    agrees = "yes" if said.agrees else "no"
    settings: dict[str, Any] = {
        "keys": {"section": claim.section, "said": claim.said, "print": said.text, "agrees": agrees},
        "published": dict.fromkeys(runs, claim.number) if claim.number is not None else {},
    }
    facts: dict[str, Any] = {"decimals": claim.decimals}
    if claim.gain is not None:
        table, _, column = cell(tables, claim.gain)
        facts["published_repeats"] = table.repeats
        facts |= column.model_dump(mode="json", include={"dataset", "target", "metric", "better", "change"})
    given = tests(claim, tables)
    places = dict.fromkeys(place for test in given for place in (test["of"], *test["others"]))
    settings["as"] = dict.fromkeys(runs, facts)
    settings["claims"] = {
        column: {
            "tests": given,
            "share": claim.share,
            "cells": {place: _cell_settings(tables, place, runs_of_cell.get(place)) for place in places},
        }
        for column, runs_of_cell in runs.items()
        if runs_of_cell
    }
    return settings


def _cell_settings(tables: Mapping[str, Table], place: str, run: str | None) -> dict[str, Any]:
    _, row, column = cell(tables, place)
    return {"run": run, "published": row.number(column.id), "target": column.target, "metric": column.metric}
