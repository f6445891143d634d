"""`utopia open`: with a browser, without a screen, without a page."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import forked
import pytest

from utopia.cli.open import has_screen, instructions

SCREENLESS = ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION", "SSH_TTY", "BROWSER")


def utopia_open(results: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    settings = results.parent / "settings.yaml"
    settings.write_text(f"results: '{results}'\n")
    return forked.utopia("open", "--configfile", settings, *words, **dict.fromkeys(SCREENLESS) | variables)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    page = tmp_path / "my results" / "miniature" / "report" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("<p>all results</p>")
    return page


def test_without_a_screen_it_says_where_the_page_is_and_how_to_look_at_it(page: Path) -> None:
    done = utopia_open(page.parents[2], USER="ada", SSH_CONNECTION="192.0.2.7 50122 192.0.2.9 22", DISPLAY=":10")
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == str(page)
    assert f"  scp 'ada@192.0.2.9:{page}' ." in rest
    assert any("ssh -L 8000:127.0.0.1:8000 ada@192.0.2.9" in line for line in rest)
    found = json.loads(utopia_open(page.parents[2], "--json").stdout)
    assert (found["page"], found["opened"]) == (str(page), False) and found["instructions"]


def test_the_browser_of_the_user_is_told_to_show_it(page: Path, tmp_path: Path) -> None:
    """Python's own `webbrowser`, with a browser that writes down what it was asked to show."""
    browser, seen = tmp_path / "browser", tmp_path / "seen.txt"
    browser.write_text(f"#!/bin/sh\nprintf '%s' \"$1\" > {seen}\n")
    browser.chmod(0o755)
    done = utopia_open(page.parents[2], BROWSER=str(browser))
    assert (done.returncode, done.stdout) == (0, f"{page}\n"), done.stderr
    assert seen.read_text() == page.as_uri()
    seen.unlink()
    assert utopia_open(page.parents[2], "--print", BROWSER=str(browser)).returncode == 0
    assert not seen.exists()


def test_a_study_without_a_page(tmp_path: Path) -> None:
    done = utopia_open(tmp_path / "none")
    assert done.returncode == 1
    assert "the page of this study has not been made" in done.stderr and "make results STUDY=miniature" in done.stderr


@pytest.mark.parametrize(
    ("variables", "platform", "seen"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "a 1 b 22"}, "linux", False),
        ({"BROWSER": "/an/editor/over/ssh", "SSH_CONNECTION": "a 1 b 22"}, "linux", True),
        ({}, "darwin", True),
        ({"SSH_TTY": "/dev/ttys1"}, "darwin", False),
    ],
)
def test_whether_there_is_a_screen(variables: dict[str, str], platform: str, seen: bool) -> None:
    assert has_screen(variables, platform) == seen


def test_instructions_need_no_variables() -> None:
    assert instructions(Path("/a/report/index.html"), {})[1].startswith("  scp ")
