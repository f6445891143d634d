"""What every model must keep, whoever adds it: the tests run over the registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from rmn_parts import lessons_of

from utopia.config import registry
from utopia.config.training import Training
from utopia.models._common import Activation, Regressor
from utopia.models._dropout import Dropout, frame_keys, number_sites
from utopia.models._layout import Packed, Padded
from utopia.models._learner import Learns
from utopia.training.network import Network
from utopia.training.vectorized.stack import Stack

D_IN = 32


def build(name: str, activation: Activation = "sigmoid", seed: int = 0) -> Regressor:
    torch.manual_seed(seed)
    module = registry.load("models", name)
    model: Regressor = module.build(module.Config(), D_IN, activation)
    return model


@pytest.fixture(params=registry.names("models"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_settings_nest_a_training_recipe_and_read_the_same_without_torch(name: str) -> None:
    light, full = registry.config_of("models", name), registry.load("models", name).Config
    assert light().model_dump() == full().model_dump()
    assert isinstance(full().training, Training)


@pytest.mark.parametrize(("activation", "low"), [("sigmoid", 0.0), ("tanh", -1.0)])
def test_one_prediction_per_row_within_the_label_range(name: str, activation: Activation, low: float) -> None:
    y_R = build(name, activation).eval()(10 * torch.randn(41, D_IN), [12, 29])
    assert y_R.shape == (41,) and torch.isfinite(y_R).all()
    assert (y_R >= low).all() and (y_R <= 1).all()


def test_packed_videos_do_not_see_one_another(name: str) -> None:
    model, lengths = build(name).eval(), [12, 29, 17]
    x_RD = torch.randn(sum(lengths), D_IN)
    alone = torch.cat([model(x_TD, [len(x_TD)]) for x_TD in x_RD.split(lengths)])
    assert torch.allclose(model(x_RD, lengths), alone, atol=1e-5)


def test_the_head_is_frame_wise(name: str) -> None:
    model = build(name).eval()
    f_Rd = model.encode(torch.randn(30, D_IN), Packed([30]))
    turn = torch.randperm(30)
    assert torch.allclose(model.head(f_Rd)[turn], model.head(f_Rd[turn]), atol=1e-6)
    assert torch.allclose(model.head(f_Rd[:7]), model.head(f_Rd)[:7], atol=1e-6)


def learn(model: Regressor, stream: int) -> set[torch.nn.Parameter]:
    """Let a model that learns in its own way see one video; the parameters that were given a gradient."""
    assert isinstance(model, Learns)
    met: set[torch.nn.Parameter] = set()

    def make_update(parameters: Sequence[torch.nn.Parameter]) -> Callable[[Sequence[bool]], None]:
        optimiser = torch.optim.SGD(list(parameters), lr=0.1)

        def update(moves: Sequence[bool]) -> None:
            met.update(parameter for parameter in parameters if parameter.grad is not None)
            optimiser.step()
            optimiser.zero_grad()

        return update

    learner = model.learner(make_update)
    x_TD = torch.randn(160, D_IN, generator=torch.Generator().manual_seed(5))  # long enough for a memory to be full
    for _ in range(3):
        learner.fit(lessons_of([[(x_TD, torch.linspace(0, 1, 160))]], epoch_seed=[stream]))
    return met


def test_every_parameter_is_used(name: str) -> None:
    model = build(name)
    if isinstance(model, Learns):
        met = learn(model, 1)
        assert [n for n, p in model.named_parameters() if p not in met] == []
        return
    model(torch.randn(40, D_IN), [40]).square().sum().backward()  # type: ignore[no-untyped-call]
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def is_random(model: Regressor) -> bool:
    """Whether its training passes draw random numbers."""
    rates = (float(part.p) for part in model.modules() if isinstance(part, Dropout | torch.nn.Dropout))
    return isinstance(model, Learns) or any(rate > 0 for rate in rates)


def test_a_seed_determines_parameters_and_training_passes(name: str) -> None:
    x_RD = torch.randn(30, D_IN)

    def forward(seed: int, stream: int) -> torch.Tensor:
        model = build(name, seed=seed).train()
        if isinstance(model, Learns):
            learn(model, stream)
        number_sites(model)
        torch.manual_seed(stream)
        return model(x_RD, [30], frame_keys([stream], [30])).detach()

    assert torch.equal(forward(0, 1), forward(0, 1))
    assert not torch.equal(forward(0, 1), forward(1, 1))
    assert torch.equal(forward(0, 1), forward(0, 2)) != is_random(build(name))


def test_stacked_replicas_are_the_same_function(name: str) -> None:
    """K networks as one, on padded videos, dropout included: outputs and gradients of each alone."""
    module = registry.load("models", name)
    if not getattr(module, "STACKABLE", False):
        pytest.skip(f"{name} says that it is trained one replica after another")
    lengths, longest = [[13, 9, 5], [21, 4]], 21
    networks = [Network(build(name, seed=k).double(), torch.zeros(D_IN), torch.ones(D_IN)).double() for k in (1, 2)]
    stack = Stack(networks, Training())
    frames_KV = torch.tensor([[13, 9, 5], [21, 4, 0]])
    x_KPD = torch.randn(2, 3 * longest, D_IN, dtype=torch.double)
    keys_KP = frame_keys([5, 6], [3 * longest] * 2).view(2, -1)
    rows = Padded(frames_KV, longest)
    weight_KP = torch.rand(2, 3 * longest) * rows.real_KVT.flatten(1)
    y_KP = stack.network.head(stack.network.encode(x_KPD, rows, keys_KP), keys_KP)
    (weight_KP * y_KP).sum().backward()
    for k, network in enumerate(networks):
        real_P = rows.real_KVT[k].flatten()
        x_RD, keys_R = x_KPD[k][real_P], keys_KP[k][real_P]
        y_R = network.head(network.encode(x_RD, Packed(lengths[k]), keys_R), keys_R)
        torch.testing.assert_close(y_KP[k][real_P], y_R, rtol=0, atol=1e-12)
        (weight_KP[k][real_P] * y_R).sum().backward()
        # a model that learns in its own way has parts that this pass does not reach
        gradient_N = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in network.parameters()]
        )
        torch.testing.assert_close(stack.gradient_KN[k], gradient_N, rtol=0, atol=1e-12)
