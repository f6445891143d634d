"""Parameters from a `.caffemodel`: a protocol buffer (`NetParameter` of Caffe's public schema), read without Caffe.

Only the fields that hold parameters are looked at. Field numbers: a net's layers are 100 (older files: 2); a layer's
name is 1 (4) and its blobs 7 (6); a blob's values are 5, its dimensions 7, or in older files 1 to 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from utopia.errors import InputError

_LAYER, _LAYER_V1 = 100, 2
_NAME, _BLOBS = {_LAYER: 1, _LAYER_V1: 4}, {_LAYER: 7, _LAYER_V1: 6}
_DATA, _SHAPE, _OLD_SHAPE = 5, 7, (1, 2, 3, 4)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def read_caffemodel(path: Path) -> dict[str, list[np.ndarray]]:
    """The blobs float32 of each layer that has any, by its name: usually the weight and the bias.

    Raises:
        InputError: the file is no such file, or is cut.
    """
    try:
        layers: dict[str, list[np.ndarray]] = {}
        for number, _, value in _fields(memoryview(path.read_bytes())):
            if number in _BLOBS and isinstance(value, memoryview):
                name, blobs = _layer(value, number)
                if blobs:
                    layers[name] = blobs
    except (ValueError, IndexError, UnicodeDecodeError, MemoryError) as error:
        raise InputError(
            f"not a readable caffemodel ({error or type(error).__name__})",
            where=path,
            remedy="get the file from the address on its card again",
        ) from error
    if not layers:
        raise InputError("the file holds no layer with parameters", where=path)
    return layers


def _layer(message: memoryview, kind: int) -> tuple[str, list[np.ndarray]]:
    name, blobs = "", []
    for number, _, value in _fields(message):
        if number == _NAME[kind] and isinstance(value, memoryview):
            name = bytes(value).decode()
        elif number == _BLOBS[kind] and isinstance(value, memoryview):
            blobs.append(_blob(value))
    return name, blobs


def _blob(message: memoryview) -> np.ndarray:
    parts: list[np.ndarray] = []
    shape: list[int] | None = None
    old = [1, 1, 1, 1]
    for number, wire, value in _fields(message):
        if number == _DATA:
            packed = value if isinstance(value, memoryview) else int(value).to_bytes(4, "little")
            parts.append(np.frombuffer(packed, "<f4"))
        elif number == _SHAPE and isinstance(value, memoryview):
            shape = _dimensions(value)
        elif number in _OLD_SHAPE and wire == _VARINT and isinstance(value, int):
            old[number - 1] = value
    values = np.concatenate(parts) if parts else np.empty(0, "<f4")
    return values.reshape(old if shape is None else shape)


def _dimensions(message: memoryview) -> list[int]:
    found: list[int] = []
    for number, _, value in _fields(message):
        if number == 1 and isinstance(value, memoryview):
            at = 0
            while at < len(value):
                size, at = _varint(value, at)
                found.append(size)
        elif number == 1 and isinstance(value, int):
            found.append(value)
    return found


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Field number, wire type and value of each field of a message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            plain, at = _varint(message, at)
            yield number, wire, plain
            continue
        if wire == _BYTES:
            length, at = _varint(message, at)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if number == 0 or at + length > len(message):
            raise ValueError(f"cut, or no protocol buffer, at byte {at}")
        value = message[at : at + length]
        at += length
        yield number, wire, value if wire == _BYTES else int.from_bytes(value, "little")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f"a number that does not end, at byte {at}")
