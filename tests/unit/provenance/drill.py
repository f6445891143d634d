"""Every change that a forger may make to a finished study, and which command finds it.

    python tests/unit/provenance/drill.py [--whole] STUDY_FOLDER [WORD ...]

STUDY_FOLDER is a copy of the checkout in which the small study of the tests was made: `a small study` in pytest's
folder, or what `snakemake --configfile tiny.yaml` makes with the text `studies.TINY`. With words, only changes whose
names hold one of them are tried, each on a copy. `--whole` says that everything was made that the study is asked for
(with the tables and figures of `studies.TARGETS` named in tiny.yaml): then no command is told that it was made in part.
What is printed: the change, the command that finds it, and whether it is found; `no, by nature` where no command can
tell, and why. The exit code is 1 if anything is not found that a cheap check would find, or if a command finds
something where nothing was changed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]

from crates import add_a_person, agree, edit_metadata, write  # noqa: E402
from forgeries import CELL, CSV, TABLE, delete_with_records, empty_checkpoints, repaint, typed  # noqa: E402
from studies import ROOT, TARGETS, Small  # noqa: E402
from test_audit_drill import DAMAGES  # noqa: E402

from utopia.cli.compare import doubts  # noqa: E402
from utopia.provenance.again import predictions_again  # noqa: E402
from utopia.provenance.crate.check import check  # noqa: E402
from utopia.provenance.explain import explain  # noqa: E402
from utopia.provenance.findings import Report  # noqa: E402
from utopia.provenance.recompute import TRAINING, is_made_by  # noqa: E402
from utopia.provenance.subject import find  # noqa: E402


class Change(NamedTuple):
    """A change, the command that is to find it, and why none can where that is so."""

    name: str
    do: Callable[[Small], Any]
    command: str = "verify"
    by_nature: str = ""


WHOLE = "verify without --partial"
PICTURES = "verify, drawing figures again"


def rewrite_host(study: Small) -> None:
    """A record that names another machine, with the digest that fits."""
    study.edit_record(CSV, lambda facts: facts.update(host="elsewhere"))


CHANGES = [
    *(Change(damage.name, damage.do) for damage in DAMAGES),
    Change("a picture painted over, its metadata kept", repaint, PICTURES),
    Change("a table and its record deleted", delete_with_records(f"tables/{TABLE}.*"), WHOLE),
    Change("a value typed, seen by explain", lambda s: s.forge(CSV, typed(s, "value", "0.9")), "explain"),
    Change("a value typed, seen by compare", lambda s: s.forge(CSV, typed(s, "value", "0.9")), "compare"),
    Change("parameters of checkpoints zeroed", empty_checkpoints, "verify --predict"),
    Change("a machine's name in a record, resealed", rewrite_host, "verify --seal"),
    Change("a machine's name in a record, resealed, and no seal was noted", rewrite_host, "verify",
           "the records agree with each other; only a seal kept elsewhere tells"),
]  # fmt: skip
OF_CRATES = {
    "crate: a title edited": lambda crate: edit_metadata(crate, lambda e: e["./"].update(name="x"), reseal=False),
    "crate: a person added": lambda crate: edit_metadata(crate, add_a_person, reseal=False),
    "crate: a person added, metadata resealed": lambda crate: edit_metadata(crate, add_a_person),
    "crate: config.yaml edited, metadata agree": lambda crate: _append(crate, "config.yaml"),
    "crate: a published value edited, metadata agree": lambda crate: _append(
        crate, f"workflow/resources/tables/{TABLE}.yaml"
    ),
    "crate: a file removed": lambda crate: (crate / ROOT / CSV).unlink(),
}
"""Changes of a crate; all are compared with the digest that was published."""


def _append(crate: Path, name: str) -> None:
    (crate / name).write_text(f"{(crate / name).read_text()}\n# changed\n")
    agree(crate, name)


def asked(study: Small, command: str, seal: str, *, partial: bool) -> list[str]:
    """What a command finds."""
    if command in ("verify", "verify --seal", PICTURES):
        expected = {"expected_seal": seal} if command.endswith("--seal") else {}
        # Drawing takes most of the time; the numbers of figures are computed again in any case.
        return _named(study.verify(pictures=command == PICTURES, partial=partial, **expected))
    if command == WHOLE:
        # Of a study that was made in part this names much of the untouched one too.
        return _named(study.verify(partial=False, recompute=False))
    graph = study.graph()
    if command == "explain":
        return list(explain(graph, find(graph, CELL), "miniature")["warnings"])
    if command == "compare":
        return doubts(study.path("tables"), {})
    trained = [record for record in graph.ledger.records if is_made_by(record, TRAINING)]
    runs = {run for record in trained for path in graph.made(record) if (run := graph.run_of(path))}
    compared = [one for record in trained for one in predictions_again(record, graph.ledger.portable, runs)]
    return [one.name for one in compared if one.verdict == "different"]


def _named(report: Report) -> list[str]:
    return [f"{one.finding.kind}: {one.finding.where}" for one in report.findings]


def copied(source: Path, folder: Path) -> Small:
    """A copy of the study's results beside its configuration; it becomes the working directory."""
    for name in ("workflow", "envs", "config.yaml", "tiny.yaml"):
        (folder / name).symlink_to(source / name)
    shutil.copytree(source / "results", folder / "results")
    os.chdir(folder)
    return Small(folder)


def tried(source: Path, words: list[str], *, partial: bool) -> Iterator[tuple[str, str, str]]:
    """(change, command, outcome) of each change."""
    with tempfile.TemporaryDirectory() as folder:
        untouched = copied(source, Path(folder))
        seal = untouched.verify(recompute=False).seal
        for command in (PICTURES, "explain", "compare", "verify --predict", *([] if partial else [WHOLE])):
            found = asked(untouched, command, seal, partial=partial)
            yield "nothing", command, f"FALSE ALARM: {found[0]}" if found else "nothing found, as it must be"
        never_made = asked(untouched, WHOLE, seal, partial=partial)
    for change in CHANGES:
        if words and not any(word in change.name for word in words):
            continue
        with tempfile.TemporaryDirectory() as folder:
            study = copied(source, Path(folder))
            change.do(study)
            found = asked(study, change.command, seal, partial=partial)
            if change.command == WHOLE:
                found = [each for each in found if each not in never_made]
            os.chdir(source)  # out of the folder that goes now
        absent = f"no, by nature ({change.by_nature})" if change.by_nature else "NOT FOUND"
        yield change.name, change.command, f"yes ({len(found)}: {found[0]})" if found else absent
    with tempfile.TemporaryDirectory() as folder:
        crate = Path(folder, "crate")
        write(source, source, crate)
        digest = check(crate, recompute=False).digest
        for name, do in OF_CRATES.items():
            if words and not any(word in name for word in words):
                continue
            copy = Path(shutil.copytree(crate, Path(folder, "copy")))
            do(copy)
            faults = check(copy, digest=digest, recompute=False).faults
            shutil.rmtree(copy)
            yield (
                name,
                "crate --check --digest",
                f"yes ({faults[0].kind}: {faults[0].where})" if faults else "NOT FOUND",
            )


def main() -> int:
    """Try everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("folder", type=Path)
    parser.add_argument("words", nargs="*")
    chosen = parser.parse_args()
    source, bad, count = chosen.folder.absolute(), 0, 0
    if not all((source / path).is_file() for path in (*TARGETS, "tiny.yaml")):
        parser.error(f"{source} does not hold the small study")
    for name, command, outcome in tried(source, chosen.words, partial=not chosen.whole):
        print(f"{name} | {command} | {outcome}", flush=True)
        bad, count = bad + ("NOT FOUND" in outcome or "FALSE ALARM" in outcome), count + 1
    print(f"{count} tried, {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
