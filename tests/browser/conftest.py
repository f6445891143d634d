"""A page of a small study, and a Chromium that is offline."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import page_study
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a small study that was made once; a copy of the page alone, so that nothing lies beside it."""
    base = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        page_study.make(base)
        page_study.page(base / "report.html")
    alone = tmp_path_factory.mktemp("page with a blank") / "index.html"
    return Path(shutil.copy(base / "report.html", alone))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real Chromium: $UTOPIA_CHROMIUM, else the system's; skips where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    found = os.environ.get("UTOPIA_CHROMIUM") or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("needs a Chromium (Debian: apt-get install chromium), or its path in UTOPIA_CHROMIUM")
    # Chromium's sandbox refuses to work for root.
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=arguments)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any, page_file: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page from its file, offline. At the end: nothing was asked of any other address, and no script failed.

    `visit(fragment="", **options of a browser context)`.
    """
    opened: list[Any] = []
    asked: list[str] = []
    faults: list[str] = []

    def go(fragment: str = "", **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, "offline": True, **options})
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.goto(page_file.as_uri() + fragment)
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready]", state="attached")  # the ancestry is unpacked
        opened.append(context)
        return page

    go.faults, go.asked = faults, asked  # type: ignore[attr-defined]
    yield go
    for context in opened:
        context.close()
    own = page_file.as_uri()
    assert [
        url for url in asked if url.split("#")[0] != own and not url.startswith(("data:image/webp", f"blob:{own}"[:8]))
    ] == []
    assert faults == []
