"""What tests of the page do on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from utopia.report.page import unpacked

Visit = Callable[..., Any]
TREATED = "verdicts/cwl/films"


def number(page: Any, name: str) -> Any:
    """The button of a cell."""
    for t, table in enumerate(unpacked(page.content())["tables"]):
        for c in range(len(table["cells"])):
            row, column = divmod(c, len(table["columns"]))
            if f"{table['id']}/{table['rows'][row][0]}/{table['columns'][column][0]}" == name:
                place = f"{t}.{c}"
    return page.locator(f'button.n[data-c="{place}"]')


def shown(page: Any) -> str:
    return page.locator("#panel").inner_text()


def open_all(page: Any) -> None:
    """Unfold everything in the panel, also what unfolding brings."""
    for _ in range(6):
        page.evaluate("document.querySelectorAll('#panel details:not([open])').forEach(one => { one.open = true; })")
        page.wait_for_timeout(60)
