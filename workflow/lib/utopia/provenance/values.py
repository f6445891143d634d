"""Snakemake's named lists: reading them, turning the values in them into JSON, and giving a script some of our own."""

from __future__ import annotations

import math
import os
import runpy
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import PurePath
from types import SimpleNamespace
from typing import Any

from utopia import fingerprint


class Params(dict[str, Any]):
    """Parameters as scripts use Snakemake's: by attribute and as a mapping."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Named(list[str]):
    """A named list as scripts use Snakemake's: by number, by name, and as pairs.

    Args:
        by_role: a path, or paths, by role; `""` has those without a role.
    """

    def __init__(self, by_role: Mapping[str, Any]) -> None:
        super().__init__(path for value in by_role.values() for path in ([value] if isinstance(value, str) else value))
        self._names = {
            role: value if isinstance(value, str) else Named({"": value}) for role, value in by_role.items() if role
        }

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_names"][name]
        except KeyError:
            raise AttributeError(name) from None

    def items(self) -> Iterator[tuple[str, Any]]:
        """Roles and their paths."""
        return iter(self._names.items())

    def get(self, role: str, default: Any = None) -> Any:
        """The paths of a role that a job may lack."""
        return self._names.get(role, default)


def run_script(asked: Mapping[str, Any]) -> int:
    """Run the script of a rule in this process, as a job of Snakemake would: it writes the same files and record.

    Args:
        asked: `script` (its name in the checkout) and `folder` (the working directory); `rule`, `wildcards`, `params`,
            `input` and `output` by role, `log`, `threads`, `config`, and optionally `resources`.

    Returns:
        The exit status of the script; why it failed is in the job's log and failure file.
    """
    os.chdir(asked["folder"])
    job = SimpleNamespace(
        rule=asked["rule"],
        wildcards=SimpleNamespace(**asked["wildcards"]),
        params=Params(asked["params"]),
        input=Named(asked["input"]),
        output=Named(asked["output"]),
        log=list(asked["log"]),
        threads=asked["threads"],
        resources=dict(asked.get("resources", {})),
        config=dict(asked["config"]),
    )
    try:
        runpy.run_path(str(fingerprint.file_of(asked["script"])), init_globals={"snakemake": job})
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 0


def named(value: Any) -> dict[str, Any]:
    """The entries of one of Snakemake's named lists (or of a mapping, or of an object with attributes) by name.

    Entries without a name are kept, as a list, under `""`.
    """
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "items"):
        entries = dict(value.items())
        covered = sum(1 if not _is_named_list(item) else len(item) for item in entries.values())
        rest = list(value)[: len(value) - covered] if isinstance(value, list) else []
        return {**({"": rest} if rest else {}), **entries}
    if isinstance(value, list | tuple):
        return {"": list(value)} if value else {}
    return dict(vars(value))


def _is_named_list(value: Any) -> bool:
    return isinstance(value, list) and hasattr(value, "_names")


def flat(value: Any) -> list[str]:
    """All file names in a named list, a mapping, a list or a single name, in order."""
    if value is None:
        return []
    if isinstance(value, str | PurePath):
        return [str(value)]
    items: Iterable[Any] = value.values() if isinstance(value, Mapping) else value
    return [name for item in items for name in flat(item)]


def jsonable(value: Any) -> Any:
    """`value` as JSON can hold it. What has no JSON form is kept as its `repr`, never dropped."""
    if isinstance(value, Enum):
        return jsonable(value.value)
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else repr(float(value))
    if isinstance(value, PurePath):
        return value.as_posix()
    if hasattr(value, "model_dump"):
        return jsonable(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted((jsonable(item) for item in value), key=repr)
    if isinstance(value, list | tuple):
        has_names = _is_named_list(value) and named(value).keys() - {""}
        return jsonable(named(value)) if has_names else [jsonable(item) for item in value]
    if hasattr(value, "tolist"):  # an array or a scalar of NumPy
        return jsonable(value.tolist())
    return repr(value)
