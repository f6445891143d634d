"""GoogLeNet pool5 features, 1024 numbers per frame (Szegedy et al. 2015), from torchvision's network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torchvision.models import GoogLeNet_Weights, googlenet

from utopia.config.base import Strict
from utopia.extractors._common import FrameNetwork, device_of, fill

MEDIUM = "frames"
WIDTH = 1024
VERSION = 1


class Config(Strict):
    """GoogLeNet pool5 features of frames."""

    fps: float = Field(2.0, gt=0)
    """Frames per second."""
    every: int | None = Field(None, ge=1)
    """Take every so many frames instead of `fps` (the field's precomputed files: 15)."""
    size: int = Field(224, ge=32)
    """Side of the square that the network sees, in pixels; 224 is the published one."""
    batch: int = Field(8, ge=1)
    """Frames per call of the network."""
    weights: Literal["googlenet_imagenet", "random"] = "googlenet_imagenet"
    """A card of workflow/resources/weights/, or `random`: drawn from the study's seed, and recorded as such."""


class _Pool5:
    def __init__(self, network: nn.Module, config: Config, device: torch.device) -> None:
        self.batch = config.batch
        self._device = device
        self._network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # The published transform resizes the shorter side to 256 and takes the central 224; other sizes keep this
        # ratio.
        self._transform = GoogLeNet_Weights.IMAGENET1K_V1.transforms(
            crop_size=config.size, resize_size=round(config.size * 256 / 224)
        )

    @torch.inference_mode()
    def __call__(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Features float32 [N, 1024] of N frames uint8 [height, width, 3]."""
        images = [self._transform(torch.from_numpy(frame).permute(2, 0, 1).to(self._device)) for frame in frames]
        x_NCHW = torch.stack(images).contiguous(memory_format=torch.channels_last)
        return np.asarray(self._network(x_NCHW).float().cpu().numpy())


def build(config: Config, weights_path: Path | None, seed: int, device: str) -> FrameNetwork:
    """The network up to its global average pooling, in evaluation mode.

    torchvision's ImageNet weights expect the input rescaled once more inside the network (`transform_input`).

    Raises:
        InputError: the file of weights does not fit.
    """
    network = googlenet(weights=None, transform_input=True, aux_logits=False, init_weights=False)
    network.fc = nn.Identity()
    fill(network, weights_path, seed, unused=("aux1.", "aux2.", "fc."))
    return _Pool5(network, config, device_of(device))
