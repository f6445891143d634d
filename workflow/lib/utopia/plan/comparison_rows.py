"""Which comparisons the tables of a study make: the rows of a table of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from utopia.config import registry
from utopia.evaluation.comparisons import TREATMENTS
from utopia.evaluation.metrics import TITLES
from utopia.plan.catalog import Column, Row, Table

if TYPE_CHECKING:
    from utopia.plan.plan import PlannedCell

    Compared = tuple[dict[str, str], PlannedCell, PlannedCell]


def of_plan(cells: Iterable[PlannedCell]) -> list[Compared]:
    """The comparisons that the tables of a study show, each once: its names, the cell with the treatment and the other.

    They are cells of rows that the catalogue compares with another row, where both runs have the configuration's own
    settings and differ in treatment only.
    """
    known = {cell.id: cell for cell in cells}
    comparisons: dict[str, Compared] = {}
    for cell in known.values():
        other = known.get(f"{cell.table}/{cell.row.against}/{cell.column.id}")
        if cell.run is None or other is None or other.run is None:
            continue
        names, base = _names(cell), _names(other)
        if names is None or base is None or any(names[part] != base[part] for part in ("dataset", "model")):
            continue
        comparisons.setdefault(row_id(names), ({**names, "against": base["treatment"]}, cell, other))
    order = ("dataset", "model", "target", "metric", "treatment")
    return sorted(comparisons.values(), key=lambda comparison: [comparison[0][part] for part in order])


def _names(cell: PlannedCell) -> dict[str, str] | None:
    """Data set, model, treatment, target and metric of a cell; None of a reference and of other settings."""
    assert cell.run is not None
    if cell.run.reference is not None or "@" in cell.run.id:
        return None
    dataset, model, treatment = cell.run.id.split(".")
    named = {"dataset": dataset, "model": model, "treatment": treatment}
    return named | {"target": cell.column.target, "metric": cell.column.metric}


def row_id(names: Mapping[str, str]) -> str:
    """The id of a comparison's row."""
    return ".".join(names[part] for part in ("dataset", "model", "treatment", "target", "metric"))


def in_words(names: Mapping[str, str]) -> dict[str, str]:
    """The names of a comparison as tables print them."""
    treatments = {part: TREATMENTS.get(names[part], names[part]) for part in ("treatment", "against") if part in names}
    return {
        **names,
        **treatments,
        "dataset": registry.title("datasets", names["dataset"]),
        "model": registry.title("models", names["model"]),
        "metric": TITLES.get(names["metric"], names["metric"]),
    }


def filled(table: Table, comparisons: Sequence[Compared]) -> Table:
    """A table of comparisons with its rows; any other as it is."""
    rows = [_row(names) for names, _, _ in comparisons]
    return table.model_copy(update={"rows": rows}) if table.of_comparisons else table


def _row(names: Mapping[str, str]) -> Row:
    return Row(id=row_id(names), title=in_words(names)["treatment"])


def cells(tables: Mapping[str, Table], comparisons: Sequence[Compared]) -> Iterator[PlannedCell]:
    """The cells of all tables of comparisons."""
    for name, table in ((name, table) for name, table in tables.items() if table.of_comparisons):
        for names, cell, other in comparisons:
            assert cell.run is not None and other.run is not None
            row, pairs = _row(names), ((cell.run, other.run),)
            for column in table.columns:
                yield replace(cell, table=name, row=row, column=column, run=None, pairs=pairs)


def settings(table: Table, comparisons: Sequence[Compared]) -> list[dict[str, Any]]:
    """The rows of a table of comparisons, as its rendering job needs them; none of any other."""
    return [_settings(*comparison, table.columns) for comparison in comparisons if table.of_comparisons]


def _settings(
    names: Mapping[str, str], cell: PlannedCell, other: PlannedCell, columns: Sequence[Column]
) -> dict[str, Any]:
    assert cell.run is not None and other.run is not None
    better = cell.column.better
    measure = {name: names[name] for name in ("dataset", "target", "metric")} | {"better": better}
    decimals = {column.id: column.decimals if column.statistic else cell.column.decimals + 1 for column in columns}
    words = in_words(names)
    return {
        "id": row_id(names),
        "title": words["treatment"],
        "name": f"{words['treatment']} against {words['against']}, {words['model']} on {words['dataset']}:"
        f" {words['target']} {words['metric']}",
        "group": f"{words['dataset']}, {words['model']}: {words['target']} {words['metric']}, {better} is better",
        "keys": dict(names),
        "note": "",
        "against": None,
        "runs": {},
        "changes": {column.id: [[cell.run.id, other.run.id]] for column in columns},
        "as": {column.id: measure | {"decimals": decimals[column.id]} for column in columns},
        "published": {},
    }
