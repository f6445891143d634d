"""SE-ResNet, SE-ResNeXt and SENet features, 2048 numbers per frame (Hu et al. 2018; EEV 2021 sec. 2.1), from timm."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import timm
from pydantic import Field, model_validator
from torch import nn

from utopia.config.base import Strict
from utopia.extractors._common import FrameNetwork, device_of, fill
from utopia.extractors._images import FrameEncoder, Preprocessing

MEDIUM = "frames"
WIDTH = 2048
VERSION = 1


class Config(Strict):
    """Features of frames from a network with squeeze and excitation: the last pooling."""

    network: Literal["se_resnet50", "se_resnet152", "se_resnext101_32x4d", "senet154"] = "se_resnext101_32x4d"
    """Which network. The published EEV code extracts with `se_resnext101_32x4d`; its report says SE-ResNet."""
    fps: float = Field(6.0, gt=0, le=1000)
    """Frames per second; EEV's labels come six times per second."""
    size: int = Field(224, ge=32, le=8192)
    """Side of the square that the network sees, in pixels; 224 is the published one."""
    batch: int = Field(8, ge=1, le=100_000)
    """Frames per call of the network."""
    weights: Literal[
        "se_resnext101_32x4d_imagenet", "se_resnet50_imagenet", "se_resnet152_imagenet", "senet154_imagenet", "random"
    ] = "se_resnext101_32x4d_imagenet"
    """The network's card of workflow/resources/weights/, or `random`."""

    @model_validator(mode="after")
    def _of_one_network(self) -> Self:
        if self.weights not in ("random", f"{self.network}_imagenet"):
            raise ValueError(f"weights {self.weights!r} are not those of {self.network}: use {self.network}_imagenet")
        return self


def build(config: Config, weights_path: Path | None, seed: int, device: str) -> FrameNetwork:
    """The network up to its global average pooling, in evaluation mode.

    Preprocessing as published with the converted weights: bilinear, the shorter side to 256, the central 224, red
    green blue from 0 to 1 with ImageNet's mean and deviation.

    Raises:
        InputError: the file of weights does not fit.
    """
    network = timm.create_model(f"legacy_{config.network.replace('se_', 'se')}", pretrained=False, num_classes=0)
    fill(network, weights_path, seed, unused=("last_linear.",))
    if weights_path is None:
        _keep_within_bounds(network)
    prepare = Preprocessing(resize=int(config.size / 0.875), crop=config.size)
    return FrameEncoder(network, prepare, config.batch, device_of(device), channels_last=True)


def _keep_within_bounds(network: nn.Module) -> None:
    """Let drawn weights' blocks add, all together, about as much again as they are fed with; else they blow up."""
    last = [module for name, module in network.named_modules() if name.endswith(".bn3")]
    for module in last:
        nn.init.constant_(module.weight, len(last) ** -0.5)
