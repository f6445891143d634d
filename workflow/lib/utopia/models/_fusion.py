"""The recurrent fusion of modalities: a bidirectional LSTM that makes one vector of each slice of a few steps, trained
with the model (ULDA sec. 4.3).

Shapes besides those of `_common`: N slices, L steps of a slice, u units per direction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from utopia.config.fusion import SliceFusion
from utopia.models._layers import Linear
from utopia.models._layout import Layout


class SliceLstm(nn.Module):
    """x_RD -> s_R2u: the slice's vector, for each of its steps. As `nn.LSTM`, with the sum of its two biases as one
    parameter.

    One replica takes torch's own kernel; K stacked replicas, for which there is none, go step by step together.
    """

    def __init__(self, config: SliceFusion, d_in: int) -> None:
        super().__init__()
        self.config, self.width = config, 2 * config.units
        widths = [d_in] + [self.width] * (config.layers - 1)
        self.inputs = nn.ModuleList(Linear(width, 4 * config.units) for width in widths for _ in range(2))
        self.states = nn.ModuleList(Linear(config.units, 4 * config.units, bias=False) for _ in range(2 * len(widths)))
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(config.units**-0.5), config.units**-0.5)

    def forward(self, x_RD: Tensor, rows: Layout) -> Tensor:
        """The vector of each step's slice; with `pool: step` the step's own state."""
        return rows.by_slice(x_RD, self.config.slice, self._slices)

    def _slices(self, x: Tensor, real: Tensor | None) -> Tensor:
        states = self._kernel(x) if real is None else self._steps(x, real)
        if self.config.pool == "step":
            return states
        if self.config.pool == "last":
            return self._last(states, real).expand_as(states)
        if real is None:
            return states.mean(dim=-2, keepdim=True).expand_as(states)
        share = real.to(states.dtype)
        weight = (share / share.sum(dim=-1, keepdim=True).clamp(min=1))[..., None]
        return (states * weight).sum(dim=-2, keepdim=True).expand_as(states)

    def _last(self, states: Tensor, real: Tensor | None) -> Tensor:
        """The state of each direction that has seen the whole slice [..., 1, 2u]: forwards at its end, backwards at its
        start.
        """
        ahead, back = states.split(self.config.units, dim=-1)
        if real is None:
            end = ahead[..., -1:, :]
        else:
            last = (real.sum(dim=-1, keepdim=True) - 1).clamp(min=0)[..., None]
            end = ahead.gather(-2, last.expand(*last.shape[:-1], ahead.shape[-1]))
        return torch.cat([end, back[..., :1, :]], dim=-1)

    def _kernel(self, x_NLD: Tensor) -> Tensor:
        """All slices have the same length."""
        zero = x_NLD.new_zeros(4 * self.config.units)
        flat: list[Tensor] = []
        for read, state in zip(self.inputs, self.states, strict=True):
            flat += read.get_parameter("weight"), state.get_parameter("weight"), read.get_parameter("bias"), zero
        start = x_NLD.new_zeros(2 * self.config.layers, len(x_NLD), self.config.units)
        states_NL2u: Tensor = torch.lstm(
            x_NLD, (start, start), flat, True, self.config.layers, 0.0, self.training, True, True
        )[0]
        return states_NL2u

    def _steps(self, x_KNLD: Tensor, real_KNL: Tensor) -> Tensor:
        """Step by step, where slices may be shorter than L."""
        keep = [real[..., None].to(x_KNLD.dtype) for real in real_KNL.unbind(dim=2)]
        for layer in range(self.config.layers):
            both = []
            for direction in range(2):
                read, state = self.inputs[2 * layer + direction], self.states[2 * layer + direction]
                gates = read(x_KNLD.flatten(1, 2)).unflatten(1, x_KNLD.shape[1:3]).unbind(dim=2)
                h_KNu = c_KNu = x_KNLD.new_zeros(*x_KNLD.shape[:2], self.config.units)
                found: list[Tensor] = [h_KNu] * len(gates)
                order = range(len(gates)) if direction == 0 else reversed(range(len(gates)))
                for step in order:
                    i, f, g, o = (gates[step] + state(h_KNu)).chunk(4, dim=-1)
                    # a step that is padding leaves the state at zero, so that backwards each slice starts at its end
                    c_KNu = (f.sigmoid() * c_KNu + i.sigmoid() * g.tanh()) * keep[step]
                    h_KNu = o.sigmoid() * c_KNu.tanh() * keep[step]
                    found[step] = h_KNu
                both.append(torch.stack(found, dim=2))
            x_KNLD = torch.cat(both, dim=-1)
        return x_KNLD
