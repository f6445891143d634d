"""The file `metrics.csv`: one metric of one replica, or of one item of a replica, per row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from utopia.errors import InputError
from utopia.files import write_text


@dataclass(frozen=True, order=True)
class Row:
    """A metric's value. An empty `item` says that it is the replica's own."""

    target: str
    fold: str
    seed: str
    item: str
    metric: str
    value: float


COLUMNS = tuple(field.name for field in fields(Row))


def write(path: str | Path, rows: Iterable[Row]) -> None:
    """Write rows, in the order given, atomically; values keep every digit (repr of float64)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([*astuple(row)[:-1], repr(row.value)] for row in rows)
    write_text(path, text.getvalue())


def read(path: str | Path) -> list[Row]:
    """Read a metrics file.

    Raises:
        InputError: it is missing, has other columns, or a value is not a number (with the line).
    """
    try:
        lines = list(csv.reader(io.StringIO(Path(path).read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the metrics ({error})", where=path) from error
    if not lines or tuple(lines[0]) != COLUMNS:
        raise InputError(
            f"not a metrics file: its columns are not {','.join(COLUMNS)}",
            where=path,
            remedy="delete it and run the same command again: it will be made anew",
        )
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            *key, value = line
            target, fold, seed, item, metric = key
            rows.append(Row(target, fold, seed, item, metric, float(value)))
        except ValueError as error:
            raise InputError(f"not a metric: {','.join(line)!r}", where=f"{path}:{number}") from error
    return rows
