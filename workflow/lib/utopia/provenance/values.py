"""Reading Snakemake's named lists, and turning the values in them into JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any


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
