"""Printing: JSON for programs, aligned columns for people."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from utopia.provenance.findings import Finding


def print_json(value: Any) -> None:
    """Print a JSON value."""
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def answer(chosen: argparse.Namespace, value: Any, lines: Iterable[str]) -> None:
    """Print a command's answer: as JSON where that is asked for, else for people."""
    if chosen.json:
        print_json(value)
    else:
        print("\n".join(lines))


def first(lines: Sequence[str], most: int | None, more: str) -> list[str]:
    """The first lines, all where `most` is None, and then how many more there are: the number goes into `more`."""
    left = 0 if most is None else len(lines) - most
    return [*lines[:most], more.format(left)] if left > 0 else list(lines)


def findings(
    kinds: Mapping[str, str],
    found: Iterable[Finding],
    most: int | None,
    beside: Callable[[Finding], list[str]] = lambda _: [],
) -> list[str]:
    """What an audit found, by kind, with what each kind means; of each at most so many.

    Args:
        kinds: kind -> what it means, in the order in which they are shown.
        found: the findings.
        most: how many of a kind are shown; None: all.
        beside: further lines about a finding.
    """
    by_kind: dict[str, list[str]] = {kind: [] for kind in kinds}
    for finding in found:
        by_kind[finding.kind].append("\n".join([f"  {finding.where}: {finding.what}", *beside(finding)]))
    return [
        line
        for kind, entries in by_kind.items()
        if entries
        for line in (
            f"{kind} ({len(entries)}): {kinds[kind]}",
            *first(entries, most, "  and {} more (--all shows them)"),
        )
    ]


def columns(rows: Iterable[Sequence[str]], indent: str = "  ") -> list[str]:
    """Lines with left-aligned columns."""
    table = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        indent
        + "  ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1]]).rstrip()
        for row in table
    ]


def bytes_in_words(count: float) -> str:
    """A size in decimal units: `3.2 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
