"""The code fingerprint: a hash of all package modules that a job can reach, blind to comments, docstrings and layout.

The reach is the *static* import closure: imports anywhere in a module (also inside functions), relative ones, and
`from package.x import name` where `name` is a submodule. Every package `__init__` on the way is run by Python and so
counts; imports under `if TYPE_CHECKING:` are never run and do not. What a module imports by a computed name (a
registry's component) cannot be seen: the caller names such modules.

A module is hashed as its syntax tree without positions, docstrings and other statements that do nothing. Empty fields
are left out, so that the hash does not change with the Python version that parses.

Parsing takes most of the time, so what it gave is kept on disk (`parsed`). An audit reads nothing of that.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from utopia.errors import UtopiaError
from utopia.parsed import Import, Parsed, Source

PACKAGE = Path(__file__).resolve().parent
"""The folder of the package `utopia`."""

_CHECKOUT = PACKAGE.parents[2]
_NOT_BEHAVIOUR = frozenset(("kind", "type_comment", "type_ignores"))
_Stamp = tuple[int, int]
_parsed = Parsed(Path(__file__).resolve(), PACKAGE.parents[1])


def fingerprint(*modules: str, files: Sequence[str | Path] = (), package: Path = PACKAGE) -> str:
    """One hash (64 hexadecimal digits) for `closure` of the same arguments.

    It depends on the set of modules reached and their code, not on where the checkout lies.
    """
    return digest_of(closure(*modules, files=files, package=package))


def digest_of(modules: dict[str, str]) -> str:
    """The fingerprint of a closure, as it is stored in a record."""
    text = "".join(f"{name} {sha}\n" for name, sha in sorted(modules.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def code(*modules: str, files: Sequence[str | Path] = ()) -> dict[str, Any]:
    """The rule parameter `code`: the fingerprint and what it starts from, so that the job's record can tell.

    Returns:
        `{fingerprint, roots, files}`: the roots are `modules`; files are named relative to the checkout.

    Raises:
        UtopiaError: a file lies outside the checkout, so that a record could not name it for other machines.
    """
    for file in files:
        if not Path(file).resolve().is_relative_to(_CHECKOUT):
            raise UtopiaError("lies outside the checkout", where=file, remedy="name scripts of this project only")
    return {
        "fingerprint": fingerprint(*modules, files=files),
        "roots": sorted(modules),
        "files": sorted(_file_name(Path(file)) for file in files),
    }


def _file_name(file: Path) -> str:
    """A file's name in a closure: its path in the checkout, which says nothing about where the checkout lies."""
    path = file.resolve()
    return path.relative_to(_CHECKOUT).as_posix() if path.is_relative_to(_CHECKOUT) else path.name


def file_of(name: str) -> Path:
    """The file that a closure names so; the inverse of what `closure` does with files of the checkout."""
    return _CHECKOUT / name


def closure(*modules: str, files: Sequence[str | Path] = (), package: Path = PACKAGE) -> dict[str, str]:
    """All modules of `package` that `modules` reach, with the SHA-256 of their code.

    Args:
        modules: full names, such as `utopia.labels.build`.
        files: further Python files (a script) that are hashed themselves, under their path in the checkout; their
            imports are not followed, because a script also imports the recording machinery, which determines no result.
        package: folder of the package to which the closure is restricted.

    Raises:
        UtopiaError: a module does not exist (with the file and line that import it), or a file is not valid Python.
    """
    key = (modules, tuple(str(file) for file in files), str(package))
    if key in _closures and all(_stamp(path) == stamp for path, stamp in _closures[key][1].items()):
        return dict(_closures[key][0])
    found, seen = _walk(modules, package)
    for file in files:
        path = Path(file).absolute()
        found[_file_name(path)] = _source(path, path.stem).sha256
        seen[path] = _stamp(path)
    _parsed.save()
    result = dict(sorted(found.items()))
    _closures[key] = (result, seen)
    return dict(result)


_closures: dict[Any, tuple[dict[str, str], dict[Path, _Stamp]]] = {}
_sources: dict[tuple[str, Path], tuple[_Stamp, Source]] = {}
_contents: dict[tuple[str, bool, bytes], Source] = {}
"""By module, whether it is a package, and the SHA-256 of its bytes: a copy, as in a crate, is not parsed again."""
_steps: dict[tuple[Path, str], _Step] = {}


def read_afresh() -> None:
    """From now on parse every file in this process: an audit uses nothing that was stored."""
    if not _parsed.distrusted:
        _parsed.distrust()
        _closures.clear()
        _sources.clear()
        _contents.clear()
        _steps.clear()


@dataclass(frozen=True)
class _Step:
    """What one module brings into a closure, as long as no file and no folder of `seen` has changed."""

    sha256: str
    further: tuple[tuple[str, str], ...]
    """The modules of the package that it imports, each with the file and line that imports it."""
    seen: dict[Path, _Stamp]


def _walk(modules: Iterable[str], package: Path) -> tuple[dict[str, str], dict[Path, _Stamp]]:
    """The closure, and the stamps of every file and folder that it depends on."""
    found: dict[str, str] = {}
    seen: dict[Path, _Stamp] = {}
    stamp, entries = cache(_stamp), cache(_entries)
    waiting: list[tuple[str, str]] = [(module, "") for module in modules]
    while waiting:
        name, importer = waiting.pop()
        if name in found:
            continue
        step = _steps.get((package, name))
        if step is None or any(stamp(path) != then for path, then in step.seen.items()):
            step = _steps[package, name] = _step(name, importer, package, entries)
        seen.update(step.seen)
        found[name] = step.sha256
        waiting += [(parent, importer) for parent in _parents(name) if parent not in found]
        waiting += [pair for pair in step.further if pair[0] not in found]
    return found, seen


def _step(name: str, importer: str, package: Path, entries: Callable[[Path], frozenset[str]]) -> _Step:
    """Find a module, read it, and find what it imports."""
    seen: dict[Path, _Stamp] = {}
    path = _locate(name, package, entries, seen)
    if path is None:
        raise UtopiaError(
            f"there is no module {name!r}",
            where=importer or package,
            why="the code fingerprint must cover every module that a job reaches",
            remedy="correct the name; it is the dotted name of a .py file or of a folder in the package",
        )
    if path.is_dir():  # a folder without __init__ has no code of its own
        return _Step(hashlib.sha256(b"").hexdigest(), (), seen)
    seen[path] = _stamp(path)
    source = _source(path, name)
    further: list[tuple[str, str]] = []
    for statement in source.imports:
        where = f"{path}:{statement.line}"
        further += [(module, where) for module in statement.modules if _inside(module, package)]
        for candidate in statement.candidates:
            if _inside(candidate, package) and _locate(candidate, package, entries, seen) is not None:
                further.append((candidate, where))
    return _Step(source.sha256, tuple(further), seen)


def _inside(module: str, package: Path) -> bool:
    return module == package.name or module.startswith(package.name + ".")


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _entries(folder: Path) -> frozenset[str]:
    """The names in a folder; none where there is no such folder."""
    try:
        return frozenset(path.name for path in folder.iterdir())
    except OSError:
        return frozenset()


def _locate(
    name: str, package: Path, entries: Callable[[Path], frozenset[str]], seen: dict[Path, _Stamp]
) -> Path | None:
    """A module's file (or folder), if there is one; every folder that this looks into is noted in `seen`."""

    def inside(folder: Path) -> frozenset[str]:
        if folder not in seen:
            seen[folder] = _stamp(folder)
        return entries(folder)

    parts = name.split(".")
    if parts[0] != package.name:
        return None
    folder = package
    for part in parts[1:-1]:
        if part not in inside(folder):
            return None
        folder = folder / part
    if len(parts) > 1:
        names = inside(folder)
        is_folder = parts[-1] in names and (folder / parts[-1]).is_dir()
        if f"{parts[-1]}.py" in names and not (is_folder and (folder / parts[-1] / "__init__.py").is_file()):
            return folder / f"{parts[-1]}.py"
        if not is_folder:
            return None
        folder = folder / parts[-1]
    return folder / "__init__.py" if "__init__.py" in inside(folder) else folder


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_mtime_ns, status.st_size)


def _source(path: Path, name: str) -> Source:
    """A file's hash and imports, read again only when its time or size has changed."""
    stamp = _stamp(path)
    key = (name, path)
    if key in _sources and _sources[key][0] == stamp:
        return _sources[key][1]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UtopiaError(f"cannot read ({error.strerror or error})", where=path) from error
    same = (name, path.name == "__init__.py", hashlib.sha256(content).digest())
    if same not in _contents:
        _contents[same] = _parsed.source(path, content, lambda: _parse(path, name, content))
    source = _contents[same]
    _sources[key] = (stamp, source)
    return source


def _parse(path: Path, name: str, content: bytes) -> Source:
    """The hash and the imports of a module of that name."""
    try:
        tree = ast.parse(content, filename=str(path))
    except SyntaxError as error:
        raise UtopiaError(f"not valid Python: {error.msg}", where=f"{path}:{error.lineno}") from error
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    return Source(hashlib.sha256(canonical(tree).encode()).hexdigest(), tuple(_imports(tree, package)))


def _imports(tree: ast.AST, package: str) -> Iterable[Import]:
    """All imports of a module that lies in `package`."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield Import(tuple(alias.name for alias in node.names), (), node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".") if package else []
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            names = tuple(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")
            yield Import((base,), names, node.lineno)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            waiting += node.orelse
        elif not isinstance(node, ast.expr):
            waiting += ast.iter_child_nodes(node)


def _is_type_checking(test: ast.expr) -> bool:
    name = test.id if isinstance(test, ast.Name) else test.attr if isinstance(test, ast.Attribute) else ""
    return name == "TYPE_CHECKING"


def _form(kind: type[ast.AST]) -> tuple[str, tuple[tuple[str, str], ...]]:
    """How the text of such a node begins, and its fields that say what runs, each with the text before it."""
    if kind not in _forms:
        fields = [field for field in kind._fields if field not in _NOT_BEHAVIOUR]
        _forms[kind] = f"({kind.__name__}", tuple((field, f" {field}=") for field in fields)
    return _forms[kind]


_forms: dict[type[ast.AST], tuple[str, tuple[tuple[str, str], ...]]] = {}


def canonical(tree: ast.AST) -> str:
    """A syntax tree as text: what runs, and nothing else."""
    out: list[str] = []
    write = out.append

    def visit(value: Any) -> None:
        if not isinstance(value, ast.AST):
            write(repr(value))
            return
        kind, fields = _form(value.__class__)
        write(kind)
        own = value.__dict__
        for field, before in fields:
            child = own.get(field)
            if isinstance(child, list):
                if items := [item for item in child if not _does_nothing(item)]:
                    write(f"{before}[")
                    for item in items:
                        visit(item)
                        write(",")
                    write("]")
            elif child is not None:
                write(before)
                visit(child)
        write(")")

    visit(tree)
    return "".join(out)


def _does_nothing(node: Any) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
