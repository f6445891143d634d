"""A small study for tests of its page: real jobs that record themselves, on two machines, with every kind of verdict.

The numbers are chosen, so that each verdict occurs; the tables are rendered, the records written and the page made from
them by the product itself. Texts that come from data hold markup.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from utopia import arrays, files, fingerprint, seeds
from utopia.evaluation import metrics_csv
from utopia.inputs.coverage import COLUMNS
from utopia.provenance import environment
from utopia.provenance.job import RunningJob, record
from utopia.provenance.ledger import Ledger
from utopia.provenance.lineage import Graph, cells_of
from utopia.report.data import Page
from utopia.report.page import render_page
from utopia.tables.render import render_table

matplotlib.use("Agg")

ROOT = "results/tiny"
HOSTILE = '</script><img src=x onerror="window.wasRun = true">'
GPU = {"index": 0, "name": "A GPU", "uuid": "GPU-0123abcd-0000-1111-2222-333344445555", "driver": "570.1", "used": True}
MACHINES = {"desk": None, "node7": [GPU]}
FORMS = ("csv", "md", "tex", "html")
CODE = ("utopia.evaluation.metrics",)
COMMITS = {"desk": "a" * 40, "node7": "b" * 40}

# run -> (data set, mean of the metric, the machine that trained it)
RUNS = {
    "films.et.baseline": ("films", 0.500, "desk"),
    "films.et.cwl": ("films", 0.540, "desk"),
    "films.rmn.baseline": ("films", 0.700, "node7"),
    "songs.et.baseline": ("songs", 0.300, "node7"),
}
LENGTH = 100
"""Labels of an item."""
ITEMS = {"films": ["one.mp4", "<b>two</b>.mp4"], "songs": ["song.mp3"]}


@contextmanager
def job(rule: str, inputs: Any, outputs: Any, machine: str = "desk", **more: Any) -> Iterator[RunningJob]:
    """A job of the study, run as Snakemake runs scripts."""
    given = SimpleNamespace(
        rule=rule,
        wildcards=more.pop("wildcards", {}),
        params={"code": fingerprint.code(*CODE), **more},
        input=inputs,
        output=outputs,
        log=[f"{ROOT}/logs/{rule}.log"],
        threads=1,
        resources={},
        config={"study": "tiny"},
    )
    for path in (each for one in outputs.values() for each in ([one] if isinstance(one, str) else one)):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(environment, "host", lambda: machine)
        patch.setattr(environment, "gpus", lambda: MACHINES[machine])
        patch.setattr(
            environment, "git", lambda: {"commit": COMMITS[machine], "dirty": machine == "node7", "changed": ["x.py"]}
        )
        with record(given) as running:
            yield running


def make(base: Path) -> None:
    """Make the study below `base`, the working directory."""
    for dataset, names in ITEMS.items():
        raw = [f"raw/{dataset}/{name}" for name in names]
        for path in raw:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(path.encode() * 100)
        with job("list_inputs", {"raw": raw}, {"m": _manifest(dataset)}, wildcards={"dataset": dataset},
                 folder=f"raw/{dataset}"):  # fmt: skip
            files.write_json(_manifest(dataset), {"items": [Path(path).read_bytes().hex()[:8] for path in raw]})
        with job("build_labels", {"m": _manifest(dataset)}, {"l": _labels(dataset)}, wildcards={"dataset": dataset}):
            _label(dataset)
    _train("films_et", ["films.et.baseline", "films.et.cwl"])
    _train("films_rmn", ["films.rmn.baseline"])
    _train("songs_et", ["songs.et.baseline"])
    render(_table())
    render(_quoting())
    _draw()
    with job("report_coverage", {"m": [*map(_manifest, ITEMS)]}, {"csv": f"{ROOT}/audit/coverage.csv"}):
        rows = [["films", "videos", 3, 2, 1, f"removed {HOSTILE}", "three"], ["songs", "songs", 1, 1, 0, "", ""]]
        _csv(
            f"{ROOT}/audit/coverage.csv",
            [COLUMNS, *rows],
        )


def _manifest(dataset: str) -> str:
    return f"{ROOT}/inputs/{dataset}.json"


def _labels(dataset: str) -> str:
    return f"{ROOT}/labels/{dataset}/labels.safetensors"


def _label(dataset: str) -> None:
    """Labels of three items: one of a rising line, and one of a falling one."""
    times, contents = np.arange(LENGTH, dtype=np.float64), {}
    for number in range(3):
        contents[f"item {number}/times"] = times
        contents[f"item {number}/valence"] = (times if number else times[::-1]) / LENGTH
    meta = {"dataset": dataset, "protocol": "affect", "targets": {"valence": {"low": -1.0, "high": 1.0}},
            "items": [f"item {number}" for number in range(3)], "absent": {}, "folds": []}  # fmt: skip
    arrays.save(_labels(dataset), contents, meta)


def _predict(run: str) -> None:
    """Predictions that rise from 0 to 1 on every item, in both folds and all repeats."""
    rising = (np.arange(LENGTH) / LENGTH).astype(np.float32)
    names = [f"valence/{fold}/{repeat}/item {n}" for fold in ("0", "1") for repeat in range(3) for n in range(3)]
    arrays.save(_run(run, "predictions.safetensors"), dict.fromkeys(names, rising), {"run": run})


def _run(run: str, name: str) -> str:
    return f"{ROOT}/runs/{run}/{name}"


def _csv(path: str, rows: Sequence[Sequence[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    files.write_text(path, text.getvalue())


def _train(pack: str, runs: list[str]) -> None:
    dataset, _, machine = RUNS[runs[0]]
    predictions = [_run(run, "predictions.safetensors") for run in runs]
    summaries = [_run(run, "training.json") for run in runs]
    settings = [
        {"id": run, "model": run.split(".")[1], "treatment": run.split(".")[2], "note": HOSTILE} for run in runs
    ]
    with job(f"train_{pack}", {"labels": _labels(dataset)}, {"predictions": predictions, "summaries": summaries},
             machine, runs=settings) as running:  # fmt: skip
        seed_of = {(fold, repeat): seeds.derive(7, dataset, fold, repeat) for fold in ("0", "1") for repeat in range(3)}
        for run in runs:
            _predict(run)
            replicas = []
            for (fold, repeat), seed in seed_of.items():
                checkpoint = f"replicas/valence.{fold}.{repeat}.safetensors"
                files.write_text(_run(run, checkpoint), f"{run} {seed}")
                running.made(_run(run, checkpoint))
                replicas.append({
                    "target": "valence", "fold": fold, "repeat": repeat, "member": 0, "seed": seed, "epochs": 20,
                    "selected_epoch": 10 + repeat, "seconds": 1.0,
                    "loss": [1 / (1 + epoch) for epoch in range(20)], "test": [f"item {n}" for n in range(3)],
                    "validation_loss": [0.5 + abs(epoch - 10) / 20 for epoch in range(20)], "checkpoint": checkpoint,
                    "sha256": files.sha256(_run(run, checkpoint)),
                    **({"diagnostics": {"writes": 0.25, "td_error": None}} if ".rmn." in run else {}),
                })  # fmt: skip
            summary = {"run": run, "replicas": replicas, "items": {}, "folds": [{"name": "0"}, {"name": "1"}],
                       "settings": {"repeats": 3}, "left_out": {}, "dropped_folds": [], "oracle": False}  # fmt: skip
            files.write_json(_run(run, "training.json"), summary)
    judged = [_run(run, "metrics.csv") for run in runs]
    with job(f"evaluate_{pack}", {"labels": _labels(dataset), "predictions": predictions}, {"": judged}, machine,
             runs=[{"id": run} for run in runs]):  # fmt: skip
        for run in runs:
            mean = RUNS[run][1]
            found = []
            for fold, repeat in seed_of:
                value = mean + 0.01 * (repeat - 1) + 0.003 * (int(fold) - 0.5)
                found.append(metrics_csv.MetricRow("valence", fold, str(repeat), "", "pcc", value))
                found += [
                    metrics_csv.MetricRow("valence", fold, str(repeat), f"item {n}", "pcc", value + d)
                    for n, d in enumerate((-0.02, 0.0, 0.02))
                ]
            metrics_csv.write(_run(run, "metrics.csv"), found)


def _column(name: str, dataset: str) -> dict[str, Any]:
    return {"id": name, "title": f"{name} <PCC>", "dataset": dataset, "target": "valence", "metric": "pcc",
            "decimals": 3, "better": "higher"}  # fmt: skip


def _table() -> dict[str, Any]:
    def row(name: str, title: str, run: str | None, published: float | None, **more: Any) -> dict[str, Any]:
        return {"id": name, "title": title, "runs": {"films": run} if run else {}, "published": {"films": published},
                **more}  # fmt: skip

    table = {
        "id": "verdicts", "title": f"Every verdict {HOSTILE}", "source": "A paper, Table 1",
        "caption": "Correlation (higher is better) & more.",
        "columns": [_column("films", "films"), _column("songs", "songs")],
        "rows": [
            row("base", "Baseline", "films.et.baseline", 0.500, note=f"a note {HOSTILE}"),
            row("cwl", "Treated", "films.et.cwl", 0.545, against="base"),
            row("rmn", "Another model", "films.rmn.baseline", 0.9),
            row("gone", "Never made", "films.gone.baseline", 0.6),
            row("unprinted", "Not in the paper", "films.et.cwl", None, printed=False),
        ],
    }  # fmt: skip
    table["rows"][0]["runs"]["songs"] = "songs.et.baseline"
    table["rows"][0]["published"]["songs"] = 0.4
    return table


def _quoting() -> dict[str, Any]:
    theirs, ours = {"group": f"Theirs {HOSTILE}", "runs": {}}, {"group": "Ours", "keys": {"T": "5"}}
    cells = {"a": {"run": "films.et.cwl", "target": "valence", "metric": "pcc", "published": None},
             "b": {"run": None, "target": "valence", "metric": "pcc", "published": 0.61}}  # fmt: skip
    test = {"of": "a", "others": ["b"], "kind": "best", "better": "higher", "place": 1, "within": 0.0, "part": ""}
    claim = {"tests": [test], "share": 1.0, "cells": cells}
    rows: list[dict[str, Any]] = [
        {"id": "others", "title": "Their system", "published": {"films": 0.61}, **theirs},
        {"id": "dash", "title": "Their other system", "published": {"films": "-"}, **theirs},
        {"id": "empty", "title": "Nothing of theirs", "published": {}, **theirs},
        {"id": "ours", "title": "", "name": "Ours: T = 5", "runs": {"films": "films.et.cwl"},
         "published": {"films": 0.54}, **ours},
        {"id": "better", "title": "Ours is better", "runs": {}, "claims": {"films": claim}, "published": {},
         "as": {"films": {"decimals": 0}}, **ours},
    ]  # fmt: skip
    return {"id": "quoting", "title": "With a quoted row", "source": "A paper, Table 2", "caption": "",
            "keys": [{"id": "T", "title": "T"}], "columns": [_column("films", "films")], "rows": rows}  # fmt: skip


def table_of(name: str, column: str, runs: Sequence[str]) -> dict[str, Any]:
    """A table of one column, `films` or `songs`, with a row for each run."""
    rows = [
        {"id": f"row{number}", "title": f"Row {number}", "runs": {column: run}, "published": {column: 0.5}}
        for number, run in enumerate(runs)
    ]
    return {**_table(), "id": name, "title": f"Table {name}", "columns": [_column(column, column)], "rows": rows}


def render(table: Mapping[str, Any]) -> None:
    """Render a table of the study."""
    name = table["id"]
    runs = sorted({run for cell in cells_of(table["id"], table) for run in cell.runs if run in RUNS})
    inputs = {
        "metrics": [_run(run, "metrics.csv") for run in runs],
        "summaries": [_run(run, "training.json") for run in runs],
    }
    absent = {"films.gone.baseline": f"its data are under an agreement {HOSTILE}"}
    outputs = {form: f"{ROOT}/tables/{name}.{form}" for form in FORMS}
    with job("render_table", inputs, outputs, wildcards={"table": name}, settings={"table": table}, runs=runs):
        render_table(
            table=table,
            runs={run: Path(_run(run, "metrics.csv")) for run in runs},
            absent=absent,
            not_comparable={"songs.et.baseline": "1 of 2 songs"},
            outputs={form: Path(path) for form, path in outputs.items()},
        )


def _draw() -> None:
    outputs = {form: f"{ROOT}/figures/curve.{form}" for form in ("pdf", "png", "csv")}
    settings = {
        "figure": {"id": "curve", "title": "A curve", "source": "A paper, Fig. 1", "caption": f"Values {HOSTILE}."},
        "absent": None, "runs": {"cwl": "films.et.cwl"}, "absent_runs": {"gone": "no such run"},
    }  # fmt: skip
    drawn = [_run("films.et.cwl", "predictions.safetensors")]
    with job("render_figure", {"labels": _labels("films"), "predictions": drawn}, outputs,
             wildcards={"figure": "curve"}, settings=settings):  # fmt: skip
        figure = Figure(figsize=(3, 2))
        figure.add_subplot().plot([0, 1, 4])
        figure.savefig(outputs["pdf"])
        figure.savefig(outputs["png"], dpi=60)
        _csv(outputs["csv"], [["x", "y"], [0, 0], [1, 1], [2, 4]])


def graph() -> Graph:
    """The lineage of the study in the working directory."""
    return Graph(Ledger.read(ROOT), ROOT)


def page(output: Path) -> Page:
    """Its page."""
    return render_page(
        ledger=Ledger.read(ROOT),
        root=ROOT,
        study="tiny",
        tables=["verdicts", "quoting"],
        figures=["curve"],
        output=output,
        rule="render_page",
    )
