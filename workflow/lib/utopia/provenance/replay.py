"""Doing a job again from its record, into another folder, to compare what comes out with what is stored."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from utopia.errors import UtopiaError
from utopia.provenance import failures
from utopia.provenance.ledger import Record
from utopia.provenance.paths import Portable
from utopia.provenance.values import run_script

_FOLDERS = ("folder", "store")
"""Parameters that are folders: records write them as paths."""


def replay(record: Record, portable: Portable, folder: Path, suffixes: tuple[str, ...] = ("",)) -> dict[str, Path]:
    """Run a job's script again on the inputs that its record names; outputs go below `folder`.

    The script runs in this process, with the present code: only jobs whose code has not changed since are worth it.
    What a job stores beside its outputs goes below `folder` too. Of outputs with names, only those that end in one of
    `suffixes` are asked for.

    Returns:
        The recorded path of each declared output -> the file made now.

    Raises:
        UtopiaError: the record does not say how the job was called, or the job fails; with its own message.
        KeyError: it names a folder that is not known here.
    """
    roles, scripts = record.facts.get("roles"), record.facts["code"].get("files") or []
    if roles is None or len(scripts) != 1:
        raise UtopiaError("the record does not say how the job was called", where=record.path)
    made: dict[str, Path] = {}

    def new_path(path: str) -> str:
        made[path] = below(folder, path)
        return str(made[path])

    def placed(name: str, value: Any) -> Any:
        if name not in _FOLDERS or not isinstance(value, str):
            return value
        return str(below(folder, value)) if name == "store" else here(portable, value)

    asked = {
        "script": scripts[0],
        "folder": str(Path.cwd()),
        "rule": record.rule,
        "wildcards": record.wildcards,
        "params": {name: placed(name, value) for name, value in record.facts["params"].items()},
        "input": _mapped(roles["inputs"], lambda path: here(portable, path)),
        "output": _mapped(_wanted(roles["outputs"], suffixes), new_path),
        "threads": record.facts.get("threads", 1),
        "log": [],
        "config": {name: str(path) for name, path in portable.roots.items() if name == "data"},
    }
    said = io.StringIO()
    with _quiet(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = run_script(asked)
    if status in (130, 143):  # the audit was told to end, which says nothing of the job
        raise KeyboardInterrupt
    if status:
        ended = failures.below(folder)
        raise UtopiaError(
            ended[0].what if ended else "the job fails when it is done again",
            where=ended[0].where if ended else "",
        )
    return made


def below(folder: Path, path: str) -> Path:
    """Where a recorded path goes below `folder`, whatever it says: an absolute one, or `..`, would leave the folder.

    Results that lie outside the checkout are recorded by absolute paths, and a record may be forged.
    """
    return folder.joinpath(*(part for part in PurePosixPath(path).parts if part not in ("/", "//", "..")))


def here(portable: Portable, path: str) -> str:
    """A path on this machine, as Snakemake gives it to a job: relative where it lies in the working directory."""
    place = portable.read(path)
    return path if place == Path.cwd() / path else str(place)


def _wanted(roles: Mapping[str, Any], suffixes: tuple[str, ...]) -> dict[str, Any]:
    return {role: value for role, value in roles.items() if not isinstance(value, str) or value.endswith(suffixes)}


def _mapped(roles: Mapping[str, Any], change: Any) -> dict[str, Any]:
    return {
        role: change(value) if isinstance(value, str) else [change(path) for path in value]
        for role, value in roles.items()
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Let a job that fails leave the terminal alone."""
    former = os.environ.get(failures.SHOWN_BY_LOGGER)
    os.environ[failures.SHOWN_BY_LOGGER] = "replay"
    try:
        yield
    finally:
        if former is None:
            del os.environ[failures.SHOWN_BY_LOGGER]
        else:
            os.environ[failures.SHOWN_BY_LOGGER] = former
