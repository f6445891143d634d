"""Snakemake and the `utopia` command in forks of a process that has imported what they are built of.

Each is a process of its own, in the folder and with the environment that it is given, without what its imports cost.
The process that forks has imported nothing of this project: a copy of the checkout runs its own code and plugins.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

_NEEDED = ("numpy", "pandas", "pydantic", "snakemake.persistence.file", "snakemake.report", "sqlmodel", "yaml.composer")
"""Not `snakemake.cli`, which imports the plugins in the path."""


def run(
    module: str, *arguments: str, cwd: Path, env: Mapping[str, str], timeout: float = 900
) -> subprocess.CompletedProcess[str]:
    """What `python -m module` does and says in a folder, with these environment variables and no others.

    Raises:
        subprocess.TimeoutExpired: it had not ended after so many seconds, and was killed.
    """
    order = {"module": module, "arguments": arguments, "cwd": str(cwd), "environment": dict(env)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        code = _ask(order, (out.fileno(), err.fileno()), timeout)
        said = [os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode() for file in (out, err)]
    return subprocess.CompletedProcess([module, *arguments], code, *said)


@cache
def _forker() -> socket.socket:
    """The way to the process that forks; it ends when this process does."""
    ours, theirs = socket.socketpair()
    subprocess.Popen([sys.executable, __file__], stdin=theirs, env={**os.environ, "PYTHONPATH": ""})
    theirs.close()
    return ours


def _ask(order: object, streams: Sequence[int], timeout: float) -> int:
    forker = _forker()
    socket.send_fds(forker, [json.dumps(order).encode()], streams)
    child = int(forker.recv(20))
    forker.settimeout(timeout)
    try:
        return int(forker.recv(20))
    except TimeoutError:
        os.kill(child, signal.SIGKILL)
        forker.settimeout(None)
        forker.recv(20)
        raise subprocess.TimeoutExpired(str(order), timeout) from None
    finally:
        forker.settimeout(None)


def _forked() -> str:
    """Fork for each order; returns in the fork, with the name of the module that it is to run."""
    for name in _NEEDED:
        importlib.import_module(name)
    own = [name for name, module in sys.modules.items() if "/workflow/lib/" in str(getattr(module, "__file__", ""))]
    assert not own, f"a copy would run this checkout's {own}"
    paths = sys.path[1:]
    orders = socket.socket(fileno=0)
    while True:
        told, streams, _, _ = socket.recv_fds(orders, 1 << 20, 2)
        if not told:
            sys.exit()
        if (child := os.fork()) == 0:
            orders.detach()
            return _become(json.loads(told), streams, paths)
        for stream in streams:
            os.close(stream)
        orders.send(str(child).encode())
        _, status = os.waitpid(child, 0)
        orders.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(order: dict[str, Any], streams: Sequence[int], paths: list[str]) -> str:
    """Take over what a process is given when it starts."""
    for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["cwd"])
    given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [order["cwd"], *given, *paths]
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    sys.argv = [order["module"], *order["arguments"]]
    random.seed()
    return str(order["module"])


if __name__ == "__main__":
    runpy.run_module(_forked(), run_name="__main__", alter_sys=True)
