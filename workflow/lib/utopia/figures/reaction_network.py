"""What the shapes of a reaction network's parameters say of it: modalities, layers, directions, gates, outputs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from utopia.errors import ComputeError

Shapes = Mapping[str, Sequence[int]]

_LAYER = re.compile(r"modalities\.(\d+)\.layers\.(\d+)\.(inputs|states)\.(\d+)\.weight")
_DENSE = {"gate": "gate.linear", "linear": "out", "gate of the outputs": "gate_out.linear"}
_CELLS = {1: "RNN", 3: "GRU", 4: "LSTM"}
"""Recurrent layers by how many times their units the rows of a weight are."""


@dataclass(frozen=True)
class DrawnLayer:
    """A recurrent layer: `d_in` numbers in, `units` out per direction; `cell` says of what kind."""

    d_in: int
    units: int
    directions: int
    cell: str
    parameters: int

    @property
    def d_out(self) -> int:
        """Numbers out."""
        return self.units * self.directions


@dataclass(frozen=True)
class DrawnModality:
    """The layers of one modality."""

    name: str
    layers: tuple[DrawnLayer, ...]

    @property
    def d_in(self) -> int:
        """Width of the features."""
        return self.layers[0].d_in


@dataclass(frozen=True)
class Dense:
    """A matrix with a bias: of a gate, or the linear layer."""

    name: str
    d_in: int
    d_out: int
    parameters: int


@dataclass(frozen=True)
class DrawnNetwork:
    """A reaction network; `parameters` counts all of them."""

    modalities: tuple[DrawnModality, ...]
    dense: tuple[Dense, ...]
    """Gate, linear layer, gate of the outputs."""
    parameters: int

    @property
    def fused(self) -> int:
        """Width of the modalities' states side by side."""
        return sum(modality.layers[-1].d_out for modality in self.modalities)

    @property
    def outputs(self) -> int:
        """Numbers predicted per step."""
        return self.dense[-1].d_out


def read_network(parameters: Shapes, names: Sequence[str]) -> DrawnNetwork:
    """The network that has these parameters.

    Args:
        parameters: shapes by name, as training.json has them; those that do not begin with `model.` are no parameters
            of the network (they standardise the features).
        names: of the modalities' features, in their order.

    Raises:
        ComputeError: they are not those of such a network: one is missing or unknown, or widths do not fit together.
    """
    shapes = {
        name.removeprefix("model."): list(shape) for name, shape in parameters.items() if name.startswith("model.")
    }
    numbers = sorted({int(match[1]) for name in shapes if (match := _LAYER.fullmatch(name))})
    if numbers != list(range(len(names))):
        raise _unlike(f"{len(numbers)} modalities, and features of {len(names)}: {', '.join(names)}")
    modalities = tuple(_modality(shapes, number, name) for number, name in enumerate(names))
    dense = tuple(_dense(shapes, name, path) for name, path in _DENSE.items())
    network = DrawnNetwork(modalities, dense, sum(map(math.prod, shapes.values())))
    known = sum(layer.parameters for modality in modalities for layer in modality.layers)
    if (known := known + sum(one.parameters for one in dense)) != network.parameters:
        raise _unlike(f"{network.parameters - known} of {network.parameters} parameters belong to none of its parts")
    width = network.fused
    for one in dense:
        if one.d_in != width or (one.name != "linear" and one.d_out != one.d_in):
            raise _unlike(f"the {one.name} takes {one.d_in} numbers to {one.d_out} after {width}")
        width = one.d_out
    return network


def _modality(shapes: Shapes, number: int, name: str) -> DrawnModality:
    prefix = f"modalities.{number}.layers."
    depth = 1 + max(int(match[2]) for key in shapes if key.startswith(prefix) and (match := _LAYER.fullmatch(key)))
    layers = tuple(_layer(shapes, f"{prefix}{index}") for index in range(depth))
    for before, after in pairwise(layers):
        if after.d_in != before.d_out:
            raise _unlike(f"a layer of {name} takes {after.d_in} numbers after one that gives {before.d_out}")
    return DrawnModality(name, layers)


def _layer(shapes: Shapes, path: str) -> DrawnLayer:
    matches = [match for name in shapes if name.startswith(f"{path}.") and (match := _LAYER.fullmatch(name))]
    directions = {int(match[4]) for match in matches if match[3] == "states"}
    reads = {tuple(shapes[match[0]]) for match in matches if match[3] == "inputs"}
    states = {tuple(shapes[match[0]]) for match in matches if match[3] == "states"}
    if len(reads) != 1 or len(states) != 1 or len(matches) != 2 * len(directions):
        raise _unlike(f"the directions of {path} are not alike")
    (rows, d_in), (of_states, units) = reads.pop(), states.pop()
    times = rows // units
    if rows != of_states or times * units != rows or times not in _CELLS:
        raise _unlike(f"{path} has {rows} rows for {units} units")
    size = sum(math.prod(shape) for name, shape in shapes.items() if name.startswith(f"{path}."))
    return DrawnLayer(d_in, units, len(directions), _CELLS[times], size)


def _dense(shapes: Shapes, name: str, path: str) -> Dense:
    weight, bias = shapes.get(f"{path}.weight"), shapes.get(f"{path}.bias")
    if weight is None or bias is None:
        raise _unlike(f"there is no {path}")
    d_out, d_in = weight
    return Dense(name, d_in, d_out, math.prod(weight) + math.prod(bias))


def _unlike(what: str) -> ComputeError:
    return ComputeError(
        f"the parameters are not those of a network with a recurrent part per modality and gates: {what}",
        why="the figure shows what was built, and nothing that was not",
        remedy="draw a run of the model `bi_gru`, or remove the figure from the study",
    )
