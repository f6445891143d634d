"""The audit of a finished study, from its records and files alone: is every value still what its lineage says?

Hashes cannot tell who wrote them: whoever rewrites a result, its record and all records after it leaves a study that
agrees with itself. Three things still speak against him: metrics and tables are computed again from what is stored;
`seal`, one digest of all records, may have been written down elsewhere; and a run can be trained again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from utopia import fingerprint
from utopia.provenance import contents, environment, integrity, opened, staleness
from utopia.provenance.current import Current
from utopia.provenance.findings import Finding, Judged, Report
from utopia.provenance.lineage import Graph
from utopia.provenance.recompute import Again, fewer_seeds

_NOT_REPRODUCED = "not reproduced"


def verify(
    graph: Graph,
    folder: Path,
    study: str,
    *,
    current: Current | None = None,
    expected_seal: str | None = None,
    recompute: bool = True,
    pictures: bool = True,
    partial: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Audit a study.

    Args:
        graph: its lineage.
        folder: its folder on this machine.
        study: its name.
        current: today's parameters; without them settings are not compared.
        expected_seal: the seal that was written down when the study was finished.
        recompute: whether values are computed again.
        pictures: whether figures are drawn again too.
        partial: whether the study was made in part on purpose, so that what is not there is not looked for.
        tell: is told what is being done.
    """
    started = time.perf_counter()
    fingerprint.read_afresh()
    report = Report(study, integrity.seal(graph))
    gone = integrity.superseded(graph)
    report.notes += [f"{path.name}: all that it describes was made by another job since" for path in sorted(gone)]
    found = list(integrity.records(graph))
    if expected_seal is not None and expected_seal not in {report.seal, *integrity.seals_of_pages(graph)}:
        found.append(Finding("seal", graph.root, f"it was {expected_seal[:12]} and is {report.seal[:12]}"))
    if current is None:
        report.notes.append("settings were not compared with today's: the data folder is not known (name --data)")
    tell("hashing")
    there = integrity.Bytes(graph)
    found += there.findings()
    if there.unknown:
        report.notes.append(f"{len(there.unknown)} files were not looked at, such as {there.unknown[0]}: name --data")
    extra, notes = integrity.unrecorded(graph, folder)
    found += extra
    report.notes += notes
    if current is not None and not partial:
        found += integrity.not_made(graph, current.targets())
    found += integrity.off_the_lock(graph)
    if differing := environment.differing(environment.packages(), environment.pinned()):
        report.notes.append(f"not installed as the lock pins it, so numbers may come out otherwise: {differing[0]}")
    found += contents.findings(graph, there.damaged)
    found += staleness.findings(graph, current, set(gone))
    found += opened.findings(graph)
    found += fewer_seeds(graph, there.damaged)
    again = Again(graph, there.damaged | set(there.unknown), known=there.known, pictures=pictures)
    if recompute:
        found += contents.headers(graph, there.damaged)
        tell("computing metrics and tables again")
        found += again.findings()
        report.notes += again.passed_over
    report.findings = [_judged(graph, finding) for finding in _once(found)]
    report.checked = {
        "records": len(graph.ledger.records),
        "files": len(there.found),
        "bytes": there.bytes,
        "cells": sum(bool(cell.runs) for cell in graph.cells.values()),
        "recomputed": again.compared,
    }
    report.seconds = time.perf_counter() - started
    return report


def _once(findings: Iterable[Finding]) -> list[Finding]:
    """A table whose bytes changed, and which comes out otherwise when it is done again, is one finding.

    Doing it again tells which of its cells were changed.
    """
    found = list(findings)
    changed = {finding.where for finding in found if finding.kind == "changed"}
    cells = {one.where: one for one in found if one.kind == _NOT_REPRODUCED and one.where in changed}
    kept = []
    for finding in found:
        if finding.kind == _NOT_REPRODUCED and finding.where in changed:
            continue
        again = cells.get(finding.where) if finding.kind == "changed" else None
        kept.append(finding if again is None else replace(finding, what=again.what, cells=again.cells))
    return kept


def _judged(graph: Graph, finding: Finding) -> Judged:
    if finding.cells is not None:
        return Judged(finding, sorted(finding.cells), [])
    if finding.kind == "seal":
        return Judged(finding, sorted(graph.cells), sorted(graph.figures))
    return Judged(finding, *graph.results(finding.roots))
