"""What of a finished study is kept in the repository: tables, figures, coverage, and the records that prove them.

Records go without what tells machines apart (`crate.privacy.Anonymous`), and are sealed again. Nothing else of a study
is small enough; what is left out can be made again, and `utopia diff` says whether it gives the same.
"""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from utopia.errors import UtopiaError, counted
from utopia.files import sha256, write_text
from utopia.provenance.crate.privacy import Anonymous
from utopia.provenance.job import SUFFIX
from utopia.provenance.ledger import Ledger
from utopia.provenance.lineage import Graph
from utopia.tables.columns import rows_by_cell

FOLDER = "reference"
"""Below the folder of results; a folder per study in it."""
SHOWN = ("tables/*.csv", "tables/*.md", "figures/*.png", "figures/*.csv", "audit/coverage.csv")
README = "README.md"
_LEFT_OUT = frozenset(("render_page",))
"""Rules whose outputs are not kept, and are behind none that are."""


class KeptStudy(NamedTuple):
    """What was copied."""

    folder: Path
    files: int
    records: int
    bytes: int


def keep(graph: Graph, folder: Path, target: Path) -> KeptStudy:
    """Copy the part of a study that `SHOWN` names, with its records, in place of what is in `target`.

    Args:
        graph: the study's lineage.
        folder: its folder.
        target: where the copy goes, `results/reference/<study>`.

    Raises:
        UtopiaError: a record is damaged, a file has none, or is no longer what its record says.
    """
    for damaged in graph.ledger.damaged:
        raise UtopiaError(
            f"not a record: {damaged.reason}",
            where=damaged.path,
            why="what it proves would be kept without proof",
            remedy="run the study again: the job is repeated",
        )
    shown = [path for pattern in SHOWN for path in sorted(folder.glob(pattern)) if not path.name.endswith(SUFFIX)]
    if not shown:
        raise UtopiaError("no table, no figure", where=folder, remedy="run the study first (`utopia run`)")
    for path in shown:
        _refuse_unproved(graph, folder, path)
    records = [record for record in graph.ledger.records if record.rule not in _LEFT_OUT]
    hide = Anonymous(record.facts for record in records)
    staged = target.with_name(f".{target.name}.part")
    shutil.rmtree(staged, ignore_errors=True)
    for path in shown:
        copy = staged / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    for record in records:
        copy = staged / record.path.relative_to(folder)
        write_text(copy, hide.record(record.path.read_bytes()).decode())
    size = sum(path.stat().st_size for path in staged.rglob("*") if path.is_file())
    shutil.rmtree(target, ignore_errors=True)
    staged.rename(target)
    return KeptStudy(target, len(shown), len(records), size)


def _refuse_unproved(graph: Graph, folder: Path, path: Path) -> None:
    recorded = graph.sha256_of(f"{graph.root}/{path.relative_to(folder).as_posix()}")
    if recorded == sha256(path):
        return
    raise UtopiaError(
        "has no record" if recorded is None else "is no longer what its record says",
        where=path,
        why="only what records prove is kept",
        remedy="run the study again; `utopia verify` says what else was changed",
    )


def write_readme(reference: Path) -> Path:
    """Write `readme(reference)` beside the folder. Returns the file."""
    output = reference.with_name(README)
    write_text(output, readme(reference))
    return output


def readme(reference: Path) -> str:
    """What `results/reference` holds, and how it was made, in words, from its records."""
    studies = [folder for folder in sorted(reference.iterdir()) if (folder / "tables").is_dir()]
    return "\n\n".join([_HEAD, *("\n".join(_section(folder)).rstrip() for folder in studies)]) + "\n"


_HEAD = """\
# Results that come with the project

`reference/<study>/` holds the tables, the figures and the coverage of a study as last run, with the record of every job
behind them: inputs and outputs with their SHA-256, settings, code, software. Everything else of a study (features,
labels, trained networks, the page) is made again by `make results STUDY=<study>`, and then

    utopia diff results/reference/<study>     # against results/<study>: what differs, and what upstream differs first
    make reference STUDY=<study>              # takes the new results as the reference, and writes this page

Values that differ within half the width of their interval over repeats count as the same; a verdict (better, worse, not
distinguishable; in agreement with the published value or not) must be the same. Records name machines as host-1,
host-2. This page is written from them."""


def _section(folder: Path) -> Iterator[str]:
    """The lines about one study."""
    records = Ledger.read(folder).records
    if not records:
        return
    facts = [record.facts for record in records]
    commits = Counter((job.get("git") or {}).get("commit", "")[:12] or "no repository" for job in facts)
    dirty = sum(bool((job.get("git") or {}).get("dirty")) for job in facts)
    packages = [(job.get("environment") or {}).get("packages") or {} for job in facts]
    python = _every((job.get("environment") or {}).get("python") for job in facts)
    cpus = _every(f"{cpu.get('model')}, {cpu.get('cores')} cores" for job in facts if (cpu := job.get("cpu")))
    gpus = _every(gpu.get("name") for job in facts for gpu in job.get("gpu") or [])
    spent = sum(float(job.get("cpu_seconds") or 0) for job in facts)
    yield f"## {folder.name}\n"
    work = f"{counted(len(records), 'job')} in {spent / 60:.0f} minutes of processor time"
    if len(days := dict.fromkeys((facts[0]["started"][:10], facts[-1]["ended"][:10]))) > 1:
        yield _point(f"Made from {' to '.join(days)} by {work}.")
    else:
        yield _point(f"Made on {next(iter(days))} by {work}.")
    code = ", ".join(f"commit {name} ({counted(count, 'job')})" for name, count in commits.most_common())
    yield _point(f"Code: {code}, {f'with uncommitted changes in {dirty} jobs' if dirty else 'no uncommitted changes'}.")
    numpy, torch = (_every(versions.get(name) for versions in packages) for name in ("numpy", "torch"))
    yield _point(f"Software: Python {python}, NumPy {numpy}, torch {torch}; the records hold all versions.")
    yield _point(f"Hardware: {cpus}; {f'GPU {gpus}' if gpus else 'no GPU'}.")
    yield _point(f"Cells of the tables: {_cells(folder)}.")
    yield ""
    for kind, suffix, word in (("tables", "md", "Tables"), ("figures", "png", "Figures")):
        names = [path.name for path in sorted((folder / kind).glob(f"*.{suffix}"))]
        if names:
            yield f"{word}:\n"
            yield from (f"* [{name.rpartition('.')[0]}](reference/{folder.name}/{kind}/{name})" for name in names)
            yield ""


def _point(text: str) -> str:
    """A point of a list, in lines of at most 120 characters."""
    return textwrap.fill(text, 120, initial_indent="* ", subsequent_indent="  ", break_long_words=False)


def _every(values: Iterable[Any]) -> str:
    """The different values, the most frequent first."""
    return ", ".join(str(value) for value, _ in Counter(value for value in values if value).most_common())


def _cells(folder: Path) -> str:
    counts: Counter[str] = Counter()
    for path in sorted((folder / "tables").glob("*.csv")):
        counts.update(row["status"] for row in rows_by_cell(path).values())
    return ", ".join(f"{count} {status}" for status, count in counts.most_common())
