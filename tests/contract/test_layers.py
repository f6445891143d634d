"""Imports point downwards only: ARCHITECTURE.md's table of layers against the real imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "workflow" / "lib" / "utopia"
HEAVY = ("torch", "torchvision", "torchaudio", "timm")
INSIDE_A_FUNCTION = {"utopia.media.sinc": "resampling uses torchaudio, and nothing else of the module does"}
# What a command or the workflow imports before any job runs.
AT_START = ["utopia", "utopia.config.load", "utopia.cli.main", "utopia.plan.plan", "utopia.provenance.job"]


@cache
def table() -> tuple[dict[str, int], set[str]]:
    """Layer by package (or module), and the packages that may import torch."""
    layers: dict[str, int] = {}
    heavy: set[str] = set()
    rows = re.findall(r"^\| (\d) \| (.+) \| (.+) \|$", (REPOSITORY / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    for number, packages, torch in rows:
        # What is in brackets says what a package holds.
        for name in re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", packages)):
            assert name not in layers, f"{name} is in two layers"
            layers[name] = int(number)
        heavy |= set(re.findall(r"\w+", torch)) - {"no", "only"}
    return layers, heavy


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The package or module of the table that a file belongs to; empty for the package's own `__init__`."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def module_of(path: Path) -> str:
    return ".".join(["utopia", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


class Import(NamedTuple):
    """An import of a module, anywhere in a file."""

    module: str
    line: int
    at_once: bool
    """Whether it is carried out when the file is imported: it is in no function and not under TYPE_CHECKING."""


@cache
def imports(path: Path) -> tuple[Import, ...]:
    module = module_of(path)
    base = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return tuple(_imports(ast.parse(path.read_text(encoding="utf-8")), base.split("."), at_once=True))


def _imports(tree: ast.AST, base: list[str], at_once: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node.lineno, at_once) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            # `from utopia.config import layers` names a module, `from utopia.files import digest` something inside one.
            inner = (f"{source}.{alias.name}" for alias in node.names)
            yield from (Import(name if name in modules() else source, node.lineno, at_once) for name in inner)
        else:
            later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            yield from _imports(node, base, at_once and not later and not typing)


@cache
def modules() -> dict[str, Path]:
    return {module_of(path): path for path in files()}


def target(name: str) -> str:
    """The package of the table that a module name belongs to; empty for other modules."""
    return name.split(".")[1] if name.startswith("utopia.") else ""


def test_the_table_names_every_part_of_the_package() -> None:
    layers, heavy = table()
    there = {part(path) for path in files()} - {""}
    assert set(layers) == there, "ARCHITECTURE.md's table of layers and the folders of the package differ"
    assert heavy
    assert heavy <= there


def test_imports_point_downwards() -> None:
    layers, _ = table()
    upwards = [
        f"{path.relative_to(REPOSITORY)}:{found.line}: {part(path)} imports {found.module}"
        for path in files()
        for found in imports(path)
        if layers.get(target(found.module), 0) > layers.get(part(path), 0)
    ]
    assert upwards == []


def circles(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is left of a graph when everything that leads to no circle is taken away."""
    edges = dict(edges)
    while free := [name for name, targets in edges.items() if not targets & edges.keys()]:
        for name in free:
            del edges[name]
    return edges


def test_modules_do_not_import_each_other_in_a_circle() -> None:
    edges = {
        name: {found.module for found in imports(path) if found.at_once and found.module in modules()} - {name}
        for name, path in modules().items()
    }
    assert circles(edges) == {}, "these import each other in a circle"


def test_packages_do_not_import_each_other_in_a_circle() -> None:
    """Also those of one layer, and wherever in a file the import stands."""
    edges: dict[str, set[str]] = {}
    for path in files():
        targets = {target(found.module) for found in imports(path)}
        edges.setdefault(part(path), set()).update(targets - {part(path), ""})
    assert circles(edges) == {}, "these packages import each other in a circle"
    assert circles({"a": {"b"}, "b": {"a"}, "c": {"a"}}).keys() == {"a", "b", "c"}


def test_torch_is_imported_only_where_the_table_allows() -> None:
    _, heavy = table()
    found = [
        f"{path.relative_to(REPOSITORY)}:{found.line}"
        for path in files()
        for found in imports(path)
        if found.module.split(".")[0] in HEAVY
        and part(path) not in heavy
        and not (module_of(path) in INSIDE_A_FUNCTION and not found.at_once)
    ]
    assert found == []


def test_exceptions_are_still_needed() -> None:
    for module in INSIDE_A_FUNCTION:
        heavy = [found for found in imports(modules()[module]) if found.module.split(".")[0] in HEAVY]
        assert heavy, f"{module} no longer needs its exception"


@pytest.mark.parametrize("module", AT_START)
def test_nothing_heavy_is_imported_at_the_start(module: str) -> None:
    code = (
        f"import sys\nimport {module}\n"
        f"found = {set(HEAVY)!r} & set(sys.modules)\n"
        "assert not found, f'{found} imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_modules_outside_the_heavy_packages_import_no_torch_by_way_of_others() -> None:
    _, heavy = table()
    light = [module_of(path) for path in files() if part(path) not in heavy]
    code = (
        "import sys, importlib\n"
        f"for name in {light!r}:\n"
        "    importlib.import_module(name)\n"
        f"    found = {set(HEAVY)!r} & set(sys.modules)\n"
        "    assert not found, f'{name} imports {found}'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_does_not_need_snakemake() -> None:
    """It is unit-testable with Snakemake uninstalled; only the logger plugin is Snakemake's."""
    found = [
        f"{path.relative_to(REPOSITORY)}:{found.line}: {found.module}"
        for path in files()
        for found in imports(path)
        if found.module.split(".")[0].startswith("snakemake")
        and found.module.split(".")[0] != "snakemake_logger_plugin_utopia"
    ]
    assert found == []
