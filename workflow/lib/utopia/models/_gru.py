"""A bidirectional GRU layer, for one replica or for K stacked ones.

Torch's own CPU kernel and a loop under autograd make a node per operation and step; the recurrence here is one node:
its backward pass keeps to four operations a step, and gradients of the weights are one product over all steps.

Shapes besides those of `_common`: N videos or clips, L steps of one, u units per direction, M replicas times
directions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from utopia.models._layers import Linear
from utopia.models._layout import Layout


class BiGru(nn.Module):
    """x_RD -> h_R2u: states of both directions, from zero at each end of a video; parameters as `nn.GRU`'s."""

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
        if real is not None:
            return self._both_ways(x, None if bool(real.all()) else real)
        return self._kernel(x) if x.is_cuda else self._both_ways(x[None], None)[0]

    def _kernel(self, x_NLD: Tensor) -> Tensor:
        """By cuDNN, which has a kernel for one replica."""
        flat: list[Tensor] = []
        for read, state in zip(self.inputs, self.states, strict=True):
            flat += [part.get_parameter(name) for name in ("weight", "bias") for part in (read, state)]
        start = x_NLD.new_zeros(2, len(x_NLD), self.units)
        states_NL2u: Tensor = torch.gru(x_NLD, start, flat, True, 1, 0.0, self.training, True, True)[0]
        return states_NL2u

    def _both_ways(self, x_KNLD: Tensor, real_KNL: Tensor | None) -> Tensor:
        """The backward direction walks with the forward one, from the end; videos may be shorter than L."""
        replicas = len(x_KNLD)
        there, back = (self._read(read, x_KNLD) for read in self.inputs)
        gates_MNL3u = torch.stack([there, back.flip(2)], dim=1).flatten(0, 1)
        real_MNL1 = None
        if real_KNL is not None:
            real_MNL1 = torch.stack([real_KNL, real_KNL.flip(2)], dim=1).flatten(0, 1)[..., None].to(gates_MNL3u.dtype)
        w_M3uu, b_M3u = (self._stacked(name) for name in ("weight", "bias"))
        h_K2NLu = GruRecurrence.apply(gates_MNL3u, w_M3uu, b_M3u, real_MNL1).unflatten(0, (replicas, 2))
        return torch.cat([h_K2NLu[:, 0], h_K2NLu[:, 1].flip(2)], dim=-1)

    @staticmethod
    def _read(read: nn.Module, x_KNLD: Tensor) -> Tensor:
        """The gates' share of the input [K, N, L, 3u], in single precision at least: the recurrence adds up."""
        gates = read(x_KNLD.flatten(1, 2)).unflatten(1, x_KNLD.shape[1:3])
        return gates.float() if gates.dtype in (torch.bfloat16, torch.float16) else gates

    def _stacked(self, name: str) -> Tensor:
        """A parameter of both directions, with the leading axis M."""
        parts = [state.get_parameter(name) for state in self.states]
        own = 2 if name == "weight" else 1
        return torch.stack([part if part.dim() > own else part[None] for part in parts], dim=1).flatten(0, 1)


class GruRecurrence(torch.autograd.Function):
    """h_t = real_t ((1 - z) n + z h_(t-1)), r, z = sigmoid(gates + W h + b), n = tanh(gates + r (W h + b))."""

    @staticmethod
    def forward(ctx: Any, gates_MNL3u: Tensor, w_M3uu: Tensor, b_M3u: Tensor, real_MNL1: Tensor | None) -> Tensor:
        u, steps = w_M3uu.shape[-1], gates_MNL3u.shape[2]
        with torch.autocast(gates_MNL3u.device.type, enabled=False):
            w_Mu3u, b_M13u = w_M3uu.transpose(1, 2), b_M3u[:, None]
            shape = gates_MNL3u.shape[:2]
            rz = gates_MNL3u.new_empty(*shape, steps, 2 * u)
            hidden_n, new = gates_MNL3u.new_empty(2, *shape, steps, u)
            h = gates_MNL3u.new_zeros(*shape, steps + 1, u)  # the state before each step, then the last one
            for step in range(steps):
                gate, before = gates_MNL3u[:, :, step], h[:, :, step]
                hidden = torch.baddbmm(b_M13u, before, w_Mu3u)
                hidden_n[:, :, step] = hidden[..., 2 * u :]
                both = torch.add(gate[..., : 2 * u], hidden[..., : 2 * u], out=rz[:, :, step]).sigmoid_()
                n = torch.addcmul(gate[..., 2 * u :], both[..., :u], hidden[..., 2 * u :], out=new[:, :, step]).tanh_()
                after = torch.lerp(n, before, both[..., u:], out=h[:, :, step + 1])
                if real_MNL1 is not None:  # padding leaves the state at zero
                    after.mul_(real_MNL1[:, :, step])
        ctx.save_for_backward(rz, hidden_n, new, h, w_M3uu, real_MNL1)
        return h[:, :, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy_MNLu: Tensor) -> tuple[Tensor | None, ...]:
        rz, hidden_n, new, h, w_M3uu, real_MNL1 = ctx.saved_tensors
        replicas, _, steps, u = new.shape
        with torch.autocast(new.device.type, enabled=False):
            r, z = rz.chunk(2, -1)
            before = h[:, :, :-1]
            # What a change of the state h_t does to each sum before its function, for all steps at once.
            to_n = (1 - z) * (1 - new.square())
            of_hidden = torch.stack([to_n * hidden_n * r * (1 - r), (before - new) * z * (1 - z), to_n * r], dim=-2)
            of_state = torch.empty_like(new)
            carried = torch.zeros_like(new[:, :, 0])
            for step in range(steps - 1, -1, -1):
                g = torch.add(gy_MNLu[:, :, step], carried, out=of_state[:, :, step])
                if real_MNL1 is not None:
                    g.mul_(real_MNL1[:, :, step])
                here = of_hidden[:, :, step].mul_(g[..., None, :])
                carried = torch.baddbmm(g * z[:, :, step], here.flatten(-2), w_M3uu)
            flat_MP3u = of_hidden.view(replicas, -1, 3 * u)
            of_w = torch.bmm(flat_MP3u.transpose(1, 2), before.reshape(replicas, -1, u))
            of_b = flat_MP3u.sum(dim=1)
            torch.mul(of_state, to_n, out=of_hidden[..., 2, :])  # the gate's own share is not scaled by r
            return of_hidden.flatten(-2), of_w, of_b, None
