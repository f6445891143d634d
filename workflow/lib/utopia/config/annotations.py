"""Reading the types of settings: unions, their members, and the tags that tell members apart."""

from __future__ import annotations

import types
import typing
from typing import Any, TypeGuard

from pydantic import BaseModel


def is_model(annotation: Any) -> TypeGuard[type[BaseModel]]:
    """Whether a type is a settings model."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def members_of(annotation: Any) -> list[Any]:
    """The members of a union (None left out); none if it is no union of several types."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        return members if len(members) > 1 else []
    return []


def bare(annotation: Any) -> Any:
    """The type without `Annotated`, and without None where one other type is left."""
    while True:
        arguments = typing.get_args(annotation)
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = arguments[0]
        elif typing.get_origin(annotation) in (typing.Union, types.UnionType) and not members_of(annotation):
            annotation = next(member for member in arguments if member is not type(None))
        else:
            return annotation


def tag_of(model: type[BaseModel]) -> tuple[str, str] | None:
    """Field and value that tell a member of a union from the others: its one field with a single literal value."""
    for name, field in model.model_fields.items():
        if typing.get_origin(field.annotation) is typing.Literal:
            values = typing.get_args(field.annotation)
            if len(values) == 1:
                return name, str(values[0])
    return None
