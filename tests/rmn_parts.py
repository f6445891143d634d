"""Small memory networks, videos and updates that the tests of RMN share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from utopia.models._learner import MakeUpdate
from utopia.models._soft_learner import SoftLearner, Transitions
from utopia.models._soft_memory import SoftMemoryNetwork
from utopia.models.rmn import Config, MemoryNetwork, build

SMALL = {"d_model": 8, "units": 4, "rows": 3, "clip_s": 4, "writer_hidden": 6, "critic_hidden": 6, "head_hidden": 6}
SOFT = {"start", "hard_write", "write_every", "discount", "tau", "reward", "exploration", "exploration_end"}
D = 5


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def make(seed: int = 0, dtype: torch.dtype = torch.float64, d_in: int = D, **changes: object) -> MemoryNetwork:
    """A small network of the default reading."""
    torch.manual_seed(seed)
    model = build(Config.model_validate({**SMALL, **changes}), d_in, "tanh")
    assert isinstance(model, MemoryNetwork)
    return model.to(dtype)


def make_soft(seed: int = 0, dtype: torch.dtype = torch.float64, d_in: int = D, **changes: object) -> SoftMemoryNetwork:
    """A small network of the earlier reading."""
    torch.manual_seed(seed)
    own = {name: value for name, value in changes.items() if name in SOFT}
    common = {name: value for name, value in changes.items() if name not in SOFT}
    model = build(Config.model_validate({**SMALL, "reading": "soft", **common, "soft": own}), d_in, "tanh")
    assert isinstance(model, SoftMemoryNetwork)
    return model.to(dtype)


def video(frames: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(frames, D, dtype=dtype, generator=generator)
    return x, torch.rand(frames, dtype=dtype, generator=generator)


def nothing(parameters: Sequence[nn.Parameter]) -> Callable[[], None]:
    """An optimiser that only forgets the gradients."""

    def update() -> None:
        for parameter in parameters:
            parameter.grad = None

    return update


def descent(rate: float) -> MakeUpdate:
    def make_update(parameters: Sequence[nn.Parameter]) -> Callable[[], None]:
        optimiser = torch.optim.Adam(parameters, rate)

        def update() -> None:
            optimiser.step()
            optimiser.zero_grad()

        return update

    return make_update


def mean_square(y_T: Tensor) -> Callable[[Tensor, Tensor, slice], Tensor]:
    return lambda prediction_R, feature_Rd, rows: (prediction_R - y_T[rows]).square().mean()


def collected(learner: SoftLearner, monkeypatch: pytest.MonkeyPatch) -> list[Transitions]:
    """Transitions that the learner would learn from, instead of learning from them."""
    seen: list[Transitions] = []
    monkeypatch.setattr(learner, "_learn_to_write", seen.append)
    return seen
