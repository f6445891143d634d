"""Tables, figures and cells by the names that people use: an id, or what the paper prints ("Table 1", "Fig. 4")."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from utopia.config.suggest import nearest
from utopia.errors import ConfigError
from utopia.plan import catalog

_SHORT = {"fig": "figure", "figs": "figure", "tab": "table", "tbl": "table"}

_FIRST = "ulda_"
"""The paper that is meant first where both have a table of a number: most of the tables are its own."""


def words(text: str) -> tuple[str, ...]:
    """A name in plain words: `ULDA, Fig. 4` and `ulda_figure_4` are both `ulda figure 4`."""
    parts = re.findall(r"[a-z]+|[0-9]+", text.lower())
    return tuple(_SHORT.get(word, word) for word in parts)


def matches(text: str, known: Mapping[str, Iterable[str]]) -> list[str]:
    """Every id that a name may mean, the likeliest first.

    Args:
        text: an id, the end of one ("Table 1" of `ulda_table_1`), or a printed name.
        known: other names of each id, such as its source and title.
    """
    if text in known:
        return [text]
    asked = words(text)
    if not asked:
        return []
    exact = [name for name, others in known.items() if asked in (words(name), *map(words, others))]
    ends = [name for name in known if words(name)[-len(asked) :] == asked and len(asked) > 1]
    papers = [name for name in ends if not name.startswith(catalog.BEYOND)]
    return exact or sorted(papers, key=lambda name: not name.startswith(_FIRST)) or ends


def ids_of_tables(names: Iterable[str]) -> list[str]:
    """The ids of the tables that were named, in the catalogue's order.

    Raises:
        ConfigError: nothing has one of the names.
    """
    known = {name: (table.source, table.title) for name, table in catalog.tables().items()}
    chosen: set[str] = set()
    for name in names:
        if not (meant := matches(name, known)):
            raise ConfigError(
                f"there is no table {name!r}{nearest(name, known)}",
                where="command line (--tables)",
                remedy=f"use: {', '.join(known)}",
            )
        chosen.update(meant)
    return [name for name in known if name in chosen]


def figures_of(tables: Iterable[str]) -> list[str]:
    """The figures that are drawn from some tables."""
    chosen = set(tables)
    return [name for name, figure in catalog.figures().items() if figure.table in chosen]
