"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest
from checkout import made_once
from whole import Checkout, make_miniature

REPOSITORY = Path(__file__).resolve().parents[1]

# The same examples each time, however busy the machine is: a test that fails once in thirty runs says nothing.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("repeatable")

# A shell starts background commands with Ctrl-C ignored, and every child inherits that: tests of interruption would
# hang.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


_STARTS = re.compile(r"\b(subprocess|multiprocessing|fork|Checkout|async_playwright|sync_playwright|visits|warm)\b")
_STUDIES = {"finished", "fresh", "small", "small_checkout", "whole", "edited"}
"""Fixtures that run the pipeline, or copy what it has made."""


_LONGEST = (
    "slurm", "tutorials", "determinism", "miniature", "extending", "audit_asked", "audit_reproduction", "audit_drill",
    "provenance_crate_build", "staying_workers", "benchmarks_gpu", "features_resume", "faults", "training_scratch",
    "training_pretend_gpu", "extractors", "figures_render", "extractors_finetune", "cli_run", "browser_page",
    "provenance_crate_check", "media_frames", "training_run", "docs_site", "inputs_miniature", "logger",
    "training_custom_learner", "fine_tuning", "training_strategies",
)  # fmt: skip
"""Files that take the longest, `test_<name>.py`: workers that begin with them end together, and none is left at the end
with minutes of work that no other can take (a twentieth of the whole run)."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and mark what starts processes or needs a finished study, which `make test-fast`
    leaves out.
    """
    ranks = {f"test_{name}.py": rank for rank, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))
    starts: dict[Path, bool] = {}
    for item in items:
        if item.path not in starts:
            starts[item.path] = bool(_STARTS.search(item.path.read_text(encoding="utf-8")))
        if starts[item.path] or not _STUDIES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.processes)


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """One worker more than cores: tests that wait, for SLURM or a browser, keep none of them idle."""
    return (yield) + 1


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """PyTorch's own generator, which some tests draw numbers from, begins each test in the same state."""
    if "torch" in sys.modules:
        # `torch.manual_seed` also notes a stack trace for each kind of device that is not here
        sys.modules["torch"].default_generator.manual_seed(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def finished(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout (in a folder with a space) with the whole miniature. Who edits it must put it back."""
    folder = made_once(tmp_path_factory, "the study", lambda folder: make_miniature(repository, folder))
    return Checkout(folder, configfile="")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data, `$UTOPIA_DATA` or `shared/data` beside the checkout; skips where there is none."""
    folder = Path(os.environ.get("UTOPIA_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the real data folder ({folder.name} is not beside the checkout; set UTOPIA_DATA)")
    return folder
