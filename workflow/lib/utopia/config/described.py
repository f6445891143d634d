"""What settings mean: the docstring below each field of a model, read from its source where somebody wants to know.

Pydantic can read these docstrings while it builds a class (`use_attribute_docstrings`). It would parse the source of
every model in every process that starts, and only the generated pages and schemas need the words.
"""

from __future__ import annotations

import ast
import inspect
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from utopia.config import registry


def meanings(model: type[BaseModel]) -> dict[str, str | None]:
    """What each field of a model means: its description, else the docstring below it; None without either."""
    texts: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        package, *path = parent.__module__.split(".")
        file = registry.PACKAGE.joinpath(*path).with_suffix(".py")
        if package == "utopia" and file.is_file():
            texts |= _docstrings(file).get(parent.__qualname__, {})
    return {name: field.description or texts.get(name) for name, field in model.model_fields.items()}


@cache
def _docstrings(file: Path) -> dict[str, dict[str, str]]:
    """By class (its qualified name) and field."""
    found: dict[str, dict[str, str]] = {}

    def look(body: list[ast.stmt], outer: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef):
                found[outer + node.name] = _below_fields(node)
                look(node.body, f"{outer}{node.name}.")

    look(ast.parse(file.read_text(encoding="utf-8"), filename=str(file)).body, "")
    return found


def _below_fields(node: ast.ClassDef) -> dict[str, str]:
    return {
        field.target.id: inspect.cleandoc(text)
        for field, below in pairwise(node.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(text := below.value.value, str)
    }


class Described(GenerateJsonSchema):
    """JSON schemas whose fields say what they mean: `model.model_json_schema(schema_generator=Described)`."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """A model's schema with the meaning of each field."""
        made = super().model_schema(schema)
        model = schema["cls"]
        for name, text in meanings(model).items():
            if text is not None and model.model_fields[name].description is None:
                made["properties"][name]["description"] = text
        return made


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """A model's JSON schema, with what its fields mean."""
    return model.model_json_schema(schema_generator=Described)
