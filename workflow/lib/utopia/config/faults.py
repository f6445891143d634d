"""A fault of the configuration in words: where it stands, what was found, what is allowed, the nearest known name."""

from __future__ import annotations

import reprlib
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from utopia.config import layers
from utopia.config.annotations import bare, is_model, members_of, tag_of
from utopia.config.base import Strict, UnknownSettingError
from utopia.config.layers import Layer
from utopia.config.suggest import nearest

Keys = tuple[str | int, ...]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80


@dataclass(frozen=True)
class Fault:
    """One fault, at a path of keys."""

    path: Keys
    what: str
    """What is wrong, with the value found."""
    allowed: str = ""
    """What would be right."""
    hint: str = ""
    """The nearest known name."""

    def located(self, stack: Sequence[Layer]) -> str:
        """The fault as lines of text with file and line."""
        where = layers.locate(stack, self.path) if self.path else stack[0].name
        text = f"  {where}: {'.'.join(str(part) for part in self.path) or 'settings'}: {self.what}{self.hint}"
        return f"{text}\n      {self.allowed}" if self.allowed else text


def of_pydantic(model: type[BaseModel], error: ValidationError) -> list[Fault]:
    """The faults that a validation error of `model` lists; the members of a union speak with one voice."""
    by_path: dict[Keys, list[Fault]] = {}
    for detail in error.errors(include_url=False):
        fault = _fault(model, dict(detail))
        by_path.setdefault(fault.path, []).append(fault)
    return [_joined(faults) for faults in by_path.values()]


def of_change(error: ValidationError | UnknownSettingError, settings: Strict, value: Any, path: Keys) -> Fault:
    """The fault of a dotted setting at `path` whose `value` the settings refuse (`base.changed`)."""
    if isinstance(error, UnknownSettingError):
        allowed = f"allowed here: {', '.join(error.known)}" if error.known else ""
        return Fault(path, f"there is no setting {error.name!r}", allowed, nearest(error.name, error.known))
    whats = dict.fromkeys(fault.what for fault in of_pydantic(type(settings), error))
    what = "; ".join(whats)
    return Fault(path, what if what.startswith("found ") else f"found {shown(value)}: {what}")


def shown(value: Any) -> str:
    """A value in a message: short, and printable whatever it is."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"a {type(value).__name__} that is too long to show"


def _joined(faults: list[Fault]) -> Fault:
    whats = list(dict.fromkeys(fault.what for fault in faults))
    found, must, _ = whats[0].partition(": must be ")
    if must and all(what.startswith(found + must) for what in whats):
        whats = [", or ".join([whats[0], *(what.removeprefix(found + must) for what in whats[1:])])]
    return replace(faults[0], what="; ".join(whats), hint=next((fault.hint for fault in faults if fault.hint), ""))


def _fault(model: type[BaseModel], detail: Mapping[str, Any]) -> Fault:
    path, annotation = resolve(model, detail["loc"])
    kind, value, context = detail["type"], detail["input"], detail.get("ctx") or {}
    found = "found nothing (null)" if value is None else f"found {shown(value)}"
    message = _in_words(str(detail["msg"]))
    if kind == "extra_forbidden":
        allowed = sorted(fields_of(annotation))
        known = ", ".join(allowed) or "nothing"
        return Fault(path, "unknown key", f"allowed here: {known}", nearest(str(path[-1]), allowed))
    if kind == "missing":
        return Fault(path, "this setting is required")
    if kind == "invalid_key":
        return Fault(path, "a key must be text; YAML reads this one as another type: put it in quotes")
    if detail["loc"][-1:] == ("[key]",):
        return Fault(path, f"as a name: {message}")
    if kind == "union_tag_not_found":
        key = str(context["discriminator"]).strip("'")
        return Fault((*path, key), "this setting is required", f"allowed: {', '.join(_tags(annotation, key))}")
    if kind == "union_tag_invalid":
        key, tag = str(context["discriminator"]).strip("'"), str(context["tag"])
        tags = _tags(annotation, key)
        what = f"found {tag!r}: there is no such {key}"
        return Fault((*path, key), what, f"allowed: {', '.join(tags)}", nearest(tag, tags))
    if kind == "literal_error":
        hint = nearest(value, map(str, typing.get_args(annotation))) if isinstance(value, str) else ""
        return Fault(path, f"{found}: {message}", hint=hint)
    if kind == "value_error" and isinstance(value, dict | list):
        return Fault(path, message)
    return Fault(path, f"{found}: {message}")


def _in_words(message: str) -> str:
    for start in ("Value error, ", "Assertion failed, "):
        message = message.removeprefix(start)
    if message.startswith("Input should be a valid dictionary"):
        return "must be a mapping of settings"
    return message.replace("Input should", "must").replace("String should", "must")


def resolve(model: Any, loc: Sequence[str | int]) -> tuple[Keys, Any]:
    """A validation error's location as keys of the file (without the labels of union members), and the type there.

    For a key that the model does not know the type is that of the mapping in which the key stands.
    """
    path: list[str | int] = []
    annotation = bare(model)
    for part in loc:
        if part == "[key]":
            break
        members = members_of(annotation)
        if members:
            # The part is the label of a member (its tag, or the name of its type), not a key.
            annotation = bare(next((member for member in members if _labelled(member, part)), Any))
            continue
        path.append(part)
        if is_model(annotation):
            field = annotation.model_fields.get(str(part))
            if field is None:
                break
            annotation = bare(field.annotation)
        elif typing.get_origin(annotation) in (dict, list, tuple, set):
            annotation = bare(typing.get_args(annotation)[-1])
    return tuple(path), annotation


def fields_of(annotation: Any) -> set[str]:
    """The keys that a mapping of this type may have; a union's are those of all its members."""
    if is_model(annotation):
        return set(annotation.model_fields)
    return {name for member in members_of(annotation) for name in fields_of(member)}


def _labelled(member: Any, label: str | int) -> bool:
    if is_model(member):
        tag = tag_of(member)
        return label == member.__name__ or (tag is not None and label == tag[1])
    return str(label).split("[")[0] == str(member).removeprefix("typing.").split("[")[0].lower()


def _tags(annotation: Any, key: str) -> list[str]:
    tags = (tag_of(member) for member in members_of(annotation))
    return sorted(tag[1] for tag in tags if tag is not None and tag[0] == key)
