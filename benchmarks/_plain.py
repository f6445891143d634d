"""The loops to beat: the models in torch's own parts, one video at a time."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from utopia.training.trainer import ReplicaJob

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
from plain_pgl_sum import PlainPglSum, fast_absolute_positions


class PlainEt(nn.Module):
    """ET at its default sizes, from torch's own transformer encoder."""

    def __init__(self, d_in: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(d_in, 64), nn.ReLU(), nn.Linear(64, 128))
        self.dropout = nn.Dropout(0.2)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(128, 8, 2048, 0.2, batch_first=True), 4)
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 1), nn.Sigmoid())

    def forward(self, x_TD: Tensor) -> Tensor:
        """y_T of one video."""
        mask = _causal(len(x_TD), x_TD.device)
        f_1Td = self.encoder(self.dropout(self.embed(x_TD))[None], mask=mask, is_causal=True)
        y_T: Tensor = self.head(f_1Td)[0, :, 0]
        return y_T


@functools.cache
def _causal(frames: int, device: torch.device) -> Tensor:
    return nn.Transformer.generate_square_subsequent_mask(frames, device=device)


def plain_pgl_sum(d_in: int, d_model: int | None, keep_positions: bool = True) -> nn.Module:
    """PGL-SUM as its reference code is written; kinder: with the matrix of positions kept, not made in every head."""
    positions = functools.cache(fast_absolute_positions) if keep_positions else fast_absolute_positions
    return PlainPglSum(d_in, d_model, positions=positions)


def plain_epoch(
    model: nn.Module, job: ReplicaJob, device: torch.device | None = None, *, full_batch: bool, fused: bool = False
) -> Callable[[], None]:
    """An epoch as one would write it: a video, its loss, a step (or one step for all)."""
    device = device or torch.device("cpu")
    videos = [
        (
            job.data.features[item].to(device),
            torch.as_tensor(job.data.labels.label(item, job.replica.target)).float().to(device),
        )
        for item in job.fold.train
    ]
    model = model.to(device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, fused=fused)

    def step() -> None:
        if full_batch:
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimiser.step()
        optimiser.zero_grad()

    def epoch() -> None:
        for x_TD, y_T in videos:
            nn.functional.mse_loss(model(x_TD), y_T).backward()
            if not full_batch:
                step()
        if full_batch:
            step()

    return epoch
