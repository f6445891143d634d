"""Our Adam against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from utopia.training.adam import Adam


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
