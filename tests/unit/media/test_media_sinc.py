"""Resampling between any two rates, in bounded memory."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from torchaudio.functional import resample as windowed_sinc

from utopia.media import sinc
from utopia.media.audio import Resampler, resample, stream_audio

WINDOW = (50, 0.917347, 12.9846)


@pytest.mark.parametrize(
    ("source", "rate"),
    [(44_100, 16_000), (22_050, 16_000), (8000, 16_000), (48_000, 44_100), (192_000, 16_000), (11_025, 16_000)],
)
def test_filters_without_their_zeros_are_the_same_filters(source: int, rate: int) -> None:
    sound = np.random.default_rng(source).normal(0, 0.1, (2, source + 17)).astype(np.float32)
    common = math.gcd(source, rate)
    ours = sinc.Polyphase(source // common, rate // common, *WINDOW)(sound)
    expected = windowed_sinc(
        torch.from_numpy(sound).double(),
        source,
        rate,
        lowpass_filter_width=WINDOW[0],
        rolloff=WINDOW[1],
        resampling_method="sinc_interp_kaiser",
        beta=WINDOW[2],
    ).numpy()
    assert ours.dtype == np.float32 and ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, atol=3e-7, rtol=0)


@pytest.mark.parametrize("source", [44_099, 191_999, 7_999])
def test_odd_rates_keep_a_tone(source: int) -> None:
    """44,099 Hz to 16 kHz would take filters of 2.8 GB."""
    tracemalloc.start()
    clock = np.arange(3 * source + 5)
    sound = np.sin(2 * np.pi * 440 * clock / source).astype(np.float32)
    heard = resample(sound, source, 16_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(heard) == math.ceil(len(sound) * 16_000 / source)
    middle = slice(2000, 46_000)  # beyond the ends lies silence, which the filters feel
    expected = np.sin(2 * np.pi * 440 * np.arange(len(heard)) / 16_000)
    assert np.abs(heard - expected)[middle].max() < 2e-4
    assert peak < 250e6


def test_odd_rates_in_pieces_are_the_whole() -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, 25 * 44_099 + 77).astype(np.float32)
    resampler = Resampler(44_099, 16_000)
    blocks = np.split(sound, np.arange(50_000, len(sound), 50_000))
    pieces = [piece for block in blocks for piece in resampler.push(block)] + list(resampler.end())
    assert len(pieces) == 3
    whole = sinc.Polyphase(44_099, 16_000, *WINDOW)(sound)
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-7, rtol=0)


@pytest.mark.parametrize(("rate", "seconds"), [(8000, 3600), (44_099, 200)])
def test_a_long_sound_is_heard_in_bounded_memory(tmp_path: Path, rate: int, seconds: int) -> None:
    """Half a second at the start and at the end; what lies between is a gap in the times, which is silence."""
    path = tmp_path / "hour.mkv"
    wave = np.round(16_000 * np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate)).astype(np.int16)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=rate, layout="mono")
        for start in (0, seconds * rate):
            frame = av.AudioFrame.from_ndarray(wave[None].copy(), format="s16", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    pieces = stream_audio(path)
    first = next(pieces)
    assert np.abs(first[:8000]).max() > 0.4
    tracemalloc.start()
    total, last = len(first), first
    for piece in pieces:
        total, last = total + len(piece), piece
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == pytest.approx((seconds + 0.5) * 16_000, abs=20) and np.abs(last[-7000:]).max() > 0.4
    assert peak < 20e6
