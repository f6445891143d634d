"""What the EEV challenge takes: a CSV file with fifteen reactions for every row of test.csv, in its order."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utopia import arrays
from utopia.config import registry
from utopia.datasets._eev_index import EXPRESSIONS, NO_ID, Columns, Index, RowRange, build, index_of, read_columns
from utopia.datasets._eev_rows import read_rows
from utopia.errors import ComputeError, InputError
from utopia.evaluation.predictions import replicas_of
from utopia.evaluation.summaries import untrained
from utopia.files import atomic, read_json, write_json
from utopia.labels.read import Labels

WIDTH = 2 + len(EXPRESSIONS)
DECIMALS = 8
"""Of every number: what float32 holds near 1, in characters that are always as many."""
_ROW = ",".join(["%s,%d", *[f"%.{DECIMALS}f"] * len(EXPRESSIONS)]) + "\n"
_SECOND = 1_000_000
_NAMED = 20
"""Most videos that the log names; the report names all."""
_AGAIN = "delete the run's predictions and the labels file, and run the same command again: they will be regenerated"
_FETCH_AGAIN = "get test.csv again; do not correct it by hand"


@dataclass
class _Count:
    """What was written, and what stands for what is not there."""

    rows: int = 0
    predicted: int = 0
    filled: dict[str, int] = field(default_factory=dict)
    """Rows of zeros by video."""
    without_rows: list[str] = field(default_factory=list)
    """Videos that test.csv lists without a time."""


class Predictions:
    """The predictions of the test videos of a run: the mean over all its replicas, and what the labels file knows.

    Raises:
        InputError: the labels do not name the fifteen reactions, or replicas differ in the test videos they predict.
    """

    def __init__(self, predictions: Path, labels: Path) -> None:
        self._stored, self._labels = arrays.load(predictions), Labels(labels)
        (self.target,) = self._labels.targets
        columns = self._labels.columns.get(self.target, [])
        if sorted(columns) != sorted(EXPRESSIONS):
            raise InputError(f"the labels are not EEV's fifteen reactions: {', '.join(columns)}", where=labels)
        self._order = [columns.index(name) for name in EXPRESSIONS]
        self._unlabelled = set(self._labels.unlabelled)
        by_replica = {
            replica: self._unlabelled.intersection(items) for replica, items in replicas_of(self._stored).items()
        }
        self.replicas = sorted(by_replica)
        """(target, fold, repeat) of what is averaged; each is itself the mean of an ensemble where there is one."""
        self.videos = set.union(*by_replica.values()) if by_replica else set()
        """The test videos with predictions."""
        for replica, items in by_replica.items():
            if items != self.videos:
                raise InputError(
                    f"{'/'.join(replica)} does not predict {', '.join(sorted(self.videos - items)[:5])}",
                    where=predictions,
                    why="a mean over fewer networks would pass for one over all",
                    remedy=_AGAIN,
                )

    def of(self, video: str) -> NDArray[np.float64]:
        """The mean over replicas [T, 15], in official order of the reactions, float64."""
        parts = [self._stored["/".join((*replica, video))] for replica in self.replicas]
        return np.mean(np.array(parts, np.float64), axis=0)[:, self._order]

    def times(self, video: str) -> NDArray[np.int64]:
        """The times [T] of a video's predictions, in microseconds."""
        return np.rint(self._labels.times(video) * _SECOND).astype(np.int64)


def write_submission(
    *,
    dataset: str,
    folder: Path,
    options: Mapping[str, Any],
    manifest: Path,
    labels: Path,
    predictions: Path,
    summary: Path,
    output: Path,
    report: Path,
) -> Path:
    """Write the submission of a run, in memory that does not grow with it but by its longest video, and check it.

    Every row of test.csv has one row, in the same order and with the same time. A video without predictions (it could
    not be obtained, or has no features) has zeros, as the challenge took them; the report says why. Where the run has
    several repeats, their predictions are averaged: the file is that of all networks of the run together.

    Args:
        dataset: a file of `datasets/`, of the protocol `reactions`.
        folder: the data set's folder.
        options: the data set's `Config`, as a mapping.
        manifest: the manifest; it says why a video is not there.
        labels: the labels file; it has the times of the test videos.
        predictions: the run's predictions.
        summary: the run's training.json; it says which videos could not be used.
        output: the CSV file.
        report: a JSON file with what was written, averaged and filled.

    Returns:
        test.csv, which was read.

    Raises:
        InputError: there is no test.csv, it is damaged, or predictions do not fit its rows.
        ComputeError: what was written is not what test.csv asks for; nothing is then stored.
    """
    module = registry.load("datasets", dataset)
    located = module.locate(Path(folder), module.Config.model_validate(dict(options)))
    if not (tables := located.files.get("unlabelled")):
        raise InputError(located.missing.get("unlabelled", "there is no test.csv"), where=folder)
    table, known = tables[0], Predictions(Path(predictions), Path(labels))
    with atomic(output) as temporary:
        count = _write(temporary, table, known)
        check_submission(temporary, table, set(count.filled))
    trained = read_json(summary)
    why = _reasons(read_json(manifest), trained["left_out"])
    otherwise = untrained([summary]).get(trained["run"], "there are no predictions of it")
    filled = {
        video: {"rows": rows, "reason": _portable(why.get(video) or otherwise, Path(folder))}
        for video, rows in count.filled.items()
    }
    content = {
        "run": trained["run"],
        "table": table.name,
        "rows": count.rows,
        "predicted": count.predicted,
        "filled": filled,
        "without_rows": count.without_rows,
        "averaged": ["/".join(replica) for replica in known.replicas],
        "networks": sum(bool(each.get("averaged", True)) for each in trained["replicas"]),
        "decimals": DECIMALS,
    }
    write_json(report, content)
    print(_line(content), flush=True)
    return table


def check_submission(path: Path, table: Path, zero: set[str] | None = None) -> int:
    """Read a submission again and compare it with test.csv row by row, in memory that does not grow with them.

    Args:
        path: the submission.
        table: test.csv.
        zero: videos whose rows must be 0 throughout; None: nothing is known of these.

    Returns:
        How many rows it has.

    Raises:
        ComputeError: rows are missing or too many, are in another order, have another video or time, or numbers are
            missing, not finite or outside [0, 1]; with the line.
    """
    made = build(path)
    if made.columns != Columns(0, 1, tuple(range(2, WIDTH)), WIDTH):
        raise _wrong(path, 1, f"its columns are not an id, a time, {', '.join(EXPRESSIONS)}")
    rows = 0
    for written_run, asked in _pairs(path, _in_order(made), table):
        if written_run is None or asked is None:
            raise _wrong(
                path, rows + 2, "it has fewer rows than test.csv" if written_run is None else "it has rows too many"
            )
        (video, run), (other, time_T) = written_run, asked
        if video != other:
            raise _wrong(path, run.line, f"it has rows of {video} where test.csv has {other}")
        written = read_rows(path, [run], made.columns, made.columns.expressions)
        if len(written.times) != len(time_T) or (written.times != time_T).any():
            raise _wrong(path, run.line, f"the times of {video} are not those of test.csv")
        good = np.isfinite(written.values) & (written.values >= 0) & (written.values <= 1)
        if not good.all():
            line = int(written.lines[np.flatnonzero(~good.all(axis=1))[0]])
            raise _wrong(path, line, f"a number of {video} is missing or outside [0, 1]")
        if zero is not None and video in zero and written.values.any():
            raise _wrong(path, run.line, f"{video} was not predicted, and is not 0 throughout")
        rows += len(time_T)
    return rows


def _pairs(path: Path, written_runs: list[tuple[str, RowRange]], table: Path) -> Iterator[tuple[Any, Any]]:
    """Runs of rows of the submission beside those of test.csv that have rows; None where one of them has ended."""
    asked = ((video, times) for video, times in _asked(table) if len(times))
    joined = _joined(asked)
    for entry in written_runs:
        yield entry, next(joined, None)
    if (left := next(joined, None)) is not None:
        yield None, left


def _joined(asked: Iterator[tuple[str, NDArray[np.int64]]]) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Neighbours of one video as one: between them stood only a video without rows."""
    last: tuple[str, NDArray[np.int64]] | None = None
    for video, times in asked:
        if last is not None and last[0] == video:
            last = video, np.concatenate([last[1], times])
            continue
        if last is not None:
            yield last
        last = video, times
    if last is not None:
        yield last


def _in_order(index: Index) -> list[tuple[str, RowRange]]:
    """Every run of rows in the file's order, with its video."""
    row_ranges = [(video, run) for video, runs in index.videos.items() for run in runs]
    return sorted(row_ranges, key=lambda entry: entry[1].start)


def _asked(table: Path) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """The videos of test.csv in its order, as often as they are in it, with the times [T] of their rows."""
    index = index_of(table)
    for video, run in _in_order(index):
        if video == NO_ID:
            raise InputError("a row names no video", where=f"{table}:{run.line}", remedy=_FETCH_AGAIN)
        yield video, read_rows(table, [run], index.columns, ()).times


def _write(path: Path, table: Path, known: Predictions) -> _Count:
    """Write all rows of test.csv; a video whose rows are in several places goes on where it stopped."""
    count, done = _Count(), dict[str, int]()
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(_header(table))
        for video, time_T in _asked(table):
            if not len(time_T):
                count.without_rows.append(video)
                continue
            values_TC = np.zeros((len(time_T), len(EXPRESSIONS)))
            if video in known.videos:
                start = done.get(video, 0)
                done[video] = end = start + len(time_T)
                if not np.array_equal(known.times(video)[start:end], time_T):
                    raise _misfit(table, video)
                values_TC = known.of(video)[start:end]
            else:
                count.filled[video] = count.filled.get(video, 0) + len(time_T)
            name = _field(video)
            rows = zip(time_T.tolist(), values_TC.tolist(), strict=True)
            file.writelines(_ROW % (name, time, *values) for time, values in rows)
            count.rows += len(time_T)
    for video in sorted(known.videos):
        if done.get(video, 0) != len(known.times(video)):
            raise _misfit(table, video)
    count.predicted = len(known.videos)
    return count


def _header(table: Path) -> str:
    """The names of the columns: those that test.csv gives video and time, and the reactions in official order."""
    columns = read_columns(table)
    with table.open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file))
    return ",".join([*(_field(names[at].strip()) for at in (columns.id, columns.time)), *EXPRESSIONS]) + "\n"


def _misfit(table: Path, video: str) -> InputError:
    return InputError(
        f"the predictions of {video} do not stand at the times that {table.name} lists",
        where=table,
        why="they would be compared with labels of other moments than they were made for",
        remedy=_AGAIN,
    )


def _field(text: str) -> str:
    """A text as a field of a CSV file."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([text])
    return line.getvalue()


def _reasons(manifest: Mapping[str, Any], left_out: Mapping[str, str]) -> dict[str, str]:
    """Why videos have no predictions: what the manifest says, else what training says."""
    said = {entry["id"]: entry["reason"] or entry["video_reason"] for entry in manifest["items"]}
    return {**left_out, **{video: reason for video, reason in said.items() if reason}}


def _portable(reason: str, folder: Path) -> str:
    """A reason that does not tell where the data lie, so that the report is the same wherever they do."""
    return reason.replace(f"{folder}/", "").replace(str(folder), folder.name)


def _line(content: Mapping[str, Any]) -> str:
    several = len(content["averaged"])
    return (
        f"{content['run']}: {content['rows']} rows of {content['predicted']} predicted videos"
        + (f", mean of {several} seeds ({content['networks']} networks)" if several > 1 else "")
        + f", and of {len(content['filled'])} videos filled with 0"
        + "".join(f"\n    {video}: {entry['reason']}" for video, entry in list(content["filled"].items())[:_NAMED])
        + (f"\n    and {more} more" if (more := len(content["filled"]) - _NAMED) > 0 else "")
    )


def _wrong(path: Path, line: int, what: str) -> ComputeError:
    return ComputeError(
        f"the submission is not what test.csv asks for: {what}",
        where=f"{path}:{line}",
        why="the challenge compares row by row",
        remedy="run the same command again; if it stays so, test.csv changed while it was read, or this is a defect",
    )
