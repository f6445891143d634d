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
    if not opened["undeclared"] and not opened["never_read"]:
        return
    made = tuple(path for path in graph.made(record) if graph.makers.get(path) is record)
    if opened["undeclared"]:
        for path in _unknown(graph, record, made):
            yield Finding("undeclared read", path, f"{record.rule} read it and does not declare it", made)
    for path in opened["never_read"]:
        yield Finding("never read", path, f"{record.rule} declares it and never opened it", made)


def _unknown(graph: Graph, record: Record, made: tuple[str, ...]) -> list[str]:
    """What a job read that neither is an ancestor of its results, nor was made together with one of its inputs."""
    read = graph.entries(record, "inputs")
    makers = {id(maker): maker for path in read if (maker := graph.makers.get(path))}
    rest = [path for path in record.facts["opened"]["undeclared"] if path not in read]
    # Most are stored features that the job of a declared index made: no need to go further up for them.
    for maker in makers.values():
        beside = graph.entries(maker, "outputs")
        rest = [path for path in rest if path not in beside]
    if rest:
        known = {*graph.ancestors(made), *graph.ancestors(read)}
        rest = [path for path in rest if path not in known]
    return rest
