"""The reference pages of all settings, written from the typed models."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from utopia.config.annotations import bare, is_model, members_of, tag_of
from utopia.config.described import meanings
from utopia.config.study import DatasetSettings

_INDEX = """\
# Configuration

`config.yaml` is the study as published. The study that `study` names lays `workflow/resources/studies/<study>.yaml`
over it, `--configfile FILE` lays a file over both, and `--config KEY=VALUE` stands above all. Mappings are merged key
by key; everything else is replaced. Unknown keys are refused. A default holds where none of these says otherwise.

Every setting has a line on one of these pages:

{topics}

Settings marked **[U]** choose between readings of what the papers leave open; the last page lists them.

These pages are generated from the typed models in `workflow/lib/utopia/config` and from the `Config` of every
component. `python -m utopia.config.schema --fix` regenerates them, and a test fails where one is out of date.
"""
_BACK = "Generated; [what overrides what, and all pages of settings](../configuration.md).\n"
_FOLDER = "configuration"


class _Topic(NamedTuple):
    """One page: its title, what it is about, and the sections of the configuration on it."""

    title: str
    about: str
    sections: tuple[str, ...]


_TOPICS = {
    "study": _Topic("The study", "its name, folders and repeats, and how runs are trained and judged", ()),
    "datasets": _Topic(
        "Data sets", "folders, features, label distributions, and each data set's options", ("datasets",)
    ),
    "features": _Topic("Features", "what is extracted, by which network, or read from a file", ("features",)),
    "models": _Topic("Models", "sizes and training recipes", ("models",)),
    "treatments": _Topic(
        "Treatments, losses and samplers", "what the papers compare", ("treatments", "losses", "samplers")
    ),
}
"""By file name. A section that no other page has is on the first."""
_OPEN = _Topic("What the papers leave open", "every setting marked **[U]**, with the reading taken", ())


@dataclass(frozen=True)
class Setting:
    """One setting: its dotted path, its type and default in words, and what it means."""

    path: str
    type: str
    default: str
    meaning: str


def pages(study: type[BaseModel]) -> dict[str, str]:
    """The reference pages (Markdown) of a study model, by their path below `docs`; the first one lists the others."""
    nested = {name: field for name, field in study.model_fields.items() if _inner(field.annotation)}
    every = [setting for setting in settings(study) if setting.path.split(".")[0] not in nested]
    meaning = meanings(study)
    texts = {name: [f"# {topic.title}\n", _BACK] for name, topic in _TOPICS.items()}
    texts["study"].append(_list(every))
    for name, field in nested.items():
        page = next((key for key, topic in _TOPICS.items() if name in topic.sections), "study")
        texts[page].append(f"## `{name}`\n\n{_wrapped(meaning[name])}\n")
        for title, about, listed in _sections(name, field):
            if title:
                texts[page].append(f"### {title}\n\n{about}\n" if about else f"### {title}\n")
            texts[page].append(_list(listed) if listed else "No settings.\n")
            every += listed
    texts["open"] = [f"# {_OPEN.title}\n", _BACK, "[The questions themselves](../open_questions.md), with sources.\n"]
    texts["open"].append(_list([setting for setting in every if "[U]" in setting.meaning]))
    topics = "\n".join(
        f"* [{topic.title}]({_FOLDER}/{name}.md): {topic.about}" for name, topic in {**_TOPICS, "open": _OPEN}.items()
    )
    index = {f"{_FOLDER}.md": _INDEX.replace("{topics}", topics)}
    return index | {f"{_FOLDER}/{name}.md": "\n".join(parts) for name, parts in texts.items()}


def _sections(name: str, field: FieldInfo) -> Iterator[tuple[str, str, list[Setting]]]:
    """Title, introduction and settings of each part of a section."""
    inner = _inner(field.annotation)
    if len(inner) > 1:
        members = {tag_of(member) or ("kind", member.__name__): member for member in inner}
        listed = {tag: settings(member, f"{name}.<name>.") for tag, member in members.items()}
        common = [line for line in listed[next(iter(listed))] if all(line in lines for lines in listed.values())]
        key = next(iter(listed))[0]
        yield f"every `{key}`", "", common
        for (key, tag), member in members.items():
            own = [line for line in listed[key, tag] if line not in common]
            yield f"`{key}: {tag}`", _wrapped(member.__doc__), own
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
        yield f"`{name}.{key}`", _wrapped(part.__doc__), own


def settings(model: type[BaseModel], prefix: str = "", default: Any = None) -> list[Setting]:
    """Every setting of a model, models inside it opened; `default` is an instance that gives the defaults."""
    found = []
    schema, meaning = _schema(model), meanings(model)
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
        found.append(Setting(prefix + name, words, "required" if required else _shown(value), _meaning(meaning[name])))
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


@cache
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


def _wrapped(text: str | None, first: str = "", then: str = "") -> str:
    """Text in lines of at most 120 characters."""
    return textwrap.fill(
        _meaning(text),
        120,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _list(lines: list[Setting]) -> str:
    """A point for each setting: path, type, default, meaning."""
    points = []
    for line in lines:
        default = "required" if line.default == "required" else f"default {line.default}"
        head = f"**`{line.path}`** ({line.type}; {default})"
        points.append(_wrapped(f"{head}: {line.meaning.replace('[U]', '**[U]**')}", "* ", "  "))
    return "\n".join(points) + "\n"
