"""The bidirectional GRU against torch's own, and its gradients against finite differences."""

from __future__ import annotations

import torch
from torch import nn

from utopia.models._gru import BiGru, GruRecurrence
from utopia.models._layout import Packed, Padded


def reference(ours: BiGru, width: int) -> nn.GRU:
    """Torch's layer with our parameters."""
    theirs = nn.GRU(width, ours.units, 1, batch_first=True, bidirectional=True).double()
    with torch.no_grad():
        for kind, layers in (("ih", ours.inputs), ("hh", ours.states)):
            for layer, suffix in zip(layers, ("", "_reverse"), strict=True):
                for what in ("weight", "bias"):
                    getattr(theirs, f"{what}_{kind}_l0{suffix}").copy_(layer.get_parameter(what))
    return theirs


def test_as_torchs_layer_states_and_gradients() -> None:
    ours = BiGru(7, 5).double()
    theirs = reference(ours, 7)
    x_NLD = torch.randn(3, 9, 7, dtype=torch.double, requires_grad=True)
    found = ours(x_NLD.flatten(0, 1), Packed([9] * 3)).view(3, 9, 10)
    expected = theirs(x_NLD)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-13)
    weight = torch.randn(3, 9, 10, dtype=torch.double)
    (gx,) = torch.autograd.grad((found * weight).sum(), x_NLD, retain_graph=True)
    (wanted,) = torch.autograd.grad((expected * weight).sum(), x_NLD, retain_graph=True)
    torch.testing.assert_close(gx, wanted, rtol=0, atol=1e-13)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.states[1].weight.grad, theirs.weight_hh_l0_reverse.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.states[0].bias.grad, theirs.bias_hh_l0.grad, rtol=0, atol=1e-12)
    torch.testing.assert_close(ours.inputs[0].bias.grad, theirs.bias_ih_l0.grad, rtol=0, atol=1e-12)


def test_videos_of_other_lengths_start_at_their_own_ends() -> None:
    ours = BiGru(4, 3).double()
    theirs = reference(ours, 4)
    lengths = [5, 2, 8]
    pieces = [torch.randn(length, 4, dtype=torch.double) for length in lengths]
    found = ours(torch.cat(pieces), Packed(lengths))
    torch.testing.assert_close(found, torch.cat([theirs(x[None])[0][0] for x in pieces]), rtol=0, atol=1e-13)


def test_padding_adds_nothing_to_states_or_gradients() -> None:
    """One replica with a leading axis, padded, against itself packed."""
    ours, lengths = BiGru(4, 3).double(), [5, 2, 8]
    x_RD = torch.randn(sum(lengths), 4, dtype=torch.double)
    packed = ours(x_RD, Packed(lengths))
    packed.square().sum().backward()
    expected = {name: parameter.grad.clone() for name, parameter in ours.named_parameters()}
    ours.zero_grad()
    rows = Padded(torch.tensor([lengths]), 8)
    x_1PD = torch.randn(1, 24, 4, dtype=torch.double)
    x_1PD[rows.real_KVT.flatten(1)] = x_RD
    for layer in [*ours.inputs, *ours.states]:
        for name, parameter in list(layer.named_parameters()):
            layer._parameters[name] = nn.Parameter(parameter.detach()[None])
    padded = ours(x_1PD, rows)[rows.real_KVT.flatten(1)]
    torch.testing.assert_close(padded, packed, rtol=0, atol=1e-13)
    padded.square().sum().backward()
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad[0], expected[name], rtol=0, atol=1e-12)


def test_gradients_against_finite_differences() -> None:
    gates, w, b = (torch.randn(*shape, dtype=torch.double) for shape in ((3, 2, 5, 12), (3, 12, 4), (3, 12)))
    real = (torch.rand(3, 2, 5, 1) > 0.3).double()
    values = [value.requires_grad_() for value in (gates, w, b)]
    for mask in (None, real):
        assert torch.autograd.gradcheck(GruRecurrence.apply, (*values, mask))
