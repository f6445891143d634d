"""A copy of the checkout to run the pipeline in, so that tests may edit code and kill runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from whole import Checkout, copy_checkout


@pytest.fixture
def fresh(repository: Path, tmp_path: Path) -> Checkout:
    """A checkout in which nothing was run."""
    return copy_checkout(repository, tmp_path / "checkout")
