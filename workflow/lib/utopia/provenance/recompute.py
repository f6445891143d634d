"""Doing again what is cheap: predictions from checkpoints, metrics from predictions, tables from metrics."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utopia import arrays
from utopia.errors import UtopiaError
from utopia.labels.read import Labels
from utopia.provenance.findings import Finding
from utopia.provenance.ledger import Record
from utopia.provenance.lineage import Graph
from utopia.provenance.replay import replay
from utopia.provenance.staleness import code_change

TRAINING = "workflow/scripts/train_runs.py"
EVALUATIONS = ("workflow/scripts/evaluate_runs.py", "workflow/scripts/evaluate_reference.py")
TABLES = "workflow/scripts/render_table.py"
FIGURES = "workflow/scripts/render_figure.py"
_SUMMARY = "training.json"


class Again:
    """Does jobs again and compares.

    Args:
        graph: the lineage.
        damaged: files that are known not to be what they were.
    """

    def __init__(self, graph: Graph, damaged: set[str]) -> None:
        self._graph, self._damaged = graph, damaged
        self.compared = 0
        """Files that were made again and compared."""
        self.passed_over: list[str] = []
        """Jobs that were not done again, and why."""

    def findings(self) -> Iterator[Finding]:
        """Everything that does not come out as it is stored."""
        records = [record for record in self._graph.ledger.records if self._is_latest(record)]
        for record in records:
            if is_made_by(record, TRAINING):
                yield from self._training(record)
        for record in records:
            if is_made_by(record, *EVALUATIONS, TABLES, FIGURES):
                yield from self._replayed(record)

    def _is_latest(self, record: Record) -> bool:
        return any(self._graph.makers.get(path) is record for path in self._graph.made(record))

    # -- jobs that are cheap enough to be done again

    def _replayed(self, record: Record) -> Iterator[Finding]:
        graph, portable = self._graph, self._graph.ledger.portable
        name = record.outputs[0]["path"]
        if bad := [path for path in graph.entries(record, "inputs") if path in self._damaged]:
            self.passed_over.append(f"{name} was not done again: {bad[0]} is not what it was")
            return
        if changed := code_change(record):
            self.passed_over.append(f"{name} was not done again: its code has changed ({changed})")
            return
        with tempfile.TemporaryDirectory() as folder:
            try:
                # How text and lines are drawn depends on the fonts of the machine; the plotted numbers do not.
                wanted = (".csv",) if is_made_by(record, FIGURES) else ("",)
                made = replay(record, portable, Path(folder), wanted)
            except UtopiaError as error:
                yield Finding("not reproduced", name, f"cannot be done again: {error.what}", tuple(graph.made(record)))
                return
            stored = {path: _bytes_of(portable.read(path)) for path in made}
            pairs = {path: (now, made[path].read_bytes()) for path, now in stored.items() if now is not None}
            self.compared += len(pairs)
            # The csv holds every number of a table: where it differs, the other forms differ in the same cells.
            csvs = [pair for path, pair in pairs.items() if is_made_by(record, TABLES) and path.endswith(".csv")]
            cells = next((differing_cells(*pair) for pair in csvs), None)
            for path, (now, then) in pairs.items():
                if now != then and (path not in self._damaged or (cells and path.endswith(".csv"))):
                    yield Finding("not reproduced", path, _lines(now, then), (path,), cells)

    # -- training: too dear to be done again, but what it stored must agree with itself

    def _training(self, record: Record) -> Iterator[Finding]:
        graph = self._graph
        outputs = record.facts.get("roles", {}).get("outputs", {})
        inputs = record.facts.get("roles", {}).get("inputs", {})
        pairs = zip(outputs.get("predictions", ()), outputs.get("summaries", ()), strict=True)
        for run, (predictions, summary) in zip(record.facts["params"]["runs"], pairs, strict=True):
            if graph.makers.get(summary) is not record or {predictions, summary, inputs["labels"]} & self._damaged:
                continue
            try:
                yield from self._run(run, predictions, summary, inputs["labels"])
            except (UtopiaError, OSError, KeyError, TypeError, ValueError) as error:
                what = error.what if isinstance(error, UtopiaError) else f"{type(error).__name__}: {error}"
                yield Finding("inconsistent", summary, f"cannot be read as what training stores: {what}", (summary,))

    def _run(self, run: Mapping[str, Any], predictions: str, summary: str, labels: str) -> Iterator[Finding]:
        read = self._graph.ledger.portable.read
        facts = json.loads(read(summary).read_bytes())
        stored = arrays.load(read(predictions))
        known = Labels(read(labels))
        if lacking := list(_lacking(run, facts, stored, known)):
            more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            yield Finding("fewer replicas", summary, f"{'; '.join(lacking[:3])}{more}", (summary, predictions))
        folder = summary.removesuffix(_SUMMARY)
        by_place: dict[str, list[Mapping[str, Any]]] = {}
        for replica in facts["replicas"]:
            by_place.setdefault(f"{replica['target']}/{replica['fold']}/{replica['repeat']}", []).append(replica)
        for place, members in by_place.items():
            replicas = [member for member in members if member.get("speaks", True)]
            checkpoints = [f"{folder}{replica['checkpoint']}" for replica in replicas]
            if set(checkpoints) & self._damaged:
                continue
            for path, replica in zip(checkpoints, replicas, strict=True):
                if self._graph.sha256_of(path) != replica["sha256"]:
                    yield Finding("inconsistent", summary, f"names another {path} than its record", (summary,))
            self.compared += 1
            parts = [arrays.load(read(path)).under("predictions") for path in checkpoints]
            # a network that was trained on the validation videos too predicts only what has no labels
            learned = [set(replica["fitted"]) if replica.get("whole") else set() for replica in replicas]
            wrong = sorted(_differing(stored.under(place), parts, learned))
            if wrong:
                what = f"{place}: the predictions of {', '.join(wrong[:3])} are not those of the checkpoint"
                yield Finding("not reproduced", predictions, what, (predictions,))


def _bytes_of(path: Path) -> bytes | None:
    """A file's content; None where it is missing, which hashing has found."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _lacking(run: Mapping[str, Any], facts: Mapping[str, Any], stored: arrays.Arrays, labels: Labels) -> Iterator[str]:
    """Replicas that the run's settings and the labels' folds promise, and that are not there."""
    there = {(each["target"], each["fold"], each["repeat"], each["member"]) for each in facts["replicas"]}
    predicted = {"/".join(name.split("/", 3)[:3]) for name in stored}
    for fold in (fold["name"] for fold in labels.folds if fold["name"] not in facts["dropped_folds"]):
        for target in run["targets"]:
            for repeat in range(int(run["repeats"])):
                for member in range(int(run.get("members", 1))):
                    if (target, fold, repeat, member) not in there:
                        yield f"no replica {target}/{fold}/{repeat}" + (f", member {member}" if member else "")
                if f"{target}/{fold}/{repeat}" not in predicted:
                    yield f"no predictions of {target}/{fold}/{repeat}"


def _differing(
    stored: Mapping[str, np.ndarray], parts: list[dict[str, np.ndarray]], learned: list[set[str]]
) -> Iterator[str]:
    """Items whose stored predictions are not the mean of the members' own, of those that have not learned the item."""
    for item in stored.keys() | {item for part in parts for item in part}:
        speaking = [part for part, own in zip(parts, learned, strict=True) if item not in own]
        if item not in stored or not speaking or not all(item in part for part in speaking):
            yield item
            continue
        members = [part[item] for part in speaking]
        # As training does it (utopia.training.run._mean), which must not be imported here: it brings torch.
        mean = members[0] if len(members) == 1 else np.stack(members).mean(axis=0, dtype=np.float64).astype(np.float32)
        if not np.array_equal(stored[item], mean):
            yield item


def is_made_by(record: Record, *scripts: str) -> bool:
    """Whether a job ran one of these scripts."""
    return any(script in scripts for script in record.facts["code"].get("files", ()))


def differing_cells(now: bytes, then: bytes) -> tuple[str, ...] | None:
    """The cells in which two table files differ; None where they differ elsewhere only."""
    one, other = _by_cell(now), _by_cell(then)
    found = tuple(sorted(cell for cell in one.keys() | other.keys() if one.get(cell) != other.get(cell) and cell))
    return found or None


def _by_cell(text: bytes) -> dict[str, list[dict[str, str | None]]]:
    found: dict[str, list[dict[str, str | None]]] = {}
    for row in csv.DictReader(io.StringIO(text.decode("utf-8", errors="replace"))):
        name = f"{row.get('table')}/{row.get('row')}/{row.get('column')}"
        found.setdefault(name, []).append(dict(row))
    return found


def _lines(now: bytes, then: bytes) -> str:
    """The first line in which two texts differ."""
    a, b = (text.decode("utf-8", errors="replace").splitlines() for text in (now, then))
    number = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    one, other = _at(a, number), _at(b, number)
    return f"line {number + 1} is {_about(one, other)!r}; done again: {_about(other, one)!r}"


def _at(lines: list[str], number: int) -> str:
    return lines[number] if number < len(lines) else ""


def _about(text: str, other: str) -> str:
    """A piece of a long line around where it begins to differ."""
    at = next((i for i, (x, y) in enumerate(zip(text, other, strict=False)) if x != y), min(len(text), len(other)))
    start = max(0, at - 30)
    return ("..." if start else "") + text[start : at + 30] + ("..." if at + 30 < len(text) else "")


def fewer_seeds(graph: Graph, damaged: set[str]) -> Iterator[Finding]:
    """Measured cells whose mean is over fewer seeds than their runs promise."""
    for name, record in graph.tables.items():
        path = f"{graph.root}/tables/{name}.csv"
        promised = record.facts["params"]["settings"].get("repeats")
        if path in damaged or promised is None:
            continue
        text = graph.ledger.portable.read(path).read_bytes()
        for cell, rows in _by_cell(text).items():
            for row in rows:
                trained = ".reference." not in (row.get("runs") or "")  # a reference may need no seed
                if row.get("status") == "measured" and trained and row.get("n") != str(promised):
                    what = f"{cell} is a mean over {row.get('n')} of {promised} repeats"
                    yield Finding("fewer replicas", path, what, (path,), (cell,))
