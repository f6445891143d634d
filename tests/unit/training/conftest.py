"""Fixtures of the tests of training; what other modules import lies in `frame_toy.py` and `clip_toy.py`."""

from __future__ import annotations

from pathlib import Path

import pytest
from frame_toy import Toy, make_toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    """Eight videos of 40 to 61 frames."""
    return make_toy(tmp_path)
