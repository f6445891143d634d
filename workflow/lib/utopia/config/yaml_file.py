"""The one place that reads YAML: values that have one meaning, with the line of each, within limits.

A YAML file of a few lines can ask for any amount of memory and time (aliases and merge keys that multiply, nesting,
tags that call functions). Here a file has a size, a depth and a number of values; a value is text, a number, yes or no,
or nothing. Dates and numbers to the base of 60, which YAML 1.1 sees in `2026-11-29` and `12:30`, are text.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from yaml import MappingNode, MarkedYAMLError, Node, ScalarNode, SequenceNode, YAMLError
from yaml._yaml import CParser
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError, SafeConstructor
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
            _check(name, node, {})
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


class _Loader(CParser, SafeConstructor, _Plain):
    """The C parser and its composer, stopped where nesting gets too deep for it."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        SafeConstructor.__init__(self)
        _Plain.__init__(self)
        self._level = 0

    # The composer calls the next two before and after each node that is no alias.
    def descend_resolver(self, current_node: Node | None, current_index: Any) -> None:
        """One level down, within the limit."""
        self._level += 1
        if self._level > MOST_DEPTH and current_node is not None:
            at = current_index if isinstance(current_index, Node) else current_node
            raise _too("deep", at.start_mark)

    def ascend_resolver(self) -> None:
        """One level up."""
        self._level -= 1

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


def _too(what: str, mark: Any) -> ComposerError:
    limit = f"{MOST_DEPTH} levels" if what == "deep" else f"{MOST_VALUES} values"
    return ComposerError(None, None, f"too {what}: more than {limit}, with what aliases and `<<` repeat", mark)


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


def _check(name: str, node: Node, extents: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """How many values a node holds and how many levels, what aliases repeat counted each time; and no key twice.

    An alias stands for a node that was composed before, so each is gone through once: `extents` remembers them.
    """
    if isinstance(node, ScalarNode):
        return 1, 1
    if id(node) not in extents:
        extents[id(node)] = 0, 0
        values, levels = 1, 1
        for inner in node.value if isinstance(node, SequenceNode) else _keys_and_values(name, node):
            within, below = _check(name, inner, extents)
            values, levels = values + within, max(levels, 1 + below)
        if values > MOST_VALUES:
            raise _too("large", node.start_mark)
        if levels > MOST_DEPTH:
            raise _too("deep", node.start_mark)
        extents[id(node)] = values, levels
    elif extents[id(node)] == (0, 0):
        raise ComposerError(None, None, "an anchor holds itself", node.start_mark)
    return extents[id(node)]


def _keys_and_values(name: str, node: Any) -> Iterator[Node]:
    _refuse_repeats_in(name, node)
    return chain.from_iterable(node.value)


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
