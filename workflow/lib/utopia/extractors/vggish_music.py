"""VGGish embeddings of the background music, 128 numbers per 0.96 s (ULDA sec. 4.3): Hybrid Demucs takes the
voices away first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from utopia import seeds
from utopia.config.base import Strict
from utopia.extractors import vggish
from utopia.extractors._common import AudioNetwork, Listening, device_of
from utopia.extractors._separation import RATE, Spool, hybrid_demucs, separated
from utopia.media.audio import Resampler
from utopia.media.logmel import PATCH_S

MEDIUM = "audio"
WIDTH = vggish.WIDTH
VERSION = 1


class Config(Strict):
    """VGGish embeddings of the background music."""

    patch: Literal["whole", "per_second"] = "whole"
    """`whole`: log-mel of the whole sound cut into 96-row patches. `per_second`: the sound cut first, 94 rows."""
    weights: Literal["vggish_audioset", "random"] = "vggish_audioset"
    """Of VGGish: a card of workflow/resources/weights/, or `random`: drawn from the study's seed, and recorded so."""
    separator_weights: Literal["hdemucs_high_musdb_plus", "hdemucs_high_musdb", "random"] = "hdemucs_high_musdb_plus"
    """Of Hybrid Demucs, trained on MUSDB-HQ and 800 more songs or on MUSDB-HQ alone [U]; or `random`."""
    channels: int = Field(48, ge=4, multiple_of=4, le=4096)
    """Channels of the separator's first layer; its published weights have 48."""
    segment: float = Field(11.0, ge=1, le=60)
    """Seconds of sound that are separated at a time, about; the published recipe has 10 and a tenth more."""
    fade: float = Field(0.1, ge=0, le=1)
    """Seconds over which one piece fades into the next, about; the published recipe has 0.1."""


class _Music:
    rate = RATE
    channels = 2

    def __init__(self, separator: nn.Module, embed: Any, config: Config, device: torch.device) -> None:
        self._separator, self._embed, self._device = separator.to(device), embed, device
        self._segment, self._fade = config.segment, config.fade

    def __call__(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings float32 [P, 128] and start times float64 [P] of a sound float32 [2, samples] at 44.1 kHz."""
        listening = self.listen()
        listening.feed(samples)
        return listening.end()

    def listen(self) -> Listening:
        """Hear a sound piece by piece. It waits in a file until its end, because its loudness must be known first."""
        return _Listening(self._embedded)

    @torch.inference_mode()
    def _embedded(self, spool: Spool) -> tuple[np.ndarray, np.ndarray]:
        if spool.samples < PATCH_S * RATE:
            return np.empty((0, WIDTH), np.float32), np.empty(0)
        resampler, listening = Resampler(RATE, self._embed.rate), self._embed.listen()
        for part in separated(spool.read, spool.samples, self._separator, self._device, self._segment, self._fade):
            for piece in resampler.push(part):
                listening.feed(piece)
        for piece in resampler.end():
            listening.feed(piece)
        return listening.end()


class _Listening:
    def __init__(self, embedded: Callable[[Spool], tuple[np.ndarray, np.ndarray]]) -> None:
        self._embedded, self._spool = embedded, Spool()

    def feed(self, samples: np.ndarray) -> None:
        """Take the next samples, float32 [2, n] at 44.1 kHz, or [n], heard on both sides."""
        self._spool.write(np.broadcast_to(samples, (2, samples.shape[-1])))

    def end(self) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings float32 [P, 128] and start times float64 [P] of all that was heard."""
        try:
            return self._embedded(self._spool)
        finally:
            self._spool.close()


def build(
    config: Config, weights_path: Path | None, seed: int, device: str, separator_weights: Path | None = None
) -> AudioNetwork:
    """The two networks in evaluation mode.

    [U] Which separator was used, and whether bass and drums count as music, is undocumented: all that is not vocals.

    Raises:
        InputError: a file of weights does not fit.
    """
    embed = vggish.build(
        vggish.Config(patch=config.patch, weights=config.weights), weights_path, seeds.derive(seed, "vggish"), device
    )
    separator = hybrid_demucs(config.channels, separator_weights, seeds.derive(seed, "separator"))
    return _Music(separator, embed, config, device_of(device))
