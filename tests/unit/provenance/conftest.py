"""A small study that the real pipeline has made once, for every test that needs finished results."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from checkout import made_once
from lent import Lent
from studies import ROOT, Small, made


@pytest.fixture(scope="session")
def small_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which PMEmo's table and two of its figures were made, from nothing, by Snakemake.

    Processes that test side by side make it once, and each has a copy of its own, because tests edit it.
    """
    folder = made_once(tmp_path_factory, "a small study", made)
    own = tmp_path_factory.mktemp("own") / folder.name
    shutil.copytree(folder, own, ignore=shutil.ignore_patterns(".snakemake"))
    return own


@pytest.fixture(scope="session")
def lent_results(small_checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Lent:
    """The copy of the small study's results that `small` lends."""
    return Lent(small_checkout / ROOT, tmp_path_factory.mktemp("lent") / "results")


@pytest.fixture
def small(small_checkout: Path, lent_results: Lent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Small]:
    """A copy of the small study's results, to be damaged; the working directory is beside them."""
    base = tmp_path / "study"
    (base / ROOT).parent.mkdir(parents=True)
    for name in ("workflow", "envs", "config.yaml", "tiny.yaml"):
        (base / name).symlink_to(small_checkout / name)
    lent_results.lend(base / ROOT)
    monkeypatch.chdir(base)
    yield Small(base)
    lent_results.take_back(base / ROOT)


@pytest.fixture
def whole(small_checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A copy of the checkout with the small study's results, for commands that change them: the working directory."""
    base = tmp_path / "whole"
    code = small_checkout / "workflow"
    shutil.copytree(
        small_checkout, base, ignore=lambda folder, _: [code.name] if Path(folder) == small_checkout else []
    )
    shutil.copytree(code, base / code.name, copy_function=os.link)  # nobody writes into a file there
    monkeypatch.chdir(base)
    return Small(base)


@pytest.fixture
def edited(small_checkout: Path) -> Iterator[Callable[[str, Callable[[str], str]], None]]:
    """Edits a file of the checkout that made the small study, and puts it back at the end."""
    former: dict[Path, bytes] = {}

    def edit(name: str, change: Callable[[str], str]) -> None:
        path = small_checkout / name
        former.setdefault(path, path.read_bytes())
        path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    yield edit
    for path, content in former.items():
        path.write_bytes(content)
