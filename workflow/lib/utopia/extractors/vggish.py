"""VGGish embeddings, 128 numbers per 0.96 s of sound (Hershey et al. 2017; ULDA sec. 4.3, EEV 2021 sec. 2.2): no final
activation; raw, or whitened by the published PCA, and then also quantised as AudioSet's released embeddings are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from pydantic import model_validator
from torch import nn

from utopia.config.base import Strict
from utopia.errors import InputError
from utopia.extractors._common import AudioNetwork, Listening, device_of, fill, load_state, on_device
from utopia.media.logmel import HOP, PATCH_S, PATCH_SAMPLES, RATE, WINDOW, log_mel

MEDIUM = "audio"
WIDTH = 128
VERSION = 1
_BATCH = 16


class Config(Strict):
    """VGGish embeddings of sound."""

    patch: Literal["whole", "per_second"] = "whole"
    """`whole`: log-mel of the whole sound cut into 96-row patches, as published with AudioSet. `per_second`: the sound
    is cut into pieces of 0.96 s first, which makes 94 rows (EEV 2021 sec. 2.2)."""
    weights: Literal["vggish_audioset", "random"] = "vggish_audioset"
    """A card of workflow/resources/weights/, or `random`: drawn from the study's seed, and recorded as such."""
    pca_weights: Literal["vggish_pca"] | None = None
    """The published PCA with whitening, applied to the embeddings. Null: they stay as they are."""
    quantise: bool = False
    """After the PCA: clipped to [-2, 2] and brought to whole numbers from 0 to 255."""

    @model_validator(mode="after")
    def _after_pca(self) -> Self:
        if self.quantise and self.pca_weights is None:
            raise ValueError("quantise: true needs pca_weights: only whitened embeddings have a range to quantise")
        return self


CLIP = 2.0
"""Whitened embeddings are clipped to [-2, 2] before they are quantised."""


class Whitening:
    """y = E (x - m) with the published eigenvectors E, scaled to whiten, and means m; then quantised, if asked."""

    def __init__(self, path: Path, quantise: bool) -> None:
        state = load_state(path)
        shapes = {name: tuple(value.shape) for name, value in state.items()}
        if shapes.get("pca_eigen_vectors") != (WIDTH, WIDTH) or shapes.get("pca_means") not in ((WIDTH, 1), (WIDTH,)):
            raise InputError(
                f"not VGGish's PCA: it holds {shapes}",
                where=path,
                why="pca_eigen_vectors [128, 128] and pca_means [128, 1] are needed",
                remedy="get the file again: utopia fetch --weights",
            )
        self.vectors = state["pca_eigen_vectors"].double().numpy()
        self.means = state["pca_means"].double().numpy().reshape(-1)
        self.quantise = quantise

    def __call__(self, rows_P128: np.ndarray) -> np.ndarray:
        """Whitened (and quantised) embeddings, float32."""
        whitened = (rows_P128.astype(np.float64) - self.means) @ self.vectors.T
        if self.quantise:
            whitened = np.rint((np.clip(whitened, -CLIP, CLIP) + CLIP) * (255 / (2 * CLIP)))
        return whitened.astype(np.float32)


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
    channels = 1

    def __init__(
        self, network: nn.Module, config: Config, device: torch.device, whitening: Whitening | None = None
    ) -> None:
        self.network, self._patch, self._device = network.to(device), config.patch, device
        self._whitening = whitening

    def __call__(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings float32 [P, 128] and start times float64 [P] of a sound float32 [samples] at 16 kHz."""
        listening = self.listen()
        listening.feed(samples)
        return listening.end()

    def listen(self) -> Listening:
        """Hear a sound piece by piece; what is kept is less than a batch of patches, and the embeddings."""
        return _Listening(self._embed, self._patch)

    @torch.inference_mode()
    def _embed(self, samples: np.ndarray) -> np.ndarray:
        """Embeddings float32 [P, 128] of a sound that makes up to a batch of patches."""
        patches = log_mel(samples, self._patch)
        if len(patches) == 0:
            return np.empty((0, WIDTH), np.float32)
        rows = np.asarray(self.network(on_device(patches, self._device)).float().cpu().numpy())
        return rows if self._whitening is None else self._whitening(rows)


class _Listening:
    def __init__(self, embed: Callable[[np.ndarray], np.ndarray], patch: Literal["whole", "per_second"]) -> None:
        self._embed = embed
        # The last frame of a patch of `whole` reaches into the next patch.
        self._reach = _BATCH * PATCH_SAMPLES + (WINDOW - HOP if patch == "whole" else 0)
        self._rows = [np.empty((0, WIDTH), np.float32)]
        self._pieces: list[np.ndarray] = []
        self._held = 0

    def feed(self, samples: np.ndarray) -> None:
        """Take the next samples, float32 [n] at 16 kHz."""
        self._pieces.append(samples)
        self._held += len(samples)
        if self._held < self._reach:
            return
        held, start = np.concatenate(self._pieces), 0
        while len(held) - start >= self._reach:
            self._rows.append(self._embed(held[start : start + self._reach]))
            start += _BATCH * PATCH_SAMPLES
        self._pieces, self._held = [held[start:].copy()], len(held) - start

    def end(self) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings float32 [P, 128] and start times float64 [P] of all that was heard."""
        self._rows.append(self._embed(np.concatenate([np.empty(0, np.float32), *self._pieces])))
        rows = np.concatenate(self._rows)
        return rows, np.arange(len(rows)) * PATCH_S


def build(
    config: Config, weights_path: Path | None, seed: int, device: str, pca_weights: Path | None = None
) -> AudioNetwork:
    """The network in evaluation mode.

    Raises:
        InputError: a file of weights does not fit.
    """
    with torch.device("meta"):  # no time is spent on an initialisation that is replaced at once
        network = VGGish()
    whitening = Whitening(pca_weights, config.quantise) if pca_weights is not None else None
    return _Embedding(fill(network, weights_path, seed), config, device_of(device), whitening)
