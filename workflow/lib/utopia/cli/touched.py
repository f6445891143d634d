"""`utopia touched`: every result that a GPU, a machine, an input or a commit has touched.

Keys of `--json`: `by` (what was asked), `jobs` (list of {job, record, ended}), `cells`, `figures`, `files`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from utopia.cli import audit, options, show
from utopia.errors import UtopiaError, counted

if TYPE_CHECKING:
    from utopia.provenance.ledger import Record
    from utopia.provenance.lineage import Graph, Impact

KINDS = {
    "gpu": ("UUID", "the GPU that a job computed on"),
    "host": ("NAME", "the machine that a job ran on"),
    "input": ("FILE", "a file, by path or by the first digits of its sha256"),
    "commit": ("COMMIT", "the commit of the code, or its first digits"),
}
_SHOWN = 40


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    audit.add(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    for kind, (metavar, words) in KINDS.items():
        what.add_argument(f"--{kind}", type=options.filled, metavar=metavar, help=words)
    parser.add_argument("--all", action="store_true", help="list everything")


def run(chosen: argparse.Namespace) -> int:
    """Print what is touched."""
    study = audit.locate(chosen)
    graph = audit.graph(study)
    kind, value = next((name, value) for name in KINDS if (value := getattr(chosen, name)))
    jobs, touched = select(graph, kind, value)
    by = f"{kind} {value}"
    if chosen.json:
        write = graph.ledger.portable.write
        named = [
            {"job": _name(record), "record": write(record.path), "ended": record.facts["ended"]} for record in jobs
        ]
        show.print_json({"by": by, "jobs": named, **touched._asdict()})
        return 0
    most = None if chosen.all else _SHOWN
    numbers: dict[str, Sequence[Any]] = {
        "job": jobs,
        "cell": touched.cells,
        "figure": touched.figures,
        "file": touched.files,
    }
    print(f"{by}: {', '.join(counted(len(things), thing) for thing, things in numbers.items())}")
    for title, names in (("cells", touched.cells), ("figures", touched.figures), ("jobs", [*map(_name, jobs)])):
        if names:
            print(f"  {title}:")
            print("\n".join(show.first([f"    {name}" for name in names], most, "    and {} more (--all)")))
    return 0


def select(graph: Graph, kind: str, value: str) -> tuple[list[Record], Impact]:
    """The jobs that something touched at first hand, and all results that derive from them.

    Args:
        graph: the lineage.
        kind: one of `KINDS`.
        value: a GPU's UUID, a machine's name, a file or the first digits of its sha256, or a commit.

    Raises:
        UtopiaError: no job knows the file.
    """
    if kind == "input":
        paths = files_called(graph, value)
        jobs = list({id(reader): reader for path in paths for reader in graph.readers.get(path, ())}.values())
    else:
        is_meant = _test(kind, value)
        jobs = [record for record in graph.ledger.records if is_meant(record)]
        paths = [path for record in jobs for path in graph.latest(record)]
    return jobs, graph.touched(paths)


def files_called(graph: Graph, text: str) -> list[str]:
    """The files of a lineage that a path, or the first digits (eight at least) of a sha256, names.

    Raises:
        UtopiaError: there is none.
    """
    known = dict.fromkeys([*graph.makers, *graph.readers])
    for path in (text, graph.ledger.portable.write(text)):
        if path in known:
            return [path]
    paths = []
    if len(text) >= 8 and set(text) <= set("0123456789abcdef"):
        paths = [path for path in known if (graph.sha256_of(path) or "").startswith(text)]
    paths = paths or [path for path in known if path.endswith(f"/{text}")]
    if not paths:
        raise UtopiaError(
            f"no job has read or made {text!r}", where=graph.root, remedy="name a path as `utopia explain` shows it"
        )
    return paths


def _test(kind: str, value: str) -> Callable[[Record], bool]:
    if kind == "host":
        return lambda record: record.facts.get("host") == value
    if kind == "commit":
        return lambda record: ((record.facts.get("git") or {}).get("commit") or "").startswith(value)
    wanted = value.removeprefix("GPU-")
    return lambda record: any(wanted in gpu["uuid"] for gpu in record.gpus)


def _name(record: Record) -> str:
    from utopia.provenance.failures import job_name

    return job_name(record.rule, record.wildcards)
