"""What the page of a study shows: tables, figures, coverage, and the ancestry behind them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utopia import files
from utopia.errors import UtopiaError
from utopia.evaluation import metrics_csv
from utopia.provenance import lineage
from utopia.provenance.lineage import Graph
from utopia.report import curves as page_curves
from utopia.report import summary as page_summary
from utopia.report.ancestry import NOTHING, Ancestry, Numbered, Reach, reasons
from utopia.report.cells import (
    ShownTable,
    adjusted_verdicts,
    cell_in_short,
    headline,
    read_cells,
    shown_table,
    table_in_short,
)
from utopia.tables.cells import Cell

DIGITS = 12
"""Significant digits of replicas' metrics, and hexadecimal digits of checkpoints' sha256; both stand in full in files
of the run whose sha256 the page has."""


@dataclass(frozen=True)
class ShownFigure:
    """A figure on the page."""

    id: str
    title: str
    source: str
    caption: str
    image: Path
    holes: tuple[str, ...]
    """What is not drawn and why."""
    stale: bool


@dataclass(frozen=True)
class Page:
    """Everything that the page shows."""

    study: str
    tables: tuple[ShownTable, ...]
    figures: tuple[ShownFigure, ...]
    coverage: tuple[Mapping[str, str], ...]
    facts: Mapping[str, Any]
    """What the whole study stands on, for its head."""
    warnings: tuple[str, ...]
    data: Mapping[str, Any]
    """The ancestry, JSON-able."""
    said: tuple[str, ...]
    """What came out, in sentences."""
    parts: tuple[page_summary.MeasurePart, ...]
    """And as a picture."""

    @property
    def tally(self) -> Mapping[str, int]:
        """Cells of each kind."""
        return sum((Counter(table.tally) for table in self.tables), Counter())

    @property
    def stale(self) -> int:
        """Cells that something behind them would not give again today."""
        return sum(cell.stale for table in self.tables for cell in table.cells)


def gather(graph: Graph, study: str, tables: Sequence[str], figures: Sequence[str], apart_from: str = "") -> Page:
    """Read what a page shows.

    Args:
        graph: the lineage.
        study: the study's name.
        tables: ids of the tables; the papers' are shown first.
        figures: likewise.
        apart_from: the rule whose records do not count: the page's own.

    Raises:
        UtopiaError: a table or figure has no record, or a file cannot be read.
    """
    for kind, wanted, known in (("table", tables, graph.tables), ("figure", figures, graph.figures)):
        for name in wanted:
            if name not in known:
                raise UtopiaError(
                    f"no record says how the {kind} {name} was made",
                    where=graph.root,
                    why="the page shows no number whose ancestry is not known",
                    remedy=f"make it again: snakemake --force {graph.root}/{kind}s/{name}.csv",
                )
    tables, figures = page_summary.in_order(tables), page_summary.in_order(figures)
    return _Gatherer(graph, study, tables, figures, apart_from).page()


class _Gatherer:
    """Reads files and records in one pass: first what is reached, then, when jobs and files have numbers, the rest."""

    def __init__(
        self, graph: Graph, study: str, tables: Sequence[str], figures: Sequence[str], apart_from: str
    ) -> None:
        self.graph, self.study = graph, study
        self.seal = graph.seal(record for record in graph.ledger.records if record.rule != apart_from)
        self.changed: dict[str, None] = {}
        """Files that are not those that their records describe."""
        cells = {name: read_cells(self._checked(f"{graph.root}/tables/{name}.csv")) for name in tables}
        self.cells, self.family = adjusted_verdicts(cells)
        self.images = {name: self._checked(f"{graph.root}/figures/{name}.png") for name in figures}
        self.behind: dict[str, lineage.CellRuns] = {
            cell.cell: graph.cells[cell.cell] for of_table in self.cells.values() for cell in of_table
        }
        runs = dict.fromkeys(run for cell in self.behind.values() for run in (*cell.runs, *cell.against))
        self.runs = {run: number for number, run in enumerate(runs)}
        self.metrics = {run: self._metrics(run) for run in self.runs}
        self.trained = {run: self._trained(run) for run in self.runs}
        curves = sum(
            len(replica.get("test", ()))
            for of_table in self.trained.values()
            for of_cell in of_table.values()
            for replica in of_cell[:1]
        )
        self.videos = page_curves.SeriesOfVideos(self._made, graph.root, page_curves.points_for(curves))

        ancestry = Ancestry(graph, apart_from)
        self.of_tables = {name: ancestry.note(ancestry.own(graph.tables[name])) for name in tables}
        self.of_figures = {name: ancestry.note(ancestry.of_record(graph.figures[name])) for name in figures}
        self.of_runs: dict[str, Reach] = {}
        for of_cell in self.behind.values():
            for run, reach in ancestry.by_run(of_cell).items():
                self.of_runs[run] = ancestry.note(self.of_runs.get(run, NOTHING) | reach)
        self.coverage = self._coverage()
        self.numbered: Numbered = ancestry.numbered()
        self.reasons = reasons(graph, self.changed)
        self.stale = {place for place, replica in enumerate(self.numbered.records) if id(replica) in self.reasons}

    def page(self) -> Page:
        numbered = self.numbered
        tables = [self._table(place, name) for place, name in enumerate(self.cells)]
        figures = [self._figure(name) for name in self.images]
        data: dict[str, Any] = {
            "study": self.study,
            "root": self.graph.root,
            "tables": [short for _, short in tables],
            "runs": self._runs(),
            "figures": [short for _, short in figures],
            "inputs": numbered.inputs(),
            "jobs": numbered.jobs(self.reasons),
            "edges": numbered.edges(),
            "videos": self.videos.truths,
        }
        data |= {name: getattr(numbered, name).values for name in ("sets", "texts", "folders", "values")}
        return Page(
            study=self.study,
            tables=tuple(shown for shown, _ in tables),
            figures=tuple(shown for shown, _ in figures),
            coverage=tuple(self.coverage),
            facts=_facts(numbered, data) | {"seal": self.seal, "family": self.family},
            warnings=tuple(self._warnings()),
            data=data,
            said=tuple(self._said()),
            parts=tuple(
                page_summary.picture({name: (self._settings(name), of_table) for name, of_table in self.cells.items()})
            ),
        )

    def _settings(self, table: str) -> Mapping[str, Any]:
        """A table's settings, as its rendering job was given them."""
        given: Mapping[str, Any] = self.graph.tables[table].facts["params"]["settings"]["table"]
        return given

    def _said(self) -> list[str]:
        every = [cell for of_table in self.cells.values() for cell in of_table]
        truth = self.cells.get(page_summary.TRUTH, [])
        return page_summary.in_words(every, truth, generated=page_summary.is_generated(every))

    # -- reading

    def _checked(self, path: str) -> Path:
        """A file on this machine; one that is not what its record describes is remembered."""
        place = self.graph.ledger.portable.read(path)
        try:
            digest = files.sha256(place)
        except OSError as error:
            raise UtopiaError(f"cannot read ({error})", where=path, remedy="run: utopia verify") from error
        if digest != self.graph.sha256_of(path):
            self.changed[path] = None
        return place

    def _made(self, path: str) -> Path | None:
        """A file that a job of the study made; None where none did."""
        return self._checked(path) if path in self.graph.makers else None

    def _metrics(self, run: str) -> dict[tuple[str, str], dict[tuple[str, str], float]]:
        """The replicas' own metrics: target and metric -> fold and repeat -> value."""
        path = f"{self.graph.root}/runs/{run}/metrics.csv"
        values_of: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
        if path in self.graph.makers:
            for row in metrics_csv.read(self._checked(path)):
                if not row.item:
                    values_of.setdefault((row.target, row.metric), {})[row.fold, row.repeat] = row.value
        return values_of

    def _trained(self, run: str) -> dict[str, list[dict[str, Any]]]:
        """What training said of each replica, by target; of a run without training nothing."""
        path = f"{self.graph.root}/runs/{run}/training.json"
        by_target: dict[str, list[dict[str, Any]]] = {}
        if path in self.graph.makers:
            for replica in files.read_json(self._checked(path))["replicas"]:
                by_target.setdefault(replica["target"], []).append(replica)
        return by_target

    def _coverage(self) -> list[dict[str, str]]:
        path = f"{self.graph.root}/audit/coverage.csv"
        if path not in self.graph.makers:
            return []
        with self._checked(path).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    # -- writing

    def _table(self, place: int, name: str) -> tuple[ShownTable, dict[str, Any]]:
        table = self._settings(name)
        stale = [self._is_stale(name, cell) for cell in self.cells[name]]
        cells = [
            cell_in_short(cell, self.behind[cell.cell].against, self.runs, stale=old, texts=self.numbered.texts)
            for cell, old in zip(self.cells[name], stale, strict=True)
        ]
        short = table_in_short(table) | {"jobs": self.numbered.reach(self.of_tables[name])[0], "cells": cells}
        return shown_table(place, table, self.cells[name], stale), short

    def _is_stale(self, table: str, cell: Cell) -> bool:
        """Whether a job behind a cell (or behind what its difference is taken to) would not give the same today."""
        if cell.status in ("quoted", "dash", "blank"):
            return False
        behind = self.behind[cell.cell]
        reaches = [self.of_tables[table], *(self.of_runs.get(run, NOTHING) for run in behind.runs + behind.against)]
        return any(not self.stale.isdisjoint(self.numbered.jobs_of(reach)) for reach in reaches)

    def _figure(self, name: str) -> tuple[ShownFigure, dict[str, Any]]:
        record, reach = self.graph.figures[name], self.of_figures[name]
        given = record.facts["params"]["settings"]
        title, source, caption = (given["figure"][key] for key in ("title", "source", "caption"))
        absent = [f"{role}: {why}" for role, why in given["absent_runs"].items()]
        holes = [given["absent"]] if given["absent"] else absent
        stale = not self.stale.isdisjoint(self.numbered.jobs_of(reach))
        title = headline(source, title)
        short = {
            "id": name,
            "title": title,
            "source": source,
            "reach": self.numbered.reach(reach),
            "runs": list(given["runs"].values()),
            "job": self.numbered.number_of(record),
            "stale": stale,
        }
        return ShownFigure(name, title, source, caption, self.images[name], tuple(holes), stale), short

    def _runs(self) -> list[list[Any]]:
        """`[id, jobs, inputs, settings, trainings, values, losses, videos]` of each run; see `page/store.js`."""
        settings = self.numbered.settings_of_runs()
        asked: dict[str, dict[tuple[str, str], None]] = {run: {} for run in self.runs}
        for name, cells in self.cells.items():
            columns = self._settings(name)["columns"]
            shown = {column["id"]: (column["target"], column["metric"]) for column in columns}
            for cell in cells:
                for run in self.behind[cell.cell].runs:
                    asked[run][shown[cell.column]] = None
        replicas = sum(len(replicas_of) for trained in self.trained.values() for replicas_of in trained.values())
        points = page_curves.points_for(2 * replicas)
        return [
            [run, *self.numbered.reach(self.of_runs.get(run, NOTHING)), settings.get(run, {}), self._trainings(run),
             self._values(run, asked[run]),
             {target: page_curves.losses(replicas_of, points) for target, replicas_of in self.trained[run].items()},
             self.videos.of_run(run, list(self.trained[run]))]
            for run in self.runs
        ]  # fmt: skip

    def _values(self, run: str, asked: Iterable[tuple[str, str]]) -> dict[str, list[Any]]:
        """`{"target metric": [number of the list of [fold, repeat], values]}`."""
        values_of = self.metrics[run]
        return {
            f"{target} {metric}": [
                self.numbered.values([list(key) for key in values_of[target, metric]]),
                [float(f"{value:.{DIGITS}g}") for value in values_of[target, metric].values()],
            ]
            for target, metric in asked
            if (target, metric) in values_of
        }

    def _trainings(self, run: str) -> dict[str, list[Any]]:
        """By target, in columns: number of [[fold, repeat, member]], of the seeds, of the numbers of epochs; selected
        epochs (from 1), first digits of the checkpoints' sha256; where models diagnose themselves also the number of
        the names of what they measured, and its values by replica."""
        keep = self.numbered.values
        return {
            target: [
                keep([[replica["fold"], str(replica["repeat"]), replica["member"]] for replica in replicas]),
                # Seeds have more digits than a number of JavaScript.
                keep([str(replica["seed"]) for replica in replicas]),
                keep([replica["epochs"] for replica in replicas]),
                [None if replica["selected_epoch"] is None else replica["selected_epoch"] + 1 for replica in replicas],
                [str(replica["sha256"])[:DIGITS] for replica in replicas],
                *self._diagnostics(replicas),
            ]
            for target, replicas in self.trained[run].items()
        }

    def _diagnostics(self, replicas: Sequence[Mapping[str, Any]]) -> list[Any]:
        """The number of the names, and the values of each replica; nothing where no model diagnosed itself."""
        names = list(dict.fromkeys(name for replica in replicas for name in replica.get("diagnostics", {})))
        if not names:
            return []
        said = [[replica.get("diagnostics", {}).get(name) for name in names] for replica in replicas]
        return [
            self.numbered.values(names),
            [[None if value is None else float(f"{value:.4g}") for value in values] for values in said],
        ]

    def _warnings(self) -> list[str]:
        ledger = self.graph.ledger
        damaged = [
            f"{ledger.portable.write(record.path)}: damaged record ({record.reason})" for record in ledger.damaged
        ]
        return [*damaged, *(f"{path}: not the file that its record describes" for path in self.changed)]


def _facts(numbered: Numbered, data: Mapping[str, Any]) -> dict[str, Any]:
    records, jobs, inputs = numbered.records, data["jobs"], data["inputs"]
    gpus = {gpu["uuid"]: gpu["name"] for machine in jobs["machines"] for gpu in machine["gpus"]}
    return {
        "jobs": len(records),
        "seconds": sum(record.facts["seconds"] for record in records),
        "first": min((record.facts["started"] for record in records), default="")[:10],
        "last": max((record.facts["ended"] for record in records), default="")[:10],
        "inputs": len(inputs["name"]),
        "bytes": sum(size or 0 for size in inputs["bytes"]),
        "hosts": sorted({machine["host"] for machine in jobs["machines"]}),
        "cpus": sorted({machine["cpu"].get("model", "") for machine in jobs["machines"]} - {""}),
        "gpus": [gpus[uuid] for uuid in sorted(gpus)],
        "commits": [[commit, dirty] for commit, dirty, _ in jobs["commits"]],
        "runs": len(data["runs"]),
    }
