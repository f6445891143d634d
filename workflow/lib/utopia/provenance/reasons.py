"""Why a file would be made anew: what has changed since, furthest upstream first."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from utopia.files import sha256
from utopia.provenance import environment, staleness
from utopia.provenance.current import Current
from utopia.provenance.fingerprint import PACKAGE, file_of
from utopia.provenance.ledger import Record
from utopia.provenance.lineage import Graph

_MOST_LINES = 60


@dataclass(frozen=True)
class Reason:
    """One reason why a job would run again."""

    job: str
    kind: str
    """`missing`, `code`, `setting` or `input`."""
    what: str
    diff: tuple[str, ...] = ()
    """What has changed, line by line."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: `{job, kind, what, diff}`."""
        return {**asdict(self), "diff": list(self.diff)}


def reasons(graph: Graph, path: str, current: Current | None) -> Iterator[Reason]:
    """Every reason why a file would be made anew, of the jobs furthest upstream first.

    A changed lock file is none: no rule depends on it. Inputs count as changed where their content differs; of those
    that are not newer than what was made from them, only the size is looked at, as Snakemake does (`utopia verify`
    hashes them all).
    """
    for record in graph.jobs([path, *graph.ancestors([path])]):
        name = record.outputs[0]["path"] if record.outputs else record.rule
        yield from (Reason(name, "missing", f"{one} is not there") for one in _missing(graph, record, path))
        if changed := staleness.code_change(record):
            diff = tuple(line for module in changed.modules for line in code_diff(record, module))
            yield Reason(name, "code", f"{changed} has changed", diff[:_MOST_LINES])
        if changes := staleness.setting_changes(record, current):
            what = ", ".join(change.name for change in changes[:3]) + (", ..." if len(changes) > 3 else "")
            lines = tuple(
                line for one in changes for line in (f"- {one.name}: {one.then!r}", f"+ {one.name}: {one.now!r}")
            )
            yield Reason(name, "setting", f"{what} has changed", lines[:_MOST_LINES])
        for file, then, now in _changed_inputs(graph, record):
            yield Reason(name, "input", f"{file} has changed", (f"- sha256 {then}", f"+ sha256 {now}"))


def _missing(graph: Graph, record: Record, asked: str) -> Iterator[str]:
    """Declared outputs that are not there (what a job made beside them does not make it run again)."""
    if record is graph.makers.get(asked) and not graph.ledger.portable.read(asked).exists():
        yield asked
    declared = record.facts.get("roles", {}).get("outputs", {})
    for value in declared.values():
        for path in [value] if isinstance(value, str) else value:
            if path != asked and not graph.ledger.portable.read(path).exists():
                yield path


def _changed_inputs(graph: Graph, record: Record) -> Iterator[tuple[str, str, str]]:
    try:
        made = graph.ledger.portable.read(record.outputs[0]["path"]).stat().st_mtime_ns
    except (OSError, KeyError, IndexError):
        return
    for path, entry in graph.entries(record, "inputs").items():
        if "files" in entry or entry["sha256"] is None:
            continue
        maker = graph.makers.get(path)
        if maker is not None:
            now = graph.sha256_of(path)
            if now != entry["sha256"]:
                yield path, entry["sha256"], str(now)
                continue
        try:
            place = graph.ledger.portable.read(path)
            status = place.stat()
        except (OSError, KeyError):
            continue  # missing, which its own job says, or below a folder that was not named
        if status.st_mtime_ns > made or status.st_size != entry["bytes"]:
            now = sha256(place)
            if now != entry["sha256"]:
                yield path, entry["sha256"], now


def code_diff(record: Record, module: str) -> list[str]:
    """What has changed in a module (or script) since the commit that a job ran on, as git shows it."""
    git, folder = record.facts.get("git"), environment.checkout()
    path = _file(module)
    if not git or folder is None or path is None or shutil.which("git") is None:
        return [f"{module}: no commit is known to compare with"]
    name = path.relative_to(folder).as_posix()
    command = ["git", "--no-optional-locks", "-C", str(folder), "diff", "--no-color", "-U1", git["commit"], "--", name]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    if done.returncode:
        return [f"{module}: the commit {git['commit'][:12]} is not in this repository"]
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("diff ", "index "))]
    if name in git["changed"]:
        lines.insert(0, f"{module}: the job ran with edits that were not committed, so this may not be all")
    return lines or [
        f"{module}: git shows no difference to {git['commit'][:12]}: the file is new, or the job ran with edits"
    ]


def _file(module: str) -> Path | None:
    if "/" in module:
        return file_of(module)
    parts = module.split(".")[1:]
    for path in (PACKAGE.joinpath(*parts).with_suffix(".py"), PACKAGE.joinpath(*parts, "__init__.py")):
        if path.is_file():
            return path
    return PACKAGE.joinpath(*parts).with_suffix(".py") if parts else None
