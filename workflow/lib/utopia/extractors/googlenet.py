"""GoogLeNet pool5 features, 1024 numbers per frame (Szegedy et al. 2015; ULDA sec. 4.3), from torchvision's network."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from torch import nn
from torchvision.models import googlenet

from utopia.config.base import Strict
from utopia.extractors._common import FrameNetwork, device_of, fill
from utopia.extractors._images import FrameEncoder, Preprocessing

MEDIUM = "frames"
WIDTH = 1024
VERSION = 1


class Config(Strict):
    """GoogLeNet pool5 features of frames."""

    fps: float = Field(2.0, gt=0, le=1000)
    """Frames per second."""
    every: int | None = Field(None, ge=1, le=1_000_000)
    """Take every so many frames instead of `fps` (the field's precomputed files: 15)."""
    size: int = Field(224, ge=32, le=8192)
    """Side of the square that the network sees, in pixels; 224 is the published one."""
    batch: int = Field(8, ge=1, le=100_000)
    """Frames per call of the network."""
    weights: Literal["googlenet_imagenet", "random"] = "googlenet_imagenet"
    """A card of workflow/resources/weights/, or `random`: drawn from the study's seed, and recorded as such."""


def build(config: Config, weights_path: Path | None, seed: int, device: str) -> FrameNetwork:
    """The network up to its global average pooling, in evaluation mode.

    torchvision's ImageNet weights expect the input rescaled once more inside the network (`transform_input`).

    Raises:
        InputError: the file of weights does not fit.
    """
    network = googlenet(weights=None, transform_input=True, aux_logits=False, init_weights=False)
    network.fc = nn.Identity()
    fill(network, weights_path, seed, unused=("aux1.", "aux2.", "fc."))
    # The published size: the shorter side to 256, then the central 224; other sizes keep this ratio.
    prepare = Preprocessing(resize=round(config.size * 256 / 224), crop=config.size)
    return FrameEncoder(network, prepare, config.batch, device_of(device), channels_last=True)
