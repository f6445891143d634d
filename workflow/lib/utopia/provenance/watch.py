"""Which files a job really opens for reading.

Python tells of every `open` that goes through it (an audit hook). Libraries that open files themselves are wrapped:
HDF5 (h5py), FFmpeg (PyAV) and safetensors. What other processes read, or C code that none of these cover, is not seen.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_SYSTEM = (
    "/proc",
    "/sys",
    "/dev",
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/opt",
    "/run",
    "/var",
    "/System",
    "/Library",
)
_CODE = (".py", ".pyc", ".so", ".pth")
_OWN_FOLDERS = frozenset((".snakemake", ".git", ".venv", "__pycache__"))
_seen: set[Any] | None = None
"""What was opened since the watch began; None while nobody watches."""
_installed = False


@contextmanager
def watching() -> Iterator[set[Any]]:
    """Collect the names of files that are opened for reading within the block, as they were given."""
    global _seen
    _install()
    before, _seen = _seen, set()
    try:
        yield _seen
    finally:
        _seen = before


def _note(path: Any) -> None:
    if _seen is not None and isinstance(path, str | bytes | os.PathLike):
        _seen.add(os.fspath(path))


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    # Called for every event of the interpreter, so the cheapest test comes first.
    if event == "open" and _seen is not None:
        path, _, flags = arguments
        if isinstance(flags, int) and flags & os.O_ACCMODE != os.O_WRONLY:
            _note(path)


def _install() -> None:
    """Begin to listen; a hook cannot be taken out again, so there is one for the life of the process."""
    global _installed
    if _installed:
        return
    _installed = True
    sys.addaudithook(_hook)
    for name, wrap in _WRAPPERS.items():
        if name in sys.modules:
            wrap(sys.modules[name])
    sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Wraps the libraries when they are imported later."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """The specification that the next finder gives, with our wrapper behind its loader."""
        if name not in _WRAPPERS:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next((other_spec for finder in others if (other_spec := finder.find_spec(name, path, target))), None)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_wrap(module: ModuleType) -> None:
                load(module)
                _WRAPPERS[name](module)

            spec.loader.exec_module = load_and_wrap  # type: ignore[method-assign]
        return spec


def _wrap_h5py(module: ModuleType) -> None:
    begin = module.File.__init__

    @wraps(begin)
    def told(self: Any, name: Any, mode: str = "r", *more: Any, **options: Any) -> None:
        if str(mode).startswith("r"):
            _note(name)
        begin(self, name, mode, *more, **options)

    module.File.__init__ = told


def _wrap_av(module: ModuleType) -> None:
    begin = module.open

    def told(file: Any, mode: str | None = None, *more: Any, **options: Any) -> Any:
        if mode is None or mode.startswith("r"):
            _note(file)
        return begin(file, mode, *more, **options)

    _replace(begin, told)


def _wrap_safetensors(module: ModuleType) -> None:
    begin = module.safe_open

    def told(filename: Any, *more: Any, **options: Any) -> Any:
        _note(filename)
        return begin(filename, *more, **options)

    _replace(begin, told)


def _replace(function: Any, instead: Callable[..., Any]) -> None:
    """Put another function in the place of one, under every name that loaded modules have for it."""
    for module in [*sys.modules.values()]:
        names = getattr(module, "__dict__", None)
        if isinstance(names, dict):
            for name in [name for name, value in names.items() if value is function]:
                names[name] = instead


_WRAPPERS: Mapping[str, Callable[[ModuleType], None]] = {
    "h5py": _wrap_h5py,
    "av": _wrap_av,
    "safetensors": _wrap_safetensors,
}


def undeclared_and_unread(
    seen: Iterable[Any],
    *,
    declared: Iterable[Path],
    used: Iterable[Path],
    own_files: Iterable[Path],
    base: Path,
    known: Iterable[Path],
) -> tuple[list[Path], list[Path]]:
    """What was read and not declared, and what was declared and never read; both sorted.

    Code, the environment and the system's files are left out: the fingerprint and the lock speak of them.

    Args:
        seen: names of opened files, from `watching`.
        declared: files and folders that the rule declares as inputs.
        used: further ones that the job says that it has read.
        own_files: files and folders that the job makes, and its log.
        base: the working directory.
        known: named folders outside of it, whose files always count.
    """
    declared, own_files = list(declared), {_absolute(path, base) for path in own_files}
    names = {_absolute(path, base): path for path in declared}
    may_read = {*names, *(_absolute(path, base) for path in used)}
    # A job that imports torch opens thousands of modules: texts are told apart much faster than paths.
    texts = (os.fsdecode(name) for name in seen)
    opened = {_absolute(text, base) for text in texts if not text.endswith(_CODE)}
    reached = {above for path in opened for above in (path, *path.parents)}
    unread = sorted(path for place, path in names.items() if place not in reached and place.exists())
    counted = [base, *known]
    extra = sorted(
        path
        for path in opened
        if may_read.isdisjoint((path, *path.parents))
        and own_files.isdisjoint((path, *path.parents))
        and _counts(path, counted)
        and path.is_file()
    )
    return extra, unread


def _counts(path: Path, counted: list[Path]) -> bool:
    if path.name.startswith(".") or path.suffix in _CODE or not _OWN_FOLDERS.isdisjoint(path.parts):
        return False
    if any(path.is_relative_to(prefix) for prefix in (sys.prefix, sys.base_prefix)):
        return False
    if any(path.is_relative_to(folder) for folder in counted):
        return True
    home = Path.home() if "HOME" in os.environ else None
    hidden = home is not None and any(part.startswith(".") for part in _below(path, home)[:1])
    return not hidden and not any(path.is_relative_to(prefix) for prefix in (*_SYSTEM, tempfile.gettempdir()))


def _below(path: Path, folder: Path) -> tuple[str, ...]:
    return path.relative_to(folder).parts if path.is_relative_to(folder) else ()


def _absolute(path: str | Path, base: Path) -> Path:
    return Path(os.path.normpath(base / path))
