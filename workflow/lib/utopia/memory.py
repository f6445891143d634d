"""How a job's process handles the memory that tensors give back."""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names in glibc's malloc.h."""
_NEVER = 2**31 - 1
_BLOCK = 2**30
"""Bytes above which a block is still asked of the system and given back to it."""


def keep_freed() -> bool:
    """Keep freed memory for the next tensor instead of giving it back to the system at once; returns whether it can.

    A training step makes and frees the same tensors over and over. Where the C library gives blocks of some megabytes
    back each time, the kernel must fill fresh pages with zeros in each step: up to half of a stack's processor time.
    The process holds its largest amount of memory until it ends. Only glibc has these switches; elsewhere nothing is
    changed. No number depends on it.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    change = ctypes.CDLL(None).mallopt
    return bool(change(_TRIM_THRESHOLD, _NEVER)) and bool(change(_MMAP_THRESHOLD, _BLOCK))
