"""From a video to the scores of its reactions: the network as it was built, as EEV 2021 Fig. 1 draws it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from utopia.figures import style
from utopia.figures.data import Inputs, Point
from utopia.figures.reaction_network import DrawnLayer, DrawnModality, DrawnNetwork, read_network

READS = ("summaries",)
_FILL = {"input": "#FFFFFF", "extractor": "#E8E8E8", "recurrent": "#CFE6F6", "gate": "#FBE5BF", "linear": "#CDEBDF"}
_HIGH, _GAP = 0.28, 0.17
"""Inches of a block and between two."""
_LINE = 0.125
"""Inches from one line of names to the next."""
_MOST_LETTERS = 56
_EXTRACTORS = {
    "swin_l": ("frames", "Swin Transformer (Swin-L)"),
    "inception_v3": ("frames", "Inception v3"),
    "se_resnext101": ("frames", "SE-ResNeXt-101"),
    "vggish": ("sound", "VGGish"),
    "vggish_raw": ("sound", "VGGish"),
}
"""What a modality is made of, and the network that makes it, by the name of its features."""


@dataclass(frozen=True)
class Block:
    """A block of the diagram: its `row` from above, its `column` (None: in the middle), and its words."""

    row: int
    column: int | None
    kind: str
    text: str


def draw(inputs: Inputs) -> tuple[Figure, list[Point]]:
    """The network's blocks from the video above to the scores below."""
    if not inputs.summaries:
        reason = "; ".join(dict.fromkeys(inputs.absent_runs.values())) or "no network was trained"
        figure = style.blank(1.3)
        style.statement(figure.subplots(), f"No network to draw:\n{reason}", width=50)
        return figure, [Point("", "absent", note=reason)]
    summary = next(iter(inputs.summaries.values()))
    settings = summary["settings"]
    network = read_network(summary["parameters"], settings["features"])
    function = output_function(settings["low"], settings["high"])
    names = inputs.labels.columns.get(inputs.target, [])
    made = blocks(network, function, names)
    rows = 1 + max(block.row for block in made)
    listed = textwrap.wrap(", ".join(names), _MOST_LETTERS)
    height = rows * (_HIGH + _GAP) + _LINE * len(listed)
    figure = style.blank(height + 0.1)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, style.COLUMN), ylim=(-0.05, height + 0.05))
    axes.axis("off")
    _blocks(axes, made, len(network.modalities), height)
    below = height - rows * (_HIGH + _GAP) + 0.06
    for number, line in enumerate(listed):
        axes.text(style.COLUMN / 2, below - _LINE * number, line, ha="center", va="center", fontsize=6.5)
    return figure, _points(network, function, settings, names)


def output_function(low: float, high: float) -> str:
    """What brings outputs into the label range: sigmoid for [0, 1], tanh for [-1, 1], none for anything wider."""
    if low < -1 or high > 1:
        return "none"
    return "tanh" if low < 0 else "sigmoid"


def blocks(network: DrawnNetwork, function: str, names: Sequence[str]) -> list[Block]:
    """The blocks of a network from the video to its scores.

    Args:
        network: as its parameters show it.
        function: what brings outputs into the label range.
        names: of the outputs.
    """
    made = [Block(0, None, "input", "video")]
    for column, modality in enumerate(network.modalities):
        source, extractor = _EXTRACTORS.get(modality.name, ("features", modality.name))
        made.append(Block(1, column, "input", source))
        made.append(Block(2, column, "extractor", f"{extractor}\n→ {modality.d_in:,}"))
        for number, layer in enumerate(modality.layers):
            made.append(Block(3 + number, column, "recurrent", _recurrent(layer)))
    row = 3 + max(len(modality.layers) for modality in network.modalities)
    made.append(Block(row, None, "input", f"concatenation → {network.fused:,}"))
    for dense in network.dense:
        row += 1
        gate = dense.name.startswith("gate")
        text = f"context gating, {dense.d_out:,}" if gate else f"fully connected {dense.d_in:,} → {dense.d_out:,}"
        made.append(Block(row, None, "gate" if gate else "linear", text))
    scores = f"{network.outputs} scores" + (":" if names else "")
    made.append(Block(row + 1, None, "linear", function if function != "none" else "no output function"))
    made.append(Block(row + 2, None, "input", scores))
    return made


def _recurrent(layer: DrawnLayer) -> str:
    both = "bidirectional " if layer.directions == 2 else ""
    times = f"2 × {layer.units:,}" if layer.directions == 2 else f"{layer.units:,}"
    return f"{both}{layer.cell}\n→ {times}"


def _blocks(axes: Axes, made: Sequence[Block], columns: int, height: float) -> None:
    wide = (style.COLUMN - 0.1 * (columns + 1)) / columns
    places: dict[tuple[int, int | None], tuple[float, float]] = {}
    for block in made:
        y = height - block.row * (_HIGH + _GAP) - _HIGH / 2
        x = style.COLUMN / 2 if block.column is None else 0.1 + wide / 2 + block.column * (wide + 0.1)
        width = wide if block.column is not None else min(2.0, style.COLUMN - 0.2)
        plain = block.kind == "input"
        axes.add_patch(
            FancyBboxPatch((x - width / 2, y - _HIGH / 2), width, _HIGH, boxstyle="round,pad=0,rounding_size=0.05",
                           facecolor=_FILL[block.kind], edgecolor=style.GREY if plain else style.BLACK, linewidth=0.6)
        )  # fmt: skip
        axes.text(x, y, block.text, ha="center", va="center", fontsize=6.5, linespacing=1.1)
        places[block.row, block.column] = x, y
    for block in made:
        following = [other for other in made if other.row > block.row and _joined(block, other)]
        nearest = min((other.row for other in following), default=None)
        for after in (other for other in following if other.row == nearest):
            (x, y), (to_x, to_y) = places[block.row, block.column], places[after.row, after.column]
            # From a block in the middle to one of several, and back, arrows keep to the blocks' own edges.
            end = to_x if after.column is not None else x if block.column is None else to_x + 0.5 * (x - to_x)
            start = x if block.column is not None or after.column is None else x + 0.5 * (to_x - x)
            axes.add_patch(
                FancyArrowPatch((start, y - _HIGH / 2), (end, to_y + _HIGH / 2), arrowstyle="-|>", mutation_scale=6,
                                shrinkA=0, shrinkB=0, color=style.BLACK, linewidth=0.7)
            )  # fmt: skip


def _joined(block: Block, other: Block) -> bool:
    return block.column is None or other.column is None or block.column == other.column


def _points(network: DrawnNetwork, function: str, settings: Mapping[str, Any], names: Sequence[str]) -> list[Point]:
    return [
        *(
            Point("", f"{modality.name}, layer {number}", float(layer.d_in), float(layer.d_out), note=_words(layer))
            for modality in network.modalities
            for number, layer in enumerate(modality.layers, 1)
        ),
        *(
            Point("", part.name, float(part.d_in), float(part.d_out), note=style.count(part.parameters, "parameter"))
            for part in network.dense
        ),
        *(Point("", "modality", None, float(part.d_in), note=_source(part)) for part in network.modalities),
        Point("", "dropout between layers", None, float(settings["model_config"].get("dropout", 0.0))),
        Point("", "output function", None, function),
        *(Point("", "score", float(number), None, note=name) for number, name in enumerate(names)),
        Point("", "parameters", None, float(network.parameters), note="counted from the shapes"),
    ]


def _source(modality: DrawnModality) -> str:
    return ": ".join(_EXTRACTORS.get(modality.name, ("features", modality.name)))


def _words(layer: DrawnLayer) -> str:
    directions = style.count(layer.directions, "direction")
    return f"{layer.cell}, {directions} of {style.count(layer.units, 'unit')}, {layer.parameters} parameters"
