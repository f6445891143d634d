"""Small memory networks, videos and updates that the tests of RMN share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from utopia.models._bank import Bank
from utopia.models._clips import ClipEncoder, ClipGrid
from utopia.models._dropout import frame_keys, pass_keys
from utopia.models._learner import Lessons, MakeUpdate, Objective
from utopia.models._memory_network import MemoryNetwork, Passed
from utopia.models.rmn import Config, build

SMALL = {"d_model": 8, "units": 4, "rows": 3, "clip_s": 4, "writer_hidden": 6, "critic_hidden": 6, "head_hidden": 6}
D = 5


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def make(seed: int = 0, dtype: torch.dtype = torch.float64, d_in: int = D, **changes: object) -> MemoryNetwork:
    """A small network."""
    torch.manual_seed(seed)
    model = build(Config.model_validate({**SMALL, **changes}), d_in, "tanh")
    assert isinstance(model, MemoryNetwork)
    return model.to(dtype)


def video(frames: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(frames, D, dtype=dtype, generator=generator)
    return x, torch.rand(frames, dtype=dtype, generator=generator)


def lessons_of(
    replicas: Sequence[Sequence[tuple[Tensor, Tensor]]],
    objective: Objective | None = None,
    *,
    epoch_seed: Sequence[int] | None = None,
    progress: float = 0.0,
    weight_R: Tensor | None = None,
    numbers: Sequence[Sequence[int]] | None = None,
) -> Lessons:
    """Videos, features and labels, of each replica, to be learnt from by the mean squared error.

    Args:
        replicas: the videos.
        objective: the loss of another kind.
        epoch_seed: of each replica.
        progress: of all.
        weight_R: weights of all rows; default: 1.
        numbers: what the keys of each video start from; default: its number in its replica.
    """
    every = [pair for own in replicas for pair in own]
    target_R = torch.cat([y_T for _, y_T in every])
    seeds = list(epoch_seed or range(len(replicas)))
    first, videos, keys = 0, [], []
    for k, own in enumerate(replicas):
        videos.append([])
        for number, (x_TD, _) in enumerate(own):
            videos[-1].append((first, len(x_TD)))
            first += len(x_TD)
            keys.append(pass_keys(frame_keys([numbers[k][number] if numbers else number], [len(x_TD)]), seeds[k]))

    def mean_squares(y_KP: Tensor, f_KPd: Tensor, grid: ClipGrid) -> Tensor:
        return grid.video_mean((y_KP - target_R[grid.row_KP]).square())

    return Lessons(
        x_RD=torch.cat([x_TD for x_TD, _ in every]),
        target_R=target_R,
        weight_R=torch.ones_like(target_R) if weight_R is None else weight_R,
        key_R=torch.cat(keys),
        videos=videos,
        scaled=lambda x_KPD: x_KPD,
        objective=objective or mean_squares,
        epoch_seed=seeds,
        progress=[progress] * len(replicas),
    )


def passed_of(
    model: MemoryNetwork, x_RD: Tensor, lengths: Sequence[int], bank: Bank | None = None, first: int = 0
) -> Passed:
    """Packed videos of one replica, passed through the network."""
    grid = ClipGrid.packed(lengths, model.clip, x_RD.device)
    return model.pass_clips(x_RD[grid.row_KP], grid, bank, first)


def clips_of(encoder: ClipEncoder, x_RD: Tensor, clips: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Outputs at frames and features of packed clips of one replica: o_Rd, h_Cd."""
    grid = ClipGrid.packed(clips, max(clips), x_RD.device)
    o_1Pd, h_1Cd = encoder(x_RD[grid.row_KP], grid)
    return o_1Pd[grid.real_KP], h_1Cd[0]


def features_of(passed: Passed) -> Tensor:
    """What enters the predictor, of the packed videos of one replica [R, d]."""
    return passed.f_KPd[passed.grid.real_KP]


def nothing(parameters: Sequence[nn.Parameter]) -> Callable[[Sequence[bool]], None]:
    """An optimiser that only forgets the gradients."""

    def update(moves: Sequence[bool]) -> None:
        for parameter in parameters:
            parameter.grad = None

    return update


def descent(rate: float) -> MakeUpdate:
    def make_update(parameters: Sequence[nn.Parameter]) -> Callable[[Sequence[bool]], None]:
        optimiser = torch.optim.Adam(parameters, rate)

        def update(moves: Sequence[bool]) -> None:
            assert all(moves)
            optimiser.step()
            optimiser.zero_grad()

        return update

    return make_update
