"""Writing a crate: staged beside its place, checked against the records, then put there in one step."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utopia import files
from utopia.errors import UtopiaError, counted
from utopia.provenance import origin
from utopia.provenance.crate import agreement, describe, naming
from utopia.provenance.crate.content import METADATA, README, Content, gather, is_record
from utopia.provenance.crate.privacy import Anonymous, Machine, places
from utopia.provenance.crate.statement import Agent, Statement
from utopia.provenance.hashing import FileState, hash_all
from utopia.provenance.ledger import Ledger
from utopia.provenance.lineage import Graph

_SOME_DAY = (1980, 1, 1, 0, 0, 0)
"""The time of every file in a zip: when it was packed is no part of a study."""
_SHOWN = 5


@dataclass(frozen=True)
class Options:
    """What a crate is asked to be."""

    include: Sequence[str] = ()
    """Names in `content.OPTIONAL`."""
    anonymous: bool = False
    agent: Agent = field(default_factory=Agent)
    configfiles: Sequence[Path] = ()
    unsound: Sequence[str] = ()
    """What `utopia verify` has found in the study; the crate is marked with it."""


@dataclass(frozen=True)
class Written:
    """A crate that was written."""

    path: Path
    files: int
    bytes: int
    referred: int
    """Files that it names by their hashes only."""
    records: int
    seal: str
    digest: str
    """Of the names and hashes of all files in it; the same for the folder and the zip."""


def build(graph: Graph, folder: Path, study: str, target: Path, checkout: Path, options: Options) -> Written:
    """Write the crate of a finished study to `target`: a zip if its name ends so, else a folder.

    Nothing of the crate depends on when, where or by whom it is written.

    Args:
        graph: the study's lineage.
        folder: its folder on this machine.
        study: its name.
        target: where the crate goes; a crate that is there is replaced.
        checkout: the checkout with the workflow's code.
        options: what goes in.

    Raises:
        UtopiaError: the study is not finished, contradicts its records, or holds what must not be published.
    """
    if target.exists() and not (zipfile.is_zipfile(target) if target.is_file() else (target / METADATA).is_file()):
        raise UtopiaError("there is something else already", where=target, remedy="name another --output")
    if target.resolve().is_relative_to(folder.resolve()):
        raise UtopiaError("lies among the results themselves", where=target, remedy="name an --output elsewhere")
    if graph.ledger.damaged:
        damaged = graph.ledger.damaged[0]
        raise UtopiaError(
            f"a record cannot be read: {damaged.reason}", where=damaged.path, remedy="see `utopia verify`"
        )
    content = gather(graph, folder, checkout, options.include, options.configfiles)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp") as scratch:
        staged = Path(scratch, "crate")
        _stage(content, graph, checkout, staged, options.anonymous)
        written = _describe(graph, study, staged, content, options)
        faults = list(agreement.faults(agreement.Crate(staged)))
        if faults and not options.unsound:
            lines = "\n".join(f"    {fault.where}: {fault.what}" for fault in faults[:_SHOWN])
            raise UtopiaError(
                f"the study contradicts its records in {counted(len(faults), 'place')}, first:\n{lines}",
                where=folder,
                why="a crate is evidence only if everything in it agrees",
                remedy="`utopia verify` tells what is touched; `utopia run` regenerates what is not up to date",
            )
        if target.suffix == ".zip":
            with files.atomic(target) as temporary:
                _pack(staged, temporary)
        else:
            _replace(staged, target, Path(scratch))
    return Written(target, **written)


# -- staging


def _stage(content: Content, graph: Graph, checkout: Path, staged: Path, anonymous: bool) -> None:
    ledger = graph.ledger
    machine = Machine([ledger.portable.base, checkout, *_home(ledger), *ledger.portable.roots.values()])
    hide = Anonymous(record.facts for record in ledger.records) if anonymous else None
    telling: list[str] = []
    for name, source in content.files.items():
        path = staged / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            raw = source.read_bytes()
        except OSError as error:
            raise UtopiaError(
                f"cannot be read ({error.strerror or error})",
                where=source,
                why="the records say that the study made it, so the crate must hold it",
                remedy="see `utopia verify`",
            ) from error
        if hide and is_record(name):
            raw = hide.record(raw)
        elif hide and not graph.is_below(name):
            raw = machine.hidden_in(raw)
        path.write_bytes(raw)
        if place := machine.found_in(raw):
            telling.append(f"{name}: {place}")
    for record in ledger.records if hide is None else ():
        if place := next(places(dict(record.facts)), ""):
            telling.append(f"{ledger.portable.write(record.path)}: {place}")
    if telling:
        lines = "\n".join(f"    {line}" for line in telling[:_SHOWN])
        raise UtopiaError(
            f"{counted(len(telling), 'file names', 'files name')} folders of this machine, first:\n{lines}",
            why="a crate is published, and such paths tell about people and machines",
            remedy="--anonymous takes them out of records and configuration; of results, regenerate them elsewhere",
        )


def _home(ledger: Ledger) -> list[Path]:
    return [] if ledger.portable.home is None else [ledger.portable.home]


# -- metadata


def _describe(graph: Graph, study: str, staged: Path, content: Content, options: Options) -> dict[str, Any]:
    inside = Graph(Ledger.read(staged / graph.root, base=staged), graph.root)
    origins = {entry["path"]: entry for entry in origin.inputs(graph, _raw(graph, content))}
    files.write_text(staged / README, _read_me(inside, study, content, origins, options))
    hashed = {path.relative_to(staged).as_posix(): facts for path, facts in hash_all(_all(staged)).items()}
    hashed = dict(sorted(hashed.items()))
    statement = Statement(study, options.agent, options.unsound, origins)
    files.write_json(staged / METADATA, describe.metadata(staged, inside, hashed, statement))
    return {
        "files": len(hashed) + 1,
        "bytes": sum(state.bytes for state in hashed.values()) + (staged / METADATA).stat().st_size,
        "referred": len(content.referred),
        "records": len(inside.ledger.records),
        "seal": inside.seal(),
        "digest": naming.crate_digest({**hashed, METADATA: FileState(files.sha256(staged / METADATA), 0)}),
    }


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _raw(graph: Graph, content: Content) -> Iterable[str]:
    """Files that are referred to and were not computed: raw data, weights, and the miniature's own data."""
    start = f"{graph.root}/inputs/raw/"
    return [path for path in content.referred if graph.is_raw(path) or path.startswith(start)]


def _read_me(
    graph: Graph, study: str, content: Content, origins: Mapping[str, Mapping[str, Any]], options: Options
) -> str:
    agent = options.agent
    who = f"It was run by {agent.name}." if agent.name else "The records name no person, and nobody was named since."
    hidden = (
        "\nMachines are named `host-1`, `gpu-1` and so on, and paths of machines were taken out; the records were "
        "sealed again after that, so the seal is not the one of the original study.\n"
        if options.anonymous
        else ""
    )
    warning = (
        "**`utopia verify` did not find this study sound when the crate was written:**\n\n"
        + "".join(f"* {text}\n" for text in options.unsound)
        + "\n"
        if options.unsound
        else ""
    )
    sets = sorted({(str(entry["dataset"]), str(entry["licence"]), str(entry["source"])) for entry in origins.values()})
    rows = [f"| {name if name != 'None' else 'weights and others'} | {terms} | {url} |" for name, terms, url in sets]
    data = "\n".join(["| data | licence | source |", "|---|---|---|", *rows]) if rows else ""
    tables = "\n".join(f"* `{graph.root}/tables/{name}.csv` (also md, tex, html)" for name in graph.tables)
    figures = "\n".join(
        f"* `{graph.root}/figures/{name}.pdf` (also png; csv has the numbers)" for name in graph.figures
    )
    return f"""# Study {study}

{warning}A Provenance Run RO-Crate: tables and figures, the metrics that they were computed from, a record of each of
the {len(graph.ledger.records)} jobs, configuration, code and lock file. `{METADATA}` describes all of it.

## Check it

    utopia crate --check THIS_FOLDER_OR_ZIP

hashes every file, compares the metadata with the records, compares the code with what the records say has run, and
computes again what can be computed from what is here. It needs neither the data nor a GPU.

## What is here

{tables}
{figures}

## What is not here

{counted(len(content.referred), "file is", "files are")} named by SHA-256 and size only: raw data, features
and what else is large or not ours.

{data}

## Who ran it

{who}
{hidden}"""


# -- putting it in its place


def _pack(folder: Path, target: Path) -> None:
    """A zip whose bytes depend on the content alone (and on the zlib that compresses it)."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as packed:
        for path in _all(folder):
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _SOME_DAY)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o100644 << 16
            with path.open("rb") as source, packed.open(entry, "w", force_zip64=True) as member:
                shutil.copyfileobj(source, member, 1 << 20)


def _replace(staged: Path, target: Path, scratch: Path) -> None:
    if target.exists():
        target.rename(scratch / "former")
    staged.rename(target)
