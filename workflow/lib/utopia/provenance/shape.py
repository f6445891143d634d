"""What a record must look like to be used. Anybody may have written it: what reads records later relies on these types.

Only types are looked at, because an audit asks twenty thousand records; parts that older records lack may be missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from utopia.provenance.job import SCHEMA, Block

_NEEDED = ("rule", "wildcards", "params", "inputs", "outputs", "roles", "code", "started", "ended", "seconds")


def checked(facts: Any) -> dict[str, Any]:
    """The facts of a record. Raises ValueError where they are not one."""
    if not isinstance(facts, dict):
        raise ValueError("not a record: no JSON object")
    if facts.get("schema") != SCHEMA:
        raise ValueError(f"its format is version {facts.get('schema')!r}; this program reads {SCHEMA}")
    missing = [name for name in _NEEDED if name not in facts]
    if missing:
        raise ValueError(f"without {', '.join(missing)}")
    for name, is_right in _PARTS.items():
        if name in facts and not is_right(facts[name]):
            raise ValueError(f"{name} {_SHOULD_BE.get(name, 'is not what a job writes there')}")
    return facts


_SHOULD_BE = {
    "inputs": "are not a list of files with path, sha256 and bytes",
    "outputs": "are not a list of files with path, sha256 and bytes",
    "code": "without fingerprint, roots or modules",
}


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_text_or_none(value: Any) -> bool:
    return value is None or type(value) is str


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _is_mapping_or_none(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _are_texts(value: Any) -> bool:
    return type(value) is list and all(type(each) is str for each in value)


def _are_named_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(type(each) is str for each in value.values())


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_entry(value: Any) -> bool:
    try:
        path, sha256, size = value["path"], value["sha256"], value["bytes"]
    except (KeyError, TypeError):
        return False
    return (
        type(path) is str
        and (sha256 is None or type(sha256) is str)
        and (size is None or type(size) is int)
        and ("files" not in value or _are_entries(value["files"]))
    )


def _are_entries(value: Any) -> bool:
    return type(value) is list and all(map(_is_entry, value))


def _are_roles(value: Any) -> bool:
    sides = [value.get(side) for side in ("inputs", "outputs")] if isinstance(value, dict) else [None]
    return all(
        isinstance(side, dict) and all(type(paths) is str or _are_texts(paths) for paths in side.values())
        for side in sides
    )


def _is_opened(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict) and _are_texts(value.get("undeclared")) and _are_texts(value.get("never_read"))
    )


def _is_lock(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and _is_text(value.get("path")) and _is_text(value.get("sha256")))


def _is_commit(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and _is_text(value.get("commit"))
        and type(value.get("dirty")) is bool
        and _are_texts(value.get("changed"))
    )


def _are_gpus(value: Any) -> bool:
    return value is None or (type(value) is list and all(isinstance(each, dict) for each in value))


def _once(is_right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """The same answer for a part that many records share, given once."""

    def ask(value: Any) -> bool:
        if not isinstance(value, Block):
            return is_right(value)
        known = vars(value)
        if "has_shape" not in known:
            known["has_shape"] = is_right(value)
        return bool(known["has_shape"])

    return ask


@_once
def _is_code(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and {"fingerprint", "roots", "modules"} <= value.keys()
        and _are_texts(value["roots"])
        and _are_texts(value.get("files", []))
        and _are_texts(value.get("undeclared", []))
        and _are_named_texts(value["modules"])
    )


@_once
def _is_environment(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and _is_text_or_none(value.get("python"))
        and all(_are_named_texts(value.get(name) or {}) for name in ("packages", "variables"))
    )


_PARTS: dict[str, Callable[[Any], bool]] = {
    "rule": _is_text,
    "wildcards": _are_named_texts,
    "params": _is_mapping,
    "inputs": _are_entries,
    "outputs": _are_entries,
    "roles": _are_roles,
    "opened": _is_opened,
    "notes": _is_mapping,
    "code": _is_code,
    "git": _is_commit,
    "lock": _is_lock,
    "environment": _is_environment,
    "host": _is_text_or_none,
    "cpu": _is_mapping_or_none,
    "gpu": _are_gpus,
    "determinism": _is_mapping_or_none,
    "started": _is_text,
    "ended": _is_text,
    "seconds": _is_number,
    "cpu_seconds": _is_number,
    "command": _is_text,
    "log": _is_text_or_none,
}
