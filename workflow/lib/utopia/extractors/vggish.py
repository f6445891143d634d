"""VGGish embeddings, 128 numbers per 0.96 s of sound (Hershey et al. 2017): no final activation, no PCA."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from utopia.config.base import Strict
from utopia.extractors._common import AudioNetwork, device_of, fill
from utopia.media.logmel import PATCH_S, RATE, log_mel

MEDIUM = "audio"
WIDTH = 128
VERSION = 1
_BATCH = 16


class Config(Strict):
    """VGGish embeddings of sound."""

    patch: Literal["whole", "per_second"] = "whole"
    """`whole`: log-mel of the whole sound cut into 96-row patches. `per_second`: the sound cut first, 94 rows."""
    weights: Literal["vggish_audioset", "random"] = "vggish_audioset"
    """A card of workflow/resources/weights/, or `random`: drawn from the study's seed, and recorded as such."""


class VGGish(nn.Module):
    """The network, 72.1 M parameters, with the parameter names of the public PyTorch weights.

    Pooling rounds up, as TensorFlow's "SAME" does: nothing changes for 96 rows, and 94 rows fit as well
    (94, 47, 24, 12, 6).
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for width in (64, None, 128, None, 256, 256, None, 512, 512, None):
            if width is None:
                layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 6 * 4, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, WIDTH)
        )

    def forward(self, x_NRB: torch.Tensor) -> torch.Tensor:
        """Embeddings [N, 128] of log-mel patches [N, rows, bands]."""
        x_NCRB = self.features(x_NRB.unsqueeze(1))
        # TensorFlow's order of axes, in which the first dense layer was trained: rows, bands, channels.
        embeddings: torch.Tensor = self.embeddings(x_NCRB.permute(0, 2, 3, 1).flatten(1))
        return embeddings


class _Embedding:
    rate = RATE

    def __init__(self, network: nn.Module, config: Config, device: torch.device) -> None:
        self._network, self._patch, self._device = network.to(device), config.patch, device

    @torch.inference_mode()
    def __call__(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings float32 [P, 128] and start times float64 [P] of a sound float32 [samples] at 16 kHz."""
        patches = log_mel(samples, self._patch)
        rows = [np.empty((0, WIDTH), np.float32)]
        for start in range(0, len(patches), _BATCH):
            batch = torch.from_numpy(patches[start : start + _BATCH]).to(self._device)
            rows.append(self._network(batch).float().cpu().numpy())
        return np.concatenate(rows), np.arange(len(patches)) * PATCH_S


def build(config: Config, weights_path: Path | None, seed: int, device: str) -> AudioNetwork:
    """The network in evaluation mode.

    Raises:
        InputError: the file of weights does not fit.
    """
    with torch.device("meta"):  # no time is spent on an initialisation that is replaced at once
        network = VGGish()
    return _Embedding(fill(network, weights_path, seed), config, device_of(device))
