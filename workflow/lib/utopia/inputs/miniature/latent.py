"""The planted truth: shots, latent signals on a frame grid, and the annotators who vote on them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from utopia import seeds

_DRIFT_SECONDS = 6.0
"""Correlation time of a signal within a shot."""
_NOISE_SECONDS = 3.0
"""Correlation time of an annotator's noise."""
_SHOT_SHARE = 0.6
"""Share of a signal's variance that changes at cuts."""
_SHOT_SECONDS = (3.0, 8.0)


class PlantedVideo(NamedTuple):
    """Truth of one video of N frames.

    shots: [shots, 2] first and last frame, inclusive. signals: target -> [N], in [-1, 1].
    """

    fps: int
    shots: np.ndarray
    signals: dict[str, np.ndarray]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return int(self.shots[-1, 1]) + 1

    @property
    def seconds(self) -> int:
        """Whole seconds; generated videos end on one."""
        return self.frames // self.fps


def plant(seed: int, dataset: str, item: str, seconds: float, fps: int, targets: tuple[str, ...]) -> PlantedVideo:
    """Draw a video's shots and signals; its length is a whole number of seconds, within a fifth of `seconds`."""
    rng = generator(seed, dataset, item, "signals")
    frames = round(seconds * rng.uniform(0.8, 1.2)) * fps
    shots = _cut(rng, frames, fps)
    signals = {}
    for target in targets:
        level = np.repeat(rng.standard_normal(len(shots)), shots[:, 1] - shots[:, 0] + 1)
        drift = drifting(rng, 1, frames, _DRIFT_SECONDS * fps)[0]
        mixed = np.sqrt(_SHOT_SHARE) * level + np.sqrt(1 - _SHOT_SHARE) * drift
        # Viewers feel a cut within about a second; most moments are near neutral, few are extreme.
        signals[target] = np.tanh(0.45 * _smoothed(mixed, fps))
    return PlantedVideo(fps, shots, signals)


def generator(seed: int, *identity: str) -> np.random.Generator:
    """A random generator of its own for each purpose."""
    return np.random.default_rng(seeds.derive(seed, "miniature", *identity))


def drifting(rng: np.random.Generator, count: int, length: int, correlation: float) -> np.ndarray:
    """Stationary Ornstein-Uhlenbeck series of unit variance, [count, length]; `correlation` in steps."""
    keep = float(np.exp(-1.0 / correlation))
    series = rng.standard_normal((length, count))
    series[1:] *= np.sqrt(1 - keep**2)
    for step in range(1, length):
        series[step] += keep * series[step - 1]
    return series.T


def per_step(series: np.ndarray, step: int) -> np.ndarray:
    """Means over consecutive blocks of `step` frames; [N] -> [N // step]."""
    whole = len(series) // step * step
    return series[:whole].reshape(-1, step).mean(axis=1)


class Annotators(NamedTuple):
    """People with habits: each array is [annotators]."""

    bias: np.ndarray
    gain: np.ndarray
    lag_s: np.ndarray
    noise: np.ndarray


def recruit(seed: int, dataset: str, count: int) -> Annotators:
    """The data set's annotators; the same people vote on every video."""
    rng = generator(seed, dataset, "annotators")
    return Annotators(
        bias=rng.normal(0.0, 0.2, count),
        gain=rng.lognormal(0.0, 0.3, count),
        lag_s=rng.uniform(0.0, 1.0, count),
        noise=rng.uniform(0.15, 0.35, count),
    )


def perceive(people: Annotators, signal: np.ndarray, rate: float, seed: int, *identity: str) -> np.ndarray:
    """What each annotator feels: [annotators, N], not limited to the label range.

    Args:
        signal: [N] latent signal.
        rate: its samples per second.
    """
    rng = generator(seed, *identity, "perception")
    lags = np.rint(people.lag_s * rate).astype(int)
    late = signal[np.maximum(np.arange(len(signal)) - lags[:, None], 0)]
    noise = drifting(rng, len(lags), len(signal), _NOISE_SECONDS * rate)
    return people.gain[:, None] * late + people.bias[:, None] + people.noise[:, None] * noise


def _cut(rng: np.random.Generator, frames: int, fps: int) -> np.ndarray:
    starts = [0]
    while True:
        start = starts[-1] + round(rng.uniform(*_SHOT_SECONDS) * fps)
        if start > frames - _SHOT_SECONDS[0] * fps:
            break
        starts.append(start)
    ends = [*(start - 1 for start in starts[1:]), frames - 1]
    return np.stack([starts, ends], axis=1).astype(np.int64)


def _smoothed(series: np.ndarray, width: int) -> np.ndarray:
    """Moving mean over `width` samples, the ends repeated."""
    padded = np.pad(series, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")
