"""What tests do to a folder that they are lent is undone, whatever it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lent import Lent

UNSEEN = ("nothing", "other rights")
"""Changes that `seen` does not show."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "deep" / "er").mkdir(parents=True)
    for name in ("a", "deep/b", "deep/er/c"):
        (folder / name).write_text(f"content of {name}")
        os.utime(folder / name, (1, 1))
    (folder / "link").symlink_to("a")
    return folder


def seen(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything in a folder: what it is, its time and its content."""
    return {
        path.relative_to(folder).as_posix(): (
            path.is_symlink(),
            path.lstat().st_mtime_ns,
            path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None,
        )
        for path in folder.rglob("*")
    }


def flipped(place: Path) -> None:
    """Another content of the same size, under the former times."""
    (place / "deep" / "b").write_text("CONTENT of deep/b")
    os.utime(place / "deep" / "b", (1, 1))


def moved_away(place: Path) -> None:
    shutil.move(place, place.with_name("elsewhere"))
    place.symlink_to(place.with_name("elsewhere"))


CHANGES: dict[str, Callable[[Path], Any]] = {
    "flipped": flipped,
    "another time": lambda place: os.utime(place / "a", (2, 2)),
    "other rights": lambda place: (place / "a").chmod(0o400),
    "lost": lambda place: (place / "deep" / "er" / "c").unlink(),
    "a folder lost": lambda place: shutil.rmtree(place / "deep"),
    "more": lambda place: (place / "deep" / "new" / "er").mkdir(parents=True) or (place / "deep/new/x").write_text("x"),
    "a link in place of a folder": lambda place: (
        shutil.move(place / "deep", place.with_name("elsewhere")),
        (place / "deep").symlink_to(place.with_name("elsewhere")),
    ),
    "a folder in place of a file": lambda place: ((place / "a").unlink(), (place / "a" / "b").mkdir(parents=True)),
    "a file in place of a folder": lambda place: (shutil.rmtree(place / "deep"), (place / "deep").write_text("x")),
    "another link": lambda place: ((place / "link").unlink(), (place / "link").symlink_to("deep/b")),
    "all of it moved away": moved_away,
    "nothing left": lambda place: shutil.rmtree(place),
    "nothing": lambda place: None,
}


def test_each_borrower_has_it_as_it_was(source: Path, tmp_path: Path) -> None:
    before = seen(source)
    lent = Lent(source, tmp_path / "kept")
    for number, (what, change) in enumerate(CHANGES.items()):
        first, second = (tmp_path / f"{number}" / turn / "it" for turn in ("first", "second"))
        for place in (first, second):
            place.parent.mkdir(parents=True)
        assert seen(lent.lend(first)) == before, what
        change(first)
        assert first.is_symlink() or not first.is_dir() or seen(first) != before or what in UNSEEN
        lent.take_back(first)
        flipped(lent.lend(second))  # at once: what was just put back, and is changed again, is told apart
        lent.take_back(second)
    assert seen(lent.lend(tmp_path / "last")) == before == seen(source)
    assert (tmp_path / "last" / "a").stat().st_mode == (source / "a").stat().st_mode
