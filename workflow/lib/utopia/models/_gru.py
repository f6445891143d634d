"""A bidirectional GRU layer, for one replica or for K stacked ones.

Shapes besides those of `_common`: N videos or clips, L steps of one, u units per direction, D replicas times
directions.
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
        """Step by step, where videos may be shorter than L; the backward direction walks with the forward one."""
        replicas, u = len(x_KNLD), self.units
        whole = bool(real_KNL.all())
        both = [read(x_KNLD.flatten(1, 2)).unflatten(1, x_KNLD.shape[1:3]) for read in self.inputs]
        gates = torch.stack([both[0], both[1].flip(2)], dim=1).flatten(0, 1).unbind(dim=2)
        keep = torch.stack([real_KNL, real_KNL.flip(2)], dim=1).flatten(0, 1)[..., None].to(x_KNLD.dtype).unbind(dim=2)
        w, b = (
            torch.stack([s.get_parameter(name) for s in self.states], 1).flatten(0, 1) for name in ("weight", "bias")
        )
        w_Du3u, b_D13u = w.transpose(1, 2), b[:, None]
        h_DNu = x_KNLD.new_zeros(2 * replicas, x_KNLD.shape[1], u)
        found = []
        for gate, real in zip(gates, keep, strict=True):
            hidden = torch.baddbmm(b_D13u, h_DNu, w_Du3u)
            r, z = (gate[..., : 2 * u] + hidden[..., : 2 * u]).sigmoid().chunk(2, dim=-1)
            new = torch.addcmul(gate[..., 2 * u :], r, hidden[..., 2 * u :]).tanh()
            h_DNu = torch.lerp(new, h_DNu, z)
            if not whole:  # padding leaves the state at zero, so that backwards each video starts at its own end
                h_DNu = h_DNu * real
            found.append(h_DNu)
        h_K2NLu = torch.stack(found, dim=2).unflatten(0, (replicas, 2))
        return torch.cat([h_K2NLu[:, 0], h_K2NLu[:, 1].flip(2)], dim=-1)
