"""The small study of the page's tests."""

from __future__ import annotations

from pathlib import Path

import page_study
import pytest


@pytest.fixture(scope="session")
def page_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study of the page's tests, made once; not to be changed."""
    base = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        page_study.make(base)
    return base


@pytest.fixture
def study(page_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the small study."""
    monkeypatch.chdir(page_folder)
    return page_folder
