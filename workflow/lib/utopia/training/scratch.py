"""Room for what a training looks at over and over and memory need not hold: a little stays in memory, more lies in a
mapped file.

The kernel keeps in memory what is looked at of a mapped file as long as there is room, and drops it when there is none:
it is a cache that nobody has to size. The file has no name, so it is gone with the process, however that ends.
"""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from utopia.errors import UtopiaError

IN_MEMORY = 64 << 20
"""Most bytes that are kept in memory."""
_ALIGNED = 64


class Scratch:
    """Arrays that are written one after another and then read in any order, also by forks.

    Args:
        folder: where the file lies, if one is needed; it is made. None: where the system keeps temporary files.
        packed: the arrays are rows of one, and follow one another without a gap.
    """

    def __init__(self, folder: Path | None, *, packed: bool = False) -> None:
        self._folder, self._step = folder, 1 if packed else _ALIGNED
        self._kept: list[np.ndarray] = []
        self._places: list[tuple[np.dtype, tuple[int, ...], int]] = []
        self._size = 0
        self._file: IO[bytes] | None = None

    def add(self, values: np.ndarray) -> None:
        """Take another array.

        Raises:
            UtopiaError: the disk is full or the folder cannot be written.
        """
        values = np.asarray(values, order="C")
        start = -(-self._size // self._step) * self._step
        self._places.append((values.dtype, values.shape, start))
        if self._file is None and start + values.nbytes <= IN_MEMORY:
            self._kept.append(values)
            self._size = start + values.nbytes
            return
        try:
            self._write(values, start)
        except OSError as error:
            raise UtopiaError(
                f"cannot write what a training reads in passes ({error.strerror or error})",
                where=self._folder or tempfile.gettempdir(),
                why="data that take more room than memory should hold lie in a file beside the results",
                remedy="free disk space there, or use a folder of results on a larger disk; what is trained stays",
            ) from error

    def arrays(self) -> list[np.ndarray]:
        """All arrays, in the order in which they were added, to be read only. Nothing can be added any more."""
        if self._file is None:
            return self._kept
        mapped = self._mapped()
        return [np.ndarray(shape, dtype, mapped, start) for dtype, shape, start in self._places]

    def rows(self) -> np.ndarray:
        """Of packed arrays [n, D], in the place of `arrays`: all as one [N, D]."""
        if self._file is None:
            return np.concatenate(self._kept)
        dtype, (_, width), _ = self._places[0]
        return np.ndarray((self._size // (width * dtype.itemsize), width), dtype, self._mapped())

    def _mapped(self) -> mmap.mmap:
        assert self._file is not None
        self._file.flush()
        # shared, not private: nothing of it counts as memory that the process has asked for
        mapped = mmap.mmap(self._file.fileno(), self._size)
        self._file.close()
        return mapped

    def _write(self, values: np.ndarray, start: int) -> None:
        file = self._file
        if file is None:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            file = self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed when it is mapped
            for (_, _, place), kept in zip(self._places, self._kept, strict=False):
                _put(file, kept, place)
            self._kept = []
        _put(file, values, start)
        self._size = start + values.nbytes


def _put(file: IO[bytes], values: np.ndarray, start: int) -> None:
    file.seek(start)
    if values.size:
        file.write(values.data)
