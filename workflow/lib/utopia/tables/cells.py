"""The cells of a table: what was measured, what is only quoted, and what is absent and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from utopia.errors import ComputeError
from utopia.evaluation.comparisons import Comparison, compared
from utopia.evaluation.interval import holm
from utopia.evaluation.uncertainty import Interval, change_interval, interval, mean_change, paired
from utopia.evaluation.verdict import (
    NOT_COMPARABLE,
    Difference,
    judge,
    judge_claim,
    judge_difference,
    judge_expectation,
    judge_family,
    judge_statement,
)
from utopia.plan import claims
from utopia.tables.results import HoleError, Measurement, Results, over_repeats

Status = Literal["measured", "quoted", "dash", "absent", "blank"]
"""`quoted`: only the published value. `dash`: the paper prints one. `absent`: there should be a value of ours. `blank`:
neither the paper nor this project has anything there."""
DASH = "-"
"""What stands for a printed dash among published values."""


@dataclass(frozen=True)
class Cell:
    """One cell. Values are in the column's unit, at full precision; they are rounded once, when they are shown."""

    table: str
    row: str
    column: str
    value: float | None
    """Mean over the repeats; None unless measured. A published value never stands here."""
    std: float | None
    """Sample deviation (ddof 1) over the repeats; None with fewer than two."""
    n: int
    """Number of repeats."""
    status: Status
    reason: str
    """Why there is no value; empty of one that is measured or quoted."""
    published: float | None
    decimals: int
    verdict: str = ""
    verdict_reason: str = ""
    runs: list[str] = field(default_factory=list)
    low: float | None = None
    high: float | None = None
    """Ends of the 95 % interval over test items and repeats."""
    interval: str = ""
    """How the interval was made, or why there is none; empty unless measured."""
    against: str = ""
    """The row (of a derived cell: the treatment) that `difference` is taken to; empty where there is none."""
    difference: float | None = None
    """This cell's value less that of `against`, on the same repeats and test items."""
    difference_low: float | None = None
    difference_high: float | None = None
    difference_p: float | None = None
    """How often chance alone would give so large a difference; see `utopia.evaluation.uncertainty.Interval`."""
    difference_verdict: str = ""
    """Whether the difference is a gain, a loss or neither; see `utopia.evaluation.verdict.judge_difference`."""
    note: str = ""
    """What is to be known about the row."""
    name: str = ""
    """The row in words: its group, title and keys."""
    unit: str = ""
    """What is written after the value."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """What the row has in the columns that are not measured, as shown; by their ids."""

    @property
    def cell(self) -> str:
        """The cell's id, `table/row/column`."""
        return f"{self.table}/{self.row}/{self.column}"


def measured(
    table: Mapping[str, Any], row: Mapping[str, Any], column: Mapping[str, Any], results: Results
) -> Measurement | None:
    """What the replicas behind a cell give, without any interval; None of a cell that nothing was measured for.

    Raises:
        ComputeError: see `repeat_means` and `mean_change`.
    """
    name, column = column["id"], _column(row, column)
    runs = _own_runs(row, name)
    if not runs or any(run not in results.metrics for run in runs):
        return None
    if column.get("statistic"):
        statistic = _statistic(table, row, column, results)
        return None if isinstance(statistic, str) else statistic
    if claim := (row.get("claims") or {}).get(name):
        stated = _stated(claim, results)
        return Measurement(float(stated.passed), None, len(stated.alike))
    if pairs := (row.get("changes") or {}).get(name):
        return over_repeats(_gains(pairs, column, results))
    if _of_spread(row, name):
        return _spread(runs[0], column, results)
    try:
        return over_repeats(results.values(runs[0], column))
    except HoleError:
        return None


def runs_behind(table: Mapping[str, Any], row: Mapping[str, Any], column: str) -> list[str]:
    """The runs that a cell is computed from, each once; none of one that is only quoted.

    What is adjusted among all rows of a table depends on the runs of all of them, after its own.
    """
    if next(listed for listed in table["columns"] if listed["id"] == column).get("statistic") == "adjusted":
        return list(dict.fromkeys(run for any_row in (row, *table["rows"]) for run in _own_runs(any_row, column)))
    return _own_runs(row, column)


def _own_runs(row: Mapping[str, Any], column: str) -> list[str]:
    run, pairs = (row.get("runs") or {}).get(column), (row.get("changes") or {}).get(column) or []
    claim = (row.get("claims") or {}).get(column) or {"cells": {}}
    # by the cells' names: a job that is done again from its record has them in that order
    compared = [compared_cell["run"] for _, compared_cell in sorted(claim["cells"].items()) if compared_cell["run"]]
    return [run] if run else list(dict.fromkeys([*(pair_run for pair in pairs for pair_run in pair), *compared]))


def _column(row: Mapping[str, Any], column: Mapping[str, Any]) -> Mapping[str, Any]:
    """A column as a row has it: a statement of a text brings its own measure and decimals."""
    return {**column, **(row.get("as") or {}).get(column["id"], {})}


def _gains(pairs: Sequence[Sequence[str]], column: Mapping[str, Any], results: Results) -> NDArray[np.float64]:
    """The mean over models of the change against a treatment, for each repeat."""
    values = [(results.values(treated, column), results.values(without, column)) for treated, without in pairs]
    return mean_change(values, column["better"], column.get("change") or "relative")


def _of_spread(row: Mapping[str, Any], column: str) -> bool:
    """Whether a cell is the deviation over the repeats."""
    return ((row.get("expected") or {}).get(column) or {}).get("of") == "spread"


def _spread(run: str, column: Mapping[str, Any], results: Results) -> Measurement:
    """The deviation over the repeats; 0 of one repeat."""
    over_all = over_repeats(results.values(run, column))
    return Measurement(over_all.std or 0.0, None, over_all.n)


def build(table: Mapping[str, Any], results: Results) -> list[Cell]:
    """All cells of a table, row by row.

    Args:
        table: the table's layout, runs and published values (see `render_table`).
        results: what has been made.

    Raises:
        ComputeError: a run of the table is neither made nor declared absent; or see `repeat_means`.
    """
    rows = {row["id"]: row for row in table["rows"]}
    cells = [
        _cell(table, row, column, results, rows.get(row.get("against")))
        for row in table["rows"]
        for column in table["columns"]
    ]
    if not any(column.get("statistic") == "adjusted" for column in table["columns"]):
        return cells
    family = judge_family(
        {
            cell.cell: Difference(cell.cell, cell.difference_p, cell.difference_verdict)
            for cell in cells
            if cell.difference_p is not None
        }
    )
    return [replace(cell, difference_verdict=family.verdicts.get(cell.cell, cell.difference_verdict)) for cell in cells]


def _cell(
    table: Mapping[str, Any],
    row: Mapping[str, Any],
    column: Mapping[str, Any],
    results: Results,
    against: Mapping[str, Any] | None,
) -> Cell:
    name, column = column["id"], _column(row, column)
    claim, pairs, expected = ((row.get(kind) or {}).get(name) for kind in ("claims", "changes", "expected"))
    printed = (row.get("published") or {}).get(name)
    published = None if printed == DASH else printed
    own_runs = _own_runs(row, name)
    bare = Cell(
        table=table["id"],
        row=row["id"],
        column=name,
        value=None,
        std=None,
        n=0,
        status="absent",
        reason="",
        published=published,
        decimals=int(column["decimals"]),
        runs=own_runs,
        note=row.get("note") or "",
        name=row.get("name") or row["title"],
        keys=row.get("keys") or {},
    )
    if not bare.runs:
        if published is not None:
            return replace(bare, status="quoted")
        if printed == DASH:
            return replace(bare, status="dash", reason="the paper prints a dash")
        return replace(bare, status="blank", reason="neither the paper nor a run of ours has a value here")
    if holes := dict.fromkeys(results.absent[run_id] for run_id in bare.runs if run_id in results.absent):
        return replace(bare, reason="; ".join(holes))
    for run_id in bare.runs:
        if run_id not in results.metrics:
            raise ComputeError(
                f"the run {run_id} of cell {bare.cell} is neither made nor declared absent",
                where=f"table {bare.table}",
                why="the cell would be empty without a reason",
            )
    if claim:
        return _with_statement(bare, _stated(claim, results), results)
    if column.get("statistic"):
        statistic = _statistic(table, row, column, results)
        if isinstance(statistic, str):
            return replace(bare, reason=statistic)
        behind = [run for run in runs_behind(table, row, name) if run in results.metrics]
        return replace(bare, **statistic._asdict(), status="measured", runs=behind)
    if pairs:
        cell = _changed(bare, pairs, column, results)
    elif _of_spread(row, name):
        method = "a deviation over the seeds is no mean over items"
        cell = replace(bare, **_spread(bare.runs[0], column, results)._asdict(), status="measured", interval=method)
    else:
        try:
            cell = _measured(bare, run := bare.runs[0], column, results)
        except HoleError as hole:
            return replace(bare, reason=hole.what)
        other = (against.get("runs") or {}).get(name, "") if against is not None else ""
        if against is not None and other in results.metrics:
            cell = _compared(cell, run, other, against, column, results)
    if cell.value is None:
        return cell
    if expected:
        return _with_expectation(cell, expected)
    ground = results.ground(bare.runs)
    repeats = column.get("published_repeats", table.get("published_repeats"))
    verdict = judge(cell.value, cell.std, cell.n, published, bare.decimals, ground, repeats)
    if pairs and published is not None and verdict.text != NOT_COMPARABLE:
        verdict = judge_claim(verdict, cell.difference_verdict, cell.low, cell.high)
    why = verdict.reason or ("it prints a dash" if printed == DASH else "")
    return replace(cell, verdict=verdict.text, verdict_reason=why)


def _with_expectation(cell: Cell, expected: Mapping[str, Any]) -> Cell:
    """The cell judged by what was planted. It is no comparison of treatments, so it is not counted as one."""
    assert cell.value is not None
    verdict = judge_expectation(cell.value, cell.difference_p, expected)
    return replace(
        cell,
        against="",
        difference=None,
        difference_low=None,
        difference_high=None,
        difference_p=None,
        difference_verdict="",
        verdict=verdict.text,
        verdict_reason=verdict.reason,
    )


def _measured(bare: Cell, run: str, column: Mapping[str, Any], results: Results) -> Cell:
    measurement = over_repeats(results.values(run, column))
    items = results.items(run, column)
    around = Interval(None, None, items) if isinstance(items, str) else interval(items)
    return replace(
        bare, **measurement._asdict(), status="measured", low=around.low, high=around.high, interval=around.method
    )


def _compared(
    cell: Cell, run: str, other: str, against: Mapping[str, Any], column: Mapping[str, Any], results: Results
) -> Cell:
    """The cell with the paired difference to the run of another row."""
    theirs = _column(against, column)
    values, without = results.values(run, column), results.values(other, theirs)
    if values.shape != without.shape:
        return cell
    items, base = results.items(run, column), results.items(other, theirs)
    if isinstance(items, str) or isinstance(base, str):
        around = Interval(None, None, items if isinstance(items, str) else str(base))
    else:
        around = paired(items, base)
    return _with_difference(cell, against["id"], float((values - without).mean()), around, column["better"])


def _with_difference(cell: Cell, against: str, difference: float, around: Interval, better: str) -> Cell:
    return replace(
        cell,
        against=against,
        difference=difference,
        difference_low=around.low,
        difference_high=around.high,
        difference_p=around.p,
        difference_verdict="" if around.low is None else judge_difference(difference, around.p, better),
    )


def _changed(bare: Cell, pairs: Sequence[Sequence[str]], column: Mapping[str, Any], results: Results) -> Cell:
    """A derived cell: the mean over models of the change against a treatment."""
    kind = column.get("change") or "relative"
    try:
        gains = _gains(pairs, column, results)
    except ComputeError as error:
        return replace(bare, reason=error.what)
    measurement = over_repeats(gains)
    items = [(results.items(treated, column), results.items(without, column)) for treated, without in pairs]
    known = [(a, b) for a, b in items if not isinstance(a, str) and not isinstance(b, str)]
    if len(known) < len(items):
        around = Interval(None, None, next(side for pair in items for side in pair if isinstance(side, str)))
    else:
        around = change_interval(known, column["better"], kind)
    cell = replace(
        bare,
        **measurement._asdict(),
        status="measured",
        low=around.low,
        high=around.high,
        interval=around.method,
    )
    return _with_difference(cell, pairs[0][1].split("@")[0].split(".")[-1], measurement.value, around, "higher")


def _statistic(
    table: Mapping[str, Any], row: Mapping[str, Any], column: Mapping[str, Any], results: Results
) -> Measurement | str:
    """What a column of comparisons shows of a row, or why it has nothing to show."""
    comparison = _comparison(row, column, results, table["seed"])
    if isinstance(comparison, str):
        return comparison
    if column["statistic"] == "adjusted":
        of_rows = {other["id"]: _comparison(other, column, results, table["seed"]) for other in table["rows"]}
        known = {place: other.around.p for place, other in of_rows.items() if not isinstance(other, str)}
        p = {place: value_p for place, value_p in known.items() if value_p is not None}
        value = dict(zip(p, holm(list(p.values())), strict=True)).get(row["id"])
    else:
        value = comparison.value(column["statistic"])
    return (
        "one seed tells nothing of other trainings" if value is None else Measurement(value, None, comparison.repeats)
    )


def _comparison(row: Mapping[str, Any], column: Mapping[str, Any], results: Results, seed: int) -> Comparison | str:
    """Two runs compared, once for all columns of the row; a hole where one of them is."""
    column = _column(row, column)
    treated, without = row["changes"][column["id"]][0]
    if missing := next((run for run in (treated, without) if run not in results.metrics), ""):
        return results.absent.get(missing, "it was not made")
    key = (treated, without, column["target"], column["metric"])
    if key not in results.compared:
        items = (results.items(treated, column), results.items(without, column))
        results.compared[key] = compared(*items, column["better"], seed)
    return results.compared[key]


def _stated(claim: Mapping[str, Any], results: Results) -> claims.Stated:
    """A claim that compares cells, put to our values; what is only quoted keeps its published value."""
    values = {
        place: results.values(compared_cell["run"], compared_cell)
        if compared_cell["run"]
        else np.array([compared_cell["published"]], np.float64)
        for place, compared_cell in claim["cells"].items()
    }
    return claims.put(claim["tests"], claim["share"], values)


def _with_statement(bare: Cell, stated: claims.Stated, results: Results) -> Cell:
    verdict = judge_statement(stated.stands, stated.passed, stated.total, stated.alike, results.ground(bare.runs))
    return replace(
        bare,
        value=float(stated.passed),
        n=len(stated.alike),
        status="measured",
        unit=f"of {stated.total}",
        verdict=verdict.text,
        verdict_reason=verdict.reason,
    )
