"""Pictures and sound that show a planted signal: hue and brightness, a moving patch, loudness and pitch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from utopia.inputs.miniature.latent import PlantedVideo, generator

SAMPLE_RATE = 16_000
_TEXTURE = 0.25
_PIXELS_PER_FRAME = 6.0


class Drives(NamedTuple):
    """What drives the picture and the sound, each [N] in [0, 1]."""

    hue: np.ndarray
    brightness: np.ndarray
    motion: np.ndarray
    loudness: np.ndarray
    pitch: np.ndarray


def pictures(planted: PlantedVideo, drives: Drives, width: int, height: int, seed: int, *identity: str) -> np.ndarray:
    """Frames [N, height, width, 3] uint8 RGB."""
    rng = generator(seed, *identity, "pictures")
    shots, frames = planted.shots, planted.frames
    which = np.repeat(np.arange(len(shots)), shots[:, 1] - shots[:, 0] + 1)
    hue = drives.hue + rng.normal(0, 0.04, len(shots))[which]
    value = 0.25 + 0.6 * drives.brightness + rng.normal(0, 0.04, len(shots))[which]
    colour = _rgb(0.65 - 0.6 * np.clip(hue, 0, 1), 0.65, np.clip(value, 0.1, 0.95))
    textures = 1.0 + _TEXTURE * np.stack([_texture(rng, height, width) for _ in shots])
    result = np.empty((frames, height, width, 3), dtype=np.uint8)
    for shot, (first, last) in enumerate(shots):
        shown = colour[first : last + 1, None, None, :] * (255.0 * textures[shot][None, :, :, None]).astype(np.float32)
        result[first : last + 1] = np.clip(shown, 0, 255)
    _draw_patch(result, drives.motion, rng)
    return result


def sound(planted: PlantedVideo, drives: Drives, seed: int, *identity: str) -> np.ndarray:
    """Mono sound [samples] float32 in [-1, 1]: a tone with overtones and a little hiss, at `SAMPLE_RATE`."""
    rng = generator(seed, *identity, "sound")
    samples = planted.seconds * SAMPLE_RATE
    at = np.arange(samples) * (planted.fps / SAMPLE_RATE) - 0.5
    grid = np.arange(planted.frames)
    frequency = 160.0 * 2.0 ** (2.0 * np.interp(at, grid, drives.pitch))
    level = 10.0 ** ((-32.0 + 26.0 * np.interp(at, grid, drives.loudness)) / 20.0)
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
    tone = np.sin(phase) + 0.5 * np.sin(2 * phase) + 0.25 * np.sin(3 * phase)
    return (level * (tone / 1.75 + 0.05 * rng.standard_normal(samples))).clip(-1, 1).astype(np.float32)


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A coarse random pattern [height, width] in [-1, 1], different in each shot."""
    coarse = rng.uniform(-1, 1, (6, 8))
    return np.repeat(np.repeat(coarse, -(-height // 6), axis=0), -(-width // 8), axis=1)[:height, :width]


def _draw_patch(frames: np.ndarray, motion: np.ndarray, rng: np.random.Generator) -> None:
    """A light square that runs in circles, faster as the drive grows."""
    count, height, width, _ = frames.shape
    side = max(4, min(height, width) // 5)
    angle = rng.uniform(0, 2 * np.pi) + np.cumsum(_PIXELS_PER_FRAME * motion / (0.3 * min(height, width)))
    top = ((height - side) / 2 * (1 + 0.8 * np.sin(angle))).astype(int)
    left = ((width - side) / 2 * (1 + 0.8 * np.cos(angle))).astype(int)
    for index in range(count):
        frames[index, top[index] : top[index] + side, left[index] : left[index] + side] = 235


def _rgb(hue: np.ndarray, saturation: float, value: np.ndarray) -> np.ndarray:
    """HSV to RGB: hue [N] in turns, value [N]; [N, 3] in [0, 1]."""
    sector = (hue[:, None] * 6 + np.array([5.0, 3.0, 1.0])) % 6
    return (value[:, None] * (1 - saturation * np.clip(np.minimum(sector, 4 - sector), 0, 1))).astype(np.float32)
