"""`utopia crate`: a finished study as a Workflow Run RO-Crate; `utopia crate --check` checks one anywhere.

Keys of `--json`: of a crate that was written `crate`, `files`, `bytes`, `referred`, `records`, `seal`, `digest`; of a
check `crate`, `sound`, `seal`, `digest`, `checked` ({files, bytes, records, actions, cells, recomputed}), `faults`
(list of {kind, where, what}), `not_checked` (list of texts), `seconds`.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from utopia.cli import audit, show
from utopia.errors import ConfigError, UtopiaError, counted

if TYPE_CHECKING:
    from utopia.config.study import StudyBase
    from utopia.provenance.findings import Report
    from utopia.provenance.lineage import Graph

_PER_KIND = 6
"""Faults of a kind that are shown unless all are asked for."""
_INCLUDE = ("predictions", "checkpoints", "labels", "features")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    audit.add(parser)
    parser.add_argument(
        "--output", metavar="PATH", help="a folder, or a file that ends in .zip (default: beside the study)"
    )
    parser.add_argument(
        "--include",
        metavar="KIND",
        nargs="+",
        choices=_INCLUDE,
        default=[],
        help=f"put in also: {', '.join(_INCLUDE)} (mind the terms of the data that labels and features derive from)",
    )
    parser.add_argument("--anonymous", action="store_true", help="take out what tells machines and people apart")
    parser.add_argument("--agent", metavar="NAME", default="", help="who ran the study (records name no person)")
    parser.add_argument("--orcid", metavar="ADDRESS", default="", help="the agent's https://orcid.org/...")
    parser.add_argument("--affiliation", metavar="NAME", default="", help="the agent's organisation")
    parser.add_argument("--affiliation-url", metavar="ADDRESS", default="", help="its address")
    parser.add_argument("--partial", action="store_true", help="the study was made in part: look for nothing more")
    parser.add_argument("--unsound", action="store_true", help="write it even if verify finds something, and mark it")
    parser.add_argument("--check", metavar="CRATE", help="instead: check a crate, a folder or a zip")
    parser.add_argument("--seal", metavar="DIGEST", help="of --check: the seal that was published")
    parser.add_argument("--digest", metavar="DIGEST", help="of --check: the digest that was published")
    parser.add_argument("--hash-only", action="store_true", help="of --check: compute nothing again")
    parser.add_argument("--all", action="store_true", help="of --check: show every fault")


def run(chosen: argparse.Namespace) -> int:
    """Write a crate, or check one; 1 if a fault was found."""
    if chosen.check:
        return _check(chosen)
    if (chosen.orcid or chosen.affiliation) and not chosen.agent:
        raise ConfigError("--orcid and --affiliation say more of --agent, which is missing", remedy="name the agent")
    if chosen.anonymous and chosen.agent:
        raise ConfigError("--anonymous and --agent contradict each other", remedy="give one of them")
    from utopia.fingerprint import file_of
    from utopia.provenance.crate.build import Options, build
    from utopia.provenance.crate.statement import Agent

    target = Path(chosen.output).expanduser().absolute() if chosen.output else None
    study = audit.locate(chosen)
    graph = audit.graph(study)
    unsound = _unsound(chosen, study, graph)
    agent = Agent(chosen.agent, chosen.orcid, chosen.affiliation, chosen.affiliation_url)
    written = build(
        graph,
        study.root,
        study.study,
        target or study.root.with_name(f"{study.study}.crate.zip").absolute(),
        file_of("."),
        Options(
            tuple(dict.fromkeys(chosen.include)),
            chosen.anonymous,
            agent,
            [Path(file) for file in chosen.configfile],
            unsound,
        ),
    )
    facts = asdict(written)
    lines = [
        f"{written.path}: {counted(written.files, 'file')}"
        f" ({show.bytes_in_words(written.bytes)}), {counted(written.records, 'record')}; "
        f"{written.referred} files are named by their hashes only",
        f"seal {written.seal}",
        f"digest {written.digest}",
    ]
    show.answer(chosen, {"crate": str(facts.pop("path")), **facts}, lines)
    return 0


def _unsound(chosen: argparse.Namespace, study: StudyBase, graph: Graph) -> list[str]:
    """What verify finds in the study.

    Raises:
        UtopiaError: it finds something, and no marked crate is asked for.
    """
    from utopia.provenance.verify import verify

    current = audit.current(study, graph)
    report = verify(graph, study.root, study.study, current=current, partial=chosen.partial)
    texts = [f"{finding.kind}: {finding.where}: {finding.what}" for finding in report.findings]
    if texts and not chosen.unsound:
        lines = "\n".join(f"    {text}" for text in texts[:_PER_KIND])
        raise UtopiaError(
            f"the study is not sound: verify has {counted(len(texts), 'finding')}, first:\n{lines}",
            where=study.root,
            why="a crate is evidence, and whoever gets it takes the study to be as it says",
            remedy="see `utopia verify`; --unsound writes a crate that says on its first line what was found",
        )
    return texts


def _check(chosen: argparse.Namespace) -> int:
    from utopia.provenance.crate.check import check

    report = check(
        Path(chosen.check).expanduser().absolute(),
        seal=chosen.seal,
        digest=chosen.digest,
        recompute=not chosen.hash_only,
    )
    answer = {
        "crate": report.study,
        "sound": report.is_sound,
        "seal": report.seal,
        "digest": report.digest,
        "checked": report.checked,
        "faults": [fault.as_fault() for fault in report.findings],
        "not_checked": report.notes,
        "seconds": round(report.seconds, 3),
    }
    show.answer(chosen, answer, in_words(report, None if chosen.all else _PER_KIND))
    return 0 if report.is_sound else 1


def in_words(report: Report, most: int | None = None) -> list[str]:
    """A check for people: the faults by kind, what could not be checked, and how much was."""
    from utopia.provenance.crate.agreement import KINDS

    checked = report.checked
    return [
        *show.findings(KINDS, report.findings, most),
        *(f"not checked: {text}" for text in report.notes),
        f"{report.study}: {checked['files']} files ({show.bytes_in_words(checked['bytes'])}) hashed, "
        f"{checked['records']} records and {checked['actions']} actions compared, {checked['recomputed']} files "
        f"computed again, in {report.seconds:.1f} s",
        f"seal {report.seal}",
        f"digest {report.digest}",
        "sound: everything in the crate agrees"
        if report.is_sound
        else f"NOT SOUND: {counted(len(report.findings), 'fault')}",
    ]
