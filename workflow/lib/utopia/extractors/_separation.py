"""Separating the music of a sound from its voices with Hybrid Demucs (Defossez 2021), piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchaudio.models import HDemucs  # type: ignore[import-untyped]

from utopia import seeds
from utopia.extractors._common import assign, load_state

RATE = 44_100
SOURCES = ("drums", "bass", "other", "vocals")
CHANNELS = 48
_MUSIC = [index for index, source in enumerate(SOURCES) if source != "vocals"]
STRIDE = 4096
"""Samples per step of the network's innermost layers: moved by these, a sound gives the same result, moved."""
_WINDOW, _DEPTH = 4096, 6


def hybrid_demucs(channels: int, weights_path: Path | None, seed: int) -> nn.Module:
    """torchaudio's `hdemucs_high`, 83.6 M parameters with 48 channels, in evaluation mode.

    Args:
        channels: of its first layer; the published weights have 48.
        weights_path: a state dict with torchaudio's names; None draws parameters from `seed`.

    Raises:
        InputError: the file of weights does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        network = HDemucs(list(SOURCES), channels=channels, nfft=_WINDOW, depth=_DEPTH)
    if weights_path is None:
        _draw(network, seed)
    else:
        assign(network, load_state(weights_path), weights_path)
    return network.eval().requires_grad_(False)


def _draw(network: nn.Module, seed: int) -> None:
    """Kaiming-normal matrices and kernels, zero biases; scales and normalisation as they are made."""
    for name, value in network.named_parameters():
        if value.dim() > 1:
            random = np.random.Generator(np.random.Philox(seeds.derive(seed, name)))
            drawn = random.standard_normal(tuple(value.shape), dtype=np.float32)
            # A transposed convolution sums over its first axis, and over kernel / stride = 2 positions.
            inputs = 2 * value.shape[0] if "conv_tr" in name else drawn[0].size
            value.data = torch.from_numpy(drawn * np.float32(np.sqrt(2 / inputs)))
        elif name.endswith("bias") or ".bias_" in name:
            value.data = torch.zeros_like(value)


def separate_music(
    sound: np.ndarray,
    network: Callable[[torch.Tensor], torch.Tensor],
    device: torch.device,
    segment_s: float = 11.0,
    fade_s: float = 0.1,
) -> np.ndarray:
    """The mean channel of everything in a sound but its vocals, as torchaudio's published recipe has it.

    The mix is normalised by the mean and the deviation of its mean channel. Pieces that overlap by `fade_s` are
    separated one by one and faded linearly into each other, so that beyond the sound and its result no memory grows
    with its length. The sources add up to the mix, so the mean is given back to their sum once. Unlike the recipe's,
    lengths are rounded to the network's stride: a piece that begins between two steps comes out otherwise.

    Args:
        sound: float32 [2, samples] at 44.1 kHz.
        network: from a mix [1, 2, samples] to its sources [1, 4, 2, samples] in the order of `SOURCES`.
        segment_s: piece k ends at (k + 1) `segment_s`. The recipe's 10 s and an overlap of a tenth make 11 s.
        fade_s: it starts so long before k `segment_s`, the first one at 0.

    Returns:
        float32 [samples] at 44.1 kHz.
    """
    samples = sound.shape[1]
    music = np.zeros(samples, np.float32)
    mean, deviation = _moments(sound)
    if deviation == 0:  # silence
        return music + np.float32(mean)
    fade, length = STRIDE * round(fade_s * RATE / STRIDE), STRIDE * max(1, round(segment_s * RATE / STRIDE))
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    for end in range(length, samples + length, length):
        start, stop = max(0, end - length - fade), min(end, samples)
        mix = torch.from_numpy((sound[:, start:stop] - np.float32(mean)) / np.float32(deviation)).to(device)
        sources_SCN = network(mix[None])[0]
        piece = sources_SCN[_MUSIC].sum(0).mean(0).float().cpu().numpy()
        if start > 0:
            piece[:fade] *= ramp
        if stop < samples:
            piece[len(piece) - fade :] *= 1 - ramp
        music[start:stop] += piece
    return music * np.float32(deviation) + np.float32(mean)


def _moments(sound: np.ndarray) -> tuple[float, float]:
    """Mean and deviation (one degree of freedom less) of the mean channel, in blocks."""
    samples, block = sound.shape[1], 1 << 22
    if samples < 2:
        return (float(sound.mean()) if samples else 0.0), 0.0
    starts = range(0, samples, block)
    mean = sum(float(sound[:, at : at + block].mean(0).sum(dtype=np.float64)) for at in starts) / samples
    square = sum(float(np.square(sound[:, at : at + block].mean(0).astype(np.float64) - mean).sum()) for at in starts)
    return mean, float(np.sqrt(square / (samples - 1)))
