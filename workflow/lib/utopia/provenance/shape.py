"""What a record must look like to be used. Anybody may have written it: what reads records later relies on these types.

Parts that older records lack may be missing, and further ones may be there.
"""

from __future__ import annotations

from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from utopia.provenance.job import SCHEMA, SharedBlock

_NEEDED = ("rule", "wildcards", "params", "inputs", "outputs", "roles", "code", "started", "ended", "seconds")


class _Entry(TypedDict):
    path: str
    sha256: str | None
    bytes: int | None
    files: NotRequired[list[_Entry]]


class _Roles(TypedDict):
    inputs: dict[str, str | list[str]]
    outputs: dict[str, str | list[str]]


class _Opened(TypedDict):
    undeclared: list[str]
    never_read: list[str]


class _Code(TypedDict):
    fingerprint: Any
    roots: list[str]
    modules: dict[str, str]
    files: NotRequired[list[str]]
    undeclared: NotRequired[list[str]]


class _Commit(TypedDict):
    commit: str
    dirty: bool
    changed: list[str]


class _Lock(TypedDict):
    path: str
    sha256: str


class _Environment(TypedDict, total=False):
    python: str | None
    packages: dict[str, str] | None
    variables: dict[str, str] | None


class _Record(TypedDict, total=False):
    rule: str
    wildcards: dict[str, str]
    params: dict[str, Any]
    inputs: list[_Entry]
    outputs: list[_Entry]
    roles: _Roles
    opened: _Opened | None
    notes: dict[str, Any]
    work: dict[str, int | float]
    code: _Code
    git: _Commit | None
    lock: _Lock | None
    environment: _Environment | None
    host: str | None
    cpu: dict[str, Any] | None
    gpu: list[dict[str, Any]] | None
    determinism: dict[str, Any] | None
    started: str
    ended: str
    seconds: int | float
    cpu_seconds: int | float
    command: str
    log: str | None


_FORM = TypeAdapter(_Record)
_SHOULD_BE = {
    "inputs": "are not a list of files with path, sha256 and bytes",
    "outputs": "are not a list of files with path, sha256 and bytes",
    "code": "without fingerprint, roots or modules",
}


def checked(facts: Any) -> dict[str, Any]:
    """The facts of a record. Raises ValueError where they are not one."""
    if not isinstance(facts, dict):
        raise ValueError("not a record: no JSON object")
    if facts.get("schema") != SCHEMA:
        raise ValueError(f"its format is version {facts.get('schema')!r}; this program reads {SCHEMA}")
    if missing := [name for name in _NEEDED if name not in facts]:
        raise ValueError(f"without {', '.join(missing)}")
    # Parts that many records share are looked at once.
    shared = {name: part for name, part in facts.items() if isinstance(part, SharedBlock)}
    known = {name for name, part in shared.items() if name in vars(part).setdefault("right_as", set())}
    try:
        _FORM.validate_python({name: part for name, part in facts.items() if name not in known}, strict=True)
    except ValidationError as error:
        name = str(error.errors(include_url=False, include_input=False)[0]["loc"][0])
        raise ValueError(f"{name} {_SHOULD_BE.get(name, 'is not what a job writes there')}") from None
    for name, part in shared.items():
        vars(part)["right_as"].add(name)
    return facts
