"""Components found by looking into a folder: `models/et.py` is the model `et`, and that file is its registration.

A component file defines `Config` (its typed settings). `config_of` reads that class **without running the rest of the
file**, because the file imports torch (three seconds) and the workflow needs only the settings. So a `Config` may use
only names from the modules in `_LIGHT`; a test checks that both ways of loading agree. Files whose name starts with `_`
are not components.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from utopia.config.base import Strict
from utopia.config.suggest import nearest
from utopia.errors import ConfigError

PACKAGE = Path(__file__).parents[1]
KINDS = ("datasets", "extractors", "models", "losses", "samplers")
_LONGEST_TITLE = 20
_CODE = re.compile(r"^(?:@|def |async def |class (?!Config\b))", re.MULTILINE)
_MORE = re.compile(r"^(?:class Config\b|(?!def |async def |class )\w.*=)", re.MULTILINE)
"""Settings and constants: every other line that begins with a word and has an equals sign is taken for one."""
_LIGHT = ("typing", "enum", "pathlib", "pydantic", "utopia.config")


@cache
def names(kind: str) -> tuple[str, ...]:
    """The names of all components of a kind (a folder of the package named in the plural), sorted."""
    return tuple(sorted(path.stem for path in (PACKAGE / kind).glob("*.py") if not path.stem.startswith("_")))


def path_of(kind: str, name: str) -> Path:
    """The file of a component.

    Raises:
        ConfigError: there is no such component; the message names the nearest.
    """
    if name not in names(kind):
        raise ConfigError(
            f"there is no {kind[:-1]} {name!r}{nearest(name, names(kind))}",
            where=f"utopia/{kind}",
            remedy=f"use one of: {', '.join(names(kind)) or 'none yet'}; or add {kind}/{name}.py",
        )
    return PACKAGE / kind / f"{name}.py"


def load(kind: str, name: str) -> ModuleType:
    """Import a component's module (which may import torch)."""
    path_of(kind, name)
    return importlib.import_module(f"utopia.{kind}.{name}")


@cache
def constant(kind: str, name: str, constant: str) -> Any:
    """A constant that a component's file sets to a literal, without importing it.

    Raises:
        ConfigError: the file sets no such constant.
    """
    assigned = _head(path_of(kind, name)).assigned
    if constant in assigned:
        return ast.literal_eval(assigned[constant])
    raise ConfigError(
        f"it sets no {constant}",
        where=path_of(kind, name),
        remedy=f"write `{constant} = ...` at the top of the file",
    )


@dataclass(frozen=True)
class _Head:
    """What is read of a component's file without running it."""

    about: str
    """Its docstring; empty without one."""
    assigned: dict[str, ast.expr]
    """What its top level assigns to names."""
    settings: list[ast.stmt]
    """`Config` and the imports that it may use."""


@cache
def _head(path: Path) -> _Head:
    """Parse a component's file, once: a start of the workflow asks for titles, constants and settings of most."""
    tree = _parsed(path.read_text(encoding="utf-8"), str(path))
    assignments = [node for node in tree.body if isinstance(node, ast.Assign)]
    settings = [node for node in tree.body if _is_light_import(node) or _is_config(node)]
    return _Head(
        about=ast.get_docstring(tree) or "",
        assigned={to.id: node.value for node in assignments for to in node.targets if isinstance(to, ast.Name)},
        settings=settings,
    )


def _parsed(text: str, name: str) -> ast.Module:
    """A component's file up to its first function, where nothing but functions and classes follows: a fifth of it."""
    code = _CODE.search(text)
    if code and not _MORE.search(text, code.start()):
        with suppress(SyntaxError):  # what looked like a function stands in a text
            return ast.parse(text[: code.start()], filename=name)
    return ast.parse(text, filename=name)


@cache
def fact(kind: str, name: str, wanted: str, default: Any) -> Any:
    """A constant that a component's file may set; what holds of a component is said in its file alone."""
    try:
        return constant(kind, name, wanted)
    except ConfigError:
        return default


@cache
def names_with(kind: str, constant: str) -> tuple[str, ...]:
    """The components of a folder whose files set a constant: where it also holds other modules, that tells them."""
    return tuple(name for name in names(kind) if constant in _head(path_of(kind, name)).assigned)


@cache
def title(kind: str, name: str) -> str:
    """What people call a component: what its file's docstring begins with, before the first colon; else its name.

    A docstring is no code, so that a corrected title trains nothing again. A component that is no more has its name.
    """
    if name not in names(kind):
        return name
    head, colon, _ = _head(path_of(kind, name)).about.partition(": ")
    return head if colon and len(head) <= _LONGEST_TITLE else name


@cache
def config_of(kind: str, name: str) -> type[Strict]:
    """The `Config` class of a component, without importing its module."""
    path = path_of(kind, name)
    read = _head(path)
    about = read.about.split("\n")[0]
    module = f"utopia.{kind}.{name}"
    namespace: dict[str, Any] = {"__name__": module}
    try:
        # The source is this package's own file; only its light imports and the Config class are run.
        exec(compile(ast.Module(read.settings, []), str(path), "exec", dont_inherit=True), namespace)  # noqa: S102
    except NameError as error:
        raise ConfigError(
            f"its Config uses {error.name!r}, which is not imported from one of {', '.join(_LIGHT)}",
            where=path,
            why="the workflow reads Config without importing the rest of the file",
            remedy="import the name from one of these modules, or move it into Config",
        ) from error
    config: type[Strict] = namespace.get("Config") or type("Config", (Strict,), {"__module__": module})
    config.__doc__ = inspect.cleandoc(config.__doc__ or about)  # Python 3.13 dedents docstrings, older ones do not
    return config


def _is_light_import(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import):
        return all(alias.name.split(".")[0] in _LIGHT for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module:
        return any(node.module == light or node.module.startswith(light + ".") for light in _LIGHT)
    return False


def _is_config(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and node.name == "Config"
