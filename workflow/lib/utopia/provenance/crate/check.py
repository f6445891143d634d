"""Checking a crate on a machine that has neither the data nor a GPU, and saying what could not be checked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utopia.errors import UtopiaError
from utopia.provenance.crate import agreement, describe, naming
from utopia.provenance.crate.agreement import Crate
from utopia.provenance.crate.content import OPTIONAL, is_plain
from utopia.provenance.crate.extract import extracted
from utopia.provenance.findings import Finding
from utopia.provenance.recompute import Recomputation, fewer_repeats

_NAMES = {
    "metrics.csv": "metrics",
    "predictions.safetensors": "predictions are",
    "training.json": "summaries of training are",
}
_CHANGED = " is not what it was"


@dataclass
class CrateReport:
    """The outcome of a check."""

    crate: str
    seal: str = ""
    digest: str = ""
    checked: dict[str, int] = field(default_factory=dict)
    """`files`, `bytes`, `records`, `actions`, `cells` and `recomputed` (files made again and compared)."""
    faults: list[Finding] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_sound(self) -> bool:
        """Whether no fault was found."""
        return not self.faults

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; see `utopia.cli.crate`."""
        return {
            "crate": self.crate,
            "sound": self.is_sound,
            "seal": self.seal,
            "digest": self.digest,
            "checked": self.checked,
            "faults": [fault.as_fault() for fault in self.faults],
            "not_checked": self.not_checked,
            "seconds": round(self.seconds, 3),
        }


def check(crate: Path, *, seal: str | None = None, digest: str | None = None, recompute: bool = True) -> CrateReport:
    """Check a crate, reading nothing but the crate and running no code of it.

    Args:
        crate: its folder or zip.
        seal: the seal that was published elsewhere.
        digest: the digest of the crate that was published elsewhere.
        recompute: whether values are computed again.

    Raises:
        UtopiaError: it is no crate of this program, or it is refused (see `extract.extracted`).
    """
    started = time.perf_counter()
    outcome = CrateReport(crate.name)
    with extracted(crate) as folder:
        inside = Crate(folder)
        graph = inside.graph
        outcome.digest = naming.crate_digest(inside.files)
        outcome.checked = {
            "files": len(inside.files),
            "bytes": sum(entry.bytes for entry in inside.files.values()),
            "records": len(graph.ledger.records),
            "actions": sum("CreateAction" in str(entry.get("@type")) for entry in inside.entities.values()),
            "cells": 0,
            "recomputed": 0,
        }
        try:
            outcome.seal = graph.seal()
            outcome.faults += agreement.faults(inside)
            if seal is not None and seal != outcome.seal:
                outcome.faults.append(Finding("seal", inside.root, f"it is {outcome.seal[:12]}, not {seal[:12]}"))
            if digest is not None and digest != outcome.digest:
                outcome.faults.append(Finding("digest", crate.name, f"it is {outcome.digest[:12]}, not {digest[:12]}"))
            outcome.checked["cells"] = sum(bool(cell.runs) for cell in graph.cells.values())
            if recompute:
                _recompute(inside, outcome)
            else:
                outcome.not_checked.append("nothing was computed again, as asked")
        except (UtopiaError, OSError, LookupError, TypeError, ValueError, AttributeError) as error:
            # Of a crate of ours this cannot be: a record has the form of one, and values that no job writes.
            what = f"a record is not what a job writes ({type(error).__name__}: {error}); the check ended there"
            outcome.faults.append(Finding("record", inside.root, what))
        outcome.not_checked += _unseen(inside, is_sealed=digest is not None)
    outcome.seconds = time.perf_counter() - started
    return outcome


def _recompute(crate: Crate, outcome: CrateReport) -> None:
    """Compute again what can be, and add what comes out otherwise, and what was not computed again and why."""
    if strange := _unsafe(crate):
        outcome.not_checked.append(f"nothing was computed again: {strange}")
        return
    graph = crate.graph
    absent = {path for path in (*graph.makers, *graph.readers) if path not in crate.files}
    damaged = absent | {fault.where for fault in outcome.faults if fault.kind in ("changed", "missing")}
    recomputation = Recomputation(graph, damaged, trusted=False)
    for finding in (*fewer_repeats(graph, damaged), *recomputation.findings()):
        outcome.faults.append(Finding("not reproduced", finding.where, finding.what))
    outcome.checked["recomputed"] = recomputation.compared
    notes = Counter(_note(text, absent) for text in recomputation.passed_over)
    outcome.not_checked += [text if number == 1 else f"{text} ({number} jobs)" for text, number in notes.items()]


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
        yield f"{len(referred)} files ({size} bytes) are not in the crate: only what is said of them was compared"
    below = [path.removeprefix(f"{crate.root}/") for path in crate.files]
    lacking = [kind for kind in ("predictions", "checkpoints") if not any(map(OPTIONAL[kind].fullmatch, below))]
    if lacking:
        yield f"training: {' and '.join(lacking)} are not in the crate"
    if not is_sealed:
        yield "whether everything was rewritten together: compare with the digest that was published (--digest)"
    if not describe.is_written_by_this_program(crate.folder):
        yield "names and descriptions in the metadata: the crate was written by another version of this program"
    yield "the form of the metadata: rocrate-validator checks that (profile provenance-run-crate-0.5)"
