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
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
fresh = []
for _ in range(40):
    before = faults()
    torch.ones(10_000_000)
    fresh.append((faults() - before) * resource.getpagesize() / 40_000_000)
print(json.dumps([kept, sum(fresh[-20:]) / 20]))
"""


def trial(how: str) -> tuple[bool | None, float]:
    """What `keep_freed` said, and the share of fresh pages in the last 20 of 40 tensors.

    The first tensors fill holes that the imports left, in a number that differs with every start's addresses: they
    say nothing of how freed memory is handled.
    """
    done = subprocess.run([sys.executable, "-c", TRIAL, how], capture_output=True, text=True, check=True)
    kept, share = json.loads(done.stdout)
    return kept, share


def test_freed_memory_is_not_asked_of_the_system_again() -> None:
    kept, share = trial("keep")
    if not kept:
        pytest.skip("the C library of this machine has no such switches")
    assert share < 0.1
    assert trial("leave")[1] > 0.9  # else there is nothing to gain here, and the switches can go


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("musl", "1.2"))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    assert memory.keep_freed() is False
