"""Videos of any length, down to one frame, in every model and in both layouts: fewer frames than segments, than heads,
than a clip.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rmn_parts import lessons_of

from utopia.config import registry
from utopia.config.training import Training
from utopia.models._common import Regressor
from utopia.models._dropout import frame_keys, number_sites, pass_keys
from utopia.models._layout import Packed, Padded
from utopia.models._learner import Learns
from utopia.training.network import Network
from utopia.training.vectorized.stack import Stack

D_IN = 16
SMALL = {
    "bi_gru": {"units": [8, 4]},
    "et": {"d_model": 16, "heads": 2, "layers": 1, "feedforward": 16},
    "pgl_sum": {"heads": 2, "segment_heads": 2},
    "rmn": {"d_model": 8, "rows": 3, "units": 4, "head_hidden": 8, "writer_hidden": 8, "critic_hidden": 8},
}
few = st.lists(st.integers(1, 9), min_size=1, max_size=4)


def build(name: str, seed: int = 0) -> Regressor:
    torch.manual_seed(seed)
    module = registry.load("models", name)
    model: Regressor = module.build(module.Config(**SMALL.get(name, {})), D_IN, "sigmoid")
    number_sites(model)
    return model.double()


@pytest.mark.parametrize("name", registry.names("models"))
@settings(max_examples=15, deadline=None)
@given(lengths=few)
@example(lengths=[1])
@example(lengths=[3, 2, 1])
def test_packed(name: str, lengths: list[int]) -> None:
    """One finite prediction per frame, that of the video by itself; every gradient is a number."""
    model, x_RD = build(name), torch.randn(sum(lengths), D_IN, dtype=torch.double)
    model.train()
    keys_R = frame_keys(list(range(len(lengths))), lengths)
    y_R = model(x_RD, lengths, keys_R)
    assert y_R.shape == (sum(lengths),) and torch.isfinite(y_R).all()
    y_R.square().sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters()}
    assert all(torch.isfinite(g_).all() for g_ in gradients.values() if g_ is not None)
    if not isinstance(model, Learns):
        assert all(g_ is not None for g_ in gradients.values()), "the optimiser needs a gradient of each, if of nought"
    model.eval()
    with torch.no_grad():
        alone = torch.cat([model(x_TD, [len(x_TD)]) for x_TD in x_RD.split(lengths)])
        torch.testing.assert_close(model(x_RD, lengths), alone)


@pytest.mark.parametrize("name", registry.names("models"))
@settings(max_examples=15, deadline=None)
@given(replicas=st.lists(few, min_size=1, max_size=3))
@example(replicas=[[1]])
@example(replicas=[[3, 1], [9]])
@example(replicas=[[2], [3], [1, 1, 1, 1]])
def test_padded(name: str, replicas: list[list[int]]) -> None:
    """Stacked, with dropout: the values and gradients of each replica alone, whatever it is padded with."""
    if not getattr(registry.load("models", name), "STACKABLE", False):
        pytest.skip(f"{name} says that it is trained one replica after another")
    places = range(len(replicas))
    networks = [Network(build(name, k), torch.zeros(D_IN), torch.ones(D_IN)).double() for k in places]
    stack = Stack(networks, Training())
    longest, videos = max(map(max, replicas)), max(map(len, replicas))
    frames_KV = torch.tensor([own + [0] * (videos - len(own)) for own in replicas])
    rows = Padded(frames_KV, longest)
    x_KPD = torch.randn(len(replicas), videos * longest, D_IN, dtype=torch.double)
    x_KPD[~rows.real_KVT.flatten(1)] = 1e3
    keys_KP = pass_keys(frame_keys([*places], [videos * longest] * len(replicas)), 7).view(len(replicas), -1)
    y_KP = stack.network.head(stack.network.encode(x_KPD, rows, keys_KP), keys_KP)
    y_KP.masked_fill(~rows.real_KVT.flatten(1), 0).square().sum().backward()
    for k, network in enumerate(networks):
        real_P = rows.real_KVT[k].flatten()
        keys_R = keys_KP[k][real_P]
        y_R = network.head(network.encode(x_KPD[k][real_P], Packed(replicas[k]), keys_R), keys_R)
        torch.testing.assert_close(y_KP[k][real_P], y_R, rtol=0, atol=1e-10)
        y_R.square().sum().backward()
        alone_N = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in network.parameters()]
        )
        torch.testing.assert_close(stack.gradient_KN[k], alone_N, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", [name for name in registry.names("models") if hasattr(build(name), "learner")])
@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 25), min_size=1, max_size=3))
def test_learnt_in_its_own_way(name: str, lengths: list[int]) -> None:
    """A model with a learner: the loss is a number and so are its parameters after it."""
    model = build(name)
    assert isinstance(model, Learns)

    def make_update(parameters: list[torch.nn.Parameter]) -> object:
        optimiser = torch.optim.Adam(parameters, lr=1e-2)

        def update(moves: list[bool]) -> None:
            optimiser.step()
            optimiser.zero_grad()

        return update

    learner = model.learner(make_update)  # type: ignore[arg-type]
    videos = [(torch.randn(n, D_IN, dtype=torch.double), torch.rand(n, dtype=torch.double)) for n in lengths]
    for some in (videos, videos[:1]):
        assert torch.isfinite(learner.fit(lessons_of([some]))).all()
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
