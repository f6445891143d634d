"""The ids of the miniature EEV's videos, apart from their generator: a plan needs no decoder."""

from __future__ import annotations

import base64
import hashlib


def ids_of(count: int) -> dict[str, list[str]]:
    """Part -> the ids of its videos, eleven characters like YouTube's; one more of the test table has no video.

    Of `count` videos with a file a quarter are for validation, a twelfth for the test, and at least one of each.
    """
    tested, validated = max(1, round(count / 12)), max(1, round(count / 4))
    sizes = {"train": count - tested - validated, "validation": validated, "test": tested + 1}
    return {part: [_id(part, number) for number in range(size)] for part, size in sizes.items()}


def _id(part: str, number: int) -> str:
    drawn = base64.urlsafe_b64encode(hashlib.sha256(f"{part} {number}".encode()).digest()).decode()[:11]
    return {0: "-", 1: "_"}.get(number, drawn[0]) + drawn[1:]
