"""A bidirectional LSTM over short clips, for one replica or for K stacked ones.

As in `_gru`, the recurrence of both directions and all replicas is one node of autograd with a few operations a step.

Shapes besides those of `_common`: Q clips of a replica, L steps of a clip, u units per direction, M replicas times
directions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from utopia.models._layers import linear


class BiLstm(nn.Module):
    """x_KQLD -> o_KQL2u: outputs of both directions, from a zero state at each end of a clip.

    Names, shapes and initial values of the parameters are those of `nn.LSTM`.
    """

    def __init__(self, d_in: int, units: int, layers: int) -> None:
        super().__init__()
        self.units, self.layers = units, layers
        for name, parameter in nn.LSTM(d_in, units, layers, bidirectional=True).named_parameters():
            self.register_parameter(name, parameter)

    def forward(self, x_KQLD: Tensor, real_KQL: Tensor | None) -> Tensor:
        """The outputs of every step.

        Args:
            x_KQLD: clips.
            real_KQL: which steps a clip has, the first ones; outputs of the others are 0. None: all.
        """
        for layer in range(self.layers):
            x_KQLD = self._layer(x_KQLD, real_KQL, layer)
        return x_KQLD

    def _layer(self, x_KQLD: Tensor, real_KQL: Tensor | None, layer: int) -> Tensor:
        """The backward direction walks with the forward one, from the end: it meets the padding first."""
        there, back = (self._gates(x_KQLD, f"l{layer}{way}") for way in ("", "_reverse"))
        ways_LK2Qg = torch.stack([there.permute(2, 0, 1, 3), back.flip(2).permute(2, 0, 1, 3)], dim=2)
        real_LMQ1 = None
        if real_KQL is not None:
            both_K2QL = torch.stack([real_KQL, real_KQL.flip(2)], dim=1)
            real_LMQ1 = both_K2QL.flatten(0, 1).permute(2, 0, 1)[..., None].to(ways_LK2Qg.dtype)
        w_M4uu = torch.stack([self._of(f"weight_hh_l{layer}{way}", 2) for way in ("", "_reverse")], dim=1).flatten(0, 1)
        h_LMQu: Tensor = _Recurrence.apply(ways_LK2Qg.flatten(1, 2), w_M4uu, real_LMQ1)
        h_2KQLu = h_LMQu.unflatten(1, (-1, 2)).permute(2, 1, 3, 0, 4)
        return torch.cat([h_2KQLu[0], h_2KQLu[1].flip(2)], dim=-1)

    def _gates(self, x_KQLD: Tensor, name: str) -> Tensor:
        """The gates' share of the input [K, Q, L, 4u], in single precision at least: the recurrence adds up."""
        bias = self.get_parameter(f"bias_ih_{name}") + self.get_parameter(f"bias_hh_{name}")
        gates = linear(x_KQLD, self.get_parameter(f"weight_ih_{name}"), bias)
        return gates.float() if gates.dtype in (torch.bfloat16, torch.float16) else gates

    def _of(self, name: str, axes: int) -> Tensor:
        """A parameter with the leading axis K."""
        parameter = self.get_parameter(name)
        return parameter if parameter.dim() > axes else parameter[None]


class _Recurrence(torch.autograd.Function):
    """i, f, o = sigmoid(gates + W h), g = tanh(gates + W h), c_t = f c_(t-1) + i g, h_t = o tanh(c_t).

    Gates are in the order i, f, g, o. A step that is padding leaves both states at zero.
    """

    @staticmethod
    def forward(ctx: Any, gates_LMQg: Tensor, w_M4uu: Tensor, real_LMQ1: Tensor | None) -> Tensor:
        u = w_M4uu.shape[-1]
        steps, *shape, _ = gates_LMQg.shape
        with torch.autocast(gates_LMQg.device.type, enabled=False):
            w_Mu4u = w_M4uu.transpose(1, 2)
            acts = torch.empty_like(gates_LMQg)
            # states before each step, then the last ones
            h, c = (gates_LMQg.new_zeros(steps + 1, *shape, u) for _ in range(2))
            tanh_c = gates_LMQg.new_empty(steps, *shape, u)
            for step in range(steps):
                act = torch.baddbmm(gates_LMQg[step], h[step], w_Mu4u, out=acts[step])
                act[..., : 2 * u].sigmoid_()
                act[..., 2 * u : 3 * u].tanh_()
                act[..., 3 * u :].sigmoid_()
                i, f, g, o = act.split(u, dim=-1)
                state = torch.mul(f, c[step], out=c[step + 1]).addcmul_(i, g)
                if real_LMQ1 is not None:
                    state.mul_(real_LMQ1[step])
                # the state of padding is zero, and so is its output
                torch.mul(o, torch.tanh(state, out=tanh_c[step]), out=h[step + 1])
        ctx.save_for_backward(acts, h, c, tanh_c, w_M4uu, real_LMQ1)
        return h[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy_LMQu: Tensor) -> tuple[Tensor | None, ...]:
        acts, h, c, tanh_c, w_M4uu, real_LMQ1 = ctx.saved_tensors
        steps, replicas, _, u = tanh_c.shape
        with torch.autocast(acts.device.type, enabled=False):
            i, f, g, o = acts.split(u, dim=-1)
            # what a change of a step's states does to each sum before its function, for all steps at once
            of_gates = torch.stack(
                [g * i * (1 - i), c[:-1] * f * (1 - f), i * (1 - g.square()), tanh_c * o * (1 - o)], dim=-2
            )
            to_c = o * (1 - tanh_c.square())
            carried_h, carried_c = (torch.zeros_like(tanh_c[0]) for _ in range(2))
            for step in range(steps - 1, -1, -1):
                g_h = gy_LMQu[step] + carried_h
                g_c = carried_c.addcmul_(g_h, to_c[step])
                if real_LMQ1 is not None:
                    g_c.mul_(real_LMQ1[step])
                here = of_gates[step]
                here[..., :3, :].mul_(g_c[..., None, :])
                here[..., 3, :].mul_(g_h)
                carried_h = torch.bmm(here.flatten(-2), w_M4uu)
                carried_c = g_c * f[step]
            g_gates = of_gates.flatten(-2)
            of_w = torch.bmm(
                g_gates.permute(1, 3, 0, 2).reshape(replicas, 4 * u, -1),
                h[:-1].permute(1, 0, 2, 3).reshape(replicas, -1, u),
            )
        return g_gates, of_w, None
