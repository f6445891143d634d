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
    why = list(dict.fromkeys(reasons(graph, path, current)))
    asked = current is None or path not in graph.makers or current.is_planned(graph.makers[path])
    instead = None if current is None or asked else current.instead.get(path)
    if chosen.json:
        show.print_json(
            {
                "file": path,
                "asked": asked,
                "instead": instead,
                "rebuilt": bool(why),
                "reason": why[0].as_dict() if why else None,
                "others": [reason.as_dict() for reason in why[1:]],
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
    if not why:
        print(f"{path}: nothing that it depends on has changed; it would stay")
        return 0
    for reason in why if chosen.all else why[:1]:
        upstream = "" if reason.job == path else f", upstream: {reason.job} would be regenerated"
        print(f"{path}: {reason.kind}: {reason.what}{upstream}")
        print("\n".join(f"    {line}" for line in reason.diff))
    if len(why) > 1 and not chosen.all:
        print(f"  and {len(why) - 1} more reasons further down (--all)")
    return 0
