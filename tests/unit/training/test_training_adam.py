"""Our Adam against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from utopia.config import registry
from utopia.config.training import Training
from utopia.training.adam import Adam
from utopia.training.network import Network
from utopia.training.vectorized.stack import Stack


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_equals_torch_adam(weight_decay: float) -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    unused = nn.Parameter(torch.ones(2))
    own = Adam([*ours.parameters(), unused], 1e-2, weight_decay)
    reference = torch.optim.Adam(theirs.parameters(), lr=1e-2, weight_decay=weight_decay)
    for _ in range(20):
        x = torch.randn(7, 5)
        reference.zero_grad()
        for model in (ours, theirs):
            model(x).square().mean().backward()
        own.step()
        reference.step()
        assert all(p.grad is None for p in ours.parameters())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
    assert unused.tolist() == [1, 1]


@pytest.mark.parametrize("steps", [1, 2, 30])
def test_stacked_update_equals_torch_adam_to_single_precision(steps: int) -> None:
    """1 - beta^t, the corrections for the first steps, are in double precision, as torch's are."""
    torch.manual_seed(0)
    et = registry.load("models", "et")
    config = et.Config(d_model=16, heads=2, layers=1, feedforward=16)
    networks = [Network(et.build(config, 3, "tanh"), torch.zeros(3), torch.ones(3)) for _ in range(2)]
    plain = [nn.Parameter(torch.cat([p.detach().flatten() for p in network.parameters()])) for network in networks]
    start = [p.detach().clone() for p in plain]
    rates = [1e-3, 3e-2]
    stack = Stack(networks, Training(learning_rate=1e-3, clip_norm=None))
    reference = [torch.optim.Adam([p], lr=rate) for p, rate in zip(plain, rates, strict=True)]
    for _ in range(steps):
        for k, p in enumerate(plain):
            p.grad = torch.randn_like(p)
            stack.gradient_KN[k] = p.grad
            reference[k].step()
        stack.update(rates)
    for k, p in enumerate(plain):
        # parameters that started at 0 hold the whole of their movement: nothing is lost to the sum
        still = start[k] == 0
        assert still.sum() > 30
        torch.testing.assert_close(stack.value_KN[k, still], p.detach()[still], rtol=2e-6, atol=1e-9)
