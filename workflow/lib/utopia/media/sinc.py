"""Windowed-sinc filters between two sample rates: torchaudio's, and for odd rates the same ones without their zeros.

With the rates in lowest terms, `old` samples become `new`, each by a filter of its own. torchaudio holds these as a
matrix [new, old + twice the window's reach], nearly all of it zero where the rates have no common divisor: from
44,099 Hz to 16 kHz it would have 2.8 GB. Here such filters are kept without the zeros, in 20 MB.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

_MOST = 1 << 20
"""`old` x `new` from which the zeros are left out."""
_BLOCK = 512  # filters at a time

Resampling = Callable[[np.ndarray], np.ndarray]
"""From samples float32 [..., n] to [..., ceil(n * new / old)]."""


@functools.lru_cache(maxsize=8)
def filters(old: int, new: int, width: int, roll_off: float, beta: float) -> Resampling:
    """The filters from `old` to `new` samples (in lowest terms), with a Kaiser window.

    Args:
        width: zero crossings of the sinc to either side.
        roll_off: the cut-off, as a share of the lower of both Nyquist frequencies.
        beta: of the Kaiser window.
    """
    if old * new > _MOST:
        return Polyphase(old, new, width, roll_off, beta)
    import torch
    from torchaudio.transforms import Resample  # type: ignore[import-untyped]

    resample = Resample(
        old,
        new,
        resampling_method="sinc_interp_kaiser",
        lowpass_filter_width=width,
        rolloff=roll_off,
        beta=beta,
        dtype=torch.float32,
    )
    return lambda samples: np.asarray(resample(torch.from_numpy(samples)).numpy())


class Polyphase:
    """A filter per output sample of a group, over those input samples alone that its window reaches."""

    def __init__(self, old: int, new: int, width: int, roll_off: float, beta: float) -> None:
        self._old, self._new = old, new
        cut_off = min(old, new) * roll_off
        self._reach = math.ceil(width * old / cut_off)
        phases = np.arange(new)
        self._starts = phases * old // new - self._reach
        taps = np.arange(2 * self._reach + 2)
        self._taps = np.empty((new, len(taps)), np.float32)
        for first in range(0, new, _BLOCK):
            block = slice(first, first + _BLOCK)
            # In periods of the cut-off, from the centre of the filter; exact before the division.
            offset = ((self._starts[block, None] + taps) * new - phases[block, None] * old) / (new * old) * cut_off
            inside = np.clip(offset, -width, width)
            window = np.i0(beta * np.sqrt(1 - (inside / width) ** 2)) / np.i0(beta)
            self._taps[block] = np.where(np.abs(offset) < width, np.sinc(offset) * window * cut_off / old, 0)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Resample float32 [..., n] to [..., ceil(n * new / old)]; what lies beyond both ends is silence."""
        length = samples.shape[-1]
        groups = -(-length // self._old)
        padding = [(0, 0)] * (samples.ndim - 1) + [(self._reach, self._reach + self._old + 2)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(samples, padding), self._taps.shape[1], axis=-1)
        result = np.empty((*samples.shape[:-1], groups, self._new), np.float32)
        for group in range(groups):
            for first in range(0, self._new, _BLOCK):
                block = slice(first, first + _BLOCK)
                heard = windows[..., group * self._old + self._starts[block] + self._reach, :]
                result[..., group, block] = np.einsum("...pt,pt->...p", heard, self._taps[block])
        return result.reshape(*samples.shape[:-1], -1)[..., : -(-length * self._new // self._old)]
