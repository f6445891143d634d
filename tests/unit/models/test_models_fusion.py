"""The recurrent fusion against torch's own LSTM, in both layouts."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from utopia.config.fusion import SliceFusion
from utopia.config.training import Training
from utopia.models import et, pgl_sum
from utopia.models._common import Regressor
from utopia.models._fusion import SliceLstm
from utopia.models._layout import Packed, Padded
from utopia.training.network import Network
from utopia.training.vectorized.stack import Stack

D = 6


def make(pool: str = "step", seed: int = 0) -> SliceLstm:
    torch.manual_seed(seed)
    return SliceLstm(SliceFusion(slice=4, units=5, pool=pool), D).double()  # type: ignore[arg-type]


def torchs_own(fusion: SliceLstm) -> nn.LSTM:
    lstm = nn.LSTM(D, 5, 2, bidirectional=True, batch_first=True).double()
    with torch.no_grad():
        for number, (layer, end) in enumerate([(0, ""), (0, "_reverse"), (1, ""), (1, "_reverse")]):
            getattr(lstm, f"weight_ih_l{layer}{end}").copy_(fusion.inputs[number].weight)  # type: ignore[arg-type]
            getattr(lstm, f"bias_ih_l{layer}{end}").copy_(fusion.inputs[number].bias)  # type: ignore[arg-type]
            getattr(lstm, f"weight_hh_l{layer}{end}").copy_(fusion.states[number].weight)  # type: ignore[arg-type]
            getattr(lstm, f"bias_hh_l{layer}{end}").zero_()
    return lstm


def test_each_slice_alone_in_torchs_own_lstm() -> None:
    fusion, lengths = make(), [9, 4, 3]
    lstm, x_RD = torchs_own(fusion), torch.randn(16, D, dtype=torch.double)
    expected = torch.cat([lstm(part[None])[0][0] for x in x_RD.split(lengths) for part in x.split(4)])
    torch.testing.assert_close(fusion(x_RD, Packed(lengths)), expected, rtol=0, atol=1e-13)
    ends = [
        torch.cat([h_2u[-2], h_2u[-1]], dim=-1).expand(len(part), -1)  # both directions of the last layer
        for x in x_RD.split(lengths)
        for part in x.split(4)
        for h_2u in [lstm(part)[1][0]]
    ]
    torch.testing.assert_close(make("last")(x_RD, Packed(lengths)), torch.cat(ends), rtol=0, atol=1e-13)
    mean = make("mean")
    means = [
        lstm(part[None])[0][0].mean(0, keepdim=True).expand(len(part), -1)
        for x in x_RD.split(lengths)
        for part in x.split(4)
    ]
    torch.testing.assert_close(mean(x_RD, Packed(lengths)), torch.cat(means), rtol=0, atol=1e-13)


@pytest.mark.parametrize("pool", ["last", "step", "mean"])
@pytest.mark.parametrize("model", ["et", "pgl_sum"])
def test_stacked_replicas_with_fusion_are_the_same_function(model: str, pool: str) -> None:
    slices = SliceFusion(enabled=True, slice=4, units=8, pool=pool)  # type: ignore[arg-type]

    def network(seed: int) -> Network:
        torch.manual_seed(seed)
        built: Regressor
        if model == "et":
            built = et.build(et.Config(slices=slices, d_model=16, heads=2, layers=1, feedforward=16), D, "sigmoid")
        else:
            built = pgl_sum.build(pgl_sum.Config(slices=slices, heads=2, segment_heads=2), D, "sigmoid")
        return Network(built.double(), torch.zeros(D), torch.ones(D)).double().eval()

    networks, lengths = [network(1), network(2)], [[13, 9], [7, 0]]
    stack = Stack(networks, Training())
    rows = Padded(torch.tensor(lengths), 13)
    x_KPD = torch.randn(2, 26, D, dtype=torch.double)
    y_KP = stack.network(x_KPD, rows)
    (y_KP * rows.real_KVT.flatten(1)).sum().backward()
    for k, one in enumerate(networks):
        real_P = rows.real_KVT[k].flatten()
        y_R = one(x_KPD[k][real_P], [n for n in lengths[k] if n])
        torch.testing.assert_close(y_KP[k][real_P], y_R, rtol=0, atol=1e-12)
        y_R.sum().backward()
        gradient_N = torch.cat([p.grad.flatten() for p in one.parameters() if p.grad is not None])
        torch.testing.assert_close(stack.gradient_KN[k], gradient_N, rtol=0, atol=1e-11)


def test_by_default_the_steps_of_a_slice_share_one_vector_of_128() -> None:
    """ULDA sec. 4.3: "to combine these frame-level features into a slice-level vector", 128 wide."""
    torch.manual_seed(3)
    fusion = SliceLstm(SliceFusion(slice=10), D)
    s_R2u = fusion(torch.randn(25, D), Packed([25]))
    assert s_R2u.shape == (25, 128)
    assert [len(part.unique(dim=0)) for part in s_R2u.split(10)] == [1, 1, 1]
    assert len(s_R2u.unique(dim=0)) == 3
