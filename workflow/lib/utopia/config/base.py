"""The base of every typed settings model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from utopia.config.places import fault_of_below

LARGEST = 10**15
"""The largest number of a setting that names no limit of its own, and minus it the smallest."""


def _guarded(schema: Any, model: type[BaseModel]) -> Any:
    """The schema of a model with strict numbers and switches; models inside it have seen to theirs."""
    if isinstance(schema, list | tuple):
        return type(schema)(_guarded(each, model) for each in schema)
    if not isinstance(schema, dict) or schema.get("cls", model) is not model:
        return schema
    if schema.get("type") == "bool":
        return {**schema, "strict": True}
    if schema.get("type") in ("int", "float"):
        low = None if {"ge", "gt"} & schema.keys() else -LARGEST
        high = None if {"le", "lt"} & schema.keys() else LARGEST
        return core_schema.no_info_wrap_validator_function(partial(_number, low=low, high=high), schema)
    return {key: value if key in ("cls", "metadata") else _guarded(value, model) for key, value in schema.items()}


def _number(value: Any, validated: Callable[[Any], Any], *, low: int | None, high: int | None) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number; YAML reads yes, no, on and off as true and false")
    number = validated(value)
    if low is not None and number < low:
        raise ValueError(f"must be at least {low}")
    if high is not None and number > high:
        raise ValueError(f"must be at most {high}")
    return number


class Strict(BaseModel):
    """Settings that refuse unknown keys and do not change once read. What stands below a field says what it means.

    Yes and no are no numbers, numbers are not yes or no, and a number whose field names no limit has `LARGEST`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        guarded: CoreSchema = _guarded(handler(source), cls)
        return guarded


def _below(path: str) -> str:
    if fault := fault_of_below(path):
        raise ValueError(fault)
    return path


Below = Annotated[str, AfterValidator(_below)]
"""A path that stays below its folder."""


def changed(settings: Strict, path: Sequence[str], value: Any) -> Strict:
    """The settings with the one at `path` (names inside one another) set to `value`, checked as a whole.

    Raises:
        UnknownSettingError: there is no such setting.
        pydantic.ValidationError: the value is not valid, or does not go with the others.
    """
    fields = type(settings).model_fields
    if path[0] not in fields:
        raise UnknownSettingError(path[0], tuple(fields))
    old = getattr(settings, path[0])
    if len(path) > 1 and not isinstance(old, Strict):
        raise UnknownSettingError(path[1], ())
    inner = value if len(path) == 1 else changed(old, path[1:], value)
    return type(settings).model_validate({**{name: getattr(settings, name) for name in fields}, path[0]: inner})


class UnknownSettingError(KeyError):
    """A name that no setting has; `known` are those that exist where it stands."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name)
        self.name, self.known = name, known
