"""What an audit of a study finds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from utopia.errors import UtopiaError

KINDS = {
    "changed": "a file is not the one that its record describes",
    "missing": "a file that a record names is not there",
    "record edited": "a record does not agree with its own digest",
    "record damaged": "a record cannot be read",
    "record misplaced": "a record does not lie beside what it describes",
    "impossible time": "a record names times that cannot be",
    "not made": "the study is asked for a result that is not there",
    "link": "a link lies in place of a file: what it leads to can change without a trace",
    "unrecorded": "a file among the results that no record names",
    "regenerated": "an input was regenerated, with other content, after a job had read it",
    "stale code": "the code has changed since",
    "stale setting": "the configuration has changed since",
    "stale lock": "the lock file has changed since",
    "off the lock": "a job ran with other versions of packages than its lock file pins",
    "undeclared read": "a job read a file that is no declared ancestor of its results",
    "never read": "a job never opened a declared input",
    "inconsistent": "two files of the study contradict each other",
    "fewer replicas": "a value is computed from fewer replicas than promised",
    "not reproduced": "doing the job again from what is stored gives something else",
    "seal": "the records are not those that the seal was taken of",
}
"""Every kind of finding, and what it means."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    kind: str
    """One of `KINDS`."""
    where: str
    """The file concerned, as records write paths."""
    what: str
    roots: tuple[str, ...] = ()
    """The files from which on results are touched."""
    cells: tuple[str, ...] | None = None
    """The cells that are touched; None until the lineage was asked (`verify`)."""
    figures: tuple[str, ...] = ()
    """The figures that are touched."""

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: `{kind, where, what, cells, figures}`."""
        return {**self.as_fault(), "cells": list(self.cells or ()), "figures": list(self.figures)}

    def as_fault(self) -> dict[str, str]:
        """JSON-able, without what it touches: `{kind, where, what}`."""
        return {"kind": self.kind, "where": self.where, "what": self.what}


@dataclass
class Report:
    """The outcome of an audit."""

    study: str
    """Of a crate: the crate."""
    seal: str = ""
    digest: str = ""
    """Of a crate."""
    checked: dict[str, int] = field(default_factory=dict)
    """How much was looked at: `records`, `files`, `bytes`, `cells`, `recomputed` (files), of a crate also `actions`."""
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What could not be looked at and why, and what harms nothing."""
    seconds: float = 0.0

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def cells(self) -> list[str]:
        """Every cell that something touches."""
        return _union(finding.cells or () for finding in self.findings)

    @property
    def figures(self) -> list[str]:
        """Every figure that something touches."""
        return _union(finding.figures for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; see `utopia.cli.verify`."""
        return {
            "study": self.study,
            "sound": self.is_sound,
            "seal": self.seal,
            "checked": self.checked,
            "findings": [finding.as_dict() for finding in self.findings],
            "cells": self.cells,
            "figures": self.figures,
            "notes": self.notes,
            "seconds": round(self.seconds, 3),
        }


def short(sha256: str | None) -> str:
    """A digest as findings show it."""
    return (sha256 or "none")[:12]


def in_words(error: Exception) -> str:
    """What an exception that a file of the study has caused says, in one line."""
    if isinstance(error, UtopiaError):
        return error.what
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:200]}"


def _union(parts: Iterable[Iterable[str]]) -> list[str]:
    return sorted({name for part in parts for name in part})
