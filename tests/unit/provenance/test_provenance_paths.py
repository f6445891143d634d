"""Paths in records: true elsewhere, and silent about whose machine it was."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utopia.provenance.paths import Portable, roots_of

BASE, HOME = Path("/home/me/study"), Path("/home/me")
PORTABLE = Portable(BASE, {"data": "../shared/data", "weights": "/net/weights", "inner": "results"}, HOME)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("results/a.csv", "results/a.csv"),
        ("/home/me/study/results/a.csv", "results/a.csv"),
        ("results/../results/a.csv", "results/a.csv"),
        (".", "."),
        ("../shared/data/summe/GT", "<data>/summe/GT"),
        ("/home/me/shared/data", "<data>"),
        ("/home/me/shared/database/x", "~/shared/database/x"),
        ("/net/weights/g.pth", "<weights>/g.pth"),
        ("/home/me/.cache/x", "~/.cache/x"),
        ("/home/meow/x", "/home/meow/x"),
        ("/scratch/x", "/scratch/x"),
    ],
)
def test_writing_and_reading_back(path: str, text: str) -> None:
    assert PORTABLE.write(path) == text
    assert PORTABLE.write(PORTABLE.read(text)) == text


def test_an_unknown_root_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        PORTABLE.read("<elsewhere>/x")


def test_a_linked_folder_is_known_by_both_names(tmp_path: Path) -> None:
    (tmp_path / "disk" / "results").mkdir(parents=True)
    (tmp_path / "study").symlink_to(tmp_path / "disk")
    portable = Portable(tmp_path / "study", home=Path("/nowhere"))
    assert portable.write(tmp_path / "disk" / "results" / "a") == "results/a"
    assert portable.write(tmp_path / "study" / "results" / "a") == "results/a"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("data=/home/me/shared/data", "data=<data>"),
        ("read /home/me/study/results/a, then /home/me/x.", "read results/a, then ~/x."),
        ("/home/me", "~"),
        ("in /home/me.", "in ~."),
        ("/home/me/study", "."),
        ("/mnt/home/me/x /home/me-too/x /home/me.bak/x", "/mnt/home/me/x /home/me-too/x /home/me.bak/x"),
        ("file:///home/me/x", "file://~/x"),
        ("0.5/home", "0.5/home"),
    ],
)
def test_texts_lose_known_folders(text: str, clean: str) -> None:
    assert PORTABLE.redact(text) == clean
    assert PORTABLE.redact({"k": [text, 1, None], text: True}) == {"k": [clean, 1, None], clean: True}


@given(st.lists(st.text("ab/. '\"=:,", max_size=6), max_size=6))
def test_no_text_keeps_the_home_folder_as_a_path(parts: list[str]) -> None:
    text = " ".join(f"{part} /home/me/{part}" for part in parts)
    assert " /home/me/" not in PORTABLE.redact(text)


def test_a_base_at_the_root_of_the_file_system_redacts_nothing() -> None:
    assert Portable(Path("/"), home=Path("/")).redact("a /etc/x") == "a /etc/x"


def test_roots_come_from_configuration_parameters_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UTOPIA_ROOT_SCRATCH", "/scratch/me")
    monkeypatch.setenv("UTOPIA_ROOT_EMPTY", "")
    assert roots_of({"roots": {"weights": "/w"}}, {"data": "../d"}) == {
        "data": "../d",
        "weights": "/w",
        "scratch": "/scratch/me",
    }
    monkeypatch.setenv("UTOPIA_ROOT_DATA", "/d")
    assert roots_of({}, {"data": None}) == {"data": "/d", "scratch": "/scratch/me"}
