"""Random seeds that derive from what is computed, never from the order or the packing in which it is computed."""

from __future__ import annotations

import hashlib


def derive(root: int, *identity: str | int) -> int:
    """A 63-bit seed for the thing that `identity` names, under the study's root seed.

    The parts are joined with their types and lengths, so that ("a", "bc") and ("ab", "c") differ.
    """
    text = "".join(f"{type(part).__name__}:{len(str(part))}:{part};" for part in (root, *identity))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
