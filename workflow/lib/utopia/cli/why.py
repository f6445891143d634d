"""`utopia why FILE`: the one reason why a file would be regenerated, with what has changed.

Keys of `--json`: `file`, `asked` (whether today's study asks for it), `instead` (the file that takes its place today,
or null), `rebuilt` (whether it would be), `reason` ({job, kind, what, diff} or null), `others` (list of the same).
"""

from __future__ import annotations

import argparse

from utopia.cli import audit, show
from utopia.errors import UtopiaError


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("file", help="a file of the study, or a cell, figure or run")
    audit.add(parser)
    parser.add_argument("--all", action="store_true", help="every reason, not only the first one upstream")


def run(chosen: argparse.Namespace) -> int:
    """Print the reason, or that there is none."""
    from pathlib import Path

    from utopia.provenance.reasons import reasons
    from utopia.provenance.subject import find

    study = audit.locate(chosen)
    graph = audit.graph(study)
    try:
        path = find(graph, chosen.file).files[0]
    except UtopiaError as error:
        if not Path(chosen.file).is_relative_to(study.root):
            raise
        text = "it is there, but no record says what made it" if Path(chosen.file).exists() else "it was never made"
        raise UtopiaError(text, where=chosen.file, remedy="run: utopia plan") from error
    current = audit.current(study, graph)
    found = list(dict.fromkeys(reasons(graph, path, current)))
    asked = current is None or path not in graph.makers or current.is_planned(graph.makers[path])
    instead = None if current is None or asked else current.instead.get(path)
    if chosen.json:
        show.print_json(
            {
                "file": path,
                "asked": asked,
                "instead": instead,
                "rebuilt": bool(found),
                "reason": found[0].as_dict() if found else None,
                "others": [one.as_dict() for one in found[1:]],
            }
        )
        return 0
    if current is None:
        print("note: settings were not compared with today's: the data folder is not known (name --data)")
    if not asked:
        print(f"{path}: today's study does not ask for it" + (f"; in its place it reads {instead}" if instead else ""))
        changes = current.apart(path, instead) if current and instead else []
        print("\n".join(f"    {change}" for change in changes))
        return 0
    if not found:
        print(f"{path}: nothing that it depends on has changed; it would stay")
        return 0
    for one in found if chosen.all else found[:1]:
        own = "" if one.job == path else f", upstream: {one.job} would be regenerated"
        print(f"{path}: {one.kind}: {one.what}{own}")
        print("\n".join(f"    {line}" for line in one.diff))
    if len(found) > 1 and not chosen.all:
        print(f"  and {len(found) - 1} more reasons further down (--all)")
    return 0
