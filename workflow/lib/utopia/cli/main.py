"""The `utopia` command. Nothing but the command asked for is imported, and no command imports torch.

Exit codes: 0 all is well, 1 something is wrong, 2 the command line or the configuration is not valid.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from utopia.cli import surroundings
from utopia.errors import UtopiaError

CHECKOUT = Path(__file__).resolve().parents[4]
COMMANDS = {
    "run": "make all tables and figures of a study",
    "resume": "go on with a run that was killed; what it left on a cluster is waited for, and no job runs twice",
    "fetch": "get the data and weights that can be downloaded; no other command uses the network",
    "adopt": "take results as done where their records prove it, whatever the times of the files say",
    "plan": "what a run would do and cost, and what will be absent and why",
    "status": "done, running and failed jobs, and the next step",
    "open": "the page with all results, in a browser; without a screen, where it is and how to look at it",
    "compare": "published values against measured ones",
    "explain": "the whole ancestry of a table, a cell, a figure, a run or a file",
    "why": "the one reason why a file would be regenerated",
    "touched": "all results that a GPU, a machine, an input or a commit has touched",
    "diff": "two result trees cell by cell, and what upstream differs first",
    "verify": "whether every value of a study is still what its records say",
    "sign": "sign the seal of a finished study with a key of yours; --check checks a signature",
    "keep": "a study's tables, figures and records as the repository keeps them, in results/reference",
    "crate": "a finished study as a Workflow Run RO-Crate; --check checks one on any machine",
    "new": "start a loss of your own: its file, its treatment and its row in a table",
    "doctor": "whether this machine, its environment and its data are fit for a run",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give its exit code."""
    surroundings.open_streams()
    for stream in (sys.stdout, sys.stderr):
        # Any name of a file can be printed, whatever the terminal's encoding.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        given, passed_on = _split(given)
        parser = _parser(given)
        chosen = parser.parse_args(given)
        if chosen.command is None:
            parser.print_help()
            return 2
        if passed_on and chosen.command not in ("run", "resume"):
            parser.error(f"`utopia {chosen.command}` takes nothing after `--`")
        chosen.passed_on = passed_on
        _say_where()
        chosen.notes = surroundings.adapt(CHECKOUT)
        code = int(module_of(chosen.command).run(chosen))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if "--debug" in given:
            raise
        return _said(error, given)


def _say_where() -> None:
    """Say which checkout this command works in, where one would think that it is another one."""
    if (other := surroundings.other_checkout(CHECKOUT)) is not None:
        print(
            f"warning: this `utopia` belongs to {CHECKOUT} and works there, not in {other}\n"
            f"  what to do:     for the other one: cd {shlex.quote(str(other))} && make setup && .venv/bin/utopia ...",
            file=sys.stderr,
        )


def _said(error: Exception, given: Sequence[str]) -> int:
    """Say what ended a command, and give its exit code; the traceback of what nobody foresaw goes to a log."""
    if isinstance(error, UtopiaError):
        print(error, file=sys.stderr)
        return error.exit_code
    if isinstance(error, OSError) and error.errno:
        where = f"{error.filename}: " if error.filename else ""
        what = f"{where}{error.strerror} ({errno.errorcode.get(error.errno, error.errno)})"
    elif isinstance(error, MemoryError):
        what = "there is not enough memory"
    else:
        words = " ".join(str(error).split())
        what = f"something went wrong that nobody foresaw: {type(error).__name__}{': ' if words else ''}{words[:300]}"
    print(f"utopia {' '.join(given[:1])}: {what}; {_logged(error, given)}", file=sys.stderr)
    return 1


def _logged(error: Exception, given: Sequence[str]) -> str:
    """Write the traceback to a log, in the checkout or where temporary files go, and say where it is."""
    import tempfile
    import time
    import traceback

    text = f"utopia {' '.join(map(repr, given))}\n\n{''.join(traceback.format_exception(error))}"
    name = f"utopia-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.log"
    for place in (lambda: CHECKOUT / ".snakemake" / "log", lambda: Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            folder = place()
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
            return f"the traceback is in {folder / name}"
    return "no log could be written; --debug shows the traceback"


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before `--`, and what after it."""
    if "--" not in arguments:
        return arguments, []
    at = arguments.index("--")
    return arguments[:at], arguments[at + 1 :]


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    """The parser; only the command that is asked for describes its options."""
    from utopia import __version__

    debug = argparse.ArgumentParser(add_help=False)
    debug.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser(
        prog="utopia",
        description="Regenerates every table and figure of two papers on subjective time-series regression.",
        epilog="`utopia COMMAND --help` tells more. Exit codes: 0 fine, 1 something is wrong, 2 wrong command line or "
        "configuration.",
    )
    parser.add_argument("--version", action="version", version=f"utopia {__version__}")
    choices = parser.add_subparsers(dest="command", metavar="COMMAND")
    asked = next((word for word in arguments if word in COMMANDS), None)
    for name, words in COMMANDS.items():
        command = choices.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.", parents=[debug])
        if name == asked:
            module_of(name).configure(command)
    return parser


def module_of(command: str):  # type: ignore[no-untyped-def]
    """The module of a command: `configure` adds its options, `run` runs it."""
    return importlib.import_module(f"utopia.cli.{command}")


if __name__ == "__main__":
    sys.exit(main())
