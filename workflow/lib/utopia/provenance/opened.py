"""What jobs really opened, against what their rules declare."""

from __future__ import annotations

from collections.abc import Iterator

from utopia.provenance.findings import Finding
from utopia.provenance.ledger import Record
from utopia.provenance.lineage import Graph


def findings(graph: Graph) -> Iterator[Finding]:
    """Files that jobs read although they are no ancestor of their results, and declared inputs that they never read."""
    for record in graph.ledger.records:
        yield from findings_of(graph, record)


def findings_of(graph: Graph, record: Record) -> Iterator[Finding]:
    """The same of one job."""
    opened = record.facts.get("opened")
    if opened is None:
        return
    made = tuple(path for path in graph.made(record) if graph.makers.get(path) is record)
    if opened["undeclared"]:
        read = graph.entries(record, "inputs")
        known = {*graph.ancestors(made), *graph.ancestors(read), *read}
        beside = {path for each in read if (maker := graph.makers.get(each)) for path in graph.made(maker)}
        for path in opened["undeclared"]:
            if path not in known and path not in beside:
                yield Finding("undeclared read", path, f"{record.rule} read it and does not declare it", made)
    for path in opened["never_read"]:
        yield Finding("never read", path, f"{record.rule} declares it and never opened it", made)
