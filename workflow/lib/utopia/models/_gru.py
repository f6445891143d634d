"""A bidirectional GRU layer, for one replica or for K stacked ones.

Shapes besides those of `_common`: N videos or clips, L steps of one, u units per direction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from utopia.models._layers import Linear
from utopia.models._layout import Layout


class BiGru(nn.Module):
    """x_RD -> h_R2u: states of both directions, from zero at each end of a video; parameters as `nn.GRU`'s.

    One replica takes torch's own kernel; K stacked replicas, for which there is none, go step by step together.
    """

    def __init__(self, d_in: int, units: int) -> None:
        super().__init__()
        self.units, self.width = units, 2 * units
        self.inputs = nn.ModuleList(Linear(d_in, 3 * units) for _ in range(2))
        self.states = nn.ModuleList(Linear(units, 3 * units) for _ in range(2))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(units**-0.5), units**-0.5)

    def forward(self, x_RD: Tensor, rows: Layout) -> Tensor:
        """The states of every row; videos do not see one another."""
        return rows.by_slice(x_RD, rows.longest(), self._videos)

    def _videos(self, x: Tensor, real: Tensor | None) -> Tensor:
        return self._kernel(x) if real is None else self._steps(x, real)

    def _kernel(self, x_NLD: Tensor) -> Tensor:
        """All videos have the same length."""
        flat: list[Tensor] = []
        for read, state in zip(self.inputs, self.states, strict=True):
            flat += [part.get_parameter(name) for name in ("weight", "bias") for part in (read, state)]
        start = x_NLD.new_zeros(2, len(x_NLD), self.units)
        states_NL2u: Tensor = torch.gru(x_NLD, start, flat, True, 1, 0.0, self.training, True, True)[0]
        return states_NL2u

    def _steps(self, x_KNLD: Tensor, real_KNL: Tensor) -> Tensor:
        """Step by step, where videos may be shorter than L."""
        keep = [real[..., None].to(x_KNLD.dtype) for real in real_KNL.unbind(dim=2)]
        both = []
        for direction, (read, state) in enumerate(zip(self.inputs, self.states, strict=True)):
            gates = read(x_KNLD.flatten(1, 2)).unflatten(1, x_KNLD.shape[1:3]).unbind(dim=2)
            h_KNu = x_KNLD.new_zeros(*x_KNLD.shape[:2], self.units)
            found: list[Tensor] = [h_KNu] * len(gates)
            order = range(len(gates)) if direction == 0 else reversed(range(len(gates)))
            for step in order:
                r, z, n = gates[step].chunk(3, dim=-1)
                hr, hz, hn = state(h_KNu).chunk(3, dim=-1)
                new = torch.tanh(n + (r + hr).sigmoid() * hn)
                # a step that is padding leaves the state at zero, so that backwards each video starts at its own end
                h_KNu = new.lerp(h_KNu, (z + hz).sigmoid()) * keep[step]
                found[step] = h_KNu
            both.append(torch.stack(found, dim=2))
        return torch.cat(both, dim=-1)
