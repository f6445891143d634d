"""Doing again what is cheap: manifests and labels from raw files, label distributions from labels, metrics from
predictions, tables and figures from metrics, the page from all of them.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from utopia import arrays, seeds
from utopia.errors import UtopiaError, counted
from utopia.evaluation import predictions as predictions_file
from utopia.figures.data import marked
from utopia.files import hashed, read_json, sha256
from utopia.labels.read import Labels
from utopia.provenance.environment import other_machine
from utopia.provenance.findings import Finding, in_words
from utopia.provenance.job import SUFFIX
from utopia.provenance.ledger import Record
from utopia.provenance.lineage import Graph
from utopia.provenance.paths import UnknownRootError
from utopia.provenance.replay import here, replay
from utopia.provenance.reproduction import difference
from utopia.provenance.staleness import code_change, stale

TRAINING = "workflow/scripts/train_runs.py"
FROM_RAW = tuple(f"workflow/scripts/{name}.py" for name in ("list_inputs", "build_labels", "import_features"))
EVALUATIONS = ("workflow/scripts/evaluate_runs.py", "workflow/scripts/evaluate_reference.py")
DERIVED = (
    "workflow/scripts/choose_annotators.py",
    "workflow/scripts/approximate_distribution.py",
    *EVALUATIONS,
    "workflow/scripts/write_submission.py",
    "workflow/scripts/report_coverage.py",
)
TABLES = "workflow/scripts/render_table.py"
FIGURES = "workflow/scripts/render_figure.py"
PAGE = "workflow/scripts/render_page.py"
_SUMMARY = "training.json"


class Recomputation:
    """Does jobs again and compares.

    Args:
        graph: the lineage.
        damaged: files that are known not to be what they were, or that are not at hand.
        known: absolute path -> SHA-256 of files that were hashed just now.
        trusted: whether the records may name folders to be read, as those of a study of one's own may, and the page
            may be rendered again from all records.
        pictures: whether figures are drawn again, which takes a second each; else only their numbers are computed.
    """

    def __init__(
        self,
        graph: Graph,
        damaged: set[str],
        *,
        known: Mapping[str, str] | None = None,
        trusted: bool = True,
        pictures: bool = True,
    ) -> None:
        self._graph, self._damaged, self._known = graph, damaged, known or {}
        self._trusted, self._pictures = trusted, pictures
        self.compared = 0
        """Files that were made again and compared."""
        self.passed_over: list[str] = []
        """Jobs that were not done again, and why."""

    def findings(self) -> Iterator[Finding]:
        """Everything that does not come out as it is stored."""
        records = [record for record in self._graph.ledger.records if self._is_latest(record)]
        cheap = (*(FROM_RAW if self._trusted else ()), *DERIVED, TABLES, FIGURES)
        for record in records:
            if is_made_by(record, TRAINING):
                yield from self._guarded(record, self._training)
        with hashed(self._known):
            for record in records:
                if is_made_by(record, *cheap):
                    yield from self._guarded(record, self._replayed)
                elif is_made_by(record, PAGE) and self._trusted:
                    yield from self._guarded(record, self._page)

    def _guarded(self, record: Record, do: Callable[[Record], Iterator[Finding]]) -> Iterator[Finding]:
        """What doing a job again finds. All that it reads may be forged: whatever that raises is a finding too."""
        try:
            yield from do(record)
        except Exception as error:
            what = f"cannot be done again: {in_words(error)}"
            yield Finding("not reproduced", record.first_output, what, tuple(self._graph.made(record)))

    def _is_latest(self, record: Record) -> bool:
        return bool(self._graph.latest(record))

    # -- jobs that are cheap enough to be done again

    def _page(self, record: Record) -> Iterator[Finding]:
        """The page, unless it would say of other jobs today that they are no longer up to date."""
        ledger = self._graph.ledger
        read = {path for path in self._graph.entries(record, "inputs") if path.endswith(SUFFIX)}
        others = {ledger.portable.write(other.path) for other in ledger.records if other.rule != record.rule}
        if read != others:
            number = len(read ^ others)
            self._pass_over(
                record.first_output,
                f"{counted(number, 'record was', 'records were')} written or removed after it was made",
            )
        elif any(stale(ledger)):
            self._pass_over(record.first_output, "jobs that it shows are no longer up to date")
        else:
            yield from self._replayed(record)

    def _pass_over(self, name: str, why: str) -> None:
        self.passed_over.append(f"{name} was not done again: {why}")

    def _replayed(self, record: Record) -> Iterator[Finding]:
        graph, portable = self._graph, self._graph.ledger.portable
        name = record.first_output
        if not any(portable.read(path).exists() for path in graph.made(record)):
            return  # it is not at hand, or lost, which hashing has found
        if bad := [path for path in self._reads(record) if path in self._damaged]:
            self._pass_over(name, f"{bad[0]} is not what it was")
            return
        if changed := code_change(record):
            self._pass_over(name, f"its code has changed ({changed})")
            return
        with tempfile.TemporaryDirectory() as folder:
            if sum(entry["bytes"] or 0 for entry in record.outputs) > shutil.disk_usage(folder).free // 2:
                self._pass_over(name, "the disk for temporary files has no room for it")
                return
            try:
                # How text and lines are drawn depends on versions and machines; which numbers they show does not.
                drawn = self._pictures and not other_machine(record.facts)
                suffixes = ("",) if drawn or not is_made_by(record, FIGURES) else (".csv",)
                made = replay(record, portable, Path(folder), suffixes)
            except UtopiaError as error:
                what = f"cannot be done again: {error.what}{self._of(error.where, folder)}"
                yield Finding("not reproduced", name, what, tuple(graph.made(record)))
                return
            except UnknownRootError as error:
                self._pass_over(name, f"the folder {error.args[0]!r} is not known")
                return
            yield from self._compared(record, made)

    def _reads(self, record: Record) -> Iterator[str]:
        """What a job reads; of one that opens a data set's folder also the files that its manifest was made from."""
        for path in self._graph.entries(record, "inputs"):
            yield path
            if "folder" in record.facts["params"] and (maker := self._graph.makers.get(path)):
                yield from self._graph.entries(maker, "inputs")

    def _of(self, where: object, folder: str) -> str:
        """The file that made a job fail, as records write it, in parentheses; empty where it is not one of the study.

        Args:
            where: what the error names, perhaps with the number of a line.
            folder: where the job was done again.
        """
        if not where or str(where).startswith(folder):
            return ""
        return f" ({self._graph.ledger.portable.write(str(where))})"

    def _compared(self, record: Record, made: Mapping[str, Path]) -> Iterator[Finding]:
        """What a job has made again, against what is stored."""
        read = self._graph.ledger.portable.read
        stored = {path: _bytes_of(read(path)) for path in made}
        pairs = {path: (now, made[path].read_bytes()) for path, now in stored.items() if now is not None}
        self.compared += len(pairs)
        # The csv holds every number of a table: where it differs, the other forms differ in the same cells.
        csvs = [pair for path, pair in pairs.items() if is_made_by(record, TABLES) and path.endswith(".csv")]
        cells = next((differing_cells(*pair) for pair in csvs), None)
        marks = list(self._marks(record, made)) if is_made_by(record, FIGURES) else []
        yield from marks
        for path, (now, then) in pairs.items():
            if (
                now == then
                or any(path == finding.where for finding in marks)
                or (path in self._damaged and not (cells and path.endswith(".csv")))
            ):
                continue
            if what := self._difference(record, path, now, then, made[path]):
                yield Finding("not reproduced", path, what, (path,), cells)

    def _marks(self, record: Record, made: Mapping[str, Path]) -> Iterator[Finding]:
        """Pictures that do not say that they show the numbers that come out again."""
        numbers = next(sha256(file) for path, file in made.items() if path.endswith(".csv"))
        for path in self._graph.made(record):
            picture = _bytes_of(self._graph.ledger.portable.read(path)) if path.endswith((".pdf", ".png")) else None
            if picture is not None and path not in self._damaged and marked(picture) != numbers:
                yield Finding("not reproduced", path, "it does not show the numbers that come out again", (path,))

    def _difference(self, record: Record, path: str, now: bytes, then: bytes, made: Path) -> str:
        """How a stored file differs from what comes out again; empty where the difference means nothing."""
        if path.endswith((".pdf", ".png")):
            return "another picture than the one that is drawn again"
        if path.endswith((".json", ".safetensors")):
            stored = self._graph.ledger.portable.read(path)
            return difference(stored, made, self._folders(record), exact=not other_machine(record.facts))
        return _lines(now, then)

    def _folders(self, record: Record) -> set[str]:
        """The data set's folder as its manifest names it, and as it is called here: what of a file may differ."""
        portable, folder = self._graph.ledger.portable, record.facts["params"].get("folder")
        if not folder or "dataset" not in record.wildcards:
            return set()
        manifest = f"{self._graph.root}/inputs/{record.wildcards['dataset']}.json"
        return {str(read_json(portable.read(manifest))["root"]), here(portable, folder)}

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
            except (UtopiaError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
                what = f"cannot be read as what training stores: {in_words(error)}"
                yield Finding("inconsistent", summary, what, (summary, predictions))

    def _run(self, run: Mapping[str, Any], predictions: str, summary: str, labels: str) -> Iterator[Finding]:
        read = self._graph.ledger.portable.read
        facts = json.loads(read(summary).read_bytes())
        stored = arrays.load(read(predictions))
        known, folder = Labels(read(labels)), summary.removesuffix(_SUMMARY)
        for what in (
            *_contradictions(run, facts, predictions_file.metadata(stored)),
            *self._of_checkpoints(facts, folder),
        ):
            yield Finding("inconsistent", summary, what, (summary, predictions))
        if lacking := list(_lacking(run, facts, stored, known)):
            more = f" and {len(lacking) - 3} more" if len(lacking) > 3 else ""
            yield Finding("fewer replicas", summary, f"{'; '.join(lacking[:3])}{more}", (summary, predictions))
        by_place: dict[str, list[Mapping[str, Any]]] = {}
        for replica in facts["replicas"]:
            by_place.setdefault(f"{replica['target']}/{replica['fold']}/{replica['repeat']}", []).append(replica)
        for place, members in by_place.items():
            replicas = [member for member in members if member.get("averaged", True)]
            checkpoints = [f"{folder}{replica['checkpoint']}" for replica in replicas]
            if set(checkpoints) & self._damaged:
                continue
            for path, replica in zip(checkpoints, replicas, strict=True):
                if self._graph.sha256_of(path) != replica["sha256"]:
                    yield Finding("inconsistent", summary, f"names another {path} than its record", (summary,))
            self.compared += 1
            parts = [arrays.load(read(path)).under("predictions") for path in checkpoints]
            # a network that was trained on the validation videos too predicts only what has no labels; `whole`: its
            # old name
            learned = [
                set(replica["fitted"]) if replica.get("fit_on_all", replica.get("whole")) else set()
                for replica in replicas
            ]
            wrong = sorted(_differing(stored.under(place), parts, learned))
            if wrong:
                what = f"{place}: the predictions of {', '.join(wrong[:3])} are not those of the checkpoint"
                yield Finding("not reproduced", predictions, what, (predictions,))

    def _of_checkpoints(self, facts: Mapping[str, Any], folder: str) -> Iterator[str]:
        """What training.json says of replicas and their checkpoints do not."""
        for replica in facts["replicas"]:
            path = f"{folder}{replica['checkpoint']}"
            if path in self._damaged:
                continue
            meta = arrays.load(self._graph.ledger.portable.read(path)).meta
            identity = {name: replica.get(name) for name in meta["replica"]}
            pairs = {
                "the replica": (identity, meta["replica"]),
                "the seed": (replica["seed"], meta["seed"]),
                "the selected epoch": (replica["selected_epoch"], meta["epoch"]),
                "the training loss": (replica["loss"], meta["history"]["loss"]),
                "the validation loss": (replica["validation_loss"], meta["history"]["validation"]),
                "the test error": (replica["test_error"], meta["history"]["test"]),
                "the fitted items": (replica["fitted"], meta["fitted"]),
                "the items held out": (replica["held_out"], meta["held_out"]),
            }
            for name, (said, kept) in pairs.items():
                if said != kept:
                    yield f"{name} of {replica['checkpoint']} is not the one in the checkpoint"


def _contradictions(run: Mapping[str, Any], facts: Mapping[str, Any], meta: Mapping[str, Any]) -> Iterator[str]:
    """What training.json, the predictions' metadata and the run's settings say of each other and is not so."""
    epochs: dict[str, list[int]] = {}
    for replica in facts["replicas"]:
        if replica.get("averaged", True):
            place = f"{replica['target']}/{replica['fold']}/{replica['repeat']}"
            epochs.setdefault(place, []).append(replica["selected_epoch"])
        member = (replica["member"],) if replica["member"] else ()
        # As utopia.training.replica.Replica.seed has it, which must not be imported here: it brings torch.
        identity = (run["dataset"], run["model"], replica["target"], replica["fold"], replica["repeat"], *member)
        if replica["seed"] != seeds.derive(run["seed"], *identity):
            yield f"the seed of {replica['checkpoint']} is not the one that its run's seed gives"
        if replica["epochs"] != len(replica["loss"]) or not 0 <= replica["selected_epoch"] < replica["epochs"]:
            yield f"the epochs of {replica['checkpoint']} are not those of its losses"
    then = {
        "run": run["id"],
        "dataset": run["dataset"],
        "targets": run["targets"],
        "folds": list(facts["folds"]),
        "repeats": list(range(int(run["repeats"]))),
        "epochs": {place: of[0] if len(of) == 1 else of for place, of in epochs.items()},
    }
    for name, value in then.items():
        # JSON sorts the names of folds, the predictions keep their order.
        if sorted(meta[name]) != sorted(value) if name == "folds" else meta[name] != value:
            yield f"its {name} are not those that the predictions' metadata name"


def _bytes_of(path: Path) -> bytes | None:
    """A file's content; None where it is missing, which hashing has found."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _lacking(run: Mapping[str, Any], facts: Mapping[str, Any], stored: arrays.Arrays, labels: Labels) -> Iterator[str]:
    """Replicas that the run's settings and the labels' folds promise, and that are not there."""
    trained = {
        (replica["target"], replica["fold"], replica["repeat"], replica["member"]) for replica in facts["replicas"]
    }
    predicted = {"/".join(name.split("/", 3)[:3]) for name in stored}
    for fold in (fold["name"] for fold in labels.folds if fold["name"] not in facts["dropped_folds"]):
        for target in run["targets"]:
            for repeat in range(int(run["repeats"])):
                for member in range(int(run.get("members", 1))):
                    if (target, fold, repeat, member) not in trained:
                        yield f"no replica {target}/{fold}/{repeat}" + (f", member {member}" if member else "")
                if f"{target}/{fold}/{repeat}" not in predicted:
                    yield f"no predictions of {target}/{fold}/{repeat}"


def _differing(
    stored: Mapping[str, np.ndarray], parts: list[dict[str, np.ndarray]], learned: list[set[str]]
) -> Iterator[str]:
    """Items whose stored predictions are not the mean of the members' own, of those that have not learned the item."""
    for item in stored.keys() | {item for part in parts for item in part}:
        averaged = [part for part, fitted in zip(parts, learned, strict=True) if item not in fitted]
        if item not in stored or not averaged or not all(item in part for part in averaged):
            yield item
            continue
        members = [part[item] for part in averaged]
        # As training does it (utopia.training.run._mean), which must not be imported here: it brings torch.
        mean = members[0] if len(members) == 1 else np.stack(members).mean(axis=0, dtype=np.float64).astype(np.float32)
        if not np.array_equal(stored[item], mean):
            yield item


def is_made_by(record: Record, *scripts: str) -> bool:
    """Whether a job ran one of these scripts."""
    return any(script in scripts for script in record.facts["code"].get("files", ()))


def differing_cells(now: bytes, then: bytes) -> tuple[str, ...] | None:
    """The cells in which two table files differ; None where they differ elsewhere only."""
    before, after = _by_cell(now), _by_cell(then)
    cells = tuple(sorted(cell for cell in before.keys() | after.keys() if before.get(cell) != after.get(cell) and cell))
    return cells or None


def _by_cell(text: bytes) -> dict[str, list[dict[str, str | None]]]:
    rows: dict[str, list[dict[str, str | None]]] = {}
    with contextlib.suppress(csv.Error):  # not a table any more: it has no more cells
        for row in csv.DictReader(io.StringIO(text.decode("utf-8", errors="replace"))):
            name = f"{row.get('table')}/{row.get('row')}/{row.get('column')}"
            rows.setdefault(name, []).append(dict(row))
    return rows


def _lines(now: bytes, then: bytes) -> str:
    """The first line in which two texts differ."""
    a, b = (text.decode("utf-8", errors="replace").splitlines() for text in (now, then))
    number = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    line, repeated = _at(a, number), _at(b, number)
    return f"line {number + 1} is {_about(line, repeated)!r}; done again: {_about(repeated, line)!r}"


def _at(lines: list[str], number: int) -> str:
    return lines[number] if number < len(lines) else ""


def _about(text: str, other: str) -> str:
    """A piece of a long line around where it begins to differ."""
    at = next((i for i, (x, y) in enumerate(zip(text, other, strict=False)) if x != y), min(len(text), len(other)))
    start = max(0, at - 30)
    return ("..." if start else "") + text[start : at + 30] + ("..." if at + 30 < len(text) else "")


def fewer_repeats(graph: Graph, damaged: set[str]) -> Iterator[Finding]:
    """Measured cells whose mean is over fewer repeats than their runs promise."""
    for name, record in graph.tables.items():
        path = f"{graph.root}/tables/{name}.csv"
        promised = record.facts["params"]["settings"].get("repeats")
        if path in damaged or promised is None:
            continue
        text = _bytes_of(graph.ledger.portable.read(path))
        for cell, rows in (_by_cell(text) if text is not None else {}).items():
            for row in rows:
                trained = ".reference." not in (row.get("runs") or "")  # a reference may need no seed
                if row.get("status") == "measured" and trained and row.get("n") != str(promised):
                    what = f"{cell} is a mean over {row.get('n')} of {promised} repeats"
                    yield Finding("fewer replicas", path, what, (path,), (cell,))
