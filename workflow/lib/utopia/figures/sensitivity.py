"""How much each choice that the papers leave open changes errors and correlations, the largest changes first."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utopia.evaluation.interval import holm
from utopia.evaluation.metrics import TITLES
from utopia.evaluation.verdict import LEVEL
from utopia.figures import style
from utopia.figures.data import Point

READS = ("table",)
_COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.PURPLE)
_PARTS = ("low", "high", "p")
_LINE = 0.17
"""Inches that a choice takes."""


class Effect(NamedTuple):
    """What one choice changes in one column."""

    change: float
    low: float | None
    high: float | None
    """Ends of the paired 95 % interval."""
    p: float | None
    adjusted: float | None = None
    """Holm's p-value among all effects of the table; None of a single repeat."""


class ChoiceEffects(NamedTuple):
    """A choice with its effects, by column (`<target>.<metric>`)."""

    name: str
    effects: Mapping[str, Effect]


def read(table: Path) -> list[ChoiceEffects]:
    """The rows of a table's csv that are compared with another one, those that change most first.

    What changes most: every column ranks the choices by the size of their change, and the mean of these ranks decides.
    So no unit weighs more than another.
    """
    names: dict[str, str] = {}
    effects: dict[str, dict[str, Effect]] = {}
    with table.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            if line["difference"]:
                low, high, p = (float(text) if (text := line[f"difference_{part}"]) else None for part in _PARTS)
                of_row = effects.setdefault(line["row"], {})
                of_row[line["column"]] = Effect(float(line["difference"]), low, high, p)
                names[line["row"]] = in_words(line["name"], json.loads(line["keys"] or "{}"))
    tested = [
        (row, column) for row, of_row in effects.items() for column, effect in of_row.items() if effect.p is not None
    ]
    for (row, column), p in zip(tested, holm([effects[row][column].p or 0.0 for row, column in tested]), strict=True):
        effects[row][column] = effects[row][column]._replace(adjusted=p)
    return [ChoiceEffects(names[row], effects[row]) for row in _ordered(effects)]


def in_words(name: str, keys: Mapping[str, str]) -> str:
    """The name of a row, its keys in brackets: `TNS: T = 20, question = 24` as `TNS: T = 20 (24)`."""
    for key, text in keys.items():
        name = name.replace(f", {key} = {text}", f" ({text})")
    return name


def _ordered(effects: Mapping[str, Mapping[str, Effect]]) -> list[str]:
    from scipy.stats import rankdata

    ranks: dict[str, list[float]] = {row: [] for row in effects}
    for column in dict.fromkeys(column for of_row in effects.values() for column in of_row):
        rows = [row for row, of_row in effects.items() if column in of_row]
        sizes = [-abs(effects[row][column].change) for row in rows]
        for row, rank in zip(rows, rankdata(sizes), strict=True):
            ranks[row].append(float(rank))
    return sorted(effects, key=lambda row: np.mean(ranks[row]))


def draw(table: Path) -> tuple[Figure, list[Point]]:
    """A panel for each metric, a line for each choice, a mark with its interval for each target."""
    choices = read(table)
    if not choices:
        reason = "No choice could be compared with the study's own"
        figure = style.blank(1.3)
        style.statement(figure.subplots(), reason, width=50)
        return figure, [Point("", "absent", note=reason)]
    columns = list(dict.fromkeys(column for choice in choices for column in choice.effects))
    metrics = list(dict.fromkeys(column.rpartition(".")[2] for column in columns))
    figure = style.blank(0.8 + _LINE * len(choices))
    panels = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
    points: list[Point] = []
    for axes, metric in zip(panels, metrics, strict=True):
        targets = [column for column in columns if column.rpartition(".")[2] == metric]
        for number, (column, colour) in enumerate(zip(targets, _COLOURS, strict=False)):
            shift = 0.3 * (number - (len(targets) - 1) / 2)
            points += _marks(axes, choices, column, colour, shift)
        axes.axvline(0, color=style.GREY, linewidth=0.6, zorder=1)
        axes.set_xlabel(f"Δ {TITLES.get(metric, metric)}")
        axes.tick_params(axis="x", labelsize=6.5)
        axes.locator_params(axis="x", nbins=3)
    panels[0].set_yticks(range(len(choices)), [choice.name for choice in choices], fontsize=6.5)
    panels[0].set_ylim(len(choices) - 0.4, -0.6)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), columnspacing=1.0, handletextpad=0.4)
    return figure, points


def _marks(axes: Axes, choices: Sequence[ChoiceEffects], column: str, colour: str, shift: float) -> list[Point]:
    target, _, metric = column.rpartition(".")
    points, label = [], target
    for place, choice in enumerate(choices):
        effect = choice.effects.get(column)
        if effect is None:
            continue
        at = place + shift
        stands = effect.adjusted is not None and effect.adjusted < LEVEL
        if effect.low is not None and effect.high is not None:
            axes.plot([effect.low, effect.high], [at, at], color=colour, linewidth=0.7, zorder=2)
        axes.plot(
            [effect.change], [at], marker="o" if shift < 0 else "s", linestyle="none", markersize=2.6, color=colour,
            markerfacecolor=colour if stands else "white", markeredgewidth=0.6, label=label, zorder=3,
        )  # fmt: skip
        label = "_nolegend_"
        adjusted = "" if effect.adjusted is None else f"Holm's p = {effect.adjusted:.4g}"
        points.append(Point(metric, target, choice.name, effect.change, effect.low, effect.high, adjusted))
    return points
