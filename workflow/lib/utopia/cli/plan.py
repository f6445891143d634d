"""`utopia plan`: what a run would do, and what will be absent and why; before running anything.

Keys of `--json`: `study`, `jobs` ({`total`, `rules`: list of {rule, count, reasons}}), `runs` (number of trainings and
references that can be made), `datasets` (list of {name, available, reason, items, features, feature_reason, notes,
shots: the file whose shots the F-score goes by, folds: list of {name, train, test: items that are there, train_listed,
test_listed},
extraction: {videos, seconds, rows, cpu_seconds, gpu_seconds, unknown, source}, what extraction from nothing costs, null
where nothing is extracted}),
`left_out` (tables and figures that are not made because none of their data sets is there or asked for),
`asked` (the data sets that the tables and figures show),
`tables` (list of {table, measured, quoted, absent}: number of cells), `figures` (list of {figure, reason}; the reason
is null if it will be drawn), `absent_runs` ({run id: reason}), `price` (of the whole study from nothing: {core_hours,
gpu_hours (null: no rate was measured on a GPU), disk_gigabytes, wall_hours (on `nodes` of `cores`), nodes, cores,
stages: list of {stage, jobs, core_seconds, gpu_seconds, longest_seconds (of its longest job), disk_bytes},
units: list of {unit, count, seconds, source, on_gpu, stage}, tables: {table: core-hours of it alone},
unknown: what has no measured rate and is in no sum}).

With `--videos N` instead: `dataset`, `videos`, `seconds` (of a video), `nodes`, `cores` (of a node), `stages` (list of
{stage, jobs, threads, core_seconds, gpu_seconds, disk_bytes}), `jobs`, `core_hours`, `gpu_hours` (null: no rate was
measured), `disk_gigabytes`, `wall_hours`, `rates` (where a model's comes from), `unknown` (what was never measured and
is not counted) and `source`.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utopia.cli import engine, options, show
from utopia.errors import UtopiaError
from utopia.files import write_json

if TYPE_CHECKING:
    from utopia.plan.plan import Plan, PlannedCell


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    options.add_study(parser)
    options.add_selection(parser)
    options.add_json(parser)
    size = parser.add_argument_group("the price of another size")
    size.add_argument("--videos", type=_positive, metavar="N", help="price a study whose data set has N videos")
    size.add_argument("--dataset", metavar="NAME", help="which data set (default: the one with most videos)")
    size.add_argument("--seconds", type=_positive, metavar="S", help="mean length of a video (default: as it is)")
    parser.add_argument(
        "--measure",
        metavar="SECONDS",
        type=_positive,
        nargs="?",
        const=30,
        help="first try here, for so long (30 s), what a training and an extractor cost; kept for later plans and runs",
    )
    where = parser.add_argument_group("where it would run, for the time that it takes")
    where.add_argument("--nodes", type=_positive, metavar="K", default=1, help="machines at work at once (default: 1)")
    where.add_argument("--node-cores", type=_positive, metavar="C", help="cores of each (default: as this machine has)")


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"must be a whole number above 0; found {text!r}")
    return int(text)


def run(chosen: argparse.Namespace) -> int:
    """Print the plan."""
    from utopia.config.load import REPOSITORY
    from utopia.plan.plan import Plan

    study = options.load_study(chosen)
    chosen.node_cores = chosen.node_cores or len(os.sched_getaffinity(0))
    if chosen.measure:
        measure(Plan(study), chosen.measure)
    if chosen.videos:
        return _price(chosen, Plan(study))
    jobs = engine.dry_run(options.overrides(chosen), REPOSITORY, chosen.configfile)
    facts = describe(Plan(study), jobs, chosen.nodes, chosen.node_cores)
    show.answer(chosen, facts, in_words(facts, jobs))
    return 0


def measure(plan: Plan, seconds: float) -> None:
    """Run the micro-benchmark of this machine, and keep what it gives in the study's folder.

    Raises:
        UtopiaError: it fails.
    """
    from utopia.plan import rates

    asked = rates.to_measure(plan, seconds)
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "utopia.training.trial"],
        input=json.dumps(asked),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UtopiaError(f"the micro-benchmark failed: {last}", remedy="plan without --measure")
    measured = json.loads(done.stdout) | {"host": socket.gethostname(), "seconds": round(time.monotonic() - begun, 1)}
    write_json(plan.root / rates.NAME, measured)
    tried = len(measured["training"]) + len(measured["extraction"])
    print(f"measured {tried} rates in {measured['seconds']:.0f} s: {plan.root / rates.NAME}", file=sys.stderr)
    for key, why in measured["left_out"].items():
        print(f"  not measured: {key}: {why}", file=sys.stderr)


def _price(chosen: argparse.Namespace, plan: Plan) -> int:
    from utopia.plan import scale

    dataset = chosen.dataset or max(plan.datasets, key=lambda name: plan.datasets[name].items)
    price = scale.price(plan, dataset, chosen.videos, chosen.nodes, chosen.node_cores, chosen.seconds)
    show.answer(chosen, price.as_dict(), scale.in_words(price))
    return 0


def describe(plan: Plan, jobs: list[engine.RuleJobs], nodes: int = 1, cores: int = 1) -> dict[str, Any]:
    """The plan of a study and the jobs of its dry run (the keys are those of `--json`).

    Args:
        plan: the study's plan.
        jobs: what a run would do.
        nodes: machines that the study would have.
        cores: of each of them.
    """
    from utopia.plan import cost, price

    costs: dict[str, Any] = {
        name: cost.extraction(plan.study, availability, Path(plan.manifest(name)))
        for name, availability in plan.datasets.items()
    }
    return {
        "study": plan.study.study,
        "jobs": {
            "total": sum(rule_jobs.count for rule_jobs in jobs),
            "rules": [
                {"rule": rule_jobs.rule, "count": rule_jobs.count, "reasons": rule_jobs.kinds()} for rule_jobs in jobs
            ],
        },
        "runs": len(plan.runs),
        "datasets": [
            {
                "name": name,
                "available": availability.available,
                "reason": availability.reason,
                "items": availability.items,
                "features": list(availability.features),
                "feature_reason": availability.feature_reason,
                "notes": [*availability.notes, *availability.protocol_notes],
                "shots": availability.shots,
                "folds": [asdict(fold) for fold in availability.folds],
                "extraction": None if costs[name] is None else costs[name].as_dict(),
            }
            for name, availability in plan.datasets.items()
        ],
        "tables": [{"table": name, **_count(plan, name)} for name in plan.tables],
        "figures": [{"figure": name, "reason": plan.figure_reason(name) or None} for name in plan.figures],
        "absent_runs": dict(sorted(plan.absent_runs.items())),
        "left_out": plan.left_out,
        "asked": plan.asked,
        "price": price.price(plan).as_dict(nodes, cores),
    }


def _count(plan: Plan, table: str) -> dict[str, int]:
    kinds = Counter(_kind(plan, cell) for cell in plan.cells if cell.table == table)
    return {kind: kinds[kind] for kind in ("measured", "quoted", "absent")}


def _kind(plan: Plan, cell: PlannedCell) -> str:
    if not cell.runs:
        return "blank" if cell.row.published.get(cell.column.id) is None else "quoted"
    return "measured" if all(run.id in plan.runs for run in cell.runs) else "absent"


def in_words(facts: dict[str, Any], jobs: list[engine.RuleJobs]) -> list[str]:
    """The plan for people."""
    from snakemake_logger_plugin_utopia.summary import dry_run
    from utopia.plan import price

    lines = [f"study {facts['study']}", "", "data sets", *_datasets(facts), "", "cells of the tables, and core time"]
    alone = facts["price"]["tables"]
    lines += show.columns(
        [
            ["table", "measured", "quoted", "absent", "if it alone is made"],
            *(
                [
                    table["table"],
                    *(str(table[kind]) for kind in ("measured", "quoted", "absent")),
                    price.duration(alone[table["table"]] * 3600) if table["measured"] else "-",
                ]
                for table in facts["tables"]
            ),
        ]
    )
    absent = {figure["figure"]: figure["reason"] for figure in facts["figures"] if figure["reason"]}
    lines += ["", f"figures: {len(facts['figures']) - len(absent)} of {len(facts['figures'])}"]
    known = {
        dataset["reason"]
        for dataset in facts["datasets"]
        if not dataset["available"] and dataset["name"] in facts["asked"]
    }
    lines += _by_reason(absent, known)
    if facts["left_out"]:
        lines += ["", *_wrapped("left out, because none of their data is there or asked for: ", facts["left_out"])]
    if facts["absent_runs"]:
        lines += ["", f"runs: {facts['runs']} of {facts['runs'] + len(facts['absent_runs'])}"]
        lines += _by_reason(facts["absent_runs"], known)
    else:
        lines += ["", f"runs: {facts['runs']}, none absent"]
    lines += ["", *price.in_words(facts["price"])]
    if jobs:
        return [*lines, "", *dry_run({job.rule: job.count for job in jobs}, {job.rule: job.reasons for job in jobs})]
    return [*lines, "", "nothing to do: everything asked for is there and up to date"]


def _datasets(facts: dict[str, Any]) -> list[str]:
    """Those that the study shows: what is there of each; the absent ones by their reason."""
    from utopia.plan import cost
    from utopia.plan.looked import FoldPlan

    lines = []
    asked = [dataset for dataset in facts["datasets"] if dataset["name"] in facts["asked"]]
    for dataset in (known for known in asked if known["available"]):
        words = f"{dataset['items']} items; "
        words += "features: " + ("+".join(dataset["features"]) or f"none: {dataset['feature_reason']}")
        words += "".join(f" ({note})" for note in dataset["notes"])
        words += f"; shots: {dataset['shots']}" if dataset["shots"] else ""
        lines.append(f"  {dataset['name']}: {words}")
        if dataset["extraction"]:
            values = {key: value for key, value in dataset["extraction"].items() if key != "source"}
            lines.append(f"    {cost.in_words(cost.ExtractionCost(**values))}")
        folds = [FoldPlan(**fold) for fold in dataset["folds"]] if dataset["features"] else []
        lines += [f"    cannot be trained: {why}" for fold in folds if (why := fold.obstacle(1))]
    return lines + _by_reason({known["name"]: known["reason"] for known in asked if not known["available"]})


_NAMED = 6
"""Names that are listed beside a reason."""


def _by_reason(absent: dict[str, str], said: Collection[str] = ()) -> list[str]:
    """What is absent, each reason once; of one that was said of a data set, only that."""
    lines = []
    shown = {name: "" if why in said else why for name, why in absent.items()}
    for reason, count in Counter(shown.values()).most_common():
        named = [name for name, why in shown.items() if why == reason]
        more = f" and {count - _NAMED} more" if count > _NAMED else ""
        words = reason or "the data set is absent, as said above"
        lines.append(f"  absent: {', '.join(named[:_NAMED])}{more}: {words}")
    return lines


def _wrapped(title: str, names: list[str]) -> list[str]:
    return textwrap.wrap(title + ", ".join(names), 118, subsequent_indent="  ", break_on_hyphens=False)
