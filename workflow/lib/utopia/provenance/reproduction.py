"""Comparing what was made again in a scratch folder with what a study has stored."""

from __future__ import annotations

import csv
import math
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utopia import arrays
from utopia.errors import ComputeError, UtopiaError
from utopia.evaluation.summaries import frames, promised
from utopia.files import read_json, sha256
from utopia.provenance import staleness
from utopia.provenance.current import ChangedSetting, differences
from utopia.provenance.findings import in_words
from utopia.provenance.ledger import Record
from utopia.provenance.lineage import CellRuns, Graph
from utopia.provenance.paths import Portable
from utopia.tables.cells import measured, runs_behind
from utopia.tables.columns import rows_by_cell
from utopia.tables.results import Results

IDENTICAL, WITHIN, DIFFERENT = "identical", "within tolerance", "different"
FEATURE_TOLERANCE = 1e-3
"""Relative L2 error of a stored feature that other hardware or another decoder may bring."""
PREDICTION_TOLERANCE = 1e-2
"""Relative L2 error of a prediction that another device, strategy or precision may bring."""
_ROUNDING = 64
"""Units in the last place by which a number may differ that another processor has computed."""


@dataclass(frozen=True)
class Reproduction:
    """Something that was made again."""

    name: str
    """A cell's id, or `feature of item`."""
    then: float | None
    now: float | None
    """Values of a cell; of a feature, `now` is the relative L2 error against what is stored."""
    tolerance: float
    verdict: str
    """`identical` (the same bytes), `within tolerance` or `different`."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def link(source: Path, target: Path) -> None:
    """Give every file below a folder a second name below another one (a copy where the disk is another one).

    A job replaces files and never writes into them, so what it makes leaves the first name's content alone.
    """

    def one(file: str, place: str) -> str:
        try:
            os.link(file, place, follow_symlinks=True)
        except OSError:
            shutil.copy2(file, place)
        return place

    if source.is_dir():
        shutil.copytree(source, target, copy_function=one, dirs_exist_ok=True)


def runs_of(graph: Graph, cells: Iterable[CellRuns]) -> list[str]:
    """The runs behind some cells, in order; those that their differences are taken to are left out."""
    return list(dict.fromkeys(run for cell in cells for run in cell.runs))


def is_stacked(graph: Graph, run: str) -> bool:
    """Whether a run was trained beside the others of its pack in one network: then it repeats with all of them only."""
    path = graph.ledger.portable.read(f"{graph.root}/runs/{run}/training.json")
    return path.is_file() and read_json(path)["strategy"] in ("vectorized", "stacked")  # the second: its old name


def compare_cell(graph: Graph, cell: CellRuns, scratch: Path, tolerance: float | None) -> Reproduction:
    """A cell computed from metrics made again, against its stored value.

    Args:
        graph: the lineage of what is stored.
        cell: which cell.
        scratch: the folder whose results were made again.
        tolerance: how far apart the values may be; by default half a unit of the last decimal that is printed.
    """
    portable = graph.ledger.portable
    names = {run: f"{graph.root}/runs/{run}/metrics.csv" for run in cell.runs}
    then = _value(graph, cell, {run: portable.read(name) for run, name in names.items()})
    now = _value(graph, cell, {run: scratch / name for run, name in names.items()})
    column = _column(graph, cell)
    allowed = 0.5 * 10.0 ** -int(column["decimals"]) if tolerance is None else tolerance
    same = all(sha256(scratch / name) == graph.sha256_of(name) for name in names.values())
    verdict = IDENTICAL if same else WITHIN if abs(now - then) <= allowed else DIFFERENT
    return Reproduction(cell.id, then, now, allowed, verdict)


def _column(graph: Graph, cell: CellRuns) -> Mapping[str, Any]:
    table = graph.tables[cell.table].facts["params"]["settings"]["table"]
    return next(column for column in table["columns"] if column["id"] == cell.column)


def _value(graph: Graph, cell: CellRuns, metrics: Mapping[str, Path]) -> float:
    """A cell's value from metrics, and from what stands beside them of the training."""
    table = graph.tables[cell.table].facts["params"]["settings"]["table"]
    row = next(entry for entry in table["rows"] if entry["id"] == cell.row)
    summaries = [path for run in cell.runs if (path := metrics[run].with_name("training.json")).is_file()]
    results = Results(metrics, {}, "", promised(summaries), frames(summaries))
    made = measured(table, row, _column(graph, cell), results)
    if made is None:
        raise UtopiaError(f"the cell {cell.id} has no value", remedy="ask for a measured cell")
    return made.value


def repeated_predictions(record: Record, portable: Portable, wanted: Collection[str]) -> list[Reproduction]:
    """What the checkpoints of a job's runs predict, against the predictions that stand beside them.

    Args:
        record: of the job that trained them.
        portable: where files are.
        wanted: ids of runs; only these are looked at.
    """
    from utopia.training.run import Task, mode_named
    from utopia.training.settings import parse_run
    from utopia.training.stored import predict_again

    params, roles = record.facts["params"], record.facts["roles"]
    inputs, outputs = roles["inputs"], roles["outputs"]
    distributions = inputs["distributions"] or [None] * len(params["runs"])
    tasks = []
    for run, distribution, predictions in zip(params["runs"], distributions, outputs["predictions"], strict=True):
        place = portable.read(predictions)
        plan = distribution and portable.read(distribution)
        tasks.append(Task(parse_run(run), plan, place.parent, place, place.with_name("training.json")))
    tasks = [task for task in tasks if task.run.id in wanted]
    made = predict_again(
        tasks,
        labels=portable.read(inputs["labels"]),
        features=[portable.read(index) for index in inputs["features"]],
        mode=mode_named(params["mode"] if "mode" in params else params["way"]),  # `way`: its old name
    )
    pairs = zip(tasks, made, strict=True)
    return [_compared_predictions(task.run.id, arrays.load(task.predictions), now) for task, now in pairs]


def _compared_predictions(run: str, then: Mapping[str, np.ndarray], now: Mapping[str, np.ndarray]) -> Reproduction:
    name = f"predictions of {run} from its checkpoints"
    if then.keys() != now.keys():
        return Reproduction(name, None, None, PREDICTION_TOLERANCE, DIFFERENT)
    if all(np.array_equal(then[place], now[place]) for place in now):
        return Reproduction(name, None, 0.0, PREDICTION_TOLERANCE, IDENTICAL)
    error = max(_relative_error(now[place], then[place]) for place in now)
    verdict = WITHIN if error <= PREDICTION_TOLERANCE else DIFFERENT
    return Reproduction(name, None, error if np.isfinite(error) else None, PREDICTION_TOLERANCE, verdict)


def doubts(record: Record, portable: Portable, wanted: Collection[str] | None = None) -> Iterator[str]:
    """What speaks against a table without a look at anything but it and the metrics behind it.

    Its csv, and the files that it was computed from, are hashed; its values are compared with their own replicas.

    Args:
        record: of the job that rendered it.
        portable: where files are.
        wanted: the cells that are asked about; None: all.
    """
    try:
        yield from _doubts(record, portable, wanted)
    except (UtopiaError, LookupError, TypeError, ValueError, AttributeError, OSError, csv.Error) as error:
        # Anybody may have written what is compared here.
        name = record.first_output or record.path
        yield f"{name} cannot be compared with the replicas behind it: {in_words(error)}"


def _doubts(record: Record, portable: Portable, wanted: Collection[str] | None) -> Iterator[str]:
    table = record.facts["params"]["settings"]["table"]
    rows = {row["id"]: row for row in table["rows"]}
    columns = {column["id"]: column for column in table["columns"]}
    asked = [
        (row, column) for row in rows for column in columns if wanted is None or _cell(table, row, column) in wanted
    ]
    runs = {run for row, column in asked for run in runs_behind(table, rows[row], column)}
    roles = record.facts["roles"]
    files = [
        path for path in (*roles["inputs"]["metrics"], *roles["inputs"]["summaries"]) if Path(path).parent.name in runs
    ]
    csv_path = roles["outputs"]["csv"]
    entries = {entry["path"]: entry["sha256"] for entry in (*record.inputs, *record.outputs)}
    changed = [path for path in (csv_path, *files) if _sha256(portable.read(path)) != entries.get(path)]
    yield from (f"{path} is not the file that the record of {csv_path} describes" for path in changed)
    if staleness.code_change(record) or set(changed) & set(files):
        return  # what comes out may differ for another reason, which is said
    summaries = [portable.read(path) for path in files if path.endswith("training.json")]
    metrics = {Path(path).parent.name: portable.read(path) for path in files if path.endswith("metrics.csv")}
    results = Results(metrics, {}, promised=promised(summaries), frames=frames(summaries))
    lines = _lines_of(portable.read(csv_path))
    for row, column in asked:
        cell = _cell(table, row, column)
        line = lines.get(cell)
        if line is None:
            yield f"{cell} is not in {csv_path}"
            continue
        try:
            now = measured(table, rows[row], columns[column], results)
        except ComputeError as error:
            if line.get("status") == "measured":
                yield f"{cell}: {error.what}"
            continue
        if (now is None) != (line.get("status") != "measured"):
            yield f"{cell} is {line.get('status')}, and its runs say otherwise"
        elif now is not None and any(not _same(line.get(name), value) for name, value in now._asdict().items()):
            stated = f"{line.get('value')} ± {line.get('std')} over {line.get('n')} seeds"
            yield f"{cell} is {stated} in the table; its replicas give {now.value} ± {now.std} over {now.n}"


def _cell(table: Mapping[str, Any], row: str, column: str) -> str:
    return f"{table['id']}/{row}/{column}"


def _sha256(path: Path) -> str | None:
    try:
        return sha256(path)
    except OSError:
        return None


def _lines_of(path: Path) -> dict[str, dict[str, str]]:
    try:
        return rows_by_cell(path)
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}


def _same(text: str | None, value: float | None) -> bool:
    """Whether a number in a csv file is a value; a last digit may differ between machines."""
    if not text or value is None:
        return not text and value is None
    try:
        return math.isclose(float(text), value, rel_tol=1e-9, abs_tol=1e-12)
    except ValueError:
        return False


def compare_files(graph: Graph, names: Sequence[str], scratch: Path) -> list[Reproduction]:
    """Manifests, labels and label distributions made again, against the stored ones.

    Args:
        graph: the lineage of what is stored.
        names: files, as records write them.
        scratch: the folder in which they were made again.
    """
    read, start = graph.ledger.portable.read, f"{graph.root}/inputs/"
    manifests = [name for name in names if name.startswith(start)]
    folders = {str(read_json(place)["root"]) for name in manifests for place in (read(name), scratch / name)}
    outcomes = []
    for name in names:
        what = difference(read(name), scratch / name, folders)
        outcomes.append(
            Reproduction(f"{name}: {what}" if what else name, None, None, 0.0, DIFFERENT if what else IDENTICAL)
        )
    return outcomes


def compare_features(graph: Graph, indexes: Iterable[str], scratch: Path) -> list[Reproduction]:
    """Features extracted again, against the stored ones, by item and feature."""
    outcomes = []
    for index in indexes:
        then, now = (
            {
                (item, name): entry
                for item, entries in read_json(path)["items"].items()
                for name, entry in entries.items()
            }
            for path in (graph.ledger.portable.read(index), scratch / index)
        )
        folder = Path(index).parents[1]
        for item, name in sorted(then.keys() | now.keys()):
            stored_entry, made = then.get((item, name), {}), now.get((item, name), {})
            label = f"{name} of {item}"
            if "file" not in stored_entry or "file" not in made:
                verdict = IDENTICAL if ("file" in stored_entry) == ("file" in made) else DIFFERENT
                outcomes.append(Reproduction(label, None, None, 0.0, verdict))
                continue
            if stored_entry["sha256"] == made["sha256"]:
                outcomes.append(Reproduction(label, None, 0.0, FEATURE_TOLERANCE, IDENTICAL))
                continue
            stored = arrays.load(graph.ledger.portable.read(f"{folder}/{stored_entry['file']}"))["features"]
            error = _relative_error(arrays.load(scratch / folder / made["file"])["features"], stored)
            verdict = WITHIN if error <= FEATURE_TOLERANCE else DIFFERENT
            outcomes.append(
                Reproduction(label, None, error if np.isfinite(error) else None, FEATURE_TOLERANCE, verdict)
            )
    return outcomes


def difference(stored: Path, made: Path, folders: Iterable[str] = (), *, exact: bool = True) -> str:
    """How a file that was made again (JSON or arrays) differs from what is stored; empty where it does not.

    Args:
        stored: the file of the study.
        made: the file made again.
        folders: names of one folder, on the machine where the file was made and here, which count as equal.
        exact: whether numbers must be the same to the bit; else the last digits of arrays may differ.
    """
    if stored.suffix == ".json":
        then, now = (_without(read_json(path), folders) for path in (stored, made))
        return _first(differences(then, now))
    then, now = arrays.load(stored), arrays.load(made)
    if what := _first(differences(_without(then.meta, folders), _without(now.meta, folders))):
        return what
    if names := sorted(set(then) ^ set(now)):
        return f"{names[0]} is in one of them only"
    return next((f"{name} differs" for name in then if not _equal(then[name], now[name], exact)), "")


def _without(value: Any, folders: Iterable[str]) -> Any:
    """A JSON value in which a folder has one name only."""
    if isinstance(value, str):
        for folder in sorted(folders, key=len, reverse=True):
            value = value.replace(folder, "<folder>")
        return value
    if isinstance(value, Mapping):
        return {name: _without(item, folders) for name, item in value.items()}
    return [_without(item, folders) for item in value] if isinstance(value, list) else value


def _first(changes: Iterator[ChangedSetting]) -> str:
    change = next(changes, None)
    return "" if change is None else f"{change} when it is done again"


def _equal(then: np.ndarray, now: np.ndarray, exact: bool) -> bool:
    if then.shape != now.shape or then.dtype != now.dtype:
        return False
    if exact or then.dtype.kind != "f":
        return np.array_equal(then, now, equal_nan=then.dtype.kind == "f")
    near = _ROUNDING * float(np.finfo(then.dtype).eps)
    return np.allclose(then, now, rtol=near, atol=near, equal_nan=True)


def _relative_error(now: np.ndarray, then: np.ndarray) -> float:
    if now.shape != then.shape:
        return float("inf")
    then, now = then.astype(np.float64), now.astype(np.float64)
    return float(np.linalg.norm(now - then) / max(float(np.linalg.norm(then)), 1e-12))
