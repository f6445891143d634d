"""The one container for arrays: safetensors files with one JSON metadata value. Memory-mapped, never unpickled.

Names inside a file are paths (`movie_03/valence`). The same arrays and metadata give the same bytes, so that records
can compare files by hash (safetensors writes several metadata keys in no fixed order; we give it one).
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from utopia.errors import InputError
from utopia.files import atomic


def save(path: str | Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any] | None = None) -> None:
    """Write arrays and JSON-able metadata to `path` atomically.

    Raises:
        UtopiaError: the disk is full or the folder cannot be written.
    """
    contiguous = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    text = json.dumps(dict(meta or {}), sort_keys=True, ensure_ascii=False, allow_nan=False)
    with atomic(path) as temporary:
        try:
            save_file(contiguous, str(temporary), metadata={"utopia": text})
        except SafetensorError as error:
            if number := re.search(r"\(os error (\d+)\)", str(error)):  # a full disk comes as text only
                raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
            raise


class Writer:
    """Writes an arrays file array by array, in memory that does not grow with it; use it in a `with` statement.

    The file appears when the block ends without an exception, with the bytes that `save` gives.

    Raises:
        UtopiaError: the disk is full or the folder cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.meta: Mapping[str, Any] = {}
        """JSON-able metadata; may be set until the block ends."""
        self._entries: dict[str, tuple[np.dtype[Any], tuple[int, ...], int, int]] = {}
        self._size = 0
        self._stack = ExitStack()

    def __enter__(self) -> Writer:
        with ExitStack() as stack:
            final = stack.enter_context(atomic(self.path))
            self._final = stack.enter_context(final.open("wb"))
            self._data = stack.enter_context(_scratch(final))
            self._stack = stack.pop_all()
        return self

    def add(self, name: str, values: np.ndarray) -> None:
        """Append an array.

        Raises:
            ValueError: there is one of this name already, or arrays of its type cannot be written.
        """
        values = np.asarray(values, order="C")
        if name in self._entries or values.dtype.newbyteorder("=") not in _TYPES:
            raise ValueError(f"{self.path}: cannot add {name!r} ({values.dtype})")
        values = values.astype(values.dtype.newbyteorder("<"), copy=False)
        self._entries[name] = (values.dtype.newbyteorder("="), values.shape, self._size, values.nbytes)
        self._data.write(values.tobytes())
        self._size += values.nbytes

    def __exit__(self, *failure: Any) -> bool | None:
        if failure[0] is None:
            with self._stack:
                self._finish()
            return None
        return self._stack.__exit__(*failure)

    def _finish(self) -> None:
        # The widest types first, so that every array lies aligned; this is the order of safetensors itself.
        order = sorted(self._entries, key=lambda name: (-_RANK[self._entries[name][0]], name))
        text = json.dumps(dict(self.meta), sort_keys=True, ensure_ascii=False, allow_nan=False)
        header: dict[str, Any] = {"__metadata__": {"utopia": text}}
        end = 0
        for name in order:
            dtype, shape, _, size = self._entries[name]
            header[name] = {"dtype": _TYPES[dtype], "shape": list(shape), "data_offsets": [end, end + size]}
            end += size
        encoded = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        encoded += b" " * (-len(encoded) % 8)
        self._final.write(len(encoded).to_bytes(8, "little") + encoded)
        for name in order:
            _, _, start, size = self._entries[name]
            self._data.seek(start)
            while size:
                block = self._data.read(min(size, _BLOCK))
                self._final.write(block)
                size -= len(block)
        self._final.flush()


_BLOCK = 1 << 22
_TYPES = {
    np.dtype(kind): name
    for kind, name in (
        ("bool", "BOOL"),
        ("uint8", "U8"),
        ("int8", "I8"),
        ("int16", "I16"),
        ("uint16", "U16"),
        ("float16", "F16"),
        ("int32", "I32"),
        ("uint32", "U32"),
        ("float32", "F32"),
        ("float64", "F64"),
        ("int64", "I64"),
        ("uint64", "U64"),
    )
}
_RANK = {dtype: rank for rank, dtype in enumerate(_TYPES)}


@contextmanager
def _scratch(beside: Path) -> Iterator[IO[bytes]]:
    """A file without a name, in the folder of `beside`; it is gone with the process, however that ends."""
    with tempfile.TemporaryFile(dir=beside.parent) as file:
        yield file


class Arrays(Mapping[str, np.ndarray]):
    """A read-only view of an arrays file: an array is read (as a copy) when it is asked for, never all at once."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = safe_open(str(path), framework="numpy")
            self.meta: dict[str, Any] = json.loads((self._file.metadata() or {}).get("utopia", "{}"))
            self._names = dict.fromkeys(sorted(self._file.keys()))
        except (SafetensorError, OSError, ValueError) as error:
            raise InputError(
                f"not a readable arrays file ({error})",
                where=path,
                why="a job that was to read it cannot go on",
                remedy="delete the file and run the same command again: it will be regenerated",
            ) from error

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            return self._file.get_tensor(name)
        except SafetensorError as error:
            raise KeyError(f"{self.path} has no array {name!r}") from error

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def below(self, prefix: str) -> Mapping[str, np.ndarray]:
        """The same as `under`; each array is read when it is asked for."""
        return _Below(self, prefix.rstrip("/") + "/")

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """All arrays whose name starts with `prefix/`, with the prefix taken off."""
        start = prefix.rstrip("/") + "/"
        return {name[len(start) :]: self[name] for name in self._names if name.startswith(start)}


class _Below(Mapping[str, np.ndarray]):
    """The arrays of a file whose names have one beginning, by the rest of their names."""

    def __init__(self, file: Arrays, start: str) -> None:
        self._file, self._start = file, start

    def __getitem__(self, name: str) -> np.ndarray:
        return self._file[self._start + name]

    def __contains__(self, name: object) -> bool:
        return f"{self._start}{name}" in self._file

    def __iter__(self) -> Iterator[str]:
        return (name[len(self._start) :] for name in self._file if name.startswith(self._start))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def load(path: str | Path) -> Arrays:
    """Open an arrays file."""
    return Arrays(path)
