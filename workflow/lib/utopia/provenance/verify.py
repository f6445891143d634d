"""The audit of a finished study, from its records and files alone: is every value still what its lineage says?

Hashes cannot tell who wrote them: whoever rewrites a result, its record and all records after it leaves a study that
agrees with itself. Three things still speak against him: metrics and tables are computed again from what is stored;
`seal`, one digest of all records, may have been written down elsewhere; and a run can be trained again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from utopia import fingerprint
from utopia.errors import counted
from utopia.provenance import contents, environment, integrity, staleness
from utopia.provenance.current import Current
from utopia.provenance.findings import Finding, Report
from utopia.provenance.lineage import Graph
from utopia.provenance.recompute import Recomputation, fewer_repeats

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
    report = Report(study, graph.seal())
    superseded = integrity.superseded(graph)
    report.notes += [f"{path.name}: all that it describes was made by another job since" for path in sorted(superseded)]
    findings = list(integrity.records(graph))
    if expected_seal is not None and expected_seal not in {report.seal, *integrity.seals_of_pages(graph)}:
        findings.append(Finding("seal", graph.root, f"it was {expected_seal[:12]} and is {report.seal[:12]}"))
    if current is None:
        report.notes.append("settings were not compared with today's: the data folder is not known (name --data)")
    tell("hashing")
    hashed = integrity.FileHashes(graph)
    findings += hashed.findings()
    if hashed.unknown:
        report.notes.append(
            f"{counted(len(hashed.unknown), 'file was', 'files were')}"
            f" not looked at, such as {hashed.unknown[0]}: name --data"
        )
    extra, notes = integrity.unrecorded(graph, folder)
    findings += extra
    report.notes += notes
    if current is not None and not partial:
        findings += integrity.not_made(graph, current.targets())
    findings += integrity.off_the_lock(graph)
    if differing := environment.differing(environment.packages(), environment.pinned()):
        report.notes.append(f"not installed as the lock pins it, so numbers may come out otherwise: {differing[0]}")
    findings += contents.findings(graph, hashed.damaged)
    findings += staleness.findings(graph, current, set(superseded))
    findings += integrity.undeclared_reads(graph)
    findings += fewer_repeats(graph, hashed.damaged)
    recomputation = Recomputation(graph, hashed.damaged | set(hashed.unknown), known=hashed.known, pictures=pictures)
    if recompute:
        findings += contents.headers(graph, hashed.damaged)
        tell("computing metrics and tables again")
        findings += recomputation.findings()
        report.notes += recomputation.passed_over
    report.findings = [_with_results(graph, finding) for finding in _merged(findings)]
    report.checked = {
        "records": len(graph.ledger.records),
        "files": len(hashed.states),
        "bytes": hashed.bytes,
        "cells": sum(bool(cell.runs) for cell in graph.cells.values()),
        "recomputed": recomputation.compared,
    }
    report.seconds = time.perf_counter() - started
    return report


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """A table whose bytes changed, and which comes out otherwise when it is computed again, is one finding.

    Computing it again tells which of its cells were changed.
    """
    changed = {finding.where for finding in findings if finding.kind == "changed"}
    repeated = {
        repeated_finding.where: repeated_finding
        for repeated_finding in findings
        if repeated_finding.kind == _NOT_REPRODUCED and repeated_finding.where in changed
    }
    return [
        replace(finding, what=repeated[finding.where].what, cells=repeated[finding.where].cells)
        if finding.kind == "changed" and finding.where in repeated
        else finding
        for finding in findings
        if finding.kind != _NOT_REPRODUCED or finding.where not in changed
    ]


def _with_results(graph: Graph, finding: Finding) -> Finding:
    """A finding with the cells and figures that it touches."""
    if finding.cells is not None:
        cells, figures = sorted(finding.cells), []
    elif finding.kind == "seal":
        cells, figures = sorted(graph.cells), sorted(graph.figures)
    else:
        cells, figures = graph.results(finding.roots)
    return replace(finding, cells=tuple(cells), figures=tuple(figures))
