from __future__ import annotations

import math

import numpy as np
import pytest

from utopia.media.logmel import PATCH_S, log_mel


def by_hand(samples: np.ndarray) -> np.ndarray:
    """VGGish's features frame by frame and band by band, with a Fourier sum instead of a transform: [frames, 64]."""
    mel = [1127 * math.log(1 + hertz / 700) for hertz in (8000 * k / 256 for k in range(257))]
    low, high = 1127 * math.log(1 + 125 / 700), 1127 * math.log(1 + 7500 / 700)
    edges = [low + (high - low) * k / 65 for k in range(66)]
    window = np.array([0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)])
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(400)) / 512)
    rows = []
    for start in range(0, len(samples) - 399, 160):
        spectrum = np.abs(fourier @ (window * samples[start : start + 400].astype(float)))
        row = []
        for band in range(64):
            left, centre, right = edges[band : band + 3]
            total = 0.0
            for k in range(1, 257):
                rise, fall = (mel[k] - left) / (centre - left), (right - mel[k]) / (right - centre)
                total += max(0.0, min(rise, fall)) * spectrum[k]
            row.append(math.log(total + 0.01))
        rows.append(row)
    return np.array(rows)


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    time = np.arange(16_000 * 2) / 16_000
    noise = np.random.default_rng(0).normal(0, 0.05, len(time))
    return (0.4 * np.sin(2 * np.pi * (200 + 800 * time) * time) + noise + 0.1).astype(np.float32)


@pytest.mark.long
def test_whole_is_the_published_front_end(sound: np.ndarray) -> None:
    patches = log_mel(sound, "whole")
    assert patches.shape == (2, 96, 64) and patches.dtype == np.float32
    np.testing.assert_allclose(patches.reshape(192, 64), by_hand(sound)[:192], atol=1e-5, rtol=0)


@pytest.mark.long
def test_per_second_cuts_before_the_transform(sound: np.ndarray) -> None:
    patches = log_mel(sound, "per_second")
    assert patches.shape == (2, 94, 64)
    for index, patch in enumerate(patches):
        np.testing.assert_allclose(patch, by_hand(sound[15_360 * index : 15_360 * (index + 1)]), atol=1e-5, rtol=0)


def test_the_remainder_fills_no_patch() -> None:
    assert PATCH_S == 0.96
    sizes = [0, 399, 15_359, 15_360, 15_599, 15_600, 30_959, 30_960]
    assert [len(log_mel(np.zeros(size, np.float32), "whole")) for size in sizes] == [0, 0, 0, 0, 0, 1, 1, 2]
    assert [len(log_mel(np.zeros(size, np.float32), "per_second")) for size in sizes] == [0, 0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize("patch", ["whole", "per_second"])
def test_long_sounds_are_done_in_blocks_without_a_seam(patch: str) -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, 16_000 * 140).astype(np.float32)
    patches = log_mel(sound, patch)
    start = 127 * 15_360
    np.testing.assert_array_equal(patches[127:130], log_mel(sound[start : start + 16_000 * 4], patch)[:3])


def test_silence_is_the_logarithm_of_the_offset() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(16_000, np.float32)), math.log(0.01), rtol=1e-6)
