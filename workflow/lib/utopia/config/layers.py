"""Configuration layers: YAML files and the command line, laid over one another; each value knows its file and line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from utopia.errors import ConfigError

COMMAND_LINE = "command line (--config)"

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Layer:
    """One source of values: nested `data` and, for a file, the YAML node tree that holds the lines."""

    name: str
    data: Mapping[str, Any]
    node: yaml.Node | None = field(default=None, compare=False)

    def line(self, path: Sequence[str | int]) -> int | None:
        """The 1-based line of the deepest part of `path` that stands in this layer; None if its first part does not."""
        node, found = self.node, None
        for part in path:
            child = _child(node, part)
            if child is None:
                continue  # a union's tag, which is no key of the file
            line, node = child
            found = line
        return found

    def holds(self, path: Sequence[str | int]) -> bool:
        """Whether the whole path stands in this layer."""
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
        ConfigError: the file is missing, is not YAML, repeats a key, or is not a mapping; with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is not None:
            _refuse_repeated_keys(path, node)
        data = loader.construct_document(node) if node is not None else {}
    except yaml.YAMLError as error:
        raise _not_yaml(path, error) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read ({error})", where=path) from error
    if not isinstance(data, dict):
        raise ConfigError(f"must be a mapping of settings, found {type(data).__name__}", where=path)
    return Layer(str(path), data, node)


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


def _not_yaml(path: Path, error: yaml.YAMLError) -> ConfigError:
    start, mark = getattr(error, "context_mark", None), getattr(error, "problem_mark", None)
    what = f"not valid YAML: {getattr(error, 'problem', None) or error}"
    if mark and start and start.line != mark.line:
        what += f" (in what begins in line {start.line + 1})"
    mark = mark or start
    return ConfigError(what, where=f"{path}:{mark.line + 1}" if mark else path)


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


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def _refuse_repeated_keys(path: Path, root: yaml.Node) -> None:
    visited: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in visited:
            continue  # an anchor that is used again, perhaps inside itself
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            _refuse_repeats_in(path, node)
            waiting += [value for _, value in node.value]


def _refuse_repeats_in(path: Path, node: yaml.MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ConfigError("a key must be a single word, found a list or a mapping", where=f"{path}:{line}")
        if key.value in seen:
            raise ConfigError(
                f"the key {key.value!r} stands twice (first in line {seen[key.value]})",
                where=f"{path}:{line}",
                why="YAML would silently keep the second",
                remedy="remove one of them",
            )
        seen[key.value] = line
