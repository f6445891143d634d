"""`utopia plan`: what a run would do, and what will be absent and why; before running anything.

Keys of `--json`: `study`, `jobs` ({`total`, `rules`: list of {rule, count, reasons}}), `runs` (number of trainings and
references that can be made), `datasets` (list of {name, available, reason, items, features, feature_reason, notes,
extraction: {videos, seconds, rows, cpu_seconds, gpu_seconds, unknown, source}, what extraction from nothing costs, null
where nothing is extracted}),
`tables` (list of {table, measured, quoted, absent}: number of cells), `figures` (list of {figure, reason}; the reason
is null if it will be drawn), `absent_runs` ({run id: reason}).
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utopia.cli import engine, options, show

if TYPE_CHECKING:
    from utopia.outputs.plan import Cell, Plan


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    options.add_study(parser)
    options.add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    """Print the plan."""
    from utopia.config.load import REPOSITORY
    from utopia.outputs.plan import Plan

    study = options.load_study(chosen)
    jobs = engine.dry_run(options.overrides(chosen), REPOSITORY)
    found = describe(Plan(study), jobs)
    if chosen.json:
        show.print_json(found)
    else:
        print("\n".join(in_words(found, jobs)))
    return 0


def describe(plan: Plan, jobs: list[engine.RuleJobs]) -> dict[str, Any]:
    """The plan of a study and the jobs of its dry run (the keys are those of `--json`)."""
    from utopia.outputs import cost

    costs: dict[str, Any] = {
        name: cost.extraction(plan.study, there, Path(plan.manifest(name))) for name, there in plan.datasets.items()
    }
    return {
        "study": plan.study.study,
        "jobs": {
            "total": sum(found.count for found in jobs),
            "rules": [{"rule": found.rule, "count": found.count, "reasons": found.kinds()} for found in jobs],
        },
        "runs": len(plan.runs),
        "datasets": [
            {
                "name": name,
                "available": there.available,
                "reason": there.reason,
                "items": there.items,
                "features": list(there.features),
                "feature_reason": there.feature_reason,
                "notes": list(there.notes),
                "extraction": None if costs[name] is None else costs[name].as_dict(),
            }
            for name, there in plan.datasets.items()
        ],
        "tables": [{"table": name, **_count(plan, name)} for name in plan.tables],
        "figures": [
            {"figure": name, "reason": plan.datasets[figure.dataset].reason or None}
            for name, figure in plan.figures.items()
        ],
        "absent_runs": dict(sorted(plan.absent_runs.items())),
    }


def _count(plan: Plan, table: str) -> dict[str, int]:
    kinds = Counter(_kind(plan, cell) for cell in plan.cells if cell.table == table)
    return {kind: kinds[kind] for kind in ("measured", "quoted", "absent")}


def _kind(plan: Plan, cell: Cell) -> str:
    if not cell.runs:
        return "absent" if cell.row.published.get(cell.column.id) is None else "quoted"
    return "measured" if all(run.id in plan.runs for run in cell.runs) else "absent"


def in_words(found: dict[str, Any], jobs: list[engine.RuleJobs]) -> list[str]:
    """The plan for people."""
    from snakemake_logger_plugin_utopia.summary import dry_run
    from utopia.outputs import cost

    lines = [f"study {found['study']}", "", "data sets"]
    for dataset in found["datasets"]:
        words = f"{dataset['items']} items; " if dataset["available"] else f"absent: {dataset['reason']}"
        if dataset["available"]:
            words += "features: " + ("+".join(dataset["features"]) or f"none: {dataset['feature_reason']}")
            words += "".join(f" ({note})" for note in dataset["notes"])
        lines.append(f"  {dataset['name']}: {words}")
        if dataset["extraction"]:
            values = {key: value for key, value in dataset["extraction"].items() if key != "source"}
            lines.append(f"    {cost.in_words(cost.ExtractionCost(**values))}")
    lines += ["", "cells of the tables"]
    lines += show.columns(
        [
            ["table", "measured", "quoted", "absent"],
            *(
                [table["table"], *(str(table[kind]) for kind in ("measured", "quoted", "absent"))]
                for table in found["tables"]
            ),
        ]
    )
    absent = [figure for figure in found["figures"] if figure["reason"]]
    lines += ["", f"figures: {len(found['figures']) - len(absent)} of {len(found['figures'])}"]
    lines += [f"  {figure['figure']}: absent: {figure['reason']}" for figure in absent]
    if found["absent_runs"]:
        lines += ["", f"runs: {found['runs']} of {found['runs'] + len(found['absent_runs'])}; absent are"]
        for reason, count in Counter(found["absent_runs"].values()).most_common():
            names = [name for name, why in found["absent_runs"].items() if why == reason]
            lines.append(f"  {', '.join(names[:3])}{f' and {count - 3} more' if count > 3 else ''}: {reason}")
    else:
        lines += ["", f"runs: {found['runs']}, none absent"]
    if jobs:
        return [*lines, "", *dry_run({job.rule: job.count for job in jobs}, {job.rule: job.reasons for job in jobs})]
    return [*lines, "", "nothing to do: everything asked for is there and up to date"]
