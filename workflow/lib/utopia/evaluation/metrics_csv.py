"""The file `metrics.csv`: one metric of one replica, or of one item of a replica, per row."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from utopia.errors import InputError
from utopia.files import kept_until_changed, write_text


@dataclass(frozen=True, order=True)
class MetricRow:
    """A metric's value. An empty `item` says that it is the replica's own. `repeat` counts from 0."""

    target: str
    fold: str
    repeat: str
    item: str
    metric: str
    value: float


COLUMNS = tuple(field.name for field in fields(MetricRow))
_OLD_COLUMNS = tuple("seed" if name == "repeat" else name for name in COLUMNS)
"""Those of studies made before the number of a repeat had its name; the values mean the same."""


def hole(target: str, metric: str, reason: str) -> MetricRow:
    """A row that declares that a metric is not available, and why: no repeat, no number, the reason for an item."""
    return MetricRow(target, "", "", reason, metric, math.nan)


def is_hole(row: MetricRow) -> bool:
    """Whether a row declares that its metric is not available."""
    return not row.repeat and bool(row.item) and math.isnan(row.value)


def write(path: str | Path, rows: Iterable[MetricRow]) -> None:
    """Write rows, in the order given, atomically; values keep every digit (repr of float64)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([*astuple(row)[:-1], repr(row.value)] for row in rows)
    write_text(path, text.getvalue())


def read(path: str | Path) -> list[MetricRow]:
    """Read a metrics file, also one of a study made before its column `repeat` had this name.

    Raises:
        InputError: it is missing, has other columns, or a value is not a number (with the line).
    """
    return list(_read(Path(path)))


def select(path: str | Path, target: str, *names: str) -> list[MetricRow]:
    """The rows of some metrics of a target; files are parsed once, because tables ask for one cell after another.

    Raises:
        InputError: see `read`.
    """
    index = _index(Path(path))
    return [row for name in dict.fromkeys(names) for row in index.get((target, name), ())]


@kept_until_changed(64)
def _index(path: Path) -> dict[tuple[str, str], list[MetricRow]]:
    by_metric: dict[tuple[str, str], list[MetricRow]] = {}
    for row in _read(path):
        by_metric.setdefault((row.target, row.metric), []).append(row)
    return by_metric


@kept_until_changed(64)
def _read(path: Path) -> tuple[MetricRow, ...]:
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the metrics ({error})", where=path) from error
    if not lines or tuple(lines[0]) not in (COLUMNS, _OLD_COLUMNS):
        raise InputError(
            f"not a metrics file: its columns are not {','.join(COLUMNS)}",
            where=path,
            remedy="delete it and run the same command again: it will be regenerated",
        )
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            *key, value = line
            target, fold, repeat, item, metric = key
            rows.append(MetricRow(target, fold, repeat, item, metric, float(value)))
        except ValueError as error:
            raise InputError(f"not a metric: {','.join(line)!r}", where=f"{path}:{number}") from error
    return tuple(rows)
