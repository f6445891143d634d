"""What training could really use, from training.json; also why values cannot be compared with published ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utopia.files import read_json


def reasons(notes: Mapping[str, Sequence[str]], summaries: Sequence[Path]) -> dict[str, str]:
    """The reasons by run id; empty text where there is none.

    Args:
        notes: what the plan knows, by run id (generated data, other features).
        summaries: training.json files; items left out, folds dropped, and files or shots other than the published ones
            are reasons too.
    """
    reasons_of = {run: list(known) for run, known in notes.items()}
    for path in summaries:
        summary = read_json(path)
        reasons_of.setdefault(summary["run"], []).extend(_shortfall(summary))
    return {run: "; ".join(dict.fromkeys(known)) for run, known in reasons_of.items()}


def untrained(summaries: Sequence[Path]) -> dict[str, str]:
    """Why a run has no predictions, by run id, of those without a fold that could be trained."""
    reason_of = {}
    for summary in map(read_json, summaries):
        if not summary["folds"]:
            folds = (f"fold {name}: {reason}" for name, reason in sorted(summary["dropped_folds"].items()))
            reason_of[summary["run"]] = f"no fold can be trained ({'; '.join(folds)})"
    return reason_of


def promised(summaries: Sequence[Path]) -> dict[str, int]:
    """Replicas that each target of a run promises (folds x repeats), by run id."""
    counts: dict[str, int] = {}
    for path in summaries:
        summary = read_json(path)
        counts[summary["run"]] = len(summary["folds"]) * int(summary["settings"]["repeats"])
    return counts


def frames(summaries: Sequence[Path]) -> dict[str, dict[str, int]]:
    """Frames of each item, by run id: what a metric over all frames weighs items by."""
    return {summary["run"]: dict(summary["items"]) for summary in map(read_json, summaries)}


def _shortfall(summary: Mapping[str, Any]) -> list[str]:
    short = []
    used, left_out = len(summary["items"]), len(summary["left_out"])
    if left_out:
        short.append(f"{used} of {used + left_out} labelled items")
    if summary["dropped_folds"]:
        short.append(f"{len(summary['folds'])} of {len(summary['folds']) + len(summary['dropped_folds'])} folds")
    short += summary.get("unlike_published", [])
    short += [
        f"the F-score goes by the data set's own shots, and {name} comes with other shots of {count} of {used} items"
        for name, count in summary.get("other_shots", {}).items()
    ]
    if summary["oracle"]:
        short.append("the epoch was selected on the test items (an oracle)")
    return short
