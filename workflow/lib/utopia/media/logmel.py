"""The log-mel front end of VGGish (Hershey et al. 2017), exactly as published with AudioSet.

25 ms periodic Hann windows every 10 ms at 16 kHz, the magnitude of a 512-point transform, 64 triangular bands that are
linear in *mel* (not in hertz, as most libraries have them) from 125 to 7500 Hz with the constant component left out,
log(x + 0.01).
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

RATE = 16_000
WINDOW, HOP, LENGTH = 400, 160, 512
BANDS, LOW_HZ, HIGH_HZ = 64, 125.0, 7500.0
PATCH_FRAMES = 96
PATCH_SAMPLES = PATCH_FRAMES * HOP
PATCH_S = PATCH_SAMPLES / RATE
_OFFSET = 0.01
_BLOCK = 128  # patches at a time, so that memory does not grow with the length of a film

Patch = Literal["whole", "per_second"]


def log_mel(samples: np.ndarray, patch: Patch = "whole") -> np.ndarray:
    """Log-mel patches of a sound, one per 0.96 s; a remainder that fills no patch is left out.

    Args:
        samples: float [n] at 16 kHz.
        patch: `whole` transforms the whole sound and cuts the result: 96 rows, the last ones reach 15 ms into the
            next patch. `per_second` cuts the sound into pieces of 0.96 s first: 94 rows (EEV 2021 sec. 2.2).

    Returns:
        float32 [patches, 96 or 94, 64]; patch p starts at 0.96 p seconds.
    """
    if patch == "whole":
        rows = PATCH_FRAMES
        count = max(0, 1 + (len(samples) - WINDOW) // HOP) // rows
    else:
        rows = 1 + (PATCH_SAMPLES - WINDOW) // HOP
        count = len(samples) // PATCH_SAMPLES
    result = np.empty((count, rows, BANDS), np.float32)
    reach = PATCH_SAMPLES if patch == "per_second" else (rows - 1) * HOP + WINDOW
    for first in range(0, count, _BLOCK):
        last = min(first + _BLOCK, count)
        piece = samples[first * PATCH_SAMPLES : (last - 1) * PATCH_SAMPLES + reach].astype(np.float64)
        pieces = np.lib.stride_tricks.sliding_window_view(piece, reach)[::PATCH_SAMPLES]
        frames = np.lib.stride_tricks.sliding_window_view(pieces, WINDOW, axis=1)[:, ::HOP]
        spectrum = np.abs(np.fft.rfft(frames * hann(), LENGTH, axis=-1))
        result[first:last] = np.log(spectrum @ mel_matrix() + _OFFSET)
    return result


@cache
def hann() -> np.ndarray:
    """The periodic Hann window, [400]."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)


@cache
def mel_matrix() -> np.ndarray:
    """Weights [257, 64] of the frequencies in the bands: triangles in mel; the row of the constant component is 0."""
    mel = _mel(np.linspace(0, RATE / 2, LENGTH // 2 + 1))[:, None]
    edges = np.linspace(_mel(LOW_HZ), _mel(HIGH_HZ), BANDS + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    weights = np.maximum(0, np.minimum((mel - lower) / (centre - lower), (upper - mel) / (upper - centre)))
    weights[0] = 0
    return weights


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    return 1127 * np.log1p(np.asarray(hertz) / 700)
