"""The rows of the drill (`audit_drill.py`): each makes one change in a copy of a finished study and asks one command.

Rows are named by what they hold: A, changes that must be found; B, what once was a false alarm or a wrong word; E, the
signature. Those of C, input that must be refused, are in `drill_input`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from crates import add_a_person, agree, edit_metadata, write
from drill_alarms import (
    adopted,
    adopted_though_changed,
    future_mended,
    future_refused,
    future_seen,
    other_data_sets,
    seeds_unused,
    signed,
    signed_then_changed,
    signed_unsound,
    told,
    without_reason,
)
from forgeries import (
    CELL,
    CSV,
    TABLE,
    delete_with_records,
    empty_checkpoints,
    first,
    forge_labels,
    repaint,
    rewrite_host,
    typed,
)
from studies import ROOT, Small, flip
from test_audit_drill import DAMAGES, STORED

from utopia import arrays, files
from utopia.cli.compare import doubts
from utopia.provenance import environment
from utopia.provenance.crate.check import check
from utopia.provenance.explain import explain
from utopia.provenance.recompute import TRAINING, is_made_by
from utopia.provenance.reproduction import repeated_predictions
from utopia.provenance.subject import find

Asked = Callable[[Small], list[str]]


class Row(NamedTuple):
    """A change, and a command that is asked about it."""

    item: str
    change: str
    command: str
    ask: Asked
    """Makes the change and returns what the command says of it."""
    is_quiet: bool = False
    """Whether nothing is wrong, so that whatever is said is a false alarm."""
    by_nature: str = ""
    """Why no such command can find it."""
    of_checkout: bool = False
    """Whether the change, or the command, needs a copy of the checkout and not of the results alone."""
    of_whole: bool = False
    """Whether the study must have been made whole."""


# -- commands


def verified(study: Small, **options: Any) -> list[str]:
    """What `verify` finds."""
    return [f"{one.kind}: {one.where}" for one in study.verify(**options).findings]


def explained(study: Small) -> list[str]:
    """What `explain` warns of."""
    graph = study.graph()
    return list(explain(graph, find(graph, CELL), "miniature")["warnings"])


def compared(study: Small) -> list[str]:
    """What `compare` warns of."""
    return doubts(study.path("tables"), {})


def predicted(study: Small) -> list[str]:
    """What `verify --predict` finds."""
    graph = study.graph()
    trained = [record for record in graph.ledger.records if is_made_by(record, TRAINING)]
    runs = {run for record in trained for path in graph.made(record) if (run := graph.run_of(path))}
    looked_at = [one for record in trained for one in repeated_predictions(record, graph.ledger.portable, runs)]
    return [one.name for one in looked_at if one.verdict == "different"]


def again(study: Small, *words: str) -> list[str]:
    """What `verify --retrain` or `--reextract` finds to be different."""
    answer = told(study, "verify", "--cores", "1", *words)
    return [one["name"] for one in answer["compared"] if one["verdict"] == "different"]


def after(do: Callable[[Small], Any], ask: Asked) -> Asked:
    """Make a change, then ask."""

    def both(study: Small) -> list[str]:
        do(study)
        return ask(study)

    return both


def missed(*patterns: str) -> Asked:
    """What `verify` misses after results were deleted with their records, and did not miss before."""

    def ask(study: Small) -> list[str]:
        options = {"partial": False, "recompute": False}
        before = verified(study, **options)
        delete_with_records(*patterns)(study)
        return [each for each in verified(study, **options) if each not in before]

    return ask


# -- A. What must be found


def of_seal(study: Small) -> list[str]:
    seal = study.verify(recompute=False).seal
    rewrite_host(study)
    return verified(study, recompute=False, expected_seal=seal)


def forge_feature(study: Small) -> None:
    """Other numbers under a true header; index and records agree."""
    path = first(study, STORED)
    stored = arrays.load(path)
    arrays.save(path, {"features": stored["features"] * np.float32(2), "times": stored["times"]}, stored.meta)
    name = path.relative_to(study.path("features")).as_posix()
    study.forge(f"features/{name}", path.read_bytes())
    for index in study.path("features/pmemo").glob("shard-????.json"):
        facts = json.loads(index.read_text())
        for entry in (each["vggish"] for each in facts["items"].values() if each.get("vggish", {}).get("file") == name):
            entry["sha256"] = files.sha256(path)
        files.write_json(index, facts)
        study.forge(f"features/pmemo/{index.name}", index.read_bytes())


def forge_page(study: Small) -> None:
    page = study.path("report/index.html")
    study.forge("report/index.html", page.read_bytes().replace(b"</body>", b"<p>0.9</p></body>", 1))


def set_sigma(study: Small) -> None:
    """Another width of the distribution, which is part of a file's name."""
    (study.folder / "more.yaml").write_text("datasets: {pmemo: {distribution: {sigma: 0.012, delta: 0.04}}}")


def seen_by(command: str) -> Asked:
    """What a command says of another sigma and delta."""

    def ask(study: Small) -> list[str]:
        set_sigma(study)
        both = ("tiny.yaml", "more.yaml")
        if command == "why":
            answer = told(study, "why", f"{ROOT}/{CSV}", files=both)
            return [answer["reason"]["what"]] if answer["rebuilt"] else []
        if command == "verify --hash-only":
            answer = told(study, "verify", "--hash-only", *study.partially, files=both)
            return [each["what"] for each in answer["findings"] if each["kind"] == "stale setting"]
        if command == "status":
            reasons = told(study, "status", files=both)["again"]["reasons"]
            return [each["what"] for each in reasons if each["kind"] == "setting"]
        if command == "explain":
            return list(told(study, "explain", CELL, files=both)["warnings"])
        answer = told(study, "plan", files=both)
        return [
            f"{each['count']} {each['rule']}" for each in answer["jobs"]["rules"] if each["rule"].startswith("train")
        ]

    return ask


def link_the_lock(study: Small) -> list[str]:
    """The lock is a link to somebody's file."""
    victim = study.folder / "victim"
    victim.write_text("mine")
    study.path(".run.lock").unlink(missing_ok=True)
    study.path(".run.lock").symlink_to(victim)
    done = study.utopia("run", "--", "--configfile", "tiny.yaml")
    said = [line for line in done.stderr.splitlines() if "the lock is a link" in line]
    return said if done.returncode and victim.read_text() == "mine" else []


def link_results(study: Small) -> list[str]:
    """All results lie elsewhere, behind a link."""
    study.path("").rename(study.folder / "elsewhere")
    study.path("").symlink_to(study.folder / "elsewhere")
    return [note for note in study.verify(recompute=False).notes if "is a link" in note]


def other_package(study: Small) -> list[str]:
    """A package of another version is installed today."""
    installed = environment.packages() | {"numpy": "0.1"}
    with mock.patch.object(environment, "packages", return_value=installed):
        return [note for note in study.verify(recompute=False).notes if "numpy 0.1" in note]


# -- A6. Crates


def append(crate: Path, name: str) -> None:
    """A line more in a file, and metadata that agree."""
    (crate / name).write_text(f"{(crate / name).read_text()}\n# changed\n")
    agree(crate, name)


OF_CRATES: dict[str, Callable[[Path], Any]] = {
    "a title edited": lambda crate: edit_metadata(crate, lambda e: e["./"].update(name="x"), reseal=False),
    "a person added": lambda crate: edit_metadata(crate, add_a_person, reseal=False),
    "a person added, metadata resealed": lambda crate: edit_metadata(crate, add_a_person),
    "config.yaml edited, metadata agree": lambda crate: append(crate, "config.yaml"),
    "a published value edited, metadata agree": lambda crate: append(crate, f"workflow/resources/tables/{TABLE}.yaml"),
    "a file removed": lambda crate: (crate / ROOT / CSV).unlink(),
    "a file added": lambda crate: (crate / ROOT / "tables" / "extra.csv").write_text("cell\n"),
    "a bit of a table flipped": lambda crate: flip(crate / ROOT / CSV),
}


def of_crate(do: Callable[[Path], Any], *, with_digest: bool = True, recompute: bool = False) -> Asked:
    """What `crate --check` finds of a changed crate."""

    def ask(study: Small) -> list[str]:
        crate = study.folder / "crate"
        write(study.folder, (study.folder / "workflow").resolve().parent, crate)
        known = {"digest": check(crate, recompute=False).digest} if with_digest else {}
        do(crate)
        return [f"{one.kind}: {one.where}" for one in check(crate, recompute=recompute, **known).findings]

    return ask


def unsound_crate(study: Small) -> list[str]:
    flip(study.path(CSV))
    done = study.command("crate", *study.partially, "--configfile", "tiny.yaml", "--output", "crate.zip")
    return [done.stderr.splitlines()[0]] if done.returncode == 1 and "not sound" in done.stderr else []


def rows() -> Iterator[Row]:
    """Every row but those of C, in the order of their items."""
    hashes = (Row("-", "nothing", command, ask, is_quiet=True) for command, ask in QUIET.items())
    yield from hashes
    yield Row("A4", "nothing", "verify of the whole study", lambda s: verified(s), is_quiet=True, of_whole=True)
    yield Row("A6", "nothing", "crate --check", of_crate(lambda crate: None, recompute=True), is_quiet=True)
    yield from (Row("A", damage.name, "verify", after(damage.do, verified)) for damage in DAMAGES)
    yield Row(
        "A1",
        "labels drawn to predictions, everything after them made again",
        "verify --retrain",
        after(forge_labels, lambda s: again(s, "--retrain", f"{TABLE}/rmn.ulda/valence.pcc")),
        of_checkout=True,
    )
    yield Row("A1", "a page edited, record agrees", "verify", after(forge_page, verified), of_whole=True)
    yield Row(
        "A1",
        "a picture painted over, its metadata kept",
        "verify, drawing figures again",
        after(repaint, lambda s: verified(s, pictures=True)),
    )
    yield Row(
        "A1",
        "features multiplied by 2 under a true header, records agree",
        "verify --reextract",
        after(forge_feature, lambda s: again(s, "--reextract", CELL)),
        of_checkout=True,
    )
    yield Row(
        "A1",
        "features multiplied by 2 under a true header, records agree",
        "verify",
        after(forge_feature, verified),
        by_nature="stored features are taken as given; --reextract finds it",
    )
    yield Row("A2", "parameters of checkpoints zeroed", "verify --predict", after(empty_checkpoints, predicted))
    for command in ("plan", "why", "verify --hash-only", "status", "explain"):
        yield Row("A3", "sigma and delta changed", command, seen_by(command), of_checkout=True)
    yield Row("A4", "a table and its record deleted", "verify", missed(f"tables/{TABLE}.*"))
    yield Row(
        "A4",
        "a table, the page and their records deleted",
        "verify",
        missed(f"tables/{TABLE}.*", "report/*"),
        of_whole=True,
    )
    yield Row(
        "A5",
        "a value typed, record agrees",
        "explain",
        after(lambda s: s.forge(CSV, typed(s, "value", "0.9")), explained),
    )
    yield Row(
        "A5",
        "a value typed, record agrees",
        "compare",
        after(lambda s: s.forge(CSV, typed(s, "value", "0.9")), compared),
    )
    yield Row(
        "A5",
        "a value typed",
        "explain",
        after(lambda s: files.write_text(s.path(CSV), typed(s, "value", "0.9").decode()), explained),
    )
    for name, do in OF_CRATES.items():
        yield Row("A6", f"of a crate: {name}", "crate --check --digest", of_crate(do))
    yield Row(
        "A6",
        "of a crate: a person added, metadata resealed",
        "crate --check",
        of_crate(OF_CRATES["a person added, metadata resealed"], with_digest=False),
        by_nature="who makes a crate may name whom he likes; only a digest kept elsewhere tells",
    )
    yield Row("A6", "a bit of a table flipped", "crate", unsound_crate, of_checkout=True)
    yield Row("A7", "the lock is a link to another file", "run", link_the_lock, of_checkout=True)
    yield Row("A7", "the results lie behind a link", "verify (a note)", link_results)
    yield Row("A7", "a package installed otherwise than locked", "verify (a note)", other_package)
    yield Row("A", "a machine's name in a record, resealed", "verify --seal", of_seal)
    yield Row(
        "A",
        "a machine's name in a record, resealed",
        "verify",
        after(rewrite_host, verified),
        by_nature="the records agree with each other; only a seal kept elsewhere tells",
    )
    yield Row("B9", "times lost, as in a copied folder", "adopt, then snakemake -n", adopted, True, of_checkout=True)
    yield Row("B9", "times lost and a plotted number changed", "adopt", adopted_though_changed, of_checkout=True)
    yield Row("B10", "a time in the future", "status", future_seen, of_checkout=True)
    yield Row("B10", "a time in the future", "run", future_refused, of_checkout=True)
    yield Row(
        "B10", "a time in the future", "adopt, then status and snakemake -n", future_mended, True, of_checkout=True
    )
    yield Row("B11", "one table asked for (data sets beside its own)", "plan", other_data_sets, True, of_checkout=True)
    yield Row(
        "B12", "another seed (random rules that would not run again)", "plan", seeds_unused, True, of_checkout=True
    )
    yield Row(
        "B13", "another number of repeats (rules without a reason)", "plan", without_reason, True, of_checkout=True
    )
    yield Row("E", "nothing", "sign, then sign --check", signed, True, of_checkout=True)
    yield Row(
        "E", "a record changed and resealed after the signature", "sign --check", signed_then_changed, of_checkout=True
    )
    yield Row("E", "a bit of a table flipped", "sign", signed_unsound, of_checkout=True)


QUIET: dict[str, Asked] = {
    "verify, drawing figures again": lambda study: verified(study, pictures=True),
    "verify --hash-only": lambda study: verified(study, recompute=False),
    "verify --predict": predicted,
    "explain": explained,
    "compare": compared,
}
"""Commands that must say nothing of an untouched study."""
