"""The reference page of all settings, written from the typed models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from utopia.config.annotations import bare, is_model, members_of, tag_of
from utopia.config.study import DatasetSettings

_HEAD = """\
# Configuration

Generated from the typed models in `workflow/lib/utopia/config` and from the `Config` of every component;
`python -m utopia.config.schema --fix` writes it anew, and a test fails where it is out of date.

`config.yaml` is the study as published. The study that `study` names lays `workflow/resources/studies/<study>.yaml`
over it, `--configfile FILE` lays a file over both, and `--config KEY=VALUE` stands above all. Mappings are merged key
by key, everything else is replaced. Unknown keys are refused. A default holds where none of these says otherwise.

Settings marked **[U]** choose between readings of what the papers leave open; the last section lists them.
"""


@dataclass(frozen=True)
class Setting:
    """One line of the page."""

    path: str
    type: str
    default: str
    meaning: str


def page(study: type[BaseModel]) -> str:
    """The reference page (Markdown) of a study model."""
    nested = {name: field for name, field in study.model_fields.items() if _inner(field.annotation)}
    plain = [setting for setting in settings(study) if setting.path.split(".")[0] not in nested]
    parts = [_HEAD, "## The study\n", _table(plain)]
    every = list(plain)
    for name, field in nested.items():
        parts.append(f"## `{name}`\n\n{_meaning(field.description)}\n")
        for title, about, found in _sections(name, field):
            if title:
                parts.append(f"### {title}\n\n{about}\n" if about else f"### {title}\n")
            parts.append(_table(found) if found else "No settings.\n")
            every += found
    open_ones = [setting for setting in every if "[U]" in setting.meaning]
    parts.append("## What the papers leave open\n\nEvery setting marked **[U]**, with the reading taken.\n")
    parts.append(_table(open_ones))
    return "\n".join(parts)


def _sections(name: str, field: FieldInfo) -> Iterator[tuple[str, str, list[Setting]]]:
    """Title, introduction and settings of each part of a section."""
    inner = _inner(field.annotation)
    if len(inner) > 1:
        for member in inner:
            key, tag = tag_of(member) or ("kind", member.__name__)
            yield f"`{key}: {tag}`", _meaning(member.__doc__), settings(member, f"{name}.<name>.")
        return
    model = inner[0]
    if model is not bare(field.annotation):
        yield "", "", settings(model, f"{name}.<name>.")
        return
    components = {key: bare(part.annotation) for key, part in model.model_fields.items()}
    if not components or not all(is_model(part) for part in components.values()):
        yield "", "", settings(model, f"{name}.")
        return
    shared = set()
    if all(issubclass(part, DatasetSettings) for part in components.values()):
        shared = set(DatasetSettings.model_fields)
        yield "every data set", "", settings(DatasetSettings, f"{name}.<name>.")
    for key, part in components.items():
        own = [line for line in settings(part, f"{name}.{key}.") if line.path.split(".")[2] not in shared]
        yield f"`{name}.{key}`", _meaning(part.__doc__), own


def settings(model: type[BaseModel], prefix: str = "", default: Any = None) -> list[Setting]:
    """Every setting of a model, models inside it opened; `default` is an instance that gives the defaults."""
    found = []
    schema = _schema(model)
    for name, field in model.model_fields.items():
        if default is not None:
            value, required = getattr(default, name), False
        else:
            value, required = field.get_default(call_default_factory=True, validated_data={}), field.is_required()
        inner = bare(field.annotation)
        if is_model(inner) and (required or isinstance(value, BaseModel)):
            found += settings(inner, f"{prefix}{name}.", None if required else value)
            continue
        words = _words(schema["properties"][name], schema)
        found.append(
            Setting(prefix + name, words, "required" if required else _shown(value), _meaning(field.description))
        )
    return found


def _inner(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field holds: itself, the values of a mapping, or the members of a union."""
    annotation = bare(annotation)
    if is_model(annotation):
        return [annotation]
    if getattr(annotation, "__origin__", None) is dict:
        value = bare(annotation.__args__[1])
        return [member for member in members_of(value) or [value] if is_model(member)]
    return []


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _words(schema: dict[str, Any], root: dict[str, Any]) -> str:
    """A JSON schema's type in words."""
    if "$ref" in schema:
        return _words(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root)
    if "anyOf" in schema:
        return " or ".join(_words(member, root) for member in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{member}`" for member in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])}: " + ", ".join(
                _words(part, root) for part in schema["prefixItems"]
            )
        return f"list of {_words(schema['items'], root)}" if "items" in schema else "list"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"mapping to {_words(values, root)}" if isinstance(values, dict) else "mapping"
    if kind == "string":
        return "path" if schema.get("format") == "path" else "text"
    words = {"integer": "integer", "number": "number", "boolean": "true or false", "null": "null"}[str(kind)]
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {_number(schema[key])}" for key, sign in signs.items() if key in schema]
    return " ".join([words, ", ".join(bounds)]).strip()


def _number(bound: float) -> str:
    return "2^63 - 1" if bound == 2**63 - 1 else f"{bound:,}" if isinstance(bound, int) else f"{bound:g}"


def _shown(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Path):
        value = value.as_posix()
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)
    return f"`{text}`"


def _meaning(text: str | None) -> str:
    return " ".join((text or "").split())


def _table(lines: list[Setting]) -> str:
    rows = [(f"`{line.path}`", line.type, line.default, line.meaning.replace("[U]", "**[U]**")) for line in lines]
    text = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    text += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(text) + "\n"
