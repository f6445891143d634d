"""Freed memory serves the next tensor: counted in pages that the kernel had to fill."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from utopia import memory

TRIAL = """
import json, resource, sys
import torch
from utopia import memory

kept = memory.keep_freed() if sys.argv[1] == "keep" else None
torch.ones(16_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(16_000_000)
pages = (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize()
print(json.dumps([kept, pages / (20 * 64_000_000)]))
"""


def trial(how: str) -> tuple[bool | None, float]:
    """What `keep_freed` said, and the share of what was allocated that came as fresh pages."""
    done = subprocess.run([sys.executable, "-c", TRIAL, how], capture_output=True, text=True, check=True)
    kept, share = json.loads(done.stdout)
    return kept, share


def test_freed_memory_is_not_asked_of_the_system_again() -> None:
    kept, share = trial("keep")
    if not kept:
        pytest.skip("the C library of this machine has no such switches")
    assert share < 0.5
    assert trial("leave")[1] > 0.9  # else there is nothing to gain here, and the switches can go


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("musl", "1.2"))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    assert memory.keep_freed() is False
