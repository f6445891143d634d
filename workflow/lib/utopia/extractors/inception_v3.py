"""Inception-v3 features, 2048 numbers per frame (Szegedy et al. 2016; EEV 2021 sec. 2.1), from torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from torch import nn
from torchvision.models import Inception3

from utopia.config.base import Strict
from utopia.extractors._common import FrameNetwork, device_of, fill
from utopia.extractors._images import FrameEncoder, Preprocessing

MEDIUM = "frames"
WIDTH = 2048
VERSION = 1


class Config(Strict):
    """Inception-v3 features of frames: the last pooling."""

    fps: float = Field(6.0, gt=0, le=1000)
    """Frames per second; EEV's labels come six times per second."""
    size: int = Field(299, ge=75, le=8192)
    """Side of the square that the network sees, in pixels; 299 is the published one."""
    batch: int = Field(8, ge=1, le=100_000)
    """Frames per call of the network."""
    weights: Literal["inception_v3_imagenet", "random"] = "inception_v3_imagenet"
    """A card of workflow/resources/weights/, or `random`: drawn from the study's seed, and recorded as such."""


def build(config: Config, weights_path: Path | None, seed: int, device: str) -> FrameNetwork:
    """The network up to its global average pooling, in evaluation mode, without its auxiliary head.

    The weights were trained in TensorFlow on values from -1 to 1: after ImageNet's normalisation the network rescales
    its input to these (`transform_input`). Preprocessing is torchvision's: the shorter side to 342, the central 299.

    Raises:
        InputError: the file of weights does not fit.
    """
    network = Inception3(aux_logits=False, transform_input=True, init_weights=False)
    network.fc = nn.Identity()
    fill(network, weights_path, seed, unused=("AuxLogits.", "fc."))
    prepare = Preprocessing(resize=round(config.size * 342 / 299), crop=config.size)
    return FrameEncoder(network, prepare, config.batch, device_of(device), channels_last=True)
