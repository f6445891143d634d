"""The rows of one video of an EEV file: times and expressions, parsed by NumPy eight digits at a time.

A decimal of at most 15 digits is an integer below 2**53 divided by a power of ten below 10**22, which is correctly
rounded: the values are those of Python's `float`, and so are all that are written otherwise, which it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from utopia.datasets._eev_index import Columns, RowRange, fields_of
from utopia.errors import InputError, counted

_PAD = 16
_ZEROS = np.uint64(0x3030303030303030)
_CARRY = np.uint64(0x0606060606060606)
_HIGH = np.uint64(0xF0F0F0F0F0F0F0F0)
_PAIRS = np.uint64(0x000000FF000000FF)
_BELOW = np.array([(1 << 8 * (8 - digits)) - 1 for digits in range(9)], dtype=np.uint64)
"""What lies before the last 0 to 8 bytes of a word."""
_EXACT = 1 << 53
_REMEDY = "get the file again; do not fill the hole by hand"
_TENS = 10 ** np.arange(16)


class Rows(NamedTuple):
    """Rows of a video.

    times: [T] int64 microseconds. values: [T, C] float64, NaN where a field is empty or no number.
    lines: [T] int64, the line of each row in the file.
    """

    times: np.ndarray
    values: np.ndarray
    lines: np.ndarray


def read_rows(path: Path, runs: Sequence[RowRange], columns: Columns, wanted: Sequence[int]) -> Rows:
    """Read the rows of a video.

    Args:
        runs: where they are.
        wanted: the columns of `values`; others are not looked at.

    Raises:
        InputError: a line has too few or too many fields, or a time is no whole number; naming the line.
    """
    parts = []
    try:
        with path.open("rb") as file:
            for run in runs:
                file.seek(run.start)
                text = file.read(run.end - run.start)
                parts.append(_parsed(text, run, columns, wanted) or line_by_line(path, text, run, columns, wanted))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path, remedy="make it readable") from error
    if len(parts) == 1:
        return parts[0]
    return Rows(*(np.concatenate(pieces) for pieces in zip(*parts, strict=True)))


def _parsed(text: bytes, run: RowRange, columns: Columns, wanted: Sequence[int]) -> Rows | None:
    """All rows at once; None where some line needs to be looked at by itself."""
    whole = text if text.endswith(b"\n") else text + b"\n"
    padded = bytes(_PAD) + whole + bytes(_PAD)
    data = np.frombuffer(padded, dtype=np.uint8)
    body = data[_PAD : _PAD + len(whole)]
    ends = np.flatnonzero((body == 44) | (body == 10)) + _PAD
    shape = (run.rows, columns.width)
    if len(ends) != run.rows * columns.width or b'"' in whole:
        return None
    stops = ends.reshape(shape)
    starts = np.concatenate([[_PAD], ends[:-1] + 1]).reshape(shape)
    breaks = data[stops] == 10
    if breaks[:, :-1].any() or not breaks[:, -1].all():
        return None
    if data[stops[0, -1] - 1] == 13:
        stops = stops.copy()
        stops[:, -1] -= data[stops[:, -1] - 1] == 13
    words = np.ndarray(len(padded) - 7, dtype="<u8", buffer=padded, strides=(1,))
    times = _whole(words, starts[:, columns.time], stops[:, columns.time])
    if times is None:
        return None
    values = _decimals(data, words, padded, starts[:, wanted].ravel(), stops[:, wanted].ravel())
    return Rows(times, values.reshape(run.rows, len(wanted)), run.line + np.arange(run.rows))


def _eight(words: np.ndarray, stops: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number that the last 0 to 8 `digits` before `stops` write, and whether all are digits; [n] uint64, bool."""
    below = _BELOW[digits]
    word = (words[stops - 8] & ~below) | (_ZEROS & below)
    value = word ^ _ZEROS
    proper = ((value | (value + _CARRY)) & _HIGH) == 0
    value = value * np.uint64(10) + (value >> np.uint64(8))
    value = (
        (value & _PAIRS) * np.uint64(0x000F424000000064)
        + ((value >> np.uint64(16)) & _PAIRS) * np.uint64(0x0000271000000001)
    ) >> np.uint64(32)
    return value, proper


def _digits(words: np.ndarray, stops: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number that the last 1 to 16 digits before `stops` write, [n] int64, and whether all are digits."""
    value, proper = _eight(words, stops, np.minimum(count, 8))
    long = np.flatnonzero(count > 8)
    if long.size:
        upper, also = _eight(words, stops[long] - 8, count[long] - 8)
        value[long] += upper * np.uint64(10**8)
        proper[long] &= also
    return value.astype(np.int64), proper


def _whole(words: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray | None:
    """Whole numbers of 1 to 16 digits, [n] int64; None if some field is none."""
    length = stops - starts
    if int(length.min()) < 1 or int(length.max()) > 16:
        return None
    value, proper = _digits(words, stops, length)
    return value if proper.all() else None


def _decimals(data: np.ndarray, words: np.ndarray, text: bytes, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Numbers as Python's `float` reads them, [n] float64."""
    length = stops - starts
    fraction = np.maximum(length - 2, 0)
    first = data[starts] - np.uint8(48)
    simple = (fraction >= 1) & (fraction <= 15) & (data[starts + 1] == 46) & (first <= 9)
    kept = np.minimum(np.maximum(fraction, 1), 15)
    mantissa, proper = _digits(words, stops, kept)
    tens = _TENS[kept]
    mantissa += first * tens
    simple &= proper & (mantissa < _EXACT)
    values = mantissa / tens
    for at in np.flatnonzero(~simple).tolist():
        values[at] = number_in(text[starts[at] : stops[at]])
    return values


def number_in(field: bytes) -> float:
    """A number as Python reads it; NaN for anything else."""
    try:
        return float("nan") if b"_" in field else float(field)
    except ValueError:
        return float("nan")


def line_by_line(path: Path, text: bytes, run: RowRange, columns: Columns, wanted: Sequence[int]) -> Rows:
    """The rows of a run, slowly: where a line is unusual, this says which, and what is wrong with it.

    Raises:
        InputError: a line has another number of columns, or one that is no number.
    """
    times, values, lines = [], [], []
    for line, raw in enumerate(text.split(b"\n"), start=run.line):
        content = raw.rstrip(b"\r")
        if not content.strip():
            continue
        where = f"{path}:{line}"
        fields = fields_of(content)
        if len(fields) != columns.width:
            raise InputError(
                f"the line has {counted(len(fields), 'field')} instead of {columns.width}",
                where=where,
                why="the file is cut or damaged there",
                remedy=_REMEDY,
            )
        if not any(field.strip() for column, field in enumerate(fields) if column != columns.id):
            continue  # lists the video, and says nothing of it
        times.append(_time(fields[columns.time], where))
        values.append([number_in(fields[column]) for column in wanted])
        lines.append(line)
    return Rows(
        np.array(times, dtype=np.int64),
        np.array(values, dtype=np.float64).reshape(len(times), len(wanted)),
        np.array(lines, dtype=np.int64),
    )


def _time(field: bytes, where: str) -> int:
    text = field.strip()
    number = number_in(text)
    if number != number or not float(number).is_integer() or abs(number) >= _EXACT:
        raise InputError(
            f"the time {text[:40].decode('utf-8', errors='replace')!r} is not a whole number of microseconds",
            where=where,
            why="the row belongs to no moment",
            remedy=_REMEDY,
        )
    return int(number)
