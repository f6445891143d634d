"""Reading a study's configuration; every fault is reported at once, with file, line, what is allowed and the nearest name."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from utopia.config import layers
from utopia.config.layers import COMMAND_LINE, Layer
from utopia.config.study import StudyBase, study_model
from utopia.config.suggest import nearest
from utopia.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[4]
RESOURCES = REPOSITORY / "workflow" / "resources"
CONFIG = REPOSITORY / "config.yaml"


def load(overrides: Mapping[str, Any] | None = None, files: Sequence[Path] = (), config: Path = CONFIG) -> StudyBase:
    """Read `config`, the overlay of the study it (or an override) names, then `files`, then `overrides`.

    Raises:
        ConfigError: listing every fault.
    """
    return validate(_stack(overrides or {}, files, config))


def _stack(overrides: Mapping[str, Any], files: Sequence[Path], config: Path) -> list[Layer]:
    base = layers.read(config)
    above = [layers.read(Path(file)) for file in files]
    if overrides:
        above.append(Layer(COMMAND_LINE, dict(overrides)))
    name = layers.merge([base, *above]).get("study", "miniature")
    overlays = {path.stem: path for path in sorted((RESOURCES / "studies").glob("*.yaml"))}
    if name not in overlays:
        raise ConfigError(
            f"there is no study {name!r}{nearest(str(name), overlays)}",
            where=layers.locate([base, *above], ["study"]),
            remedy=f"use one of: {', '.join(overlays)}; or add {RESOURCES.name}/studies/{name}.yaml",
        )
    return [base, layers.read(overlays[name]), *above]


def validate(stack: Sequence[Layer]) -> StudyBase:
    """Merge and validate layers.

    Raises:
        ConfigError: listing every fault.
    """
    try:
        return study_model().model_validate(layers.merge(stack))
    except ValidationError as error:
        faults = [_fault(stack, dict(detail)) for detail in error.errors(include_url=False)]
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(
            f"the configuration has {count}:\n" + "\n".join(faults),
            remedy="correct the lines named above; docs/configuration.md lists every setting",
        ) from None


def _fault(stack: Sequence[Layer], detail: Mapping[str, Any]) -> str:
    loc: tuple[str | int, ...] = detail["loc"]
    dotted = ".".join(str(part) for part in loc)
    where = layers.locate(stack, loc) if loc else stack[0].name
    kind = detail["type"]
    if kind == "extra_forbidden":
        allowed = sorted(_fields_at(study_model(), loc[:-1]))
        name = str(loc[-1])
        return f"  {where}: {dotted}: unknown key{nearest(name, allowed)}\n      allowed here: {', '.join(allowed)}"
    if kind == "missing":
        return f"  {where}: {dotted}: this setting is required"
    message = str(detail["msg"]).removeprefix("Value error, ")
    if isinstance(detail.get("input"), str | int | float | bool):
        expected = detail.get("ctx", {}).get("expected")
        words = [part.strip(" '") for part in str(expected).replace(" or ", ",").split(",")] if expected else []
        hint = nearest(str(detail["input"]), words) if words else ""
        return f"  {where}: {dotted}: found {detail['input']!r}: {message}{hint}"
    return f"  {where}: {dotted or 'settings'}: {message}"


def _fields_at(model: Any, path: Sequence[str | int]) -> set[str]:
    """The field names allowed at `path` below a model; unions contribute the fields of the member that is tagged."""
    if not path:
        return set(model.model_fields) if _is_model(model) else set()
    head, rest = path[0], path[1:]
    if _is_model(model):
        field = model.model_fields.get(str(head))
        return _fields_at(field.annotation, rest) if field else set()
    origin, arguments = typing.get_origin(model), typing.get_args(model)
    if origin is typing.Annotated:
        return _fields_at(arguments[0], path)
    if origin in (dict, list):
        return _fields_at(arguments[-1], rest)
    if origin in (typing.Union, types.UnionType):
        for member in arguments:
            tag = member.model_fields.get("extractor") if _is_model(member) else None
            if tag is not None and head in typing.get_args(tag.annotation):
                return _fields_at(member, rest)
        found: set[str] = set()
        for member in arguments:
            found |= _fields_at(member, path)
        return found
    return set()


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)
