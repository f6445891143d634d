"""Separating the music of a sound from its voices with Hybrid Demucs (Defossez 2021), piece by piece."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torchaudio.models import HDemucs  # type: ignore[import-untyped]

from utopia import seeds
from utopia.errors import UtopiaError
from utopia.extractors._common import assign, load_state

RATE = 44_100
SOURCES = ("drums", "bass", "other", "vocals")
CHANNELS = 48
_MUSIC = [index for index, source in enumerate(SOURCES) if source != "vocals"]
STRIDE = 4096
"""Samples per step of the network's innermost layers: moved by these, a sound gives the same result, moved."""
_WINDOW, _DEPTH = 4096, 6
_BLOCK = 1 << 20
_SAMPLE_BYTES = 2 * 4


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


def separated(
    read: Callable[[int, int], np.ndarray],
    samples: int,
    network: Callable[[torch.Tensor], torch.Tensor],
    device: torch.device,
    segment_s: float = 11.0,
    fade_s: float = 0.1,
) -> Iterator[np.ndarray]:
    """The mean channel of everything in a sound but its vocals, as torchaudio's published recipe has it, in pieces.

    The mix is normalised by the mean and the deviation of its mean channel, for which the whole sound is read first.
    Parts that overlap by `fade_s` are separated one by one and faded linearly into each other, so that no memory grows
    with the length of the sound. The sources add up to the mix, so the mean is given back to their sum once. Unlike the
    recipe's, lengths are rounded to the network's stride: a part that begins between two steps comes out otherwise.

    Args:
        read: gives the samples from one to before another, float32 [2, n] at 44.1 kHz.
        samples: how many there are.
        network: from a mix [1, 2, samples] to its sources [1, 4, 2, samples] in the order of `SOURCES`.
        segment_s: part k ends at (k + 1) `segment_s`. The recipe's 10 s and an overlap of a tenth make 11 s.
        fade_s: it starts so long before k `segment_s`, the first one at 0.

    Yields:
        float32 [n] at 44.1 kHz, together as long as the sound.
    """
    mean, deviation = _moments(read, samples)
    fade, length = STRIDE * round(fade_s * RATE / STRIDE), STRIDE * max(1, round(segment_s * RATE / STRIDE))
    if deviation == 0:  # silence
        yield from (np.full(min(length, samples - at), mean, np.float32) for at in range(0, samples, length))
        return
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    fading = np.zeros(0, np.float32)
    for end in range(length, samples + length, length):
        start, stop = max(0, end - length - fade), min(end, samples)
        mix = torch.from_numpy((read(start, stop) - np.float32(mean)) / np.float32(deviation)).to(device)
        sources_SCN = network(mix[None])[0]
        part = sources_SCN[_MUSIC].sum(0).mean(0).float().cpu().numpy()
        if start > 0:
            part[:fade] = part[:fade] * ramp + fading
        over = len(part)
        if stop < samples:
            over -= fade
            fading = part[over:] * (1 - ramp)
        yield part[:over] * np.float32(deviation) + np.float32(mean)


def _moments(read: Callable[[int, int], np.ndarray], samples: int) -> tuple[float, float]:
    """Mean and deviation (one degree of freedom less) of the mean channel, in blocks."""
    starts = range(0, samples, _BLOCK)
    means = (read(at, min(at + _BLOCK, samples)).mean(0) for at in starts)
    mean = sum(float(block.sum(dtype=np.float64)) for block in means) / max(1, samples)
    if samples < 2:
        return mean, 0.0
    means = (read(at, min(at + _BLOCK, samples)).mean(0) for at in starts)
    square = sum(float(np.square(block.astype(np.float64) - mean).sum()) for block in means)
    return mean, float(np.sqrt(square / (samples - 1)))


class Spool:
    """A sound on its way from its decoder to a network that must know all of it first: kept in a file, not in memory.

    The file lies in the folder for temporary files (`TMPDIR`), 1.3 GB per hour of sound, has no name there and goes
    with the process.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="utopia-sound-")  # noqa: SIM115 - it lives as long as this
        self.samples = 0

    def write(self, sound: np.ndarray) -> None:
        """Add samples float32 [2, n].

        Raises:
            UtopiaError: the disk is full.
        """
        try:
            self._file.write(np.ascontiguousarray(sound.T, np.float32).data)
        except OSError as error:
            raise UtopiaError(
                f"sound cannot be put aside ({error.strerror})",
                where=tempfile.gettempdir(),
                remedy="set TMPDIR to a folder with room: 1.3 GB per hour of sound",
            ) from error
        self.samples += sound.shape[1]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples `start` to before `stop`, float32 [2, n]."""
        self._file.seek(start * _SAMPLE_BYTES)
        content = self._file.read((stop - start) * _SAMPLE_BYTES)
        return np.ascontiguousarray(np.frombuffer(content, np.float32).reshape(-1, 2).T)

    def close(self) -> None:
        """Give the room back."""
        self._file.close()
