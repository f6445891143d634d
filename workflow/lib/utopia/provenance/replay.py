"""Doing a job again from its record, into another folder, to compare what comes out with what is stored."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any

from utopia import fingerprint
from utopia.errors import UtopiaError
from utopia.provenance import failures
from utopia.provenance.ledger import Record
from utopia.provenance.paths import Portable

_FOLDERS = ("folder", "store")
"""Parameters that are folders: records write them as paths."""


class _Params(dict[str, Any]):
    """Parameters as scripts use Snakemake's: by attribute and as a mapping."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class _Named(list[str]):
    """A named list as scripts use Snakemake's: by number, by name, and as pairs."""

    def __init__(self, by_role: Mapping[str, Any]) -> None:
        super().__init__(path for value in by_role.values() for path in ([value] if isinstance(value, str) else value))
        self._by_role = {role: value for role, value in by_role.items() if role}

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_by_role"][name]
        except KeyError:
            raise AttributeError(name) from None

    def items(self) -> Iterator[tuple[str, Any]]:
        """Roles and their paths."""
        return iter(self._by_role.items())

    def get(self, role: str, default: Any = None) -> Any:
        """The paths of a role that a job may lack."""
        return self._by_role.get(role, default)


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

    job = SimpleNamespace(
        rule=record.rule,
        wildcards=SimpleNamespace(**record.wildcards),
        params=_Params({name: placed(name, value) for name, value in record.facts["params"].items()}),
        input=_Named(_mapped(roles["inputs"], lambda path: here(portable, path))),
        output=_Named(_mapped(_wanted(roles["outputs"], suffixes), new_path)),
        threads=record.facts.get("threads", 1),
        log=[],
        config={name: str(path) for name, path in portable.roots.items() if name == "data"},
    )
    said = io.StringIO()
    with _quiet(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            runpy.run_path(str(fingerprint.file_of(scripts[0])), init_globals={"snakemake": job})
        except SystemExit as error:
            if error.code in (130, 143):  # the audit was told to end, which says nothing of the job
                raise KeyboardInterrupt from error
            ended = failures.below(folder)
            raise UtopiaError(
                ended[0].what if ended else "the job fails when it is done again",
                where=ended[0].where if ended else "",
            ) from error
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
