"""Configuration layers: YAML files and the command line, laid over one another; each value knows its file and line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from utopia.config import yaml_file
from utopia.errors import ConfigError

COMMAND_LINE = "command line (--config)"

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Layer:
    """One source of values: nested `data` and, for a file, the YAML node tree that holds the lines."""

    name: str
    data: Mapping[str, Any]
    node: Node | None = field(default=None, compare=False)

    def line(self, path: Sequence[str | int]) -> int | None:
        """The 1-based line of the deepest part of `path` that is in this layer; None if its first part does not."""
        node, found = self.node, None
        for part in path:
            child = _child(node, part)
            if child is None:
                continue  # a union's tag, which is no key of the file
            line, node = child
            found = line
        return found

    def text(self, path: Sequence[str | int]) -> str | None:
        """The single value at `path` as it is written in the file; None where there is none."""
        node = self.node
        for part in path:
            child = _child(node, part)
            node = child[1] if child is not None else None
        return node.value if isinstance(node, ScalarNode) else None

    def holds(self, path: Sequence[str | int]) -> bool:
        """Whether the whole path is in this layer."""
        value: Any = self.data
        for part in path:
            in_list = isinstance(value, list) and isinstance(part, int) and part < len(value)
            if not in_list and not (isinstance(value, Mapping) and part in value):
                return False
            value = value[part]
        return True


def read(path: Path) -> Layer:
    """Read a YAML file as a layer.

    Raises:
        ConfigError: see `yaml_file.read`; with file and line.
    """
    document = yaml_file.read(path)
    return Layer(str(path), document.data, document.node)


def validated(path: Path, model: type[Model], what: str) -> Model:
    """Read one file as a model.

    Raises:
        ConfigError: it is not a valid one; names its first fault, with the line.
    """
    layer = read(path)
    try:
        return model.model_validate(layer.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"not a valid {what}: {place}: {first['msg']}", where=locate([layer], first["loc"])) from None


def merge(layers: Sequence[Layer]) -> dict[str, Any]:
    """Lay the layers over one another: mappings are merged key by key, everything else is replaced."""
    result: dict[str, Any] = {}
    for layer in layers:
        result = _merged(result, layer.data)
    return result


def locate(layers: Sequence[Layer], path: Sequence[str | int]) -> str:
    """`file:line` of the value at `path`: the last layer that holds it, or else that holds its nearest parent."""
    for end in range(len(path), 0, -1):
        for layer in reversed(layers):
            if layer.holds(_in_file(layer, path[:end])):
                line = layer.line(path[:end])
                return f"{layer.name}:{line}" if line else layer.name
    return layers[0].name


def _in_file(layer: Layer, path: Sequence[str | int]) -> list[str | int]:
    """`path` without the parts that are union tags (not keys of the file)."""
    kept: list[str | int] = []
    for part in path:
        if layer.holds([*kept, part]):
            kept.append(part)
    return kept if kept and kept[-1] == path[-1] else list(path)


def _child(node: Node | None, part: str | int) -> tuple[int, Node] | None:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result
