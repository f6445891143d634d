"""The cells of a table: what was measured, what is only quoted, and what is absent and why."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from utopia.errors import ComputeError
from utopia.evaluation import rows as metrics
from utopia.outputs.verdict import judge

Status = Literal["measured", "quoted", "absent"]


@dataclass(frozen=True)
class Cell:
    """One cell. Values are in the column's unit, at full precision; they are rounded once, when they are shown."""

    table: str
    row: str
    column: str
    value: float | None
    """Mean over the seeds; None unless measured. A published value never stands here."""
    std: float | None
    """Sample deviation (ddof 1) over the seeds; None with fewer than two."""
    n: int
    """Number of seeds."""
    status: Status
    reason: str
    """Why the cell is absent; empty otherwise."""
    published: float | None
    decimals: int
    verdict: str = ""
    verdict_reason: str = ""
    runs: list[str] = field(default_factory=list)

    @property
    def cell(self) -> str:
        """The cell's id, `table/row/column`."""
        return f"{self.table}/{self.row}/{self.column}"


class Measurement(NamedTuple):
    """A metric over the replicas of a run."""

    value: float
    std: float | None
    n: int


def measure(
    metrics_csvs: Sequence[Path], target: str, metric: str, *, promised: int | None = None, scale: float = 1.0
) -> Measurement:
    """Mean over folds for each seed, then mean and deviation (ddof 1) over the seeds.

    Args:
        metrics_csvs: metrics files of the run (of several, when its replicas are spread over files).
        target: the target whose rows count.
        metric: the metric whose rows count; only replicas' own rows (empty `item`) do.
        promised: number of replicas (folds x seeds) that the run promises for this target, where it is known.
        scale: factor to the column's unit.

    Raises:
        ComputeError: there is no such row, a replica is missing or stands there twice, or a value is not finite.
    """
    where = ", ".join(str(path) for path in metrics_csvs)
    by_seed: dict[str, dict[str, float]] = defaultdict(dict)
    for path in metrics_csvs:
        for row in metrics.read(path):
            if row.item or row.target != target or row.metric != metric:
                continue
            if row.fold in by_seed[row.seed]:
                raise ComputeError(
                    f"{target} {metric}: fold {row.fold}, seed {row.seed} stands there twice", where=where
                )
            if not math.isfinite(row.value):
                raise ComputeError(f"{target} {metric} of fold {row.fold}, seed {row.seed} is {row.value}", where=where)
            by_seed[row.seed][row.fold] = row.value
    folds = sorted({fold for values in by_seed.values() for fold in values})
    present = sum(len(values) for values in by_seed.values())
    expected = max(promised or 0, len(folds) * len(by_seed))
    if not present or present < expected:
        missing = [
            f"fold {fold} seed {seed}" for seed, values in by_seed.items() for fold in folds if fold not in values
        ]
        raise ComputeError(
            f"{target} {metric}: {present} of {expected or 'the'} replicas are there"
            + (f"; missing: {', '.join(missing[:6])}" if missing else ""),
            where=where,
            why="a mean over fewer replicas than promised would pass for the promised one",
            remedy="delete the file and run the same command again: the missing replicas will be made",
        )
    means = np.array([np.mean([values[fold] for fold in folds]) for _, values in sorted(by_seed.items())]) * scale
    std = float(means.std(ddof=1)) if len(means) > 1 else None
    return Measurement(float(means.mean()), std, len(means))


def build(
    table: Mapping[str, Any],
    runs: Mapping[str, Path],
    absent: Mapping[str, str],
    not_comparable: str | Mapping[str, str] = "",
    promised: Mapping[str, int] | None = None,
) -> list[Cell]:
    """All cells of a table, row by row.

    Args:
        table: the table's layout, runs and published values (see `render_table`).
        runs: run id -> its metrics file.
        absent: run id -> why it could not be made.
        not_comparable: why measured cells cannot be compared with print: one reason for all, or run id -> reason.
        promised: run id -> replicas that each of its targets promises.

    Raises:
        ComputeError: a run of the table is neither made nor declared absent; or see `measure`.
    """
    cells = []
    for row in table["rows"]:
        for column in table["columns"]:
            cells.append(_cell(table, row, column, runs, absent, not_comparable, promised or {}))
    return cells


def _cell(
    table: Mapping[str, Any],
    row: Mapping[str, Any],
    column: Mapping[str, Any],
    runs: Mapping[str, Path],
    absent: Mapping[str, str],
    not_comparable: str | Mapping[str, str],
    promised: Mapping[str, int],
) -> Cell:
    runs_of_row, printed = row.get("runs") or {}, row.get("published") or {}
    run, published = runs_of_row.get(column["id"]), printed.get(column["id"])
    # Rows of references (random scores, humans) are not in print: nothing of them is left to transcribe.
    ours = bool(runs_of_row) and all(".reference." in name for name in runs_of_row.values())
    untranscribed = "" if ours else table.get("untranscribed") or "the published value is not transcribed"
    bare = Cell(
        table=table["id"],
        row=row["id"],
        column=column["id"],
        value=None,
        std=None,
        n=0,
        status="absent",
        reason="",
        published=published,
        decimals=int(column["decimals"]),
        runs=[run] if run else [],
    )
    if run is None:
        if published is not None:
            return replace(bare, status="quoted")
        return replace(bare, reason=untranscribed or "this row is not measured on this data set")
    if run in absent:
        return replace(bare, reason=absent[run])
    if run not in runs:
        raise ComputeError(
            f"the run {run} of cell {bare.cell} is neither made nor declared absent",
            where=f"table {bare.table}",
            why="the cell would be empty without a reason",
        )
    found = measure(
        [runs[run]], column["target"], column["metric"], promised=promised.get(run), scale=float(column.get("scale", 1))
    )
    ground = not_comparable if isinstance(not_comparable, str) else not_comparable.get(run, "")
    verdict = judge(found.value, found.std, found.n, published, bare.decimals, ground)
    why = verdict.reason or (untranscribed if published is None else "")
    return replace(bare, **found._asdict(), status="measured", verdict=verdict.text, verdict_reason=why)
