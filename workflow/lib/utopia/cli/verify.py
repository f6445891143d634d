"""`utopia verify`: whether every value of a study is still what its lineage says; and, asked, whether it comes again.

Keys of `--json`: `study`, `sound`, `seal`, `checked` ({records, files, bytes, cells, recomputed}), `findings` (list of
{kind, where, what, cells, figures}), `cells` and `figures` (all that are touched), `notes`, `seconds`. Those of
`--predict`, `--retrain` and `--reextract`: see `utopia.cli.retrain`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from utopia.cli import audit, retrain, show
from utopia.errors import counted

if TYPE_CHECKING:
    from utopia.provenance.findings import Report

_SHOWN = 8
"""Cells that a line names."""
_PER_KIND = 6
"""Findings of a kind that are shown unless all are asked for."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    audit.add(parser)
    parser.add_argument("--all", action="store_true", help="show every finding, not only the first of each kind")
    parser.add_argument("--hash-only", action="store_true", help="compute nothing again")
    parser.add_argument("--partial", action="store_true", help="the study was made in part: look for nothing more")
    parser.add_argument("--seal", metavar="DIGEST", help="the seal that was noted when the study was finished")
    repeated = parser.add_mutually_exclusive_group()
    repeated.add_argument(
        "--predict", metavar="CELL", nargs="*", help="instead: predict from the checkpoints behind cells (default: all)"
    )
    repeated.add_argument("--retrain", metavar="CELL", nargs="+", help="instead: train the runs behind cells again")
    repeated.add_argument(
        "--reextract", metavar="CELL", nargs="+", help="instead: extract the features behind cells again"
    )
    parser.add_argument("--tolerance", type=float, help="how far a value may be off (default: half a printed unit)")
    parser.add_argument("--cores", metavar="N", default="all", help="jobs at once, of --retrain and --reextract")
    parser.add_argument("--scratch", metavar="FOLDER", help="where to make things again (default: the system's)")


def run(chosen: argparse.Namespace) -> int:
    """Audit the study; 1 if anything was found."""
    from utopia.provenance.verify import verify

    study = audit.locate(chosen)
    graph = audit.graph(study)
    if any(tier is not None for tier in (chosen.predict, chosen.retrain, chosen.reextract)):
        return retrain.run(chosen, study, graph)
    report = verify(
        graph,
        study.root,
        study.study,
        current=audit.current(study, graph),
        expected_seal=chosen.seal,
        recompute=not chosen.hash_only,
        partial=chosen.partial,
        tell=lambda text: print(f"{text} ...", file=sys.stderr) if sys.stderr.isatty() else None,
    )
    show.answer(chosen, report.as_dict(), in_words(report, None if chosen.all else _PER_KIND))
    return 0 if report.is_sound else 1


def in_words(report: Report, most: int | None = None) -> list[str]:
    """The report for people: findings by kind, the cells that each touches, and what was looked at."""
    from utopia.provenance.findings import KINDS

    lines = show.findings(
        KINDS, report.findings, most, lambda one: [f"    touches {touched(one.cells or (), one.figures)}"]
    )
    lines += [f"note: {note}" for note in report.notes]
    checked = report.checked
    lines.append(
        f"{report.study}: {checked['records']} records, {checked['files']} files "
        f"({show.bytes_in_words(checked['bytes'])}), {checked['cells']} cells, {checked['recomputed']} files compared "
        f"with what comes out again, in {report.seconds:.1f} s"
    )
    lines.append(f"seal {report.seal}")
    if report.is_sound:
        return [*lines, "sound: nothing contradicts the records"]
    return [
        *lines,
        f"NOT SOUND: {counted(len(report.findings), 'finding touches', 'findings touch')}"
        f" {touched(report.cells, report.figures)}",
    ]


def touched(cells: Sequence[str], figures: Sequence[str]) -> str:
    """Cells and figures in a few words."""
    if not cells and not figures:
        return "no cell and no figure"
    more = f" and {len(cells) - _SHOWN} more" if len(cells) > _SHOWN else ""
    words = [f"{counted(len(cells), 'cell')} ({', '.join(cells[:_SHOWN])}{more})"] if cells else []
    return " and ".join(
        words + ([f"{counted(len(figures), 'figure')} ({', '.join(figures[:_SHOWN])})"] if figures else [])
    )
