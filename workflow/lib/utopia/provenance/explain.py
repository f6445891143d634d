"""The whole ancestry of a value, a figure, a run or a file, as one JSON-able answer.

Everything is read from records and from small files of the study. Of what is asked about, the files themselves are
hashed, and a cell's value is compared with its own replicas; nothing upstream is.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utopia.errors import UtopiaError
from utopia.evaluation import metrics_csv
from utopia.evaluation.rounding import rounded
from utopia.files import kept_until_changed, read_json
from utopia.plan.jobs import BY_BATCH, family
from utopia.provenance import origin
from utopia.provenance.findings import in_words
from utopia.provenance.ledger import Record
from utopia.provenance.lineage import CellRuns, Graph
from utopia.provenance.subject import Subject
from utopia.tables.columns import NUMBERS, rows_by_cell

if TYPE_CHECKING:
    from utopia.provenance.current import Current

IMPORTANT = ("torch", "numpy", "av", "h5py", "safetensors", "torchvision", "torchaudio", "scipy", "snakemake")
"""The packages that numbers depend on most; a short answer names those that are installed."""


def explain(graph: Graph, subject: Subject, study: str, current: Current | None = None) -> dict[str, Any]:
    """The ancestry of a subject.

    Args:
        graph: the lineage.
        subject: what was asked about.
        study: the study's name, for the command that makes it again.
        current: today's jobs; without them settings are not compared.

    Returns:
        `subject`, `kind`, `others`, `value` (of a cell), `cells` (of a table or a row), `replicas`, `files` (the
        chain, nearest first), `inputs`, `settings`, `code`, `software`, `hardware`, `last_run`, `jobs`, `again`,
        `warnings`; see `utopia.cli.explain`.
    """
    try:
        return _answer(graph, subject, study, current)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UtopiaError(
            f"what {subject.name} is computed from cannot be read as what jobs write ({in_words(error)})",
            where=subject.files[0],
            why="a file or a record was edited",
            remedy="run: utopia verify",
        ) from error


def _answer(graph: Graph, subject: Subject, study: str, current: Current | None) -> dict[str, Any]:
    asked = _cells(subject)
    # A table's own ancestors are those of all its cells.
    behind = [path for cell in asked for path in graph.files_of(cell, value_only=True)]
    files = list(dict.fromkeys([subject.files[0], *behind] if asked else subject.files))
    chain = [*files, *graph.ancestors(files[1:] if asked else files)]
    jobs = graph.jobs(chain)
    runs = _runs(graph, subject, chain)
    last_run = _last_run(graph)
    return {
        "subject": subject.name,
        "kind": subject.kind,
        "others": list(subject.others),
        "value": None if subject.cell is None else _value(graph, subject.cell),
        "cells": [_shown(graph, cell) for cell in subject.cells],
        "replicas": [replica for run in runs for replica in _replicas(graph, run, subject.cell)],
        "files": [_file(graph, path) for path in chain if path in graph.makers],
        "inputs": origin.inputs(graph, filter(graph.is_source, chain)),
        "settings": _settings(jobs, runs),
        "code": _code(jobs),
        "software": _software(jobs),
        "hardware": _hardware(jobs),
        "last_run": None if last_run is None else last_run.isoformat().replace("+00:00", "Z"),
        "jobs": [_job(graph, record, last_run) for record in jobs],
        "again": _again(subject, study, jobs),
        "warnings": [*_doubts(graph, subject), *warnings(graph, jobs, current)],
    }


def _cells(subject: Subject) -> tuple[CellRuns, ...]:
    """The cells that were asked about: one, those of a table or a row, or none."""
    return subject.cells if subject.cell is None else (subject.cell,)


def _file(graph: Graph, path: str) -> dict[str, Any]:
    entry = graph.entry(path) or {}
    return {"path": path, "sha256": entry.get("sha256"), "bytes": entry.get("bytes"), "rule": graph.makers[path].rule}


# -- the value


def _value(graph: Graph, cell: CellRuns) -> dict[str, Any]:
    table, row, column = _place(graph, cell)
    line = _line(graph, cell)
    numbers = {name: float(line[name]) if line.get(name) else None for name in NUMBERS}
    decimals = int(line["decimals"])
    value = numbers["value"]
    return {
        "shown": None if value is None else f"{rounded(value, decimals)} {line.get('unit', '')}".strip(),
        **numbers,
        "n": int(line["n"]),
        "unit": line.get("unit", ""),
        "decimals": decimals,
        **{
            name: line.get(name, "")
            for name in ("interval", "status", "reason", "against", "difference_verdict", "verdict", "verdict_reason")
        },
        "table": table["title"],
        "source": table["source"],
        "row": row.get("name") or row["title"],
        "column": column["title"],
        "dataset": column["dataset"],
        "target": column["target"],
        "metric": column["metric"],
        "scale": column.get("scale", 1),
        "statistic": column.get("statistic") or "",
        "note": line.get("note", ""),
        "runs": list(cell.runs),
    }


def _shown(graph: Graph, cell: CellRuns) -> dict[str, Any]:
    """A cell of a table that was asked about: how it is shown, and what is published."""
    value = _value(graph, cell)
    kept = ("shown", "value", "std", "published", "decimals", "status", "verdict", "reason")
    return {
        "cell": cell.id,
        "row": cell.row,
        "name": value["row"],
        "column": cell.column,
        "title": value["column"],
        **{name: value[name] for name in kept},
        "source": f"{value['table']} ({value['source']})",
    }


def _place(graph: Graph, cell: CellRuns) -> tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]:
    """The table of a cell, its row, and its column as the row has it: some rows bring their own target and metric."""
    table = graph.tables[cell.table].facts["params"]["settings"]["table"]
    row = next(entry for entry in table["rows"] if entry["id"] == cell.row)
    column = next(entry for entry in table["columns"] if entry["id"] == cell.column)
    return table, row, {**column, **(row.get("as") or {}).get(cell.column, {})}


def _line(graph: Graph, cell: CellRuns) -> dict[str, str]:
    path = graph.ledger.portable.read(f"{graph.root}/tables/{cell.table}.csv")
    try:
        return _lines(path)[cell.id]
    except (OSError, KeyError) as error:
        raise UtopiaError(
            f"the cell {cell.id} cannot be read ({type(error).__name__})", where=path, remedy="run: utopia verify"
        ) from error


@kept_until_changed(1)
def _lines(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a table's csv by cell; read once for all cells of a table that are asked about."""
    return rows_by_cell(path)


def _runs(graph: Graph, subject: Subject, chain: Iterable[str]) -> list[str]:
    if asked := _cells(subject):
        return list(dict.fromkeys(run for cell in asked for run in cell.runs))
    return list(dict.fromkeys(run for path in chain if (run := graph.run_of(path))))


def _replicas(graph: Graph, run: str, cell: CellRuns | None) -> list[dict[str, Any]]:
    """Every replica of a run: its metrics (of a cell: the one that the cell shows) and its training."""
    folder = f"{graph.root}/runs/{run}"
    wanted = None
    if cell is not None:
        _, _, column = _place(graph, cell)
        wanted = column["target"], column["metric"]
    replicas: dict[tuple[str, str, str], dict[str, Any]] = {}
    portable = graph.ledger.portable
    if f"{folder}/metrics.csv" in graph.makers and portable.read(f"{folder}/metrics.csv").is_file():
        for row in metrics_csv.read(portable.read(f"{folder}/metrics.csv")):
            if row.item or (wanted is not None and (row.target, row.metric) != wanted):
                continue
            replica = replicas.setdefault((row.target, row.fold, row.repeat), {"metrics": {}, "trainings": []})
            replica["metrics"][row.metric] = row.value
    if f"{folder}/training.json" in graph.makers and portable.read(f"{folder}/training.json").is_file():
        for training in read_json(portable.read(f"{folder}/training.json"))["replicas"]:
            key = (training["target"], training["fold"], str(training["repeat"]))
            if wanted is not None and training["target"] != wanted[0]:
                continue
            replica = replicas.setdefault(key, {"metrics": {}, "trainings": []})
            replica["trainings"].append(
                {
                    "member": training["member"],
                    "seed": training["seed"],
                    "selected_epoch": training["selected_epoch"],
                    "epochs": training["epochs"],
                    "seconds": training["seconds"],
                    "checkpoint": f"{folder}/{training['checkpoint']}",
                    "sha256": training["sha256"],
                }
            )
    return [
        {"run": run, "target": target, "fold": fold, "repeat": repeat, **facts}
        for (target, fold, repeat), facts in replicas.items()
    ]


# -- the rest of the chain


def _settings(jobs: Sequence[Record], runs: Sequence[str]) -> dict[str, Any]:
    """What the configuration said: of each run, and of each other job by rule and wildcards."""
    settings: dict[str, Any] = {"runs": {}, "jobs": {}}
    for record in jobs:
        for run, of_run in record.settings_of_runs.items():
            if run in runs:
                settings["runs"].setdefault(run, {}).update(of_run)
        if rest := record.settings:
            settings["jobs"][_name(record)] = rest
    return settings


def _code(jobs: Sequence[Record]) -> dict[str, Any]:
    commits: dict[str, dict[str, Any]] = {}
    for record in jobs:
        git = record.facts.get("git")
        if git:
            known = commits.setdefault(git["commit"], {"commit": git["commit"], "dirty": False, "changed": []})
            known["dirty"] |= git["dirty"]
            known["changed"] = sorted({*known["changed"], *git["changed"]})
    modules = {name: sha for record in jobs for name, sha in record.facts["code"]["modules"].items()}
    return {
        "commits": list(commits.values()),
        "fingerprints": {_name(record): record.facts["code"]["fingerprint"] for record in jobs},
        "modules": dict(sorted(modules.items())),
    }


def _software(jobs: Sequence[Record]) -> dict[str, Any]:
    """Lock files and versions; a list of versions where jobs differ."""
    versions: dict[str, list[str]] = {}
    for record in jobs:
        for name, version in record.versions.items():
            if version and version not in versions.setdefault(name, []):
                versions[name].append(version)
    locks = {lock["sha256"]: lock for record in jobs if (lock := record.facts.get("lock"))}
    variables: dict[str, str] = {}
    for record in jobs:
        variables |= (record.facts.get("environment") or {}).get("variables") or {}
    return {"locks": list(locks.values()), "versions": dict(sorted(versions.items())), "variables": variables}


def _hardware(jobs: Sequence[Record]) -> list[dict[str, Any]]:
    """Each machine, with the jobs that it ran, the GPUs that they used and torch's settings."""
    machines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for record in jobs:
        facts = record.facts
        used = record.gpus
        key = (facts.get("host"), str(facts.get("cpu")), str(used), str(facts.get("determinism")))
        machine = machines.setdefault(
            key,
            {
                "host": facts.get("host"),
                "cpu": facts.get("cpu"),
                "gpus": [{name: gpu.get(name) for name in ("name", "uuid", "driver", "used")} for gpu in used],
                "determinism": facts.get("determinism"),
                "jobs": [],
            },
        )
        machine["jobs"].append(_name(record))
    return list(machines.values())


def _name(record: Record) -> str:
    values = ",".join(f"{name}={value}" for name, value in record.wildcards.items())
    return f"{record.rule}({values})" if values else record.rule


def _last_run(graph: Graph) -> datetime | None:
    """When the study's last run began, by `audit/run.json`; None where that is not there or says nothing."""
    try:
        return _moment(read_json(graph.ledger.portable.read(f"{graph.root}/audit/run.json"))["started"])
    except (UtopiaError, LookupError, TypeError):
        return None


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None


def _job(graph: Graph, record: Record, last_run: datetime | None) -> dict[str, Any]:
    facts = record.facts
    ended = _moment(facts["ended"])
    return {
        "job": _name(record),
        "rule": record.rule,
        "record": graph.ledger.portable.write(record.path),
        "intact": record.is_intact,
        "reused": None if last_run is None or ended is None else ended < last_run,
        "found_stored": list(facts.get("reused") or []),
        **{
            name: facts.get(name) for name in ("started", "ended", "seconds", "cpu_seconds", "peak_memory_bytes", "log")
        },
        "command": facts.get("command"),
    }


def _again(subject: Subject, study: str, jobs: Sequence[Record]) -> dict[str, Any]:
    """The command that makes the subject again, what its jobs have cost, and what everything has cost."""
    trains = subject.cell is not None and any(family(record.rule) == "train" for record in jobs)
    if trains:
        command = shlex.join(["utopia", "verify", "--study", study, "--retrain", subject.name])
        does = [record for record in jobs if family(record.rule) in BY_BATCH]
    else:
        last = jobs[-1:]
        command = str(last[0].facts.get("command", "")) if last else ""
        does = list(last)
    return {
        "command": command,
        "jobs": [_name(record) for record in does],
        "seconds": round(sum(record.facts["seconds"] for record in does), 1),
        "seconds_from_nothing": round(sum(record.facts["seconds"] for record in jobs), 1),
    }


def _doubts(graph: Graph, subject: Subject) -> Iterator[str]:
    """What the files that are asked about themselves say against the answer."""
    from utopia.provenance.hashing import hash_all
    from utopia.provenance.reproduction import doubts

    portable = graph.ledger.portable
    if asked := _cells(subject):
        yield from doubts(graph.tables[asked[0].table], portable, {cell.id for cell in asked})
        return
    places = {path: portable.read(path) for path in subject.files if "files" not in (graph.entry(path) or {})}
    now = hash_all(places.values())
    for path, place in places.items():
        if now[place].sha256 != graph.sha256_of(path):
            yield f"{path} is not the file that its record describes"


def warnings(graph: Graph, jobs: Sequence[Record], current: Current | None) -> list[str]:
    """What speaks against an answer that some jobs contribute to; `utopia verify` looks much closer."""
    from utopia.provenance import integrity, staleness

    texts = []
    for record in jobs:
        if not record.is_intact:
            texts.append(f"the record of {_name(record)} was edited")
        if changed := staleness.code_change(record):
            texts.append(f"the code of {_name(record)} has changed since: {changed}")
        if changes := staleness.setting_changes(record, current):
            more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
            texts.append(f"{_name(record)} would be given other settings today: {changes[0]}{more}")
        if staleness.lock_change(record):
            texts.append(f"{_name(record)} ran with another lock file")
        if record.facts["code"].get("undeclared"):
            texts.append(f"{_name(record)} loaded code that its fingerprint does not cover")
        texts += [f"{finding.where}: {finding.what}" for finding in integrity.undeclared_reads_of(graph, record)]
    return texts
