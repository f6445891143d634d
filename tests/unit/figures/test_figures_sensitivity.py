"""The figure of choices: order, adjustment and marks by hand, and equal bytes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from utopia.figures import style as figure_style
from utopia.figures.render import render_figure
from utopia.figures.sensitivity import draw, read
from utopia.tables.render import COLUMNS

SPEC = {"id": "f", "title": "T", "caption": "C", "draw": "sensitivity", "options": {}}
CHANGES = {
    # by row: change and p of the valence's MSE, of the arousal's MSE and of the valence's PCC
    "small": ((0.001, 0.9), (0.002, 0.8), (0.05, 0.5)),
    "large": ((-0.02, 0.001), (0.01, 0.04), (-0.04, 0.3)),
    "least": ((0.0, 1.0), (-0.001, 0.9), (0.01, 0.7)),
}
MEASURES = ("valence.mse", "arousal.mse", "valence.pcc")


def table(path: Path, changes: dict[str, tuple[tuple[float, float], ...]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        for column in MEASURES:
            writer.writerow({"row": "base", "name": "as configured", "column": column, "value": "0.3", "keys": ""})
        for row, own in changes.items():
            for column, (change, p) in zip(MEASURES, own, strict=True):
                ends = {"difference_low": repr(change - 0.01), "difference_high": repr(change + 0.01)}
                keys = '{"question": "24"}'
                line = {"row": row, "name": f"TNS: {row}, question = 24", "column": column, "keys": keys}
                writer.writerow(line | ends | {"difference": repr(change), "difference_p": repr(p)})
    return path


def test_the_largest_changes_come_first_whatever_their_unit(tmp_path: Path) -> None:
    """Ranks of sizes: large 1, 1, 2; small 2, 2, 1; least 3, 3, 3. Holm: .001 is times 9, .04 times 8."""
    choices = read(table(tmp_path / "t.csv", CHANGES))
    assert [choice.name for choice in choices] == ["TNS: large (24)", "TNS: small (24)", "TNS: least (24)"]
    effect = choices[0].effects["valence.mse"]
    assert effect[:4] == (-0.02, -0.03, -0.01, 0.001) and effect.adjusted == pytest.approx(0.009)
    assert choices[0].effects["arousal.mse"].adjusted == pytest.approx(0.32)


def test_the_figure_and_its_numbers(tmp_path: Path, readable: Callable[[Figure], None]) -> None:
    source = table(tmp_path / "t.csv", CHANGES)
    first: dict[str, bytes] = {}
    for _ in range(2):
        outputs = {form: tmp_path / f"f.{form}" for form in ("pdf", "png", "csv")}
        render_figure(figure=SPEC, labels=None, distribution=None, table=source, outputs=outputs)
        made = {form: path.read_bytes() for form, path in outputs.items()}
        assert not first or made == first, "equal bytes"
        first = made
    lines = list(csv.DictReader((tmp_path / "f.csv").read_text().splitlines()))
    told = {(line["panel"], line["series"], line["x"]): float(line["y"]) for line in lines}
    assert len(told) == 9 and told["mse", "arousal", "TNS: small (24)"] == 0.002
    with figure_style.styled():
        figure, _ = draw(source)
        readable(figure)
    filled = [
        line.get_label()
        for axes in figure.axes
        for line in axes.lines
        if line.get_marker() in ("o", "s") and to_hex(line.get_markerfacecolor()) != "#ffffff"
    ]
    assert len(filled) == 1, "the one that stands among all"


def test_nothing_to_compare_is_said(tmp_path: Path) -> None:
    with figure_style.styled():
        _, points = draw(table(tmp_path / "t.csv", {}))
    assert [point.series for point in points] == ["absent"]
