"""`utopia open`: the page with all results, in a browser; where there is no screen, where it is and how to look at it.

Keys of `--json`: `study`, `page` (its absolute path), `opened` (whether a browser was told to show it), `instructions`
(how to look at it otherwise: list of lines).
"""

from __future__ import annotations

import argparse
import os
import shlex
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from utopia.cli import audit, options, show

PAGE = Path("report") / "index.html"
"""Below the study's folder."""


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    audit.add(parser)
    parser.add_argument("--print", action="store_true", help="open nothing, only say where the page is")


def run(chosen: argparse.Namespace) -> int:
    """Open the page, or say how to look at it.

    Raises:
        UtopiaError: the study has no page yet.
    """
    study = audit.locate(chosen)
    page = study.root.absolute() / PAGE
    if not page.is_file():
        more = f"; how far a run is: utopia status --study {study.study}"
        raise options.not_made("the page of this study has not been made", page, study.study, more)
    opened = not chosen.print and has_screen(os.environ, sys.platform) and _opens(page)
    told = instructions(page, os.environ)
    answer = {"study": study.study, "page": str(page), "opened": opened, "instructions": told}
    show.answer(chosen, answer, [str(page), *([] if opened else told)])
    return 0


def has_screen(environment: Mapping[str, str], platform: str) -> bool:
    """Whether a browser that is started here is seen by whoever asks.

    A `BROWSER` of the user counts also over SSH: editors that work over SSH set it, and show the page at home.
    """
    if environment.get("BROWSER"):
        return True
    if environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"):
        return False
    return platform == "darwin" or bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def _opens(page: Path) -> bool:
    import webbrowser

    try:
        return webbrowser.open(page.as_uri())
    except (webbrowser.Error, OSError):
        return False


def instructions(page: Path, environment: Mapping[str, str]) -> list[str]:
    """How to look at a page of a machine that has no screen: it is one file, without anything beside it."""
    host, user = socket.gethostname(), environment.get("USER") or environment.get("LOGNAME") or ""
    # of SSH_CONNECTION, the third word is the address by which this machine was reached
    reached = (environment.get("SSH_CONNECTION", "").split() or ["", "", ""])[2:3]
    target = f"{f'{user}@' if user else ''}{reached[0] if reached and reached[0] else host}"
    return [
        "there is no screen here. The page is one file; on your own machine copy it and open it:",
        f"  scp {shlex.quote(f'{target}:{page}')} .",
        "or let this machine serve it, and look through a tunnel:",
        f"  python3 -m http.server 8000 --bind 127.0.0.1 --directory {shlex.quote(str(page.parent))}   # here",
        f"  ssh -L 8000:127.0.0.1:8000 {shlex.quote(target)}   # there; then open http://127.0.0.1:8000/",
    ]
