"""How the memory of a trained network is used: what `training.json` says of RMN besides its losses.

In shapes: V videos of a group, C clips, N rows of the bank, G = N + 1 candidates, W those clips that a mean is over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor

from utopia.models._bank import rows_of, shares
from utopia.models._clips import ClipGrid
from utopia.models._ddpg import Choices, choices, scores, squares, td_error
from utopia.models._learner import ReadVideos
from utopia.models._memory_network import MemoryNetwork, Passed


@torch.no_grad()
def diagnose(model: MemoryNetwork, groups: Sequence[ReadVideos]) -> dict[str, float | None]:
    """How the memory of a trained network is used on some videos; None where there is nothing to measure.

    Several groups are read twice: rewards have one unit, which must be known before errors are measured in it.

    Returns:
        `choices`: how often the policy chose (the bank was full); `writes`: in which share of these a row was
        replaced; `entropy` of its shares, 1 where all candidates are alike; `distinctness`: distance of two rows that
        are read together, root mean square, by that of a row's norm; `age_steps`: mean age of what is read, in steps
        of the series;
        `query`: how far a clip's attention differs from that of the clip before it in the same rows (total variation,
        0: reads do not depend on queries); `td_error`: root mean square of the temporal differences, in units of the
        rewards.
    """
    square_K11 = None
    if len(groups) > 1:
        parts = [squares(model.gains(*pair), pair[0]) for pair in (_passed(model, read) for read in groups)]
        sum_K11, met_K11 = (torch.stack(part).sum(dim=0) for part in zip(*parts, strict=True))
        square_K11 = sum_K11 / met_K11.clamp(min=1)
    measured = defaultdict[str, list[tuple[Tensor, int]]](list)
    for passed, target_KP in (_passed(model, read) for read in groups):
        for name, mean, number in _means(model, passed, choices(model, passed, target_KP, None, None, square_K11)):
            if number:
                measured[name].append((mean, number))
    mean_of = {name: _joined(parts) for name, parts in measured.items()}
    found: dict[str, float | None] = {"choices": float(sum(number for _, number in measured["writes"]))}
    found |= dict.fromkeys(("writes", "entropy", "distinctness", "age_steps", "query", "td_error"))
    found |= {name: float(mean_of[name]) for name in ("writes", "query") if name in mean_of}
    if "entropy" in mean_of:
        found["entropy"] = float(mean_of["entropy"] / torch.tensor(model.config.rows + 1.0).log())
    if "td_square" in mean_of:
        found["td_error"] = float(mean_of["td_square"].sqrt())
    if "age" in mean_of:
        found["age_steps"] = float(mean_of["age"] * model.clip)
    if "spread" in mean_of:
        found["distinctness"] = float((2 * mean_of["spread"] / mean_of["norm"].clamp(min=1e-12)).sqrt())
    return found


def _passed(model: MemoryNetwork, read: ReadVideos) -> tuple[Passed, Tensor]:
    """A group of videos, passed through the network, and the labels of its frames."""
    x_RD, frames, target_R = read()
    grid = ClipGrid.packed(frames, model.clip, x_RD.device)
    x_KPD = x_RD[grid.row_KP]
    del x_RD  # the largest of all that is here
    return model.pass_clips(x_KPD, grid), target_R[grid.row_KP]


def _joined(parts: Sequence[tuple[Tensor, int]]) -> Tensor:
    """The mean over all groups of means with their numbers of values; of one group its own, to the bit."""
    means, numbers = zip(*parts, strict=True)
    if len(parts) == 1:
        return cast(Tensor, means[0])
    sum_of_all = sum(mean.double() * number for mean, number in parts)
    return cast(Tensor, (sum_of_all / sum(numbers)).to(means[0].dtype))


def _means(model: MemoryNetwork, passed: Passed, seen: Choices) -> Iterator[tuple[str, Tensor, int]]:
    """Of a group of videos, each mean that `diagnose` is made of, with how many values it is the mean of."""
    rollout, rows, grid = passed.rollout, model.config.rows, passed.grid
    chosen_VC = rollout.chosen_VC
    yield "writes", (rollout.dropped_VC[chosen_VC] < rows).double().mean(), int(chosen_VC.sum())
    log_WG = scores(model.policy, seen)[chosen_VC].log_softmax(dim=1)
    yield "entropy", -(log_WG.exp() * log_WG).sum(dim=1).mean(), len(log_WG)
    learnt_from = int((chosen_VC & seen.follows_VC).sum())
    td_square_1 = td_error(seen, model.critic, model.critic, model.policy, model.config.discount)
    yield "td_square", td_square_1[0], learnt_from * rows
    filled_VCN = (passed.energy_VCN > -torch.inf) & grid.real_VC[..., None]
    share_VCN = shares(passed.energy_VCN)
    number_C1 = torch.arange(chosen_VC.shape[1], device=chosen_VC.device)[:, None]
    age_VCN = (number_C1 - rollout.read_numbers) * filled_VCN
    reads_VC = filled_VCN.any(dim=2)
    yield "age", (share_VCN * age_VCN).sum(dim=2)[reads_VC].mean(), int(reads_VC.sum())
    both_VC = filled_VCN.sum(dim=2) > 1
    row_WNd = rows_of(passed.source_VSd, rollout.read_VCN)[both_VC]
    filled_WN1 = filled_VCN[both_VC][..., None].to(row_WNd.dtype)
    count_W1 = filled_WN1.sum(dim=1)
    mean_W1d = (row_WNd * filled_WN1).sum(dim=1, keepdim=True) / count_W1[..., None]
    spread_W = ((row_WNd - mean_W1d).square() * filled_WN1).sum(dim=(1, 2)) / (count_W1[:, 0] - 1)
    yield "spread", spread_W.mean(), len(spread_W)
    yield "norm", ((row_WNd.square() * filled_WN1).sum(dim=(1, 2)) / count_W1[:, 0]).mean(), len(spread_W)
    differs_VC = (share_VCN - shares(other_queries(model, passed))).abs().sum(dim=2)[:, 1:] / 2
    yield "query", differs_VC[both_VC[:, 1:]].mean(), int(both_VC[:, 1:].sum())


def other_queries(model: MemoryNetwork, passed: Passed) -> Tensor:
    """Energies of the rows that each clip reads, asked by the clip before it [V, C, N]."""
    clip_VCd = passed.source_VSd[:, 2 * model.config.rows :]
    return model.reader.energies(clip_VCd.roll(1, dims=1), passed.source_VSd, passed.rollout)
