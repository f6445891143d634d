"""Whether a job would be given other code, other settings or another lock file today than its record names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from utopia import fingerprint
from utopia.errors import UtopiaError
from utopia.provenance import environment
from utopia.provenance.findings import Finding
from utopia.provenance.ledger import Ledger, Record
from utopia.provenance.lineage import Graph

if TYPE_CHECKING:
    from utopia.provenance.current import ChangedSetting, Current


@dataclass(frozen=True)
class CodeChange:
    """Modules (and scripts) of a job that are not what they were."""

    modules: tuple[str, ...]
    problem: str = ""
    """Why the present code cannot be read."""

    def __str__(self) -> str:
        return self.problem or ", ".join(self.modules)


@cache
def closure_now(roots: tuple[str, ...], files: tuple[str, ...]) -> dict[str, str] | str:
    """The fingerprints of modules and all that they import, as the code is now, or why there are none."""
    try:
        return fingerprint.closure(*roots, files=[fingerprint.file_of(name) for name in files])
    except UtopiaError as error:
        # Its name only: this text also is in the report, which tells nothing of the machine.
        return f"{Path(error.where).name}: {error.what}" if error.where else error.what


def code_change(record: Record) -> CodeChange | None:
    """How the code that a job reaches differs from what its record names; None where it does not."""
    code = record.facts["code"]
    now = closure_now(tuple(code["roots"]), tuple(code.get("files", ())))
    if isinstance(now, str):
        return CodeChange((), now)
    changed = changed_modules(code["modules"], now)
    return CodeChange(tuple(changed)) if changed else None


def changed_modules(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The modules that only one of two closures has, or that differ."""
    if then == now:
        return []
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def lock_change(record: Record) -> str:
    """The lock file, if it is not the one that the job ran with; empty if it is."""
    lock, recorded = environment.lock(), record.facts.get("lock")
    return lock["path"] if lock and recorded and recorded["sha256"] != lock["sha256"] else ""


def setting_changes(record: Record, current: Current | None) -> list[ChangedSetting]:
    """The parameters and inputs that would be others today; none where the configuration is not at hand."""
    return [] if current is None else current.changes(record)


def stale(ledger: Ledger) -> Iterator[tuple[Record, list[str]]]:
    """The records that no longer describe what is there, and why; nothing but code and lock is read again.

    Whether any *byte* of a file changed only hashing can tell.
    """
    for record in ledger.records:
        reasons = list(ledger.contradictions(record))
        if changed := code_change(record):
            reasons.append(f"code: {changed}")
        if path := lock_change(record):
            reasons.append(f"lock: {path} has changed")
        if reasons:
            yield record, reasons


def findings(graph: Graph, current: Current | None, apart_from: set[object]) -> Iterator[Finding]:
    """Every job that would not be the same today.

    Args:
        graph: the lineage.
        current: today's parameters.
        apart_from: paths of records that describe nothing any more.
    """
    for record in graph.ledger.records:
        if apart_from and record.path in apart_from:
            continue
        changed, changes, path = code_change(record), setting_changes(record, current), lock_change(record)
        if not (changed or changes or path):
            continue
        roots = tuple(graph.latest(record))
        where = record.first_output or graph.ledger.portable.write(record.path)
        if changed:
            yield Finding("stale code", where, str(changed), roots)
        if changes:
            more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
            runs = {change.run for change in changes}
            touched = roots if "" in runs else tuple(path for path in roots if graph.run_of(path) in runs)
            yield Finding("stale setting", where, "; ".join(map(str, changes[:3])) + more, touched)
        if path:
            yield Finding("stale lock", where, f"{path} has changed", roots)
