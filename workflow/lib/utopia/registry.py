"""Components found by looking into a folder: `models/et.py` is the model `et`, and that file is its registration.

A component file defines `Config` (its typed settings). `config_of` reads that class **without running the rest of the file**,
because the file imports torch (three seconds) and the workflow needs only the settings. So a `Config` may use only names from
the modules in `_LIGHT`; a test checks that both ways of loading agree. Files whose name starts with `_` are not components.
"""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from utopia.config.base import Strict
from utopia.config.suggest import nearest
from utopia.errors import ConfigError

PACKAGE = Path(__file__).parent
KINDS = ("datasets", "extractors", "models", "losses", "samplers")
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
def config_of(kind: str, name: str) -> type[Strict]:
    """The `Config` class of a component, without importing its module."""
    path = path_of(kind, name)
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    kept: list[ast.stmt] = [node for node in tree.body if _is_light_import(node) or _is_config(node)]
    namespace: dict[str, Any] = {"__name__": f"utopia.{kind}.{name}"}
    try:
        # The source is this package's own file; only its light imports and the Config class are run.
        exec(compile(ast.Module(kept, []), str(path), "exec", dont_inherit=True), namespace)  # noqa: S102
    except NameError as error:
        raise ConfigError(
            f"its Config uses {error.name!r}, which is not imported from one of {', '.join(_LIGHT)}",
            where=path,
            why="the workflow reads Config without importing the rest of the file",
            remedy="import the name from one of these modules, or move it into Config",
        ) from error
    config = namespace.get("Config", Strict)
    config.__doc__ = config.__doc__ or (ast.get_docstring(tree) or "").split("\n")[0]
    return config


def _is_light_import(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import):
        return all(alias.name.split(".")[0] in _LIGHT for alias in node.names)
    if isinstance(node, ast.ImportFrom) and node.module:
        return any(node.module == light or node.module.startswith(light + ".") for light in _LIGHT)
    return False


def _is_config(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and node.name == "Config"
