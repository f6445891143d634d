"""The `utopia` command in a fork of this process: a process of its own, without what starting Python costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import NoReturn

from utopia.cli import main as cli
from utopia.config.load import load
from utopia.plan.plan import Plan

_HANGS = 300
"""Seconds after which the system ends a command: a test that waits for it fails."""


def utopia(*words: str | Path, cwd: Path | None = None, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """What the command says in a folder, with more environment variables (None: without one), and its exit code."""
    given = [str(word) for word in words]
    _imported()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if (child := os.fork()) == 0:
            _be_the_command(given, (out.fileno(), err.fileno()), cwd, variables)
        _, status = os.waitpid(child, 0)
        said = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
    return subprocess.CompletedProcess(given, os.waitstatus_to_exitcode(status), *said)


@cache
def _imported() -> None:
    """Import here, once for all forks, what commands import; most of that is the configuration's classes."""
    for command in cli.COMMANDS:
        cli.module_of(command)
    Plan(load({"study": "miniature"}))


def _be_the_command(
    words: list[str], streams: tuple[int, int], cwd: Path | None, variables: dict[str, str | None]
) -> NoReturn:
    code: object = 1
    signal.alarm(_HANGS)
    try:
        for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
            os.dup2(stream, number)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
        for name, value in variables.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        if cwd:
            os.chdir(cwd)
        code = cli.main(words)
    except SystemExit as ended:  # argparse's way
        code = ended.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)
