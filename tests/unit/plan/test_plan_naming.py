"""Tables by the names that people use."""

from __future__ import annotations

import pytest

from utopia.errors import ConfigError
from utopia.plan import catalog, naming

KNOWN = {
    "eev_table_1": ("EEV 2021 report, Table 1", "Sample rate"),
    "ulda_table_1": ("ULDA, Table 1", "Valence and arousal on LIRIS-ACCEDE"),
    "ulda_figure_4": ("ULDA, Fig. 4", "Error by label"),
    "beyond_table_1": ("beyond the papers", "Estimates"),
    "beyond_table_1_pooled": ("beyond the papers", "Pooled"),
    "beyond_table_9": ("beyond the papers", "Other"),
}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ulda_table_1", ["ulda_table_1"]),
        ("ULDA Table 1", ["ulda_table_1"]),
        ("ULDA, Table 1", ["ulda_table_1"]),
        ("ulda tab. 1", ["ulda_table_1"]),
        ("Table 1", ["ulda_table_1", "eev_table_1"]),
        ("EEV 2021 report, Table 1", ["eev_table_1"]),
        ("Fig. 4", ["ulda_figure_4"]),
        ("valence and arousal on liris-accede", ["ulda_table_1"]),
        ("table 9", ["beyond_table_9"]),
        ("Table 11", []),
        ("1", []),
        ("", []),
        ("ulda_table", []),
    ],
)
def test_what_a_name_means(text: str, meant: list[str]) -> None:
    assert naming.matches(text, KNOWN) == meant


def test_every_table_of_the_catalogue_is_found_by_its_id_and_as_it_is_printed() -> None:
    known = catalog.tables()
    for name, table in known.items():
        assert naming.ids_of_tables([name]) == [name]
        if name.startswith(("ulda_table", "eev_table")):
            assert naming.ids_of_tables([table.source]) == [name]
    assert naming.ids_of_tables(["Table 2", "ulda_claims"]) == ["eev_table_2", "ulda_claims", "ulda_table_2"]
    with pytest.raises(ConfigError, match="did you mean 'ulda_table_1'"):
        naming.ids_of_tables(["ulda_tabel_1"])


def test_figures_come_with_the_table_that_they_are_drawn_from() -> None:
    drawn = {name: figure.table for name, figure in catalog.figures().items() if figure.table}
    assert drawn, "the catalogue has such figures"
    for name, table in drawn.items():
        assert name in naming.figures_of([table])
    assert naming.figures_of(["eev_table_1"]) == []
