"""`utopia diff A [B]`: two result trees, cell by cell, and the first thing upstream that differs.

Keys of `--json`: `a`, `b`, `summary` (number of cells by verdict: `identical`, `within rounding`, `within the
interval`, `different`, `only in A`, `only in B`), `claims` (number of cells from which the tables conclude something
else), `cells` (list of {cell, a, b, verdict, claim, cause, trained (whether a training is behind it), spread (whether
it has one over seeds), units (distance in units of the last printed decimal)}), `faults` (with --other-processor: what
that does not explain).
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from utopia.cli import options, show
from utopia.errors import ConfigError


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("a", metavar="A", help="a study's folder, such as results/miniature")
    parser.add_argument("b", metavar="B", nargs="?", help="another one; of results/reference/X: results/X by default")
    options.add_json(parser)
    parser.add_argument("--all", action="store_true", help="list identical cells too")
    parser.add_argument(
        "--other-processor",
        action="store_true",
        help="allow what another processor explains (docs/auditing.md); list what it does not",
    )


def run(chosen: argparse.Namespace) -> int:
    """Print the comparison; 1 if a cell is different, or says something else, or is in one tree only."""
    from utopia.provenance import comparison
    from utopia.provenance.comparison import IDENTICAL, VERDICTS, Tree, compare

    chosen.b = chosen.b or str(_made_here(Path(chosen.a)))
    differences = list(compare(Tree(Path(chosen.a)), Tree(Path(chosen.b))))
    counts = Counter(cell.verdict for cell in differences)
    summary = {verdict: counts[verdict] for verdict in VERDICTS}
    claims = sum(bool(cell.claim) for cell in differences)
    unlike = (comparison.DIFFERENT, comparison.ONLY_A, comparison.ONLY_B)
    failed = bool(claims or any(counts[verdict] for verdict in unlike))
    faults = comparison.beyond_tolerance(differences) if chosen.other_processor else []
    if chosen.json:
        more = {"faults": faults} if chosen.other_processor else {}
        cells = [cell.as_dict() for cell in differences]
        show.print_json({"a": chosen.a, "b": chosen.b, "summary": summary, "claims": claims, "cells": cells, **more})
    elif chosen.other_processor:
        print("\n".join(faults or ["within what another processor explains"]))
        print(", ".join(f"{count} {verdict}" for verdict, count in summary.items() if count) or "no cells")
        print(f"verdicts that changed: {claims}")
    else:
        shown = [cell for cell in differences if chosen.all or cell.verdict != IDENTICAL or cell.claim]
        lines = show.columns([cell.cell, cell.verdict, cell.a, cell.b, cell.claim] for cell in shown) if shown else []
        causes = Counter(cell.cause for cell in shown if cell.cause)
        print("\n".join([*lines, *(f"first cause of {count}: {cause}" for cause, count in causes.most_common())]))
        print(", ".join(f"{count} {verdict}" for verdict, count in summary.items() if count) or "no cells")
        print(f"verdicts that changed: {claims}" if claims else "every verdict is the same")
    return int(bool(faults) if chosen.other_processor else failed)


def _made_here(kept: Path) -> Path:
    """The study's own folder, of what is kept of it in `reference/` beside it.

    Raises:
        ConfigError: the folder is no such copy.
    """
    from utopia.provenance.keep import FOLDER

    folder = kept.resolve()
    if folder.parent.name == FOLDER:
        return folder.parents[1] / folder.name
    raise ConfigError(f"what is {kept} to be compared with?", remedy="name a second folder: utopia diff A B")
