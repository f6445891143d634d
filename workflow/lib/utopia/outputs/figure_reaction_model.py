"""The reaction network, drawn from the shapes of its own parameters, and how it is sampled (EEV 2021 secs. 3.1 and 3.2,
Fig. 1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from utopia.outputs import figure_style as style
from utopia.outputs.figure_data import Inputs, Point
from utopia.outputs.figure_reaction_network import Layer, Network, read_network

_FILL = {"input": "#E8E8E8", "recurrent": "#CFE6F6", "gate": "#FBE5BF", "linear": "#CDEBDF", "output": "#F3DCE8"}
_TALLEST, _LOWEST = 1.12, 0.36
"""Inches of a block as wide as the widest, and of the narrowest; in between by the root of the width."""
_SMALL = 6.5
_SECONDS = 4
_MOST_NAMES = 18
_LINE = 0.112


@dataclass(frozen=True)
class Block:
    """A block of the diagram: `column` and `row` (None: between the rows), its words, its `width` in numbers."""

    column: int
    row: int | None
    kind: str
    text: str
    width: int
    parameters: int = 0


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """Above the network's blocks from left to right, below the steps it sees and the rows it predicts."""
    if not inputs.summaries:
        reason = "; ".join(dict.fromkeys(inputs.absent_runs.values())) or "no network was trained"
        figure = style.blank(1.3)
        style.statement(figure.subplots(), f"No network to draw:\n{reason}", width=100)
        return figure, [Point("a", "absent", note=reason)]
    summary = next(iter(inputs.summaries.values()))
    network = read_network(summary["parameters"], summary["settings"]["features"])
    figure = style.blank(3.9)
    diagram, sampling = figure.subplots(2, 1, height_ratios=(2.9, 1))
    return figure, [*_diagram(diagram, inputs, summary, network), *_sampling(sampling, inputs, summary)]


def output_function(low: float, high: float) -> str:
    """What brings outputs into the label range: sigmoid for [0, 1], tanh for [-1, 1], none for anything wider."""
    if low < -1 or high > 1:
        return "none"
    return "tanh" if low < 0 else "sigmoid"


def blocks(network: Network, function: str, dropout: float) -> tuple[list[Block], list[str]]:
    """The blocks of a network, and the head of each column."""
    depth = max(len(modality.layers) for modality in network.modalities)
    made, heads = [], ["features"]
    for row, modality in enumerate(network.modalities):
        made.append(Block(0, row, "input", f"{modality.name}\n{modality.d_in}", modality.d_in))
        for number, layer in enumerate(modality.layers, 1):
            arrows = "→←"[: layer.directions]
            words = "\n".join(f"{arrow} {layer.units}" for arrow in arrows)
            made.append(Block(number, row, "recurrent", words, layer.d_out, layer.parameters))
    for number in range(1, depth + 1):
        cell = next(one.layers[number - 1].cell for one in network.modalities if len(one.layers) >= number)
        kinds = {layer.directions for one in network.modalities for layer in one.layers[number - 1 : number]}
        both = "bidir. " if kinds == {2} else ""
        heads.append(f"dropout {dropout:g},\n{both}{cell} {number}" if number > 1 else f"{both}{cell} {number}")
    made.append(Block(depth + 1, None, "input", f"{network.fused}", network.fused))
    heads.append("side by side")
    for offset, dense in enumerate(network.dense, depth + 2):
        gate = dense.name.startswith("gate")
        words = f"x σ(Wx+b)\n{dense.d_out}" if gate else f"{dense.d_in} → {dense.d_out}\nWx + b"
        made.append(Block(offset, None, "gate" if gate else "linear", words, dense.d_out, dense.parameters))
        heads.append("gate" if gate else "linear")
    made.append(Block(depth + 5, None, "output", f"{function}\n{network.outputs}", network.outputs))
    heads.append("output")
    return made, heads


def _diagram(axes: Axes, inputs: Inputs, summary: Mapping[str, Any], network: Network) -> list[Point]:
    settings = summary["settings"]
    function = output_function(settings["low"], settings["high"])
    made, heads = blocks(network, function, settings["model_config"].get("dropout", 0.0))
    names = inputs.labels.columns.get(inputs.target, [])
    listed = names if 0 < len(names) <= _MOST_NAMES else []
    rows, columns = len(network.modalities), len(heads) + (1 if listed else 0)
    pitch, gap = style.PAGE / columns, 0.16
    widest = max(block.width for block in made)
    height = [
        max(_size(block.width, widest) for block in made if block.row == row and block.row is not None) + 0.3
        for row in range(rows)
    ]
    total = sum(height)
    middle = [total - sum(height[:row]) - height[row] / 2 for row in range(rows)]
    axes.set(xlim=(-0.02, style.PAGE), ylim=(-0.05, total + 0.3), xticks=[], yticks=[])
    axes.axis("off")
    places: dict[tuple[int, int | None], tuple[float, float, float]] = {}
    for block in made:
        x, y = block.column * pitch, total / 2 if block.row is None else middle[block.row]
        tall = _size(block.width, widest)
        box = Rectangle(
            (x, y - tall / 2), pitch - gap, tall, facecolor=_FILL[block.kind], edgecolor=style.BLACK, lw=0.6
        )
        axes.add_patch(box)
        places[block.column, block.row] = x, y, tall
        at = x + (pitch - gap) / 2
        axes.text(at, y, block.text, ha="center", va="center", fontsize=_SMALL, linespacing=1.15)
        if block.parameters:
            said = f"{block.parameters:,}"
            axes.text(at, y - tall / 2 - 0.03, said, ha="center", va="top", fontsize=_SMALL, color="#555555")
    for column, head in enumerate(heads):
        axes.text(column * pitch + (pitch - gap) / 2, total + 0.03, head, ha="center", va="bottom", fontsize=_SMALL)
    _arrows(axes, made, places, pitch - gap)
    if listed:
        x, y, _ = places[len(heads) - 1, None]
        for number, name in enumerate(listed):
            down = _LINE * (number - (len(listed) - 1) / 2)
            axes.text(x + pitch - 0.1, y - down, name, va="center", fontsize=_SMALL).set_in_layout(False)
    style.title(axes, "a", f"the network: {network.parameters:,} parameters")
    return [
        *(
            Point("a", f"{modality.name}, layer {number}", float(layer.d_in), float(layer.d_out), note=_words(layer))
            for modality in network.modalities
            for number, layer in enumerate(modality.layers, 1)
        ),
        *(
            Point("a", one.name, float(one.d_in), float(one.d_out), note=f"{one.parameters} parameters")
            for one in network.dense
        ),
        Point("a", "dropout between layers", None, float(settings["model_config"].get("dropout", 0.0))),
        Point("a", "output function", None, function),
        Point("a", "parameters", None, float(network.parameters), note="counted from the shapes"),
    ]


def _words(layer: Layer) -> str:
    directions = f"{layer.directions} direction{'s' if layer.directions > 1 else ''}"
    return f"{layer.cell}, {directions} of {layer.units} units, {layer.parameters} parameters"


def _size(width: int, widest: int) -> float:
    return max(_LOWEST, _TALLEST * math.sqrt(width / widest))


def _arrows(
    axes: Axes, made: list[Block], places: Mapping[tuple[int, int | None], tuple[float, float, float]], wide: float
) -> None:
    """From each block to the next one of its row, and from the last of each row to where rows meet."""
    for block in made:
        x, y, _ = places[block.column, block.row]
        following = [other for other in made if other.column > block.column and other.row in (block.row, None)]
        if not following:
            continue
        after = min(following, key=lambda other: other.column)
        to_x, to_y, to_tall = places[after.column, after.row]
        end = float(np.clip(y, to_y - 0.4 * to_tall, to_y + 0.4 * to_tall))
        axes.add_patch(
            FancyArrowPatch(
                (x + wide, y),
                (to_x, end),
                arrowstyle="-|>",
                mutation_scale=5,
                shrinkA=0,
                shrinkB=0,
                color=style.BLACK,
                lw=0.7,
            )
        )


def _sampling(axes: Axes, inputs: Inputs, summary: Mapping[str, Any]) -> list[Point]:
    """The rows of the labels, the steps that the network sees, and its predictions, in the first seconds of a video."""
    clips = summary["settings"]["model_config"]["training"]["clips"]
    time_T = inputs.labels.times(next(iter(summary["items"])))
    dense = 1 / float(np.median(np.diff(time_T)))
    every = max(1, round(dense / clips["rate"]))
    shown = time_T[: round(_SECONDS * dense) + 1]
    step = shown[::every]
    axes.plot(shown, np.full(len(shown), 2.0), "|", color=style.BLACK, markersize=7, markeredgewidth=0.8)
    axes.plot(step, np.full(len(step), 1.0), "o", color=style.VERMILLION, markersize=4.5)
    axes.plot(shown, np.zeros(len(shown)), "o-", color=style.BLUE, markersize=2.4, linewidth=0.8)
    axes.plot(step, np.zeros(len(step)), "o", color=style.BLUE, markersize=4.5)
    for at in step:
        axes.annotate("", (at, 1.22), (at, 1.72), arrowprops={"arrowstyle": "-|>", "lw": 0.6, "mutation_scale": 5})
        axes.annotate("", (at, 0.22), (at, 0.78), arrowprops={"arrowstyle": "-|>", "lw": 0.6, "mutation_scale": 5})
    seconds = clips["steps"] / clips["rate"]
    between = "" if every == 1 else ", linear between steps"
    said = {
        2.0: f"labels: {dense:.3g} per second",
        1.0: f"the network's steps: {clips['rate']:g} per second, {clips['steps']} of them ({seconds:g} s) to a clip",
        0.0: f"predictions: {dense:.3g} per second{between}",
    }
    for y, text in said.items():
        axes.text(_SECONDS + 0.25, y, text, va="center", fontsize=7)
    axes.set(xlim=(-0.1, 2 * _SECONDS + 1), ylim=(-0.5, 2.5), yticks=[], xlabel="time (s)")
    axes.set_xticks(range(_SECONDS + 1))
    axes.xaxis.set_label_coords(0.5 * _SECONDS / (2 * _SECONDS + 1.1), -0.3)
    axes.spines[["left"]].set_visible(False)
    axes.spines["bottom"].set_bounds(0, _SECONDS)
    style.title(axes, "b", "how it is sampled")
    return [
        Point("b", "label rows per second", None, dense),
        Point("b", "steps per second", None, float(clips["rate"])),
        Point("b", "steps of a clip", None, float(clips["steps"])),
        *(Point("b", "label row", float(at)) for at in shown),
        *(Point("b", "step", float(at)) for at in step),
    ]
