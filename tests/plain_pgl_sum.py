"""PGL-SUM written out plainly: one video at a time, loops over segments and heads, every map a layer of its own.

Independent of `utopia.models.pgl_sum`; the tests take it as their oracle and the benchmark as the loop to beat.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn


def absolute_positions(frames: int, width: int, frequency: float = 10000.0) -> Tensor:
    """P by its definition, number by number; columns come in pairs, an odd last one stays 0."""
    table = [[0.0] * frames for _ in range(frames)]
    for t in range(frames):
        for i in range(frames // 2):
            table[t][2 * i] = math.sin(t / frequency ** (2 * i / width))
            table[t][2 * i + 1] = math.cos(t / frequency ** (2 * i / width))
    return torch.tensor(table, dtype=torch.float64)


def fast_absolute_positions(frames: int, width: int, frequency: float = 10000.0) -> Tensor:
    """The same matrix by tensor operations, for the benchmark."""
    t, i = torch.arange(frames)[:, None], torch.arange(frames // 2)
    angle = t / frequency ** (2 * i / width)
    table = torch.zeros(frames, frames)
    table[:, 0 : frames // 2 * 2 : 2], table[:, 1::2] = angle.sin(), angle.cos()
    return table


def relative_positions(frames: int, width: int, frequency: float = 10000.0) -> Tensor:
    """The relative matrix by its definition (its frequency depends on the length, not on the width).

    The reference code fills pairs of columns, as it does for the absolute matrix; an odd last column stays 0.
    """
    table = [[0.0] * frames for _ in range(frames)]
    for i in range(frames):
        for pair in range(frames // 2):
            for j, function in ((2 * pair, math.sin), (2 * pair + 1, math.cos)):
                table[i][j] = function((j - i + frames - 1) / frequency ** ((i + j) / (2 * frames)))
    return torch.tensor(table, dtype=torch.float64)


class PlainAttention(nn.Module):
    """An attention cell, head by head."""

    def __init__(
        self, width: int, hidden: int, heads: int, dropout: float, positions: Callable[[int, int], Tensor]
    ) -> None:
        super().__init__()
        size = hidden // heads
        self.q = nn.ModuleList(nn.Linear(width, size, bias=False) for _ in range(heads))
        self.k = nn.ModuleList(nn.Linear(width, size, bias=False) for _ in range(heads))
        self.v = nn.ModuleList(nn.Linear(width, size, bias=False) for _ in range(heads))
        self.out = nn.Linear(size * heads, width, bias=False)
        self.dropout, self.width, self.positions = nn.Dropout(dropout), width, positions

    def forward(self, x: Tensor) -> Tensor:
        """One video or one segment [T, d]."""
        results = []
        for q, k, v in zip(self.q, self.k, self.v, strict=True):
            energies = q(x) @ k(x).T + self.positions(len(x), self.width).to(x.dtype)
            results.append(self.dropout(torch.softmax(energies, dim=1)) @ v(x))
        return self.out(torch.cat(results, dim=1))


class PlainPglSum(nn.Module):
    """The model for one video [T, D] -> [T]."""

    def __init__(
        self,
        d_in: int,
        d_model: int | None = None,
        heads: int = 8,
        segments: int | None = 4,
        segment_heads: int = 4,
        fusion: str = "add",
        dropout: float = 0.5,
        positions: Callable[[int, int], Tensor] = absolute_positions,
        output: Callable[[Tensor], Tensor] = torch.sigmoid,
    ) -> None:
        super().__init__()
        d = d_model or d_in
        self.enter = nn.Linear(d_in, d) if d != d_in else None
        self.whole = PlainAttention(d, d, heads, dropout, positions)
        self.parts = nn.ModuleList(
            PlainAttention(d, d // segments, segment_heads, dropout, positions) for _ in range(segments or 0)
        )
        self.fusion, self.output = fusion, output
        self.dropout = nn.Dropout(dropout)
        self.norm, self.hidden = nn.LayerNorm(d, eps=1e-6), nn.Linear(d, d)
        self.hidden_norm, self.out = nn.LayerNorm(d, eps=1e-6), nn.Linear(d, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of one video."""
        x = x if self.enter is None else self.enter(x)
        z = self.whole(x)
        if len(self.parts):
            size = math.ceil(len(x) / len(self.parts))
            local = torch.zeros_like(z)
            for number, part in enumerate(self.parts):
                segment = x[number * size : (number + 1) * size]
                if len(segment):
                    local[number * size : (number + 1) * size] = part(segment)
            z = z / z.norm(dim=1, keepdim=True).clamp(min=1e-12)
            local = local / local.norm(dim=1, keepdim=True).clamp(min=1e-12)
            z = {
                "add": z + local,
                "mult": z * local,
                "avg": (z + local) / 2,
                "max": torch.where(z > local, z, local),
            }[self.fusion]
        z = self.norm(self.dropout(z + x))
        z = self.hidden_norm(self.dropout(torch.relu(self.hidden(z))))
        return self.output(self.out(z)).squeeze(1)


def copy_parameters(source: nn.Module, plain: PlainPglSum) -> None:
    """Give the plain model the parameters of a `utopia.models.pgl_sum` model."""
    with torch.no_grad():
        for packed, cell in zip([source.whole, *source.parts], [plain.whole, *plain.parts], strict=True):
            q, k, v = packed.qkv.weight.chunk(3)
            for heads, rows in ((cell.q, q), (cell.k, k), (cell.v, v)):
                for head, weight in zip(heads, rows.chunk(len(heads)), strict=True):
                    head.weight.copy_(weight)
            cell.out.weight.copy_(packed.out.weight)
        for name in ("norm", "hidden", "hidden_norm", "out"):
            getattr(plain, name).load_state_dict(getattr(source, name).state_dict())
        if plain.enter is not None:
            plain.enter.load_state_dict(source.enter.state_dict())


def gradients(plain: PlainPglSum) -> dict[str, Tensor]:
    """The plain model's gradients under the names of the packed model."""
    found = {
        name: parameter.grad
        for name, parameter in plain.named_parameters()
        if not name.startswith(("whole", "parts")) and parameter.grad is not None
    }
    cells = {"whole": plain.whole, **{f"parts.{number}": cell for number, cell in enumerate(plain.parts)}}
    for name, cell in cells.items():
        maps = [head.weight for heads in (cell.q, cell.k, cell.v) for head in heads]
        found[f"{name}.qkv.weight"] = torch.cat([torch.zeros_like(w) if w.grad is None else w.grad for w in maps])
        out = cell.out.weight
        found[f"{name}.out.weight"] = torch.zeros_like(out) if out.grad is None else out.grad
    return found
