"""Checking a crate on a machine that has neither the data nor a GPU, and saying what could not be checked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from utopia.errors import UtopiaError, counted
from utopia.provenance.crate import agreement, describe, naming
from utopia.provenance.crate.agreement import Crate
from utopia.provenance.crate.content import OPTIONAL, is_plain
from utopia.provenance.crate.extract import extracted
from utopia.provenance.findings import Finding, Report
from utopia.provenance.recompute import Recomputation, fewer_repeats

_NAMES = {
    "metrics.csv": "metrics",
    "predictions.safetensors": "predictions are",
    "training.json": "summaries of training are",
}
_CHANGED = " is not what it was"


def check(crate: Path, *, seal: str | None = None, digest: str | None = None, recompute: bool = True) -> Report:
    """Check a crate, reading nothing but the crate and running no code of it.

    Args:
        crate: its folder or zip.
        seal: the seal that was published elsewhere.
        digest: the digest of the crate that was published elsewhere.
        recompute: whether values are computed again.

    Returns:
        What was found (kinds: `agreement.KINDS`), and in its notes what could not be checked.

    Raises:
        UtopiaError: it is no crate of this program, or it is refused (see `extract.extracted`).
    """
    started = time.perf_counter()
    report = Report(crate.name)
    with extracted(crate) as folder:
        inside = Crate(folder)
        graph = inside.graph
        report.digest = naming.crate_digest(inside.files)
        report.checked = {
            "files": len(inside.files),
            "bytes": sum(entry.bytes for entry in inside.files.values()),
            "records": len(graph.ledger.records),
            "actions": sum("CreateAction" in str(entry.get("@type")) for entry in inside.entities.values()),
            "cells": 0,
            "recomputed": 0,
        }
        try:
            report.seal = graph.seal()
            report.findings += agreement.faults(inside)
            if seal is not None and seal != report.seal:
                report.findings.append(Finding("seal", inside.root, f"it is {report.seal[:12]}, not {seal[:12]}"))
            if digest is not None and digest != report.digest:
                report.findings.append(Finding("digest", crate.name, f"it is {report.digest[:12]}, not {digest[:12]}"))
            report.checked["cells"] = sum(bool(cell.runs) for cell in graph.cells.values())
            if recompute:
                _recompute(inside, report)
            else:
                report.notes.append("nothing was computed again, as asked")
        except (UtopiaError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
            # Of a crate of ours this cannot be: a record has the form of one, and values that no job writes.
            what = f"a record is not what a job writes ({type(error).__name__}: {error}); the check ended there"
            report.findings.append(Finding("record", inside.root, what))
        report.notes += _unseen(inside, is_sealed=digest is not None)
    report.seconds = time.perf_counter() - started
    return report


def _recompute(crate: Crate, report: Report) -> None:
    """Compute again what can be, and add what comes out otherwise, and what was not computed again and why."""
    if strange := _unsafe(crate):
        report.notes.append(f"nothing was computed again: {strange}")
        return
    graph = crate.graph
    absent = {path for path in (*graph.makers, *graph.readers) if path not in crate.files}
    damaged = absent | {fault.where for fault in report.findings if fault.kind in ("changed", "missing")}
    recomputation = Recomputation(graph, damaged, trusted=False)
    for finding in (*fewer_repeats(graph, damaged), *recomputation.findings()):
        report.findings.append(Finding("not reproduced", finding.where, finding.what))
    report.checked["recomputed"] = recomputation.compared
    notes = Counter(_note(text, absent) for text in recomputation.passed_over)
    report.notes += [text if number == 1 else f"{text} ({number} jobs)" for text, number in notes.items()]


def _note(text: str, absent: set[str]) -> str:
    """Why a job was not done again, the same words for all jobs that lack a file of one kind."""
    job, _, reason = text.partition(" was not done again: ")
    if reason.endswith(_CHANGED):
        path = reason.removesuffix(_CHANGED)
        if path in absent:
            return f"{_kind(job)} not computed again: {_kind(path)} not in the crate"
    elif reason.startswith("its code has changed"):
        return f"{_kind(job)} not computed again: this program's code is not the crate's ({reason[22:].strip('()')})"
    return text


def _kind(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    if name.endswith(".json") and "/inputs/" in path:
        return "manifests are"
    for start, words in (
        ("/inputs/raw/", "raw files are"),
        ("/tables/", "tables"),
        ("/figures/", "numbers of figures"),
        ("/labels/", "labels are"),
    ):
        if start in path:
            return words
    return _NAMES.get(name, name)


def _unsafe(crate: Crate) -> str:
    """Why a record must not be followed when its job is done again; empty where all stay in the crate."""
    for record in crate.graph.ledger.records:
        if strange := agreement.undescribed(crate.graph, record):
            return f"a record was called with {strange[0]!r}, which it does not describe"
        if outside := [path for path in crate.graph.entries(record, "outputs") if not is_plain(path)]:
            return f"a record made {outside[0]!r}, which leads out of the crate"
    return ""


def _unseen(crate: Crate, *, is_sealed: bool) -> Iterator[str]:
    referred = [entity for name, entity in crate.entities.items() if name.startswith(naming.REFERRED)]
    if referred:
        size = sum(int(file["contentSize"]) for file in referred if str(file.get("contentSize", "")).isdigit())
        yield (
            f"{counted(len(referred), 'file is', 'files are')} not in"
            f" the crate ({size} bytes): only what is said was compared"
        )
    below = [path.removeprefix(f"{crate.root}/") for path in crate.files]
    lacking = [kind for kind in ("predictions", "checkpoints") if not any(map(OPTIONAL[kind].fullmatch, below))]
    if lacking:
        yield f"training: {' and '.join(lacking)} are not in the crate"
    if not is_sealed:
        yield "whether everything was rewritten together: compare with the digest that was published (--digest)"
    if not describe.is_written_by_this_program(crate.folder):
        yield "names and descriptions in the metadata: the crate was written by another version of this program"
    yield "the form of the metadata: rocrate-validator checks that (profile provenance-run-crate-0.5)"
