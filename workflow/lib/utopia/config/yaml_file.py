"""The one place that reads YAML: values that have one meaning, with the line of each, within limits.

A YAML file of a few lines can ask for any amount of memory and time (aliases and merge keys that multiply, nesting,
tags that call functions). Here a file has a size, a depth and a number of values; a value is text, a number, yes or no,
or nothing. Dates and numbers to the base of 60, which YAML 1.1 sees in `2026-11-29` and `12:30`, are text.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any, NamedTuple

from yaml import MappingNode, MarkedYAMLError, Node, ScalarNode, SequenceNode, YAMLError
from yaml._yaml import CParser
from yaml.composer import Composer, ComposerError
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.events import AliasEvent
from yaml.resolver import Resolver

from utopia.errors import ConfigError

MOST_BYTES = 4_000_000
"""Size of a file; the largest of the catalogue has 60 kB."""
MOST_DEPTH = 40
"""Levels of lists and mappings inside one another, those behind aliases counted."""
MOST_VALUES = 200_000
"""Values of a file, those behind an alias or a merge key counted each time that it is used."""
LARGEST_INTEGER = 2**63 - 1

_TAG = "tag:yaml.org,2002:"
_KINDS = {f"{_TAG}{kind}": kind for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}
_INTEGER = re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)")
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9_]+|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)


class Document(NamedTuple):
    """What a file holds: its values, and the node tree that knows the lines."""

    data: dict[str, Any]
    node: Node | None


def read(path: Path) -> Document:
    """Read a YAML file that holds a mapping; an empty one holds an empty mapping.

    Raises:
        ConfigError: the file is missing, no plain file, too large, or not YAML; it repeats a key, is not a mapping, or
            exceeds a limit of this module. With file and line.
    """
    return parse(_text(path), str(path))


def parse(text: str, name: str) -> Document:
    """Read YAML text; `name` says in messages whose it is.

    Raises:
        ConfigError: see `read`.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            _refuse_repeated_keys(name, node)
        data = loader.construct_document(node) if node is not None else {}
    except YAMLError as error:
        raise _not_yaml(name, error) from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"must be a mapping of settings, found {type(data).__name__}", where=name)
    return Document(data, node)


def _text(path: Path) -> str:
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            what = "a folder" if stat.S_ISDIR(facts.st_mode) else "no plain file"
            raise ConfigError(f"cannot read (it is {what})", where=path, remedy="name a YAML file")
        if facts.st_size > MOST_BYTES:
            size = f"{facts.st_size / 1e6:.0f} MB"
            raise ConfigError(f"is too large for settings ({size}, at most {MOST_BYTES / 1e6:.0f} MB)", where=path)
        return path.read_bytes().decode()
    except (OSError, ValueError) as error:  # not UTF-8, or a name that no file can have
        raise ConfigError(f"cannot read ({error})", where=repr(str(path)) if "\0" in str(path) else path) from error


class _Plain(Resolver):
    """Which words without quotes are no text. YAML 1.1 has dates and base 60 too, and takes `1e-4` for text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _kind, _pattern, _first in (
    ("bool", re.compile(r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"), "yYnNtTfFoO"),
    ("int", _INTEGER, "-+0123456789"),
    ("float", _FLOAT, "-+0123456789."),
    ("merge", re.compile("<<"), "<"),
    ("null", re.compile("~|null|Null|NULL|"), ["~", "n", "N", ""]),
):
    _Plain.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"(?:{_pattern.pattern})$"), list(_first))


class _Loader(Composer, CParser, SafeConstructor, _Plain):
    """The C parser's events, composed here, so that limits hold before anything is built."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        _Plain.__init__(self)
        self._level = 0
        self._extent: dict[int, tuple[int, int]] = {}
        """By node: how many values it holds, and how many levels."""

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """A node; the composer's own method, within limits."""
        event: Any = self.peek_event()
        if self._level >= MOST_DEPTH:
            raise self._too("deep", event.start_mark)
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        if isinstance(event, AliasEvent):
            if node is not None and id(node) not in self._extent:
                mark: Any = event.start_mark
                raise ComposerError(None, None, f"the anchor {event.anchor!r} holds itself", mark)
            return node
        if node is not None:
            self._extent[id(node)] = self._measured(node)
        return node

    def _measured(self, node: Node) -> tuple[int, int]:
        inner: list[Node] = []
        if isinstance(node, SequenceNode):
            inner = node.value
        elif isinstance(node, MappingNode):
            inner = [each for pair in node.value for each in pair]
        extents = [self._extent[id(each)] for each in inner]
        values, levels = 1 + sum(count for count, _ in extents), 1 + max((deep for _, deep in extents), default=0)
        if values > MOST_VALUES:
            raise self._too("large", node.start_mark)
        if levels > MOST_DEPTH:
            raise self._too("deep", node.start_mark)
        return values, levels

    @staticmethod
    def _too(what: str, mark: Any) -> ComposerError:
        limit = f"{MOST_DEPTH} levels" if what == "deep" else f"{MOST_VALUES} values"
        return ComposerError(None, None, f"too {what}: more than {limit}, with what aliases and `<<` repeat", mark)

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """A value; one that cannot be made from what stands there is a fault of its line."""
        if node.tag not in _KINDS:
            raise ConstructorError(None, None, f"the tag {node.tag!r} has no meaning here", node.start_mark)
        try:
            value = super().construct_object(node, deep)
        except YAMLError:
            raise
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:
            what = f"{_short(node)} cannot be read as {_KINDS[node.tag]}"
            raise ConstructorError(None, None, what, node.start_mark) from error
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise ConstructorError(None, None, f"{_short(node)} is too large a number", node.start_mark)
        return value


def _short(node: Node) -> str:
    text = str(node.value) if isinstance(node, ScalarNode) else "a list or a mapping"
    return repr(text) if len(text) <= 40 else f"{text[:40]!r}... ({len(text)} characters)"


def _not_yaml(name: str, error: YAMLError) -> ConfigError:
    start, mark = getattr(error, "context_mark", None), getattr(error, "problem_mark", None)
    problem = error.problem if isinstance(error, MarkedYAMLError) else None
    what = f"not valid YAML: {problem or error}"
    if mark and start and start.line != mark.line:
        what += f" (in what begins in line {start.line + 1})"
    mark = mark or start
    return ConfigError(what, where=f"{name}:{mark.line + 1}" if mark else name)


def _refuse_repeated_keys(name: str, root: Node) -> None:
    visited: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in visited:
            continue  # an anchor that is used again
        visited.add(id(node))
        if isinstance(node, SequenceNode):
            waiting += node.value
        elif isinstance(node, MappingNode):
            _refuse_repeats_in(name, node)
            waiting += [value for _, value in node.value]


def _refuse_repeats_in(name: str, node: MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, ScalarNode):
            raise ConfigError("a key must be a single word, found a list or a mapping", where=f"{name}:{line}")
        if key.value in seen:
            raise ConfigError(
                f"the key {key.value!r} stands twice (first in line {seen[key.value]})",
                where=f"{name}:{line}",
                why="YAML would silently keep the second",
                remedy="remove one of them",
            )
        seen[key.value] = line
