"""Tags inside an MP3 stream: what is left where files with tags were joined one after another.

A tag (ID3v2, ID3v1, APEv2) states its own length, so the sound behind it is known exactly: mpg123 and most players pass
over it. FFmpeg takes it for a damaged frame, and looks for the next one inside the tag's picture.
"""

from __future__ import annotations

import io
import mmap
import os
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path

_LAYER_1 = (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448)
_LAYER_2 = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_LAYER_3 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_LAYER_1_LOW = (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256)
_LOW = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_KBITS = {(1, 1): _LAYER_1, (1, 2): _LAYER_2, (1, 3): _LAYER_3, (2, 1): _LAYER_1_LOW, (2, 2): _LOW, (2, 3): _LOW}
"""(MPEG version, layer) -> kilobits per second, for the indexes from 1 on (ISO 11172-3 and 13818-3)."""
_RATES = (44_100, 48_000, 32_000)
_MARKS = (b"ID3", b"APETAGEX", b"TAG")


def inner_tags(path: Path) -> list[tuple[int, int]]:
    """The half-open byte ranges of tags that have frames of sound both before and behind them.

    The stream is followed from frame to frame, so a tag's mark inside a frame is none. What comes behind bytes that are
    neither frame nor tag is not looked at: the file is damaged there.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return []
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _inner_tags(data)


def _inner_tags(data: mmap.mmap) -> list[tuple[int, int]]:
    at = 0
    while length := _tag(data, at):
        at += length
    if all(data.find(mark, at) < 0 for mark in _MARKS):
        return []  # the usual case, without a look at every frame
    inner: list[tuple[int, int]] = []
    open_tags: list[tuple[int, int]] = []
    while at + 4 <= len(data):
        if length := _frame(data, at):
            inner += open_tags
            open_tags = []
        elif length := _tag(data, at):
            open_tags.append((at, at + length))
        else:
            break
        at += length
    return inner


def _frame(data: mmap.mmap, at: int) -> int:
    """Bytes of the frame of sound at a place; 0 where none begins."""
    first, second, third = data[at : at + 3]
    version, layer, rate = second >> 3 & 3, 4 - (second >> 1 & 3), third >> 2 & 3
    index = third >> 4
    if first != 0xFF or second & 0xE0 != 0xE0 or version == 1 or layer == 4 or rate == 3 or index in (0, 15):
        return 0
    low = version != 3
    bits = 1000 * _KBITS[2 if low else 1, layer][index - 1]
    hertz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    padding = third >> 1 & 1
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    return (72 if low and layer == 3 else 144) * bits // hertz + padding


def _tag(data: mmap.mmap, at: int) -> int:
    """Bytes of the tag at a place, as it states them; 0 where none begins."""
    head = data[at : at + 32]
    if head[:3] == b"ID3" and len(head) >= 10 and 2 <= head[3] <= 4 and head[4] != 0xFF and max(head[6:10]) < 0x80:
        body = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        return 10 + body + (10 if head[5] & 0x10 else 0)
    if head[:8] == b"APETAGEX" and len(head) == 32:  # the size counts the items and the footer, not this header
        return 32 + int.from_bytes(head[12:16], "little")
    return 128 if head[:3] == b"TAG" else 0


class Without(io.RawIOBase):
    """A file that leaves out some of its bytes.

    Args:
        path: the file.
        ranges: half-open byte ranges, in order.
    """

    def __init__(self, path: Path, ranges: list[tuple[int, int]]) -> None:
        super().__init__()
        self.name = str(path)
        self._file = path.open("rb")
        ends = [*(start for start, _ in ranges), os.fstat(self._file.fileno()).st_size]
        starts = [0, *(end for _, end in ranges)]
        self._parts = [(start, end - start) for start, end in zip(starts, ends, strict=True)]
        self._before = [0, *accumulate(length for _, length in self._parts)]
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The place, in the bytes that are left."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place in the bytes that are left."""
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._before[-1]}[whence])
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Up to so many bytes; fewer only at the end."""
        left = self._before[-1] - self._at
        size = max(0, left if size < 0 else min(size, left))
        pieces = []
        while size:
            part = bisect_right(self._before, self._at) - 1
            start, length = self._parts[part]
            within = self._at - self._before[part]
            self._file.seek(start + within)
            piece = self._file.read(min(size, length - within))
            if not piece:
                break  # the file has become shorter meanwhile
            pieces.append(piece)
            self._at += len(piece)
            size -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
